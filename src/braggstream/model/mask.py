"""MaskArray: the bad-pixel mask of one panel as it was read, before its bits are judged."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MaskArray:
    """Mask values of one panel, and which of their bits mean a bad pixel."""

    panel: int
    """Number of the panel."""
    values: NDArray[Any]
    """Mask value of each pixel, [height, width], any integer dtype, bool or float; bits are read as unsigned."""
    good_bits: int = 0
    """A pixel that lacks one of these bits is bad."""
    bad_bits: int = 0
    """A pixel that has one of these bits is bad."""
    is_static: bool = False
    """Whether the same array, unchanged, comes with every frame, so that its pixels are judged once only."""
