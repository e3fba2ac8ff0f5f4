"""Radial bins of a detector, with the bad pixels taken out, and a sample of each bin."""

from math import sqrt, trunc

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.blocks import BLOCK
from braggstream.kernels.layout import CORNER, FS, HEIGHT, N_COLUMNS, OFFSET, SS, START, STRIDE, WIDTH

NO_BIN = 65535
"""Bin of a pixel outside the radii that are searched."""


@jit
def bin_pixels(
    poses: NDArray[np.float64],
    pixel_size: NDArray[np.float64],
    table: NDArray[np.int64],
    min_radius: float,
    max_radius: float,
    bins: NDArray[np.uint16],
) -> int:
    """Give each pixel the distance of its corner from the beam axis, in its panel's own pixels, as a bin.

    x and y are cut to whole numbers before they are squared, and z does not count, as in the reference.

    Parameters
    ----------
    poses : float64[n_panels, 3, 3]
        Corner, fs step, ss step [m].
    pixel_size : float64[n_panels]
        Pixel pitch [m].
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    min_radius, max_radius : float64
        Pixels outside get `NO_BIN`; no upper limit where `max_radius` is 0 [px].
    bins : uint16[n_pixels], written
        Radial bin of each pixel, in detector order.

    Returns
    -------
    int
        Number of bins.
    """
    n_bins = 1
    for panel in range(table.shape[0]):
        size = pixel_size[panel]
        cx, cy = poses[panel, CORNER, 0] / size, poses[panel, CORNER, 1] / size
        fx, fy = poses[panel, FS, 0] / size, poses[panel, FS, 1] / size
        sx, sy = poses[panel, SS, 0] / size, poses[panel, SS, 1] / size
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            row = table[panel, START] + ss * width
            for fs in range(width):
                x = float(trunc(cx + fs * fx + ss * sx))
                y = float(trunc(cy + fs * fy + ss * sy))
                radius = np.float32(sqrt(x * x + y * y))
                number = int(np.rint(radius))
                inside = radius > min_radius and (max_radius == 0.0 or radius < max_radius)
                if inside and number < NO_BIN:
                    bins[row + fs] = number
                    n_bins = max(n_bins, number + 1)
                else:
                    bins[row + fs] = NO_BIN
    return n_bins


@jit
def mask_bins(
    bins: NDArray[np.uint16],
    bad: NDArray[np.uint8],
    ranges: NDArray[np.int64],
    masked: NDArray[np.uint16],
    n_pixels: NDArray[np.int64],
) -> None:
    """Give the pixels that take no part a bin of their own, the one after the last.

    Parameters
    ----------
    bins : uint16[n_pixels]
        Radial bins.
    bad : uint8[n_pixels]
        Nonzero for pixels that take no part.
    ranges : int64[n, 2]
        Ranges of pixels to look at: first pixel and the one after the last.
    masked : uint16[n_pixels], written in the ranges
        Radial bins of good pixels, `n_bins` for the others.
    n_pixels : int64[n_bins + 1], corrected
        Number of pixels of each bin in `masked`.
    """
    trash = np.uint16(n_pixels.shape[0] - 1)
    for k in range(ranges.shape[0]):
        start, stop = ranges[k, 0], ranges[k, 1]
        source, flags, target = bins[start:stop], bad[start:stop], masked[start:stop]
        for i in range(source.shape[0]):
            number = trash if flags[i] != 0 or source[i] == NO_BIN else source[i]
            if number != target[i]:
                n_pixels[target[i]] -= 1
                n_pixels[number] += 1
                target[i] = number


@jit
def find_block_bins(bins: NDArray[np.uint16], table: NDArray[np.int64], ranges: NDArray[np.uint16]) -> None:
    """Find the nearest and the farthest bin of each block of pixels.

    Parameters
    ----------
    bins : uint16[n_pixels]
        Radial bins.
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    ranges : uint16[n_blocks, 2], written
        Smallest and largest bin of the blocks of `BLOCK` pixels, row after row, without the pixels at the panel's
        edges.  Where no pixel has a bin, the first number is larger.
    """
    n_blocks = 0
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(1, table[panel, HEIGHT] - 1):
            row = bins[table[panel, START] + ss * width : table[panel, START] + (ss + 1) * width]
            for start in range(1, width - 1, BLOCK):
                nearest, farthest = np.uint16(NO_BIN), np.uint16(0)
                for number in row[start : min(start + BLOCK, width - 1)]:
                    if number != NO_BIN:
                        nearest, farthest = min(nearest, number), max(farthest, number)
                ranges[n_blocks, 0] = nearest
                ranges[n_blocks, 1] = farthest
                n_blocks += 1


@jit
def count_bins(
    masked: NDArray[np.uint16], table: NDArray[np.int64], row_step: int, totals: NDArray[np.int64]
) -> None:
    """Count the pixels of each bin, in all rows and in some.

    Parameters
    ----------
    masked : uint16[n_pixels]
        Radial bins of good pixels.
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    row_step : int64
        One row in so many counts for the second number.
    totals : int64[2, n_bins], written
        Number of pixels in all rows, and in every `row_step`th one.
    """
    totals[:] = 0
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            row = table[panel, START] + ss * width
            for number in masked[row : row + width]:
                if number < totals.shape[1]:
                    totals[0, number] += 1
                    if ss % row_step == 0:
                        totals[1, number] += 1


@jit
def sample_bins(
    masked: NDArray[np.uint16],
    table: NDArray[np.int64],
    row_step: int,
    totals: NDArray[np.int64],
    most: int,
    pixel: NDArray[np.int64],
    source: NDArray[np.int64],
) -> None:
    """Choose pixels of each bin, evenly over the order in which they lie in the detector.

    Bins with enough pixels in every `row_step`th row are sampled there, so that less memory is visited.

    Parameters
    ----------
    masked, table, row_step, totals
        What `count_bins` took and wrote.
    most : int64
        Most pixels to choose of a bin.
    pixel : int64[n], written
        Chosen pixels in detector order, bin after bin; n is the sum of `min(totals[0], most)`.
    source : int64[n], written
        Where their values lie.
    """
    n_bins = totals.shape[1]
    next_place = np.zeros(n_bins, np.int64)
    for number in range(1, n_bins):
        next_place[number] = next_place[number - 1] + min(totals[0, number - 1], most)
    n_seen = np.zeros(n_bins, np.int64)
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            row = table[panel, START] + ss * width
            for fs in range(width):
                number = masked[row + fs]
                if number >= n_bins:
                    continue
                in_some = totals[1, number] >= most
                if in_some and ss % row_step != 0:
                    continue
                total, before = totals[int(in_some), number], n_seen[number]
                n_seen[number] += 1
                # Of `total` pixels those are taken for which this grows by one.
                if total > most and (before + 1) * most // total == before * most // total:
                    continue
                pixel[next_place[number]] = row + fs
                source[next_place[number]] = table[panel, OFFSET] + ss * table[panel, STRIDE] + fs
                next_place[number] += 1


def warm_up() -> None:
    """Compile the kernels."""
    table = np.zeros((1, N_COLUMNS), np.int64)
    bins, index = np.zeros(1, np.uint16), np.zeros(1, np.int64)
    bin_pixels(np.zeros((1, 3, 3)), np.ones(1), table, 0.0, 0.0, bins)
    mask_bins(bins, np.zeros(1, np.uint8), np.zeros((1, 2), np.int64), bins.copy(), np.zeros(2, np.int64))
    totals = np.zeros((2, 1), np.int64)
    find_block_bins(bins, table, np.zeros((1, 2), np.uint16))
    count_bins(bins, table, 1, totals)
    sample_bins(bins, table, 1, totals, 1, index, index.copy())
