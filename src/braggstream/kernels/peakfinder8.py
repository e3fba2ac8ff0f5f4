"""peakfinder8: connected pixels above a radial limit, their local background, their centroids.

Barty et al. 2014, J. Appl. Cryst. 47, 1118, doi:10.1107/S1600576714007626, with the details of CrystFEL's version.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.radial import NO_BIN

BLOCK = 64
"""Pixels of a row that are looked at together."""
TINY = 1e-10
FLAT_SIGMA = 0.01
"""Background deviation where none can be measured."""

PANEL, PEAK_FS, PEAK_SS, INTENSITY = range(4)
"""Columns of a found peak."""
N_PEAK_COLUMNS = 4


@inline_jit
def _grow(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    upper: NDArray[np.float64],
    seen: NDArray[np.uint8],
    queue: NDArray[np.int32],
    start: int,
) -> int:
    """Collect the connected pixels above their limits, from the one at `queue[start]`; gives where they end."""
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    end = start + 1
    head = start
    while head < end:
        fs = queue[head] % width
        ss = queue[head] // width
        head += 1
        for dss in range(-1, 2):
            y = ss + dss
            if y < 0 or y >= height:
                continue
            for dfs in range(-1, 2):
                x = fs + dfs
                if x < 0 or x >= width:
                    continue
                index = y * width + x
                number = bins[first + index]
                if seen[first + index] or bad[first + index] or number == NO_BIN:
                    continue
                if np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x]) > upper[number]:
                    seen[first + index] = 1
                    queue[end] = index
                    end += 1
    return end


@inline_jit
def _local_background(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    upper: NDArray[np.float64],
    seen: NDArray[np.uint8],
    centre: tuple[int, int],
    reach: int,
) -> tuple[int, float, float, float]:
    """Give count, mean, standard deviation and largest value of the background pixels around a peak."""
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    n, total, squares, largest = 0, 0.0, 0.0, 0.0
    # The window lacks its last row and column, as in the reference.
    for j in range(-reach, reach):
        y = centre[1] + j
        if y < 0 or y >= height:
            continue
        for i in range(-reach, reach):
            x = centre[0] + i
            if x < 0 or x >= width or i * i + j * j > reach * reach:
                continue
            index = first + y * width + x
            number = bins[index]
            if seen[index] or bad[index] or number == NO_BIN:
                continue
            value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
            if value < upper[number]:
                n += 1
                total += value
                squares += value * value
                largest = max(largest, value)
    if n == 0:
        return 0, 0.0, FLAT_SIGMA, 0.0
    mean = total / n
    variance = squares / n - mean * mean
    return n, mean, sqrt(variance) if variance >= 0.0 else FLAT_SIGMA, largest


@jit
def find_peaks(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
    lowest_limit: NDArray[Any],
    max_adu: NDArray[np.float64],
    min_snr: float,
    pixel_counts: tuple[int, int],
    background_radius: int,
    seen: NDArray[np.uint8],
    queue: NDArray[np.int32],
    peaks: NDArray[np.float64],
) -> int:
    """Find peaks, panel by panel.

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
    offset, upper : float64[n_bins]
        Background and limit of each bin.
    lowest_limit : T[1]
        No pixel that is not above it is above the limit of any bin; blocks without such pixels are passed over.
    max_adu : float64[n_panels]
        Peaks whose maximum above the background is larger are dropped; +inf keeps them.
    min_snr : float64
        Lowest total intensity in standard deviations of a background pixel.
    pixel_counts : (int64, int64)
        Fewest and most pixels of a peak.
    background_radius : int64
        Half of the local background's reach [px].
    seen : uint8[n_pixels], scratch
        All zero before and after.
    queue : int32[largest panel], scratch
    peaks : float64[n_most, 4], written
        Panel, fs, ss (from the panel's corner) and intensity.

    Returns
    -------
    int
        Number of peaks.
    """
    n_peaks = 0
    budget = peaks.shape[0]
    for panel in range(table.shape[0]):
        place = table[panel]
        width, height, first = place[WIDTH], place[HEIGHT], place[START]
        n_queued = 0
        n_blocks = (width - 2 + BLOCK - 1) // BLOCK
        for block in range(max(height - 2, 0) * n_blocks):
            ss = 1 + block // n_blocks
            start_fs = 1 + block % n_blocks * BLOCK
            stop_fs = min(start_fs + BLOCK, width - 1)
            row = place[OFFSET] + ss * place[STRIDE]
            n_high = 0
            for here in range(row + start_fs, row + stop_fs):
                n_high += pixels[here] > lowest_limit[0]
            if n_high == 0:
                continue
            for fs in range(start_fs, stop_fs):
                index = ss * width + fs
                number = bins[first + index]
                if number == NO_BIN or bad[first + index] or seen[first + index]:
                    continue
                if not np.float64(pixels[place[OFFSET] + ss * place[STRIDE] + fs]) > upper[number]:
                    continue
                start = n_queued
                queue[start] = index
                seen[first + index] = 1
                n_queued = _grow(pixels, place, bad, bins, upper, seen, queue, start)
                if not pixel_counts[0] <= n_queued - start <= pixel_counts[1]:
                    continue
                weights, weighted_fs, weighted_ss = 0.0, 0.0, 0.0
                for k in range(start, n_queued):
                    y, x = queue[k] // width, queue[k] % width
                    value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
                    weight = abs(value - offset[bins[first + queue[k]]])
                    weights += weight
                    weighted_fs += weight * x
                    weighted_ss += weight * y
                if weights < TINY:
                    continue
                centre = (int(np.rint(weighted_fs / weights)), int(np.rint(weighted_ss / weights)))
                n, mean, sigma, largest = _local_background(
                    pixels, place, bad, bins, upper, seen, centre, 2 * background_radius
                )
                if n == 0:
                    at_centre = bins[first + centre[1] * width + centre[0]]
                    mean = offset[at_centre] if at_centre != NO_BIN else 0.0
                total, raw, highest, sum_fs, sum_ss = 0.0, 0.0, 0.0, 0.0, 0.0
                for k in range(start, n_queued):
                    y, x = queue[k] // width, queue[k] % width
                    value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
                    total += value - mean
                    raw += value
                    highest = max(highest, value - mean)
                    sum_fs += value * x
                    sum_ss += value * y
                if abs(raw) < TINY or (total / sigma if abs(sigma) > TINY else 0.0) < min_snr:
                    continue
                peak_fs, peak_ss = sum_fs / abs(raw), sum_ss / abs(raw)
                if highest < largest - mean or not (0.0 <= peak_fs <= width - 1 and 0.0 <= peak_ss <= height - 1):
                    continue
                if budget == 0:
                    continue
                budget -= 1
                if highest > max_adu[panel]:
                    continue
                peaks[n_peaks, PANEL] = panel
                peaks[n_peaks, PEAK_FS] = peak_fs + 0.5
                peaks[n_peaks, PEAK_SS] = peak_ss + 0.5
                peaks[n_peaks, INTENSITY] = total
                n_peaks += 1
        for k in range(n_queued):
            seen[first + queue[k]] = 0
    return n_peaks


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    table = np.zeros((1, N_COLUMNS), np.int64)
    find_peaks(
        np.zeros(1, dtype),
        table,
        np.zeros(1, np.uint8),
        np.zeros(1, np.uint16),
        np.zeros(1),
        np.zeros(1),
        np.zeros(1, dtype),
        np.zeros(1),
        5.0,
        (1, 2),
        3,
        np.zeros(1, np.uint8),
        np.zeros(1, np.int32),
        np.zeros((1, N_PEAK_COLUMNS)),
    )
