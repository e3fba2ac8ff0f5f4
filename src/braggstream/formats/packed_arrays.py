"""Arrays in the messages of a series: as they came, perhaps compressed, perhaps not to be understood."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.model.errors import DecodeError, FrameError, MismatchError

DEFAULT_DATA = "/data/data"
"""What `data` is where the geometry does not name a channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArray:
    """An array as it came, perhaps compressed."""

    shape: tuple[int, ...]
    """Slowest axis first."""
    dtype: str
    algorithm: str
    data: memoryview
    is_column_major: bool = False
    """Whether the bytes have the slowest axis where others have the fastest."""

    def decode(self, decompressor: Decompressor, *, what: str) -> NDArray[Any]:
        """Decode it; raises `DecodeError` or `MismatchError`."""
        shape = self.shape[::-1] if self.is_column_major else self.shape
        found = decompressor.decode(self.algorithm, self.data, shape, self.dtype, what=what)
        return found.T if self.is_column_major else found


Arrays = Mapping[str, PackedArray | FrameError]
"""Arrays by channel; an error in place of one that is wrong, which nobody may ask for."""


def channel_of(arrays: Arrays, name: str, what: str) -> PackedArray:
    """Give the channel that a geometry's `data` names; where it names none, the first.

    Raises
    ------
    FrameError
        There is no such channel, or its array is wrong.
    """
    if not arrays:
        raise DecodeError(f"the message holds no {what}")
    if name in arrays:
        found = arrays[name]
    elif name == DEFAULT_DATA or len(arrays) == 1:
        found = next(iter(arrays.values()))
    else:
        raise MismatchError(f"there is no {what} {name} (there are {', '.join(key[:40] for key in arrays)})")
    if isinstance(found, FrameError):
        raise found
    return found


def checked_shape(lengths: Any, what: str) -> tuple[int, ...]:
    """Check a shape that a message states; raises `DecodeError`."""
    if not isinstance(lengths, list) or not 1 <= len(lengths) <= 4:
        raise DecodeError(f"{what} has no shape of two numbers")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1 << 31 for n in lengths):
        raise DecodeError(f"{what} has the shape {str(lengths)[:80]}, expected lengths above zero")
    if prod(lengths) >= 1 << 40:
        raise DecodeError(f"{what} has the shape {str(lengths)[:80]}, which is too large")
    return tuple(lengths)
