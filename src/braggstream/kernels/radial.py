"""Radial bins and clipped radial statistics of a frame (Barty et al. 2014, doi:10.1107/S1600576714007626)."""

from math import sqrt, trunc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import CORNER, FS, HEIGHT, N_COLUMNS, OFFSET, SS, START, STRIDE, WIDTH

NO_BIN = 65535
"""Bin of a pixel that takes no part."""
N_PASSES = 5
N_VALUES = 256
"""Values that are counted, from the smallest usual one on."""

COUNT, TOTAL, SQUARES, LOWER, UPPER = range(5)
"""Columns of the sums of a bin."""

FAR = 1e9
LARGEST_FLOAT32 = 3.4028234663852886e38
SMALLEST_FLOAT32 = 1.1754943508222875e-38


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


@inline_jit
def _limits_of(
    n: int, total: float, squares: float, threshold: float, min_snr: float
) -> tuple[float, float, float]:
    """Give mean, lower and upper limit of a bin whose accepted pixels are counted and summed."""
    if n == 0:
        return 0.0, SMALLEST_FLOAT32, LARGEST_FLOAT32
    mean = total / n
    variance = squares / n - mean * mean
    sigma = sqrt(variance) if variance >= 0.0 else variance
    return mean, mean - min_snr * sigma, max(mean + min_snr * sigma, threshold)


@jit
def clip_radially(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    threshold: float,
    min_snr: float,
    row_step: int,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> None:
    """Find background and peak limit of each radial bin in five passes of clipping over the pixels.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel.
    bad : uint8[n_pixels]
        Nonzero for pixels that take no part.
    bins : uint16[n_pixels]
        Radial bins.
    threshold, min_snr : float64
        Lowest limit [detector units], and how many standard deviations above the mean it lies.
    row_step : int64
        1 to look at all pixels, k for an estimate from one row in k.
    offset, upper : float64[n_bins], written
        Mean background and limit of each bin [detector units].
    """
    n_bins = offset.shape[0]
    # One row a bin, so that a pixel touches one place in memory.
    sums = np.zeros((n_bins, 8))
    sums[:, LOWER] = -FAR
    sums[:, UPPER] = FAR
    for _ in range(N_PASSES):
        sums[:, :LOWER] = 0.0
        for panel in range(table.shape[0]):
            width = table[panel, WIDTH]
            for ss in range(0, table[panel, HEIGHT], row_step):
                source = table[panel, OFFSET] + ss * table[panel, STRIDE]
                row = table[panel, START] + ss * width
                for fs in range(width):
                    number = bins[row + fs]
                    if bad[row + fs] or number == NO_BIN:
                        continue
                    value = np.float64(pixels[source + fs])
                    if sums[number, LOWER] < value < sums[number, UPPER]:
                        sums[number, COUNT] += 1.0
                        sums[number, TOTAL] += value
                        sums[number, SQUARES] += value * value
        for number in range(n_bins):
            offset[number], sums[number, LOWER], sums[number, UPPER] = _limits_of(
                int(sums[number, COUNT]), sums[number, TOTAL], sums[number, SQUARES], threshold, min_snr
            )
    upper[:] = sums[:, UPPER]


@jit
def count_values(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    base: int,
    counts: NDArray[np.uint16],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
) -> int:
    """Count how often each value occurs in each radial bin, in one pass over a frame of integers.

    Parameters
    ----------
    pixels, table, bad, bins
        As for `clip_radially`; no bin may have more than 65535 pixels.
    base : int64
        The smallest value that is counted.
    counts : uint16[n_bins, N_VALUES], written
        Occurrences of `base`, `base + 1`, ...
    rare_bins : uint16[n], rare_values : float64[n], written
        Bin and value of the other pixels.

    Returns
    -------
    int
        Number of other pixels; more than n means that there was no room for them all.
    """
    counts[:] = 0
    n_rare = 0
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            source = table[panel, OFFSET] + ss * table[panel, STRIDE]
            row = table[panel, START] + ss * width
            for fs in range(width):
                number = bins[row + fs]
                if bad[row + fs] or number == NO_BIN:
                    continue
                step = np.int64(pixels[source + fs]) - base
                if 0 <= step < N_VALUES:
                    counts[number, step] += 1
                else:
                    if n_rare < rare_bins.shape[0]:
                        rare_bins[n_rare] = number
                        rare_values[n_rare] = np.float64(pixels[source + fs])
                    n_rare += 1
            if n_rare > rare_bins.shape[0]:
                return n_rare
    return n_rare


@jit
def clip_counts(
    counts: NDArray[np.uint16],
    base: int,
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
    n_rare: int,
    threshold: float,
    min_snr: float,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> None:
    """Do what `clip_radially` does, from counted values: clipping depends on values only, not on places.

    Parameters
    ----------
    counts, base, rare_bins, rare_values, n_rare
        What `count_values` wrote and gave.
    threshold, min_snr, offset, upper
        As for `clip_radially`.
    """
    n_bins = counts.shape[0]
    first = np.zeros(n_bins + 1, np.int64)
    for k in range(n_rare):
        first[rare_bins[k] + 1] += 1
    for number in range(n_bins):
        first[number + 1] += first[number]
    place = first.copy()
    rare = np.empty(n_rare)
    for k in range(n_rare):
        rare[place[rare_bins[k]]] = rare_values[k]
        place[rare_bins[k]] += 1
    # Sums over all values below each step, so that a pass is two look-ups.
    sums = np.zeros((N_VALUES + 1, 3))
    for number in range(n_bins):
        n, total, squares = 0.0, 0.0, 0.0
        for step in range(N_VALUES):
            here = float(counts[number, step])
            n += here
            total += here * step
            squares += here * step * step
            sums[step + 1, 0] = n
            sums[step + 1, 1] = total
            sums[step + 1, 2] = squares
        lower, limit = -FAR, FAR
        for _ in range(N_PASSES):
            start = int(min(max(np.floor(lower) + 1.0 - base, 0.0), float(N_VALUES)))
            stop = int(min(max(np.ceil(limit) - base, float(start)), float(N_VALUES)))
            n = sums[stop, 0] - sums[start, 0]
            steps = sums[stop, 1] - sums[start, 1]
            total = steps + n * base
            squares = sums[stop, 2] - sums[start, 2] + 2.0 * base * steps + n * base * base
            for k in range(first[number], first[number + 1]):
                if lower < rare[k] < limit:
                    n += 1.0
                    total += rare[k]
                    squares += rare[k] * rare[k]
            before_lower, before_limit = lower, limit
            offset[number], lower, limit = _limits_of(int(n), total, squares, threshold, min_snr)
            if lower == before_lower and limit == before_limit:
                break
        upper[number] = limit


@jit
def sum_cores(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    cores: NDArray[np.float64],
    sums: NDArray[np.float64],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
) -> int:
    """Sum up the pixels inside each bin's core of usual values, and list the others, in one pass over a frame.

    Parameters
    ----------
    pixels, table, bad, bins
        As for `clip_radially`.
    cores : float64[n_bins, 2]
        Bounds of the core of each bin; the bounds themselves lie outside.
    sums : float64[n_bins, 3], written
        Count, sum and sum of squares of the pixels inside.
    rare_bins : uint16[n], rare_values : float64[n], written
        Bin and value of the other pixels.

    Returns
    -------
    int
        Number of other pixels; more than n means that there was no room for them all.
    """
    n_bins = cores.shape[0]
    packed = np.zeros((n_bins, 8))
    packed[:, LOWER], packed[:, UPPER] = cores[:, 0], cores[:, 1]
    n_rare = 0
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            source = table[panel, OFFSET] + ss * table[panel, STRIDE]
            row = table[panel, START] + ss * width
            for fs in range(width):
                number = bins[row + fs]
                if bad[row + fs] or number == NO_BIN:
                    continue
                value = np.float64(pixels[source + fs])
                if packed[number, LOWER] < value < packed[number, UPPER]:
                    packed[number, COUNT] += 1.0
                    packed[number, TOTAL] += value
                    packed[number, SQUARES] += value * value
                else:
                    if n_rare < rare_bins.shape[0]:
                        rare_bins[n_rare] = number
                        rare_values[n_rare] = value
                    n_rare += 1
            if n_rare > rare_bins.shape[0]:
                return n_rare
    sums[:] = packed[:, :LOWER]
    return n_rare


@jit
def clip_cores(
    cores: NDArray[np.float64],
    sums: NDArray[np.float64],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
    n_rare: int,
    threshold: float,
    min_snr: float,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> bool:
    """Do what `clip_radially` does, from summed cores.

    Parameters
    ----------
    cores, sums, rare_bins, rare_values, n_rare
        What `sum_cores` took, wrote and gave.
    threshold, min_snr, offset, upper
        As for `clip_radially`.

    Returns
    -------
    bool
        False where a limit came to lie inside a core, so that the sums do not tell what it cuts off.
    """
    n_bins = cores.shape[0]
    limits = np.empty((n_bins, 2))
    limits[:, 0], limits[:, 1] = -FAR, FAR
    accepted = np.empty((n_bins, 3))
    for _ in range(N_PASSES):
        accepted[:] = sums
        for k in range(n_rare):
            number, value = rare_bins[k], rare_values[k]
            if limits[number, 0] < value < limits[number, 1]:
                accepted[number, 0] += 1.0
                accepted[number, 1] += value
                accepted[number, 2] += value * value
        for number in range(n_bins):
            if sums[number, 0] > 0.0 and (
                limits[number, 0] > cores[number, 0] or limits[number, 1] < cores[number, 1]
            ):
                return False
            offset[number], limits[number, 0], limits[number, 1] = _limits_of(
                int(accepted[number, 0]), accepted[number, 1], accepted[number, 2], threshold, min_snr
            )
    upper[:] = limits[:, 1]
    return True


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    table = np.zeros((1, N_COLUMNS), np.int64)
    bins, bad, column = np.zeros(1, np.uint16), np.zeros(1, np.uint8), np.zeros(1)
    bin_pixels(np.zeros((1, 3, 3)), np.ones(1), table, 0.0, 0.0, bins)
    clip_radially(np.zeros(1, dtype), table, bad, bins, 0.0, 5.0, 1, column, column.copy())
    if dtype.kind == "f":
        cores, sums = np.zeros((1, 2)), np.zeros((1, 3))
        sum_cores(np.zeros(1, dtype), table, bad, bins, cores, sums, bins.copy(), column)
        clip_cores(cores, sums, bins, column, 0, 0.0, 5.0, column, column.copy())
    else:
        counts = np.zeros((1, N_VALUES), np.uint16)
        count_values(np.zeros(1, dtype), table, bad, bins, 0, counts, bins.copy(), column)
        clip_counts(counts, 0, bins, column, 0, 0.0, 5.0, column, column.copy())
