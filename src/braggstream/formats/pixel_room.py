"""Memory for decoded pixels, used again for each frame: a fresh page costs as much as decoding into it."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import MismatchError

MAX_ARRAY_BYTES = 1 << 30
"""Largest array that is decoded."""
LINE = 64
"""Bytes of a line of the cache."""
SPARE = 64
"""Bytes behind each array that kernels may write to."""


class PixelRoom:
    """Gives arrays that are valid until `begin` is called for the next frame."""

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = []
        self._n_taken = 0

    def begin(self) -> None:
        """Take back all arrays."""
        self._n_taken = 0

    def mark(self) -> int:
        """Remember which arrays are taken."""
        return self._n_taken

    def back_to(self, mark: int) -> None:
        """Take back the arrays that were taken since."""
        self._n_taken = mark

    def take(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Give an array of this shape, its values being whatever they are; raises `MismatchError` if too large."""
        kind = np.dtype(dtype)
        n_bytes = prod(shape) * kind.itemsize
        if n_bytes > MAX_ARRAY_BYTES:
            raise MismatchError(f"an array of {n_bytes} bytes is too large, at most {MAX_ARRAY_BYTES} are taken")
        if self._n_taken == len(self._buffers):
            self._buffers.append(aligned_bytes(n_bytes + SPARE))
        elif len(self._buffers[self._n_taken]) < n_bytes + SPARE:
            self._buffers[self._n_taken] = aligned_bytes(n_bytes + SPARE)
        buffer = self._buffers[self._n_taken]
        self._n_taken += 1
        # By way of a memoryview, so that what is cut from the array leads to it and not to the buffer.
        return np.frombuffer(buffer.data[:n_bytes], kind).reshape(shape)


def aligned_bytes(n_bytes: int) -> NDArray[np.uint8]:
    """Give bytes that begin at a line of the cache: storing vectors across lines takes more than twice as long."""
    found = np.empty(n_bytes + LINE, np.uint8)
    start = -found.ctypes.data % LINE
    return found[start : start + n_bytes]


def as_writable(array: NDArray[Any]) -> NDArray[Any]:
    """Show a read-only array as a writable one to kernels that do not write, which are compiled for such."""
    return array if array.flags.writeable else np.asarray(_Borrowed(array))


class _Borrowed:
    """Memory that an array is to be made of, through NumPy's array interface."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.owner = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
