"""Passing over pixels that are too low to matter, many at a time."""

from typing import Any

from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit

BLOCK, STRIP = 64, 16
"""Pixels of a row that are looked at together, at first and where one of them is high."""


@inline_jit
def any_from(values: NDArray[Any], lowest: Any) -> bool:
    """Tell whether one of the values is as high as `lowest`, of their own type; vector instructions do it."""
    is_high = False
    for i in range(values.shape[0]):
        is_high |= values[i] >= lowest
    return is_high
