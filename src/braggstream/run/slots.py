"""Shared memory in which messages lie while they are processed.

One anonymous file without a name (so nothing can be left behind) holds all slots.  Each slot has room for the
largest message that is accepted, as address space: memory is taken by the page as messages touch it.  A slot keeps
the pages of the frames that detectors usually send, and gives back those of larger messages.
"""

import contextlib
import mmap
import os
from typing import Self

from braggstream.run.system_limits import SystemRefusal

PAGE = mmap.PAGESIZE
KEPT_BYTES = 128 << 20
"""A slot with a larger message gives its memory back: taking it anew costs ten times what copying the message does
(a GiB: 1.5 s against 0.14 s), so no usual frame is to be as large.  Those of the largest detectors have 72 MiB."""


class SlotMemory:
    """The slots, seen from one process; `fill` is for the parent, `view` for workers."""

    def __init__(self, descriptor: int, slot_bytes: int) -> None:
        self.descriptor = descriptor
        self._stride = _whole_pages(slot_bytes)
        self._maps: dict[int, mmap.mmap] = {}
        self._views: dict[int, memoryview] = {}
        self._n_filled: dict[int, int] = {}
        """Size of the message in each slot [bytes]."""

    @classmethod
    def create(cls, n_slots: int, slot_bytes: int) -> Self:
        """Make the file; its descriptor is inherited by processes that are given it.  Raises `SystemRefusal`."""
        n_bytes = n_slots * _whole_pages(slot_bytes)
        with SystemRefusal.told(f"no memory for {n_slots} messages of {slot_bytes} bytes"):
            descriptor = os.memfd_create("braggstream-slots")
            os.ftruncate(descriptor, n_bytes)
        return cls(descriptor, slot_bytes)

    def fill(self, slot: int, payload: memoryview | bytes) -> int:
        """Copy a message into a slot; gives its size [bytes]."""
        n_bytes = len(payload)
        if n_bytes > self._stride:
            raise ValueError(f"a message of {n_bytes} bytes is larger than a slot")
        self._window(slot, n_bytes)[:n_bytes] = payload
        self._n_filled[slot] = n_bytes
        return n_bytes

    def release(self, slot: int) -> None:
        """Take note that the message in a slot is not wanted any more: a large one's memory is given back."""
        if self._n_filled.pop(slot, 0) > KEPT_BYTES:
            with contextlib.suppress(OSError):  # A system that cannot take it back leaves it to the next message.
                self._maps[slot].madvise(mmap.MADV_REMOVE)

    def view(self, slot: int, n_bytes: int) -> memoryview:
        """Give the message in a slot, read-only."""
        return self._window(slot, n_bytes)[:n_bytes].toreadonly()

    def close(self) -> None:
        """Give the memory back."""
        for slot in list(self._maps):
            self._unmap(slot)
        os.close(self.descriptor)

    def _window(self, slot: int, n_bytes: int) -> memoryview:
        """Map a slot, or map it anew where it has to be larger."""
        found = self._views.get(slot)
        if found is None or len(found) < n_bytes:
            self._unmap(slot)
            size = max(PAGE, min(self._stride, _whole_pages(n_bytes + n_bytes // 4)))
            with SystemRefusal.told(f"no memory for a message of {n_bytes} bytes"):
                self._maps[slot] = mmap.mmap(self.descriptor, size, offset=slot * self._stride)
            found = self._views[slot] = memoryview(self._maps[slot])
        return found

    def _unmap(self, slot: int) -> None:
        """Forget a slot's map; one whose bytes are still looked at goes with its last view."""
        view = self._views.pop(slot, None)
        window = self._maps.pop(slot, None)
        if view is None or window is None:
            return
        with contextlib.suppress(BufferError):
            view.release()
            window.close()


def _whole_pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE) * PAGE
