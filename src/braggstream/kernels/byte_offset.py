"""CBF's byte-offset compression: differences of neighbouring pixels, in as few bytes as they need.

The format is in the imgCIF dictionary (x-CBF_BYTE_OFFSET): a difference is one byte; -128 announces two bytes,
-2^15 in these four, and -2^31 in these eight, little-endian throughout.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

TOO_SHORT, TOO_LARGE = -1, -2
"""What the decoder gives where the bytes end too early, and where a pixel does not fit the type of `out`."""


@inline_jit
def signed(source: Bytes, at: int, n_bytes: int) -> int:
    """Read a little-endian signed number; the caller has checked that it is there."""
    number = 0
    for place in range(n_bytes):
        number |= int(source[at + place]) << (8 * place)
    shift = 64 - 8 * n_bytes
    return (number << shift) >> shift


@jit
def byte_offset(source: Bytes, out: Array, low: int, high: int) -> int:
    """Decode pixels; the running value is a 64-bit integer.

    Parameters
    ----------
    source : uint8[n]
        The compressed bytes.
    out : int32[m], uint32[m] or int64[m], written
        As many pixels as there have to be.
    low, high : int
        Smallest and largest value that `out` can hold.

    Returns
    -------
    int
        Number of bytes used, `TOO_SHORT` or `TOO_LARGE`.
    """
    at, value, n_bytes = 0, 0, len(source)
    for pixel in range(len(out)):
        if at >= n_bytes:
            return TOO_SHORT
        step = signed(source, at, 1)
        at += 1
        if step == -128:
            if at + 2 > n_bytes:
                return TOO_SHORT
            step = signed(source, at, 2)
            at += 2
            if step == -32768:
                if at + 4 > n_bytes:
                    return TOO_SHORT
                step = signed(source, at, 4)
                at += 4
                if step == -2147483648:
                    if at + 8 > n_bytes:
                        return TOO_SHORT
                    step = signed(source, at, 8)
                    at += 8
        value += step
        if value < low or value > high:
            return TOO_LARGE
        out[pixel] = value
    return at


OUT_TYPES = (np.int32, np.uint32, np.int64)
"""Types of pixels, in the order in which they are tried."""


def warm_up() -> None:
    """Compile every signature that is used."""
    source = np.zeros(0, np.uint8)
    for kind in OUT_TYPES:
        byte_offset(source, np.zeros(0, kind), 0, 0)
