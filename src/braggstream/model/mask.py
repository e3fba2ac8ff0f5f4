"""Bad-pixel masks: as they were read, before their bits are judged, and how the map of a frame came about."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
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


def _no_changes() -> NDArray[np.int64]:
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class BadMap:
    """The bad pixels of a frame, and in which of them it may differ from other frames.

    With it a step that prepares something from the map does so once, and then only where frames differ.
    """

    pixels: NDArray[np.uint8]
    """Nonzero where a pixel must not be used, uint8[n_pixels], in detector order."""
    base: NDArray[np.uint8]
    """What is bad in other frames too, uint8[n_pixels]; this array never changes."""
    changes: NDArray[np.int64] = field(default_factory=_no_changes)
    """Ranges outside which both are the same: first pixel and the one after the last, int64[n, 2]."""
