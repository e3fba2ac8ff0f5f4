"""Marking bad pixels: by value, by mask bits, by place in the lab frame, by resolution.

All maps are uint8[n_pixels] in detector order; nonzero is bad.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, jit
from braggstream.kernels.blocks import BLOCK
from braggstream.kernels.layout import CORNER, FS, HEIGHT, N_COLUMNS, OFFSET, SS, START, STRIDE, WIDTH

Array = NDArray[Any]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Map = NDArray[np.uint8]

MIN_X, MAX_X, MIN_Y, MAX_Y = range(4)
"""Columns of the lab regions."""


@jit
def mark_values(
    pixels: Array,
    table: IntArray,
    good_ranges: Array,
    bad_ranges: Array,
    base: Map,
    bad: Map,
    changes: IntArray,
) -> int:
    """Mark pixels whose value lies outside the panel's good range or inside one of its bad ranges.

    A range is a closed interval in the pixels' own dtype, so no value is converted.  NaN lies outside every range.
    Only blocks of pixels with something to mark are written to.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    good_ranges : T[n_panels, 2]
        Smallest and largest good value of each panel; all pixels are bad where the first is larger.
    bad_ranges : T[n_panels, n_ranges, 2]
        Closed intervals of bad values of each panel; empty where the first number is larger.
    base : uint8[n_pixels]
        What is bad already.
    bad : uint8[n_pixels], marked
        The same as `base` before; afterwards with the marked pixels.
    changes : int64[n_blocks, 2], written
        First pixel of each block that was written to, and the one after its last; as many as there are blocks of
        `BLOCK` pixels in all rows.

    Returns
    -------
    int
        Number of blocks that were written to.
    """
    n_changes = 0
    for panel in range(table.shape[0]):
        low, high = good_ranges[panel, 0], good_ranges[panel, 1]
        width = table[panel, WIDTH]
        for row in range(table[panel, HEIGHT]):
            first = table[panel, OFFSET] + row * table[panel, STRIDE]
            values = pixels[first : first + width]
            start = table[panel, START] + row * width
            for place in range(0, width, BLOCK):
                block = values[place : place + BLOCK]
                is_odd = False
                for i in range(block.shape[0]):
                    is_odd |= not ((block[i] >= low) & (block[i] <= high))
                for k in range(bad_ranges.shape[1]):
                    for i in range(block.shape[0]):
                        is_odd |= (block[i] >= bad_ranges[panel, k, 0]) & (block[i] <= bad_ranges[panel, k, 1])
                if not is_odd:
                    continue
                changes[n_changes, 0] = start + place
                changes[n_changes, 1] = start + place + block.shape[0]
                n_changes += 1
                target = bad[start + place : start + place + block.shape[0]]
                for i in range(block.shape[0]):
                    is_bad = not ((block[i] >= low) & (block[i] <= high))
                    for k in range(bad_ranges.shape[1]):
                        is_bad |= (block[i] >= bad_ranges[panel, k, 0]) & (block[i] <= bad_ranges[panel, k, 1])
                    target[i] |= np.uint8(is_bad)
    return n_changes


@jit
def restore(base: Map, changes: IntArray, bad: Map) -> None:
    """Undo what `mark_values` did.

    Parameters
    ----------
    base : uint8[n_pixels]
        What it started from.
    changes : int64[n, 2]
        Ranges of pixels that it wrote to.
    bad : uint8[n_pixels], written
        The same as `base` afterwards.
    """
    for k in range(changes.shape[0]):
        bad[changes[k, 0] : changes[k, 1]] = base[changes[k, 0] : changes[k, 1]]


@jit
def mark_bits(values: Array, good_bits: Array, bad_bits: Array, bad: Map) -> None:
    """Mark pixels whose mask value lacks a good bit or has a bad bit.

    Parameters
    ----------
    values : U[n]
        Mask values, an unsigned dtype.
    good_bits, bad_bits : U[1]
        The bits.
    bad : uint8[n], marked
        Map of the panel.
    """
    good, wrong = good_bits[0], bad_bits[0]
    for i in range(values.shape[0]):
        bad[i] |= np.uint8(((values[i] & good) != good) | ((values[i] & wrong) != 0))


@jit
def mark_lab_regions(plane: FloatArray, width: int, regions: FloatArray, bad: Map) -> None:
    """Mark the pixels of a panel whose corner lies strictly inside a rectangle of the lab frame.

    Parameters
    ----------
    plane : float64[3, 2]
        x and y of the panel's corner, of a step in fs, of a step in ss [px].
    width : int64
        Pixels along fs.
    regions : float64[n_regions, 4]
        Bounds min x, max x, min y, max y [px].
    bad : uint8[height * width], marked
        Map of the panel.
    """
    height = bad.shape[0] // width
    for k in range(regions.shape[0]):
        min_x, max_x = regions[k, MIN_X], regions[k, MAX_X]
        min_y, max_y = regions[k, MIN_Y], regions[k, MAX_Y]
        for row in range(height):
            target = bad[row * width : (row + 1) * width]
            for i in range(width):
                x = plane[CORNER, 0] + i * plane[FS, 0] + row * plane[SS, 0]
                y = plane[CORNER, 1] + i * plane[FS, 1] + row * plane[SS, 1]
                target[i] |= np.uint8((x > min_x) & (x < max_x) & (y > min_y) & (y < max_y))


@fast_jit
def mark_wide_angles(pose: FloatArray, width: int, cosine: float, bad: Map) -> None:
    """Mark the pixels of a panel whose corner is seen from the sample at or beyond a scattering angle.

    Parameters
    ----------
    pose : float64[3, 3]
        Corner, fs step and ss step [m].
    width : int64
        Pixels along fs.
    cosine : float64
        Cosine of the scattering angle.
    bad : uint8[height * width], marked
        Map of the panel.
    """
    height = bad.shape[0] // width
    for row in range(height):
        target = bad[row * width : (row + 1) * width]
        x0 = pose[CORNER, 0] + row * pose[SS, 0]
        y0 = pose[CORNER, 1] + row * pose[SS, 1]
        z0 = pose[CORNER, 2] + row * pose[SS, 2]
        for i in range(width):
            x = x0 + i * pose[FS, 0]
            y = y0 + i * pose[FS, 1]
            z = z0 + i * pose[FS, 2]
            target[i] |= np.uint8(z <= cosine * sqrt(x * x + y * y + z * z))


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    bad = np.zeros(1, np.uint8)
    table = np.zeros((1, N_COLUMNS), np.int64)
    changes, ranges = np.zeros((1, 2), np.int64), np.zeros((1, 1, 2), dtype)
    mark_values(np.zeros(1, dtype), table, np.zeros((1, 2), dtype), ranges, bad, bad.copy(), changes)
    restore(bad, changes, bad.copy())
    mark_lab_regions(np.zeros((3, 2)), 1, np.zeros((1, 4)), bad)
    mark_wide_angles(np.zeros((3, 3)), 1, 0.0, bad)
    for unsigned in (np.uint8, np.uint16, np.uint32, np.uint64):
        mark_bits(np.zeros(1, unsigned), np.zeros(1, unsigned), np.zeros(1, unsigned), bad)
