"""Clipped radial statistics of frames of integers, from a table of how often each value occurs in each bin."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.radial import FAR, N_PASSES, limits_of


@inline_jit
def _count_each(
    values: NDArray[Any],
    numbers: NDArray[np.uint16],
    base: int,
    n_bins: int,
    counts: NDArray[np.int32],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
    n_rare: int,
) -> int:
    """Count the pixels of a few whose values are in the table, list the good ones among the others."""
    n_values = np.uint64(counts.shape[0])
    for i in range(values.shape[0]):
        step = np.uint64(values[i]) - np.uint64(base)
        if step < n_values:
            counts[step, np.uint64(numbers[i])] += 1
        elif numbers[i] < n_bins:
            if n_rare < rare_bins.shape[0]:
                rare_bins[n_rare] = numbers[i]
                rare_values[n_rare] = np.float64(values[i])
            n_rare += 1
    return n_rare


@jit
def count_values(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    masked: NDArray[np.uint16],
    base: int,
    n_bins: int,
    counts: NDArray[np.int32],
    rare_bins: NDArray[np.uint16],
    rare_values: NDArray[np.float64],
) -> int:
    """Count how often each value occurs in each radial bin, in one pass over a frame of integers.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    masked : uint16[n_pixels]
        Radial bins; `n_bins` for pixels that take no part.
    base : int64
        The smallest value that is counted.
    n_bins : int64
        Number of bins.
    counts : int32[n_values, more than n_bins], written
        Occurrences of `base`, `base + 1`, ...; the number of values is a power of two.
    rare_bins : uint16[n], rare_values : float64[n], written
        Bin and value of the other good pixels.

    Returns
    -------
    int
        Number of other pixels; more than n means that there was no room for them all.
    """
    counts[:] = 0
    n_rare = 0
    # Value after value, so that the table of a faint background stays in the nearest cache.
    flat, pitch = counts.reshape(-1), np.uint64(counts.shape[1])
    start, outside = np.uint64(base), ~np.uint64(counts.shape[0] - 1)
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            source = table[panel, OFFSET] + ss * table[panel, STRIDE]
            row = table[panel, START] + ss * width
            values, numbers = pixels[source : source + width], masked[row : row + width]
            for group in range(width // 4):
                i = 4 * group
                # Unsigned, so that smaller values are outside too, and no index counts from the end.
                a, b = np.uint64(values[i]) - start, np.uint64(values[i + 1]) - start
                c, d = np.uint64(values[i + 2]) - start, np.uint64(values[i + 3]) - start
                if (a | b | c | d) & outside == 0:
                    flat[a * pitch + np.uint64(numbers[i])] += 1
                    flat[b * pitch + np.uint64(numbers[i + 1])] += 1
                    flat[c * pitch + np.uint64(numbers[i + 2])] += 1
                    flat[d * pitch + np.uint64(numbers[i + 3])] += 1
                else:
                    n_rare = _count_each(
                        values[i : i + 4], numbers[i : i + 4], base, n_bins, counts, rare_bins, rare_values, n_rare
                    )
            i = width // 4 * 4
            n_rare = _count_each(values[i:], numbers[i:], base, n_bins, counts, rare_bins, rare_values, n_rare)
            if n_rare > rare_bins.shape[0]:
                return n_rare
    return n_rare


@jit
def clip_counts(
    counts: NDArray[np.int32],
    base: int,
    first: NDArray[np.int64],
    rare: NDArray[np.float64],
    threshold: float,
    min_snr: float,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> None:
    """Clip counted values, which gives what five passes over the pixels give: places do not count.

    Parameters
    ----------
    counts, base
        What `count_values` took and wrote.
    first : int64[n_bins + 1], rare : float64[n]
        The other values, sorted by bin.
    threshold, min_snr : float64
        Lowest limit [detector units], and how many standard deviations above the mean it lies.
    offset, upper : float64[n_bins], written
        Mean background and limit of each bin [detector units].
    """
    n_bins = offset.shape[0]
    is_used = np.zeros(counts.shape[0], np.bool_)
    for step in range(counts.shape[0]):
        for number in range(n_bins):
            is_used[step] |= counts[step, number] != 0
    lower = np.full(n_bins, -FAR)
    upper[:] = FAR
    n, steps, squares = np.empty(n_bins), np.empty(n_bins), np.empty(n_bins)
    for _ in range(N_PASSES):
        n[:] = steps[:] = squares[:] = 0.0
        for step in range(counts.shape[0]):
            if not is_used[step]:
                continue
            value, distance = float(base + step), float(step)
            row = counts[step]
            for number in range(n_bins):
                here = float(row[number]) if (lower[number] < value) & (value < upper[number]) else 0.0
                n[number] += here
                steps[number] += here * distance
                squares[number] += here * (distance * distance)
        for number in range(n_bins):
            total = steps[number] + n[number] * base
            square = squares[number] + 2.0 * base * steps[number] + n[number] * base * base
            for k in range(first[number], first[number + 1]):
                if lower[number] < rare[k] < upper[number]:
                    n[number] += 1.0
                    total += rare[k]
                    square += rare[k] * rare[k]
            offset[number], lower[number], upper[number] = limits_of(n[number], total, square, threshold, min_snr)


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    if dtype.kind not in "iu":
        return
    table, counts, column = np.zeros((1, N_COLUMNS), np.int64), np.zeros((1, 2), np.int32), np.zeros(1)
    bins = np.zeros(1, np.uint16)
    count_values(np.zeros(1, dtype), table, bins, 0, 1, counts, bins.copy(), column)
    clip_counts(counts, 0, np.zeros(2, np.int64), column, 0.0, 5.0, column.copy(), column.copy())
