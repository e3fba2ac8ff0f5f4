"""zaef: peaks by their gradients (Zaefferer 2000, J. Appl. Cryst. 33, 10, doi:10.1107/S0021889899010894)."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, STRIDE, WIDTH
from braggstream.kernels.three_rings import integrate_rings

MAX_PEAKS_ON_PANEL = 10001


@inline_jit
def _climb(
    pixels: NDArray[Any], place: NDArray[np.int64], foot: tuple[int, int], radius: float
) -> tuple[int, int, bool]:
    """Climb from a pixel to the top of its hill; tells whether that is within the radius of the foot.

    The window follows the position while it is scanned, as in the reference.
    """
    width, height = place[WIDTH], place[HEIGHT]
    fs, ss = foot
    while True:
        start_fs, start_ss = fs, ss
        best = np.float32(pixels[place[OFFSET] + ss * place[STRIDE] + fs])
        y = int(max(ss - radius, 0.0))
        while y < min(ss + radius + 1.0, float(height)) and y <= ss + radius:
            x = int(max(fs - radius, 0.0))
            while x < width and x <= fs + radius:
                value = np.float32(pixels[place[OFFSET] + y * place[STRIDE] + x])
                if value > best:
                    best = value
                    fs, ss = x, y
                x += 1
            y += 1
        dfs, dss = float(fs - foot[0]), float(ss - foot[1])
        if sqrt(dfs * dfs + dss * dss) > radius:
            return fs, ss, False
        if fs == start_fs and ss == start_ss:
            return fs, ss, True


@jit
def find_peaks(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    threshold: float,
    min_squared_gradient: float,
    min_snr: float,
    radii: tuple[float, float, float],
    max_adu: NDArray[np.float64],
    use_saturated: bool,
    gains: NDArray[np.float64],
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
    threshold, min_squared_gradient, min_snr : float64
        Limits of a peak.
    radii : (float64, float64, float64)
        Ring radii [px].
    max_adu : float64[n_panels]
        Saturation level.
    use_saturated : bool
        Whether saturated peaks are kept.
    gains : float64[n_panels]
        Detector units per photon.
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
        offset, stride = place[OFFSET], place[STRIDE]
        for ss in range(1, place[HEIGHT] - 1):
            if n_peaks - n_before >= MAX_PEAKS_ON_PANEL:
                break
            for fs in range(1, place[WIDTH] - 1):
                here = offset + ss * stride + fs
                value = np.float32(pixels[here])
                if not value >= threshold or (value > max_adu[panel] and not use_saturated):
                    continue
                dx1 = float(value - np.float32(pixels[here + 1]))
                dx2 = float(np.float32(pixels[here - 1]) - value)
                # The diagonal neighbour is the reference's choice.
                dy1 = float(value - np.float32(pixels[here + stride + 1]))
                dy2 = float(np.float32(pixels[here - stride]) - value)
                if (dx1 * dx1 + dx2 * dx2) / 2.0 + (dy1 * dy1 + dy2 * dy2) / 2.0 < min_squared_gradient:
                    continue
                top_fs, top_ss, is_near = _climb(pixels, place, (fs, ss), radii[0])
                if not is_near:
                    continue
                is_good, is_saturated, peak_fs, peak_ss, intensity, sigma = integrate_rings(
                    pixels, place, bad, (top_fs, top_ss), radii, max_adu[panel], gains[panel]
                )
                if not is_good or not (0.0 <= peak_fs <= place[WIDTH] and 0.0 <= peak_ss <= place[HEIGHT]):
                    continue
                if abs(intensity) / sigma < min_snr:
                    continue
                is_known = False
                for k in range(n_before, min(n_peaks, peaks.shape[0])):
                    dfs, dss = peaks[k, 1] - peak_fs, peaks[k, 2] - peak_ss
                    if sqrt(dfs * dfs + dss * dss) < 2.0 * radii[0]:
                        is_known = True
                        break
                if is_known or (is_saturated and not use_saturated):
                    continue
                if n_peaks < peaks.shape[0]:
                    peaks[n_peaks, 0] = panel
                    peaks[n_peaks, 1] = peak_fs
                    peaks[n_peaks, 2] = peak_ss
                    peaks[n_peaks, 3] = intensity
                n_peaks += 1
                if n_peaks - n_before >= MAX_PEAKS_ON_PANEL:
                    break
    return n_peaks


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    find_peaks(
        np.zeros(1, dtype),
        np.zeros((1, N_COLUMNS), np.int64),
        np.zeros(1, np.uint8),
        1.0,
        1.0,
        1.0,
        (1.0, 2.0, 3.0),
        np.zeros(1),
        True,
        np.zeros(1),
        np.zeros((1, 4)),
    )
