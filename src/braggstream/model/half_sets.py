"""Half data sets: which half a crystal belongs to, told by its name and by nothing else.

The order in which crystals arrive, a restart, and the program that merges do not matter: `indexamajig --live-merge`
and `process_hkl --half` make the same halves from the same stream file.
"""

from collections.abc import Iterable
from hashlib import blake2b


def half_of(filename: str, event: str, number: int) -> int:
    """Give the half, 0 or 1, of a crystal.

    Parameters
    ----------
    filename, event : str
        Of its frame, as they stand in the stream file.
    number : int
        Which crystal of its frame it is, from 1.

    Returns
    -------
    int
        Lowest bit of the 8-byte BLAKE2b digest of `FILENAME\\nEVENT\\nNUMBER`, little-endian: of the digest's first
        byte.  A good hash, so that the halves are independent of anything that alternates, such as a laser.
    """
    name = f"{filename}\n{event}\n{number}".encode("utf-8", "surrogateescape")
    return blake2b(name, digest_size=8).digest()[0] & 1


class HalfSets:
    """Halves of crystals that come frame by frame, those of one frame after each other."""

    def __init__(self) -> None:
        self._frame: tuple[str, str, int] | None = None
        self._number = 0

    def of(self, frames: Iterable[tuple[str, str, int]]) -> list[int]:
        """Give the half of each crystal, by file name, event and serial number of its frame."""
        halves = []
        for frame in frames:
            self._number = self._number + 1 if frame == self._frame else 1
            self._frame = frame
            halves.append(half_of(frame[0], frame[1], self._number))
        return halves
