"""How much memory a worker may take: what comes from a socket cannot make it take all there is.

Two things can happen.  A message can ask for vast memory at once (a few bytes that unpack to many): allocating it
fails, and with it that frame alone.  Or each bad message can leave a little behind, as HDF5 does with files that it
cannot close: a worker that has grown is replaced between two frames, which costs nothing.
"""

import os
import resource
from pathlib import Path

AT_ONCE_BYTES = 4 << 30
"""A worker may hold so much more than it held when it was forked; a frame that needs more has failed."""
GROWTH_BYTES = 512 << 20
"""A worker that holds so much more than after its first frames is replaced."""
FIRST_FRAMES = 10

_PAGE = os.sysconf("SC_PAGESIZE")


class MemoryLimits:
    """Looks after the memory of this process, which is a worker."""

    def __init__(self) -> None:
        self._n_frames = 0
        self._usual_bytes = 0

    @staticmethod
    def limit_allocation() -> None:
        """Have allocations fail beyond the limit, from now on."""
        most = _data_bytes() + AT_ONCE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))

    def is_overgrown(self) -> bool:
        """Whether this process holds much more than it did after its first frames; to be asked after each frame."""
        held = _private_bytes()
        self._n_frames += 1
        if self._n_frames <= FIRST_FRAMES:
            self._usual_bytes = max(self._usual_bytes, held)
        return held > self._usual_bytes + GROWTH_BYTES


def _sizes() -> list[int]:
    """Sizes of this process [bytes]: address space, resident, shared, text, library, data, dirty."""
    return [int(word) * _PAGE for word in Path("/proc/self/statm").read_text().split()]


def _private_bytes() -> int:
    """Resident memory that is shared with no file and no other process' mapping."""
    _, resident, shared, *_ = _sizes()
    return resident - shared


def _data_bytes() -> int:
    return _sizes()[5]
