"""peakfinder9: local maxima against a square window around them.

After Gevorkov, master thesis (TU Hamburg), "Real-time image analysis and data compression in high throughput X-ray
diffraction experiments"; the whole-peak criterion is that of the total above the background.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.blocks import BLOCK, any_from
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH

MAX_PEAKS_ON_PANEL = 10000
FEWEST_IN_WINDOW = 4
LOWEST = -3.4028234663852886e38
"""Value of a bad pixel."""

SNR_BIGGEST, SNR_PIXEL, SNR_WHOLE, MIN_SIGMA, OVER_NEIGHBOUR = range(5)
"""Places of the criteria."""


@inline_jit
def _value(pixels: NDArray[Any], place: NDArray[np.int64], bad: NDArray[np.uint8], x: int, y: int) -> float:
    """Give the value of a pixel; a very low one where it is bad or off the panel."""
    if x < 0 or y < 0 or x >= place[WIDTH] or y >= place[HEIGHT] or bad[place[START] + y * place[WIDTH] + x]:
        return LOWEST
    value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
    return value if value > LOWEST else LOWEST


@inline_jit
def _is_top(
    pixels: NDArray[Any], place: NDArray[np.int64], bad: NDArray[np.uint8], x: int, y: int, value: float
) -> bool:
    """Tell whether a pixel is strictly above its eight neighbours."""
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if (dx != 0 or dy != 0) and not value > _value(pixels, place, bad, x + dx, y + dy):
                return False
    return True


@inline_jit
def _is_over_window(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    x: int,
    y: int,
    radius: int,
    limit: float,
) -> bool:
    """Tell whether the pixels in the middle of the window's sides are all below a limit."""
    for along in range(-1, 2):
        for across in (-radius, radius):
            if not limit > _value(pixels, place, bad, x + across, y + along):
                return False
            if not limit > _value(pixels, place, bad, x + along, y + across):
                return False
    return True


@inline_jit
def _background(
    pixels: NDArray[Any], place: NDArray[np.int64], bad: NDArray[np.uint8], x: int, y: int, radius: int
) -> tuple[int, float, float]:
    """Give number, mean and standard deviation of the good pixels of the window and of the next wider one."""
    n, total, squares = 0, 0.0, 0.0
    for across in (-radius - 1, -radius, radius, radius + 1):
        for along in range(-2, 3):
            for is_column in range(2):
                dx, dy = (across, along) if is_column else (along, across)
                value = _value(pixels, place, bad, x + dx, y + dy)
                if value > LOWEST:
                    n += 1
                    total += value
                    squares += value * value
    if n < FEWEST_IN_WINDOW:
        return n, 0.0, 0.0
    mean = total / n
    return n, mean, sqrt(max((squares - n * mean * mean) / (n - 1), 0.0))


@inline_jit
def _grow(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    x: int,
    y: int,
    radius: int,
    limit: float,
) -> tuple[int, float, float, float]:
    """Take in, ring after ring, the pixels above a limit; gives number, sums of value, value fs and value ss."""
    centre = _value(pixels, place, bad, x, y)
    n, total, sum_fs, sum_ss = 1, centre, centre * x, centre * y
    for ring in range(1, radius):
        n_before = n
        for dy in range(-ring, ring + 1):
            step = 1 if abs(dy) == ring else 2 * ring
            for dx in range(-ring, ring + 1, step):
                value = _value(pixels, place, bad, x + dx, y + dy)
                if value > limit:
                    n += 1
                    total += value
                    sum_fs += value * (x + dx)
                    sum_ss += value * (y + dy)
        if n == n_before:
            break
    return n, total, sum_fs, sum_ss


@jit
def find_peaks(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    lowest: NDArray[Any],
    radius: int,
    criteria: NDArray[np.float64],
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
    lowest : T[1]
        No smaller pixel is the highest of a peak; blocks of smaller pixels are passed over.
    radius : int64
        Half-width of the window, at least 2 [px].
    criteria : float64[5]
        Lowest signal of the highest pixel, of the others and of the whole peak [standard deviations of the
        background]; lowest standard deviation; how much higher than the window the highest pixel is.
    peaks : float64[n_most, 4], written
        Panel, fs, ss (from the panel's corner), intensity.

    Returns
    -------
    int
        Number of peaks found; more than `n_most` means that the rest did not fit.
    """
    n_peaks = 0
    for panel in range(table.shape[0]):
        place = table[panel]
        n_before = n_peaks
        width = place[WIDTH]
        for y in range(radius, place[HEIGHT] - radius):
            row = pixels[place[OFFSET] + y * place[STRIDE] : place[OFFSET] + y * place[STRIDE] + width]
            for start in range(radius, width - radius, BLOCK):
                stop = min(start + BLOCK, width - radius)
                if n_peaks - n_before >= MAX_PEAKS_ON_PANEL or not any_from(row[start:stop], lowest[0]):
                    continue
                for x in range(start, stop):
                    if not row[x] >= lowest[0]:
                        continue
                    value = _value(pixels, place, bad, x, y)
                    if value == LOWEST or not _is_top(pixels, place, bad, x, y, value):
                        continue
                    if not _is_over_window(pixels, place, bad, x, y, radius, value - criteria[OVER_NEIGHBOUR]):
                        continue
                    n_window, mean, sigma = _background(pixels, place, bad, x, y, radius)
                    sigma = max(sigma, criteria[MIN_SIGMA])
                    if n_window < FEWEST_IN_WINDOW or not value > mean + criteria[SNR_BIGGEST] * sigma:
                        continue
                    n, total, sum_fs, sum_ss = _grow(
                        pixels, place, bad, x, y, radius, mean + criteria[SNR_PIXEL] * sigma
                    )
                    if not total - n * mean > criteria[SNR_WHOLE] * sigma or total == 0.0:
                        continue
                    peak_fs, peak_ss = sum_fs / total, sum_ss / total
                    # Negative values can carry the centroid anywhere.
                    if not (0.0 <= peak_fs <= width - 1 and 0.0 <= peak_ss <= place[HEIGHT] - 1):
                        continue
                    if n_peaks - n_before >= MAX_PEAKS_ON_PANEL:
                        break
                    if n_peaks < peaks.shape[0]:
                        peaks[n_peaks, 0] = panel
                        peaks[n_peaks, 1] = peak_fs + 0.5
                        peaks[n_peaks, 2] = peak_ss + 0.5
                        peaks[n_peaks, 3] = total - n * mean
                    n_peaks += 1
    return n_peaks


@jit
def lowest_good(pixels: NDArray[Any], table: NDArray[np.int64], bad: NDArray[np.uint8]) -> float:
    """Give the smallest value of a good pixel, +inf where there is none; arguments as for `find_peaks`."""
    found = np.inf
    for panel in range(table.shape[0]):
        width = table[panel, WIDTH]
        for y in range(table[panel, HEIGHT]):
            first, start = table[panel, OFFSET] + y * table[panel, STRIDE], table[panel, START] + y * width
            row, flags = pixels[first : first + width], bad[start : start + width]
            is_lower = False
            for x in range(width):
                is_lower |= row[x] < found
            if not is_lower:
                continue
            for x in range(width):
                if not flags[x] and row[x] < found:
                    found = np.float64(row[x])
    return found


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    pixels, table, bad = np.zeros(1, dtype), np.zeros((1, N_COLUMNS), np.int64), np.zeros(1, np.uint8)
    find_peaks(pixels, table, bad, np.zeros(1, dtype), 2, np.zeros(5), np.zeros((1, 4)))
    lowest_good(pixels, table, bad)
