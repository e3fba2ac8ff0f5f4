"""zaef: peaks by their gradients (Zaefferer 2000, J. Appl. Cryst. 33, 10, doi:10.1107/S0021889899010894)."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.blocks import BLOCK, any_from
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.three_rings import integrate_rings

MAX_PEAKS_ON_PANEL = 10001


@inline_jit
def _climb(
    pixels: NDArray[Any], place: NDArray[np.int64], foot: tuple[int, int], radius: float
) -> tuple[int, int, bool]:
    """Climb from a pixel to the top of its hill; tells whether that is within the radius of the foot.

    The window follows the position while it is scanned, as in the reference.
    """
    width, height, offset, stride = place[WIDTH], place[HEIGHT], place[OFFSET], place[STRIDE]
    fs, ss = foot
    while True:
        start_fs, start_ss = fs, ss
        best = np.float32(pixels[offset + ss * stride + fs])
        y, last_y = int(max(ss - radius, 0.0)), min(int(ss + radius), height - 1)
        while y <= last_y:
            row = pixels[offset + y * stride : offset + y * stride + width]
            x, last_x = int(max(fs - radius, 0.0)), min(int(fs + radius), width - 1)
            while x <= last_x:
                value = np.float32(row[x])
                if value > best:
                    best = value
                    fs, ss = x, y
                    last_x, last_y = min(int(x + radius), width - 1), min(int(y + radius), height - 1)
                x += 1
            y += 1
        dfs, dss = float(fs - foot[0]), float(ss - foot[1])
        if sqrt(dfs * dfs + dss * dss) > radius:
            return fs, ss, False
        if fs == start_fs and ss == start_ss:
            return fs, ss, True


@inline_jit
def _is_foot(
    pixels: NDArray[Any],
    here: int,
    stride: int,
    limits: tuple[float, float],
    max_adu: float,
) -> bool:
    """Tell whether a climb begins at a pixel: threshold and squared gradient."""
    value = np.float32(pixels[here])
    if not value >= limits[0] or value > max_adu:
        return False
    dx1 = float(value - np.float32(pixels[here + 1]))
    dx2 = float(np.float32(pixels[here - 1]) - value)
    # The diagonal neighbour is the reference's choice.
    dy1 = float(value - np.float32(pixels[here + stride + 1]))
    dy2 = float(np.float32(pixels[here - stride]) - value)
    return not (dx1 * dx1 + dx2 * dx2) / 2.0 + (dy1 * dy1 + dy2 * dy2) / 2.0 < limits[1]


@inline_jit
def _is_near(peaks: NDArray[np.float64], fs: float, ss: float, distance: float) -> bool:
    """Tell whether one of the peaks is closer than a distance [px]."""
    for k in range(peaks.shape[0]):
        dfs, dss = peaks[k, 1] - fs, peaks[k, 2] - ss
        if sqrt(dfs * dfs + dss * dss) < distance:
            return True
    return False


@jit
def find_peaks(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    lowest: NDArray[Any],
    limits: tuple[float, float],
    min_snr: float,
    radii: tuple[float, float, float],
    max_adu: NDArray[np.float64],
    use_saturated: bool,
    gains: NDArray[np.float64],
    seen: NDArray[np.uint8],
    tops: NDArray[np.int32],
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
        Nonzero for pixels that must not be integrated.
    lowest : T[1]
        No smaller pixel reaches the threshold; blocks of smaller pixels are passed over.
    limits : (float64, float64)
        Threshold and lowest squared gradient.
    min_snr : float64
        Lowest signal-to-noise ratio.
    radii : (float64, float64, float64)
        Ring radii [px].
    max_adu : float64[n_panels]
        Saturation level.
    use_saturated : bool
        Whether saturated peaks are kept.
    gains : float64[n_panels]
        Detector units per photon.
    seen : uint8[n_pixels], scratch
        All zero before and after.
    tops : int32[largest panel], scratch
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
        n_before, n_tops = n_peaks, 0
        offset, stride, width, first = place[OFFSET], place[STRIDE], place[WIDTH], place[START]
        highest = np.inf if use_saturated else max_adu[panel]
        for ss in range(1, place[HEIGHT] - 1):
            row = pixels[offset + ss * stride : offset + ss * stride + width]
            for start_fs in range(1, width - 1, BLOCK):
                stop_fs = min(start_fs + BLOCK, width - 1)
                if n_peaks - n_before >= MAX_PEAKS_ON_PANEL or not any_from(row[start_fs:stop_fs], lowest[0]):
                    continue
                for fs in range(start_fs, stop_fs):
                    if not _is_foot(pixels, offset + ss * stride + fs, stride, limits, highest):
                        continue
                    top_fs, top_ss, is_near = _climb(pixels, place, (fs, ss), radii[0])
                    top = top_ss * width + top_fs
                    # A top that was integrated before is a peak already, or none.
                    if not is_near or seen[first + top]:
                        continue
                    seen[first + top] = 1
                    tops[n_tops] = top
                    n_tops += 1
                    is_good, is_saturated, peak_fs, peak_ss, intensity, sigma = integrate_rings(
                        pixels, place, bad, (top_fs, top_ss), radii, max_adu[panel], gains[panel]
                    )
                    if not is_good or not (0.0 <= peak_fs <= width and 0.0 <= peak_ss <= place[HEIGHT]):
                        continue
                    if abs(intensity) / sigma < min_snr or (is_saturated and not use_saturated):
                        continue
                    if _is_near(peaks[n_before:n_peaks], peak_fs, peak_ss, 2.0 * radii[0]):
                        continue
                    if n_peaks < peaks.shape[0]:
                        peaks[n_peaks, 0] = panel
                        peaks[n_peaks, 1] = peak_fs
                        peaks[n_peaks, 2] = peak_ss
                        peaks[n_peaks, 3] = intensity
                    n_peaks += 1
                    if n_peaks - n_before >= MAX_PEAKS_ON_PANEL:
                        break
        for k in range(n_tops):
            seen[first + tops[k]] = 0
    return n_peaks


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    find_peaks(
        np.zeros(1, dtype),
        np.zeros((1, N_COLUMNS), np.int64),
        np.zeros(1, np.uint8),
        np.zeros(1, dtype),
        (1.0, 1.0),
        1.0,
        (1.0, 2.0, 3.0),
        np.zeros(1),
        True,
        np.zeros(1),
        np.zeros(1, np.uint8),
        np.zeros(1, np.int32),
        np.zeros((1, 4)),
    )
