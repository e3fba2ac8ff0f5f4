"""peakfinder8: connected pixels above a radial limit, their local background, their centroids.

Barty et al. 2014, J. Appl. Cryst. 47, 1118, doi:10.1107/S1600576714007626, with the details of CrystFEL's version.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.blocks import BLOCK, STRIP, any_from
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.radial_bins import NO_BIN

TINY = 1e-10
FLAT_SIGMA = 0.01
"""Background deviation where none can be measured."""

GROUP = 32
"""Bins whose limits are looked at together."""

PANEL, PEAK_FS, PEAK_SS, INTENSITY = range(4)
"""Columns of a found peak."""
N_PEAK_COLUMNS = 4


@inline_jit
def _grow(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    masked: NDArray[np.uint16],
    upper: NDArray[np.float64],
    lowest: Any,
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
                value = pixels[place[OFFSET] + y * place[STRIDE] + x]
                # First what is at hand: the other two are far away in memory.
                if not value >= lowest or seen[first + index]:
                    continue
                if np.float64(value) > upper[masked[first + index]]:
                    seen[first + index] = 1
                    queue[end] = index
                    end += 1
    return end


@inline_jit
def _local_background(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    masked: NDArray[np.uint16],
    upper: NDArray[np.float64],
    centre: tuple[int, int],
    reach: int,
) -> tuple[int, float, float, float]:
    """Give count, mean, standard deviation and largest value of the background pixels around a peak.

    Pixels of peaks, kept or not, are above their limits, so that nobody needs to ask whether they were seen.
    """
    trash = np.uint64(upper.shape[0] - 1)
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    n, total, squares, largest = 0, 0.0, 0.0, 0.0
    # The window lacks its last row and column, as in the reference.
    left, right = max(centre[0] - reach, 0), min(centre[0] + reach, width)
    for y in range(max(centre[1] - reach, 0), min(centre[1] + reach, height)):
        row, index = place[OFFSET] + y * place[STRIDE], first + y * width
        values, numbers = pixels[row + left : row + right], masked[index + left : index + right]
        room = reach * reach - (y - centre[1]) * (y - centre[1])
        for i in range(values.shape[0]):
            distance = left + i - centre[0]
            if distance * distance > room:
                continue
            number, value = np.uint64(numbers[i]), np.float64(values[i])
            if number != trash and value < upper[number]:
                n += 1
                total += value
                squares += value * value
                largest = max(largest, value)
    if n == 0:
        return 0, 0.0, FLAT_SIGMA, 0.0
    mean = total / n
    variance = squares / n - mean * mean
    return n, mean, sqrt(variance) if variance >= 0.0 else FLAT_SIGMA, largest


@inline_jit
def _measure(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    masked: NDArray[np.uint16],
    bins: NDArray[np.uint16],
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
    region: NDArray[np.int32],
    min_snr: float,
    background_radius: int,
) -> tuple[bool, float, float, float, float]:
    """Tell whether connected pixels are a peak; its highest pixel above the background, fs, ss and intensity."""
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    weights, weighted_fs, weighted_ss = 0.0, 0.0, 0.0
    for k in range(region.shape[0]):
        y, x = region[k] // width, region[k] % width
        value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
        weight = abs(value - offset[masked[first + region[k]]])
        weights += weight
        weighted_fs += weight * x
        weighted_ss += weight * y
    if weights < TINY:
        return False, 0.0, 0.0, 0.0, 0.0
    centre = (int(np.rint(weighted_fs / weights)), int(np.rint(weighted_ss / weights)))
    n, mean, sigma, largest = _local_background(pixels, place, masked, upper, centre, 2 * background_radius)
    if n == 0:
        at_centre = bins[first + centre[1] * width + centre[0]]
        mean = offset[at_centre] if at_centre != NO_BIN else 0.0
    total, raw, highest, sum_fs, sum_ss = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(region.shape[0]):
        y, x = region[k] // width, region[k] % width
        value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
        total += value - mean
        raw += value
        highest = max(highest, value - mean)
        sum_fs += value * x
        sum_ss += value * y
    if abs(raw) < TINY or (total / sigma if abs(sigma) > TINY else 0.0) < min_snr:
        return False, 0.0, 0.0, 0.0, 0.0
    fs, ss = sum_fs / abs(raw), sum_ss / abs(raw)
    if highest < largest - mean or not (0.0 <= fs <= width - 1 and 0.0 <= ss <= height - 1):
        return False, 0.0, 0.0, 0.0, 0.0
    return True, highest, fs + 0.5, ss + 0.5, total


@inline_jit
def _any_above(values: NDArray[Any], limit: float) -> bool:
    is_high = False
    for i in range(values.shape[0]):
        is_high |= bool(np.float64(values[i]) > limit)
    return is_high


@jit
def find_peaks(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    masked: NDArray[np.uint16],
    bins: NDArray[np.uint16],
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
    lowest: NDArray[Any],
    block_bins: NDArray[np.uint16],
    coarse: NDArray[np.float64],
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
    masked : uint16[n_pixels]
        Radial bins; the last one is for pixels that take no part.
    bins : uint16[n_pixels]
        Radial bins of all pixels.
    offset, upper : float64[n_bins + 1]
        Background and limit of each bin; the last limit is +inf.
    lowest : T[1]
        No smaller pixel is above the limit of any bin; blocks of smaller pixels are passed over.
    block_bins : uint16[n_blocks, 2]
        Nearest and farthest bin of each block, see `find_block_bins`.
    coarse : float64[n_groups]
        Lowest limit of each group of `GROUP` bins.
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
    n_peaks, n_blocks = 0, 0
    budget = peaks.shape[0]
    for panel in range(table.shape[0]):
        place = table[panel]
        width, height, first = place[WIDTH], place[HEIGHT], place[START]
        n_queued = 0
        for ss in range(1, height - 1):
            row = place[OFFSET] + ss * place[STRIDE]
            for start_fs in range(1, width - 1, BLOCK):
                stop_fs = min(start_fs + BLOCK, width - 1)
                n_blocks += 1
                if not any_from(pixels[row + start_fs : row + stop_fs], lowest[0]):
                    continue
                # The bin of a pixel is far away in memory: most blocks are judged by all bins that they touch.
                limit = np.inf
                nearest, farthest = block_bins[n_blocks - 1]
                for group in range(nearest // GROUP, farthest // GROUP + 1):
                    limit = min(limit, coarse[group])
                for strip_fs in range(start_fs, stop_fs, STRIP):
                    values = pixels[row + strip_fs : row + min(strip_fs + STRIP, stop_fs)]
                    if not _any_above(values, limit):
                        continue
                    for i in range(values.shape[0]):
                        if not np.float64(values[i]) > limit:
                            continue
                        index = ss * width + strip_fs + i
                        number = np.uint64(masked[first + index])
                        if not np.float64(values[i]) > upper[number] or seen[first + index]:
                            continue
                        start = n_queued
                        queue[start] = index
                        seen[first + index] = 1
                        n_queued = _grow(pixels, place, masked, upper, lowest[0], seen, queue, start)
                        if not pixel_counts[0] <= n_queued - start <= pixel_counts[1]:
                            continue
                        region = queue[start:n_queued]
                        is_peak, highest, peak_fs, peak_ss, intensity = _measure(
                            pixels, place, masked, bins, offset, upper, region, min_snr, background_radius
                        )
                        if not is_peak or budget == 0:
                            continue
                        budget -= 1
                        if highest > max_adu[panel]:
                            continue
                        peaks[n_peaks, PANEL] = panel
                        peaks[n_peaks, PEAK_FS] = peak_fs
                        peaks[n_peaks, PEAK_SS] = peak_ss
                        peaks[n_peaks, INTENSITY] = intensity
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
        np.zeros(1, np.uint16),
        np.zeros(1, np.uint16),
        np.zeros(2),
        np.zeros(2),
        np.zeros(1, dtype),
        np.zeros((1, 2), np.uint16),
        np.zeros(1),
        np.zeros(1),
        5.0,
        (1, 2),
        3,
        np.zeros(1, np.uint8),
        np.zeros(1, np.int32),
        np.zeros((1, N_PEAK_COLUMNS)),
    )
