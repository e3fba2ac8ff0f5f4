"""Clipped radial statistics of frames of any type: from a sample, or exact from sums of usual values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.radial import FAR, N_PASSES, limits_of

LOW, HIGH = np.uint64(0), np.uint64(1)
EVEN_TOTAL, EVEN_SQUARES, ODD_TOTAL, ODD_SQUARES = (np.uint64(column) for column in range(4))
"""Columns of the sums of a bin: pixels in even and in odd places of a row, which do not wait for each other."""
N_SUMS = 4


@jit
def clip_sample(
    pixels: NDArray[Any],
    sample: NDArray[np.int64],
    first: NDArray[np.int64],
    masked: NDArray[np.uint16],
    threshold: float,
    min_snr: float,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> None:
    """Find background and limit of each radial bin from a sample of its pixels.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    sample : int64[2, n_samples]
        Where each pixel is in detector order, and where its value lies.
    first : int64[n_bins + 1]
        Where the pixels of each bin begin.
    masked : uint16[n_pixels]
        Radial bins; the last one is for pixels that take no part.
    threshold, min_snr : float64
        Lowest limit [detector units], and how many standard deviations above the mean it lies.
    offset, upper : float64[n_bins], written
        Mean background and limit of each bin [detector units].
    """
    n_bins = offset.shape[0]
    most = 0
    for number in range(n_bins):
        most = max(most, first[number + 1] - first[number])
    values = np.empty(most)
    for number in range(n_bins):
        n_values = 0
        for k in range(first[number], first[number + 1]):
            if masked[sample[0, k]] == number:
                values[n_values] = np.float64(pixels[sample[1, k]])
                n_values += 1
        lower, limit = -FAR, FAR
        for _ in range(N_PASSES):
            n, total, squares = 0.0, 0.0, 0.0
            for k in range(n_values):
                if lower < values[k] < limit:
                    n += 1.0
                    total += values[k]
                    squares += values[k] * values[k]
            before_lower, before_limit = lower, limit
            offset[number], lower, limit = limits_of(n, total, squares, threshold, min_snr)
            if lower == before_lower and limit == before_limit:
                break
        upper[number] = limit


@inline_jit
def _sum_each(
    values: NDArray[Any],
    numbers: NDArray[np.uint16],
    cores: NDArray[np.float32],
    sums: NDArray[np.float64],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
    n_rare: int,
) -> int:
    """Sum up the pixels of a few that lie in their cores, list the good ones among the others."""
    for i in range(values.shape[0]):
        number, exact = np.uint64(numbers[i]), np.float64(values[i])
        if cores[number, LOW] < values[i] < cores[number, HIGH]:
            sums[number, EVEN_TOTAL] += exact
            sums[number, EVEN_SQUARES] += exact * exact
        elif numbers[i] < sums.shape[0] - 1:
            if n_rare < rare_bins.shape[0]:
                rare_bins[n_rare] = numbers[i]
                rare_values[n_rare] = exact
            n_rare += 1
    return n_rare


@jit
def sum_cores(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    masked: NDArray[np.uint16],
    cores: NDArray[np.float32],
    sums: NDArray[np.float64],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
) -> int:
    """Sum up the pixels inside each bin's core of usual values, and list the others, in one pass over a frame.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    masked : uint16[n_pixels]
        Radial bins; the last one is for pixels that take no part.
    cores : float32[n_bins + 1, 2]
        Bounds of the core of each bin; the bounds themselves lie outside.
    sums : float64[n_bins + 1, 4], written
        Sum and sum of squares of the pixels inside, in two parts.
    rare_bins : uint16[n], rare_values : float64[n], written
        Bin and value of the other good pixels.

    Returns
    -------
    int
        Number of other pixels; more than n means that there was no room for them all.
    """
    sums[:] = 0.0
    n_rare = 0
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            source = table[panel, OFFSET] + ss * table[panel, STRIDE]
            row = table[panel, START] + ss * width
            values, numbers = pixels[source : source + width], masked[row : row + width]
            # Two at a time, so that one need not wait for the other where they share a bin.
            for pair in range(width // 2):
                i = 2 * pair
                # Unsigned, so that no index counts from the end.
                a, b = np.uint64(numbers[i]), np.uint64(numbers[i + 1])
                u, v = values[i], values[i + 1]
                if (cores[a, LOW] < u) & (u < cores[a, HIGH]) & (cores[b, LOW] < v) & (v < cores[b, HIGH]):
                    exact_u, exact_v = np.float64(u), np.float64(v)
                    sums[a, EVEN_TOTAL] += exact_u
                    sums[a, EVEN_SQUARES] += exact_u * exact_u
                    sums[b, ODD_TOTAL] += exact_v
                    sums[b, ODD_SQUARES] += exact_v * exact_v
                else:
                    n_rare = _sum_each(
                        values[i : i + 2], numbers[i : i + 2], cores, sums, rare_bins, rare_values, n_rare
                    )
            i = width // 2 * 2
            n_rare = _sum_each(values[i:], numbers[i:], cores, sums, rare_bins, rare_values, n_rare)
            if n_rare > rare_bins.shape[0]:
                return n_rare
    return n_rare


@jit
def clip_cores(
    cores: NDArray[np.float32],
    sums: NDArray[np.float64],
    n_pixels: NDArray[np.int64],
    first: NDArray[np.int64],
    rare: NDArray[np.float64],
    threshold: float,
    min_snr: float,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> int:
    """Clip summed cores and the values outside them, which gives what five passes over the pixels give.

    Parameters
    ----------
    cores : float32[n_bins + 1, 2]
        As for `sum_cores`; emptied for bins that could not be clipped.
    sums
        What `sum_cores` wrote.
    n_pixels : int64[n_bins + 1]
        Number of good pixels of each bin.
    first : int64[n_bins + 1], rare : float64[n]
        The values outside, sorted by bin.
    threshold, min_snr, offset, upper
        As for `clip_sample`.

    Returns
    -------
    int
        Number of bins whose limits came to lie inside the core, so that the sums do not tell what they cut off.
    """
    n_failed = 0
    for number in range(offset.shape[0]):
        lower, limit = -FAR, FAR
        for _ in range(N_PASSES):
            n = float(n_pixels[number] - (first[number + 1] - first[number]))
            total = sums[number, EVEN_TOTAL] + sums[number, ODD_TOTAL]
            squares = sums[number, EVEN_SQUARES] + sums[number, ODD_SQUARES]
            if n > 0.0 and (lower > cores[number, 0] or limit < cores[number, 1]):
                n_failed += 1
                cores[number] = 0.0
                break
            for k in range(first[number], first[number + 1]):
                if lower < rare[k] < limit:
                    n += 1.0
                    total += rare[k]
                    squares += rare[k] * rare[k]
            before_lower, before_limit = lower, limit
            offset[number], lower, limit = limits_of(n, total, squares, threshold, min_snr)
            if lower == before_lower and limit == before_limit:
                break
        upper[number] = limit
    return n_failed


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    pixels, table = np.zeros(1, dtype), np.zeros((1, N_COLUMNS), np.int64)
    bins, first, column = np.zeros(1, np.uint16), np.zeros(2, np.int64), np.zeros(1)
    cores, sums = np.zeros((2, 2), np.float32), np.zeros((2, N_SUMS))
    clip_sample(pixels, np.zeros((2, 1), np.int64), first, bins, 0.0, 5.0, column, column.copy())
    sum_cores(pixels, table, bins, cores, sums, bins.copy(), column)
    clip_cores(cores, sums, first, first, column, 0.0, 5.0, column.copy(), column.copy())
