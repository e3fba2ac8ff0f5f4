"""Filters before the peak search: running median, and what surrounds negative pixels.

Both work on one panel and ignore which pixels are bad, as in the reference.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, STRIDE, WIDTH

SIGN = np.uint32(0x80000000)
ALL_ONES = np.uint32(0xFFFFFFFF)
OUTSIDE = ALL_ONES
"""Key that is above every number's."""


@jit
def order_keys(values: NDArray[np.float32], keys: NDArray[np.uint32]) -> None:
    """Give each number a whole number in the same order; NaN comes last, or first with its sign set.

    Parameters
    ----------
    values : float32[n]
    keys : uint32[n], written
    """
    bits = values.view(np.uint32)
    for i in range(bits.shape[0]):
        keys[i] = bits[i] ^ (ALL_ONES if bits[i] & SIGN else SIGN)


@jit
def subtract_medians(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    radius: int,
    values: NDArray[np.float32],
    keys: NDArray[np.uint32],
    scratch: NDArray[np.uint32],
    filtered: NDArray[np.float32],
) -> None:
    """Subtract from each pixel the middle one of the square around it, cut at the panel's edges.

    Of an even number of pixels the upper one of the middle two counts.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    place : int64[5]
        Row of the panel table.
    radius : int64
        Half-width of the square [px].
    values : float32[height * width], scratch
    keys : uint32[height, width + 2 * radius], scratch
    scratch : uint32[3, width], scratch
    filtered : float32[height * width], written
        The panel.
    """
    width, height = place[WIDTH], place[HEIGHT]
    for y in range(height):
        row = pixels[place[OFFSET] + y * place[STRIDE] : place[OFFSET] + y * place[STRIDE] + width]
        for x in range(width):
            values[y * width + x] = np.float32(row[x])
        keys[y, :radius] = OUTSIDE
        keys[y, radius + width :] = OUTSIDE
        order_keys(values[y * width : (y + 1) * width], keys[y, radius : radius + width])
    # Bits that are the same in all keys need no search.
    varying = np.uint32(0)
    for y in range(height):
        for x in range(radius, radius + width):
            varying |= keys[y, x] ^ keys[0, radius]
    found, wanted, count = scratch[0], scratch[1], scratch[2]
    for y in range(height):
        first, last = max(y - radius, 0), min(y + radius, height - 1)
        for x in range(width):
            n_columns = min(x + radius, width - 1) - max(x - radius, 0) + 1
            wanted[x] = np.uint32((last - first + 1) * n_columns // 2)
        # The largest key that no more than so many are below, bit by bit, for all pixels of the row at once.
        found[:] = keys[0, radius] & ~varying
        for bit in range(31, -1, -1):
            step = np.uint32(1 << bit)
            if not varying & step:
                continue
            count[:] = 0
            for yy in range(first, last + 1):
                for dx in range(2 * radius + 1):
                    shifted = keys[yy, dx : dx + width]
                    for x in range(width):
                        count[x] += np.uint32(shifted[x] < np.uint32(found[x] | step))
            for x in range(width):
                found[x] = np.uint32(found[x] | step) if count[x] <= wanted[x] else found[x]
        for x in range(width):
            found[x] = found[x] ^ (SIGN if found[x] & SIGN else ALL_ONES)
        medians = found.view(np.float32)
        for x in range(width):
            filtered[y * width + x] = values[y * width + x] - medians[x]


@jit
def blank_around_negatives(source: NDArray[np.float32], width: int, filtered: NDArray[np.float32]) -> None:
    """Set to zero each pixel with a negative one among itself and its neighbours.

    Parameters
    ----------
    source : float32[height * width]
        The panel.
    width : int64
        Pixels along fs.
    filtered : float32[height * width], written
        The panel, out of place, so that no zero hides a negative pixel.
    """
    height = source.shape[0] // width
    for y in range(height):
        for x in range(width):
            is_near = False
            for yy in range(max(y - 1, 0), min(y + 2, height)):
                for xx in range(max(x - 1, 0), min(x + 2, width)):
                    is_near |= source[yy * width + xx] < 0.0
            filtered[y * width + x] = np.float32(0.0) if is_near else source[y * width + x]


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    floats = np.zeros(1, np.float32)
    subtract_medians(
        np.zeros(1, dtype),
        np.zeros(N_COLUMNS, np.int64),
        1,
        floats,
        np.zeros((1, 3), np.uint32),
        np.zeros((3, 1), np.uint32),
        floats.copy(),
    )
    blank_around_negatives(floats, 1, floats.copy())
