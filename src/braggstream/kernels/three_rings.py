"""Integration of single peaks in three rings: peak, gap, background."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH


@inline_jit
def integrate_rings(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    centre: tuple[int, int],
    radii: tuple[float, float, float],
    max_adu: float,
    gain: float,
) -> tuple[bool, bool, float, float, float, float]:
    """Integrate one peak.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    place : int64[5]
        Row of the panel table.
    bad : uint8[n_pixels]
        A bad pixel in the peak or the background makes the integration fail.
    centre : (int64, int64)
        fs and ss of the centre pixel.
    radii : (float64, float64, float64)
        Ring radii [px].
    max_adu : float64
        Saturation level.
    gain : float64
        Detector units per photon.

    Returns
    -------
    is_good, is_saturated, fs, ss, intensity, sigma
        fs and ss from the panel's corner.
    """
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    reach = int(radii[2])
    n_background, total, squares = 0, 0.0, 0.0
    is_saturated = False
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            rho2 = float(dfs * dfs + dss * dss)
            if rho2 > radii[2] * radii[2] or rho2 < radii[1] * radii[1]:
                continue
            x, y = centre[0] + dfs, centre[1] + dss
            if x < 0 or y < 0 or x >= width or y >= height or bad[first + y * width + x]:
                return False, False, 0.0, 0.0, 0.0, 0.0
            value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
            is_saturated = is_saturated or bool(value > max_adu)
            n_background += 1
            total += value
            squares += value * value
    if n_background == 0:
        return False, False, 0.0, 0.0, 0.0, 0.0
    mean = total / n_background
    variance = squares / n_background - mean * mean
    reach = int(radii[0])
    n_peak, intensity, sum_fs, sum_ss = 0, 0.0, 0.0, 0.0
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            if float(dfs * dfs + dss * dss) > radii[0] * radii[0]:
                continue
            x, y = centre[0] + dfs, centre[1] + dss
            if x < 0 or y < 0 or x >= width or y >= height or bad[first + y * width + x]:
                return False, False, 0.0, 0.0, 0.0, 0.0
            value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
            is_saturated = is_saturated or bool(value > max_adu)
            n_peak += 1
            intensity += value - mean
            sum_fs += (value - mean) * x
            sum_ss += (value - mean) * y
    spread = n_peak * variance + gain * intensity
    if n_peak == 0 or intensity == 0.0 or not spread >= 0.0:
        return False, is_saturated, 0.0, 0.0, 0.0, 0.0
    return True, is_saturated, sum_fs / intensity + 0.5, sum_ss / intensity + 0.5, intensity, sqrt(spread)


@jit
def integrate_list(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    panels: NDArray[np.int32],
    centres: NDArray[np.int64],
    radii: tuple[float, float, float],
    max_adu: NDArray[np.float64],
    gains: NDArray[np.float64],
    found: NDArray[np.float64],
    state: NDArray[np.uint8],
) -> None:
    """Integrate the peaks of a list.

    Parameters
    ----------
    pixels, table, bad, radii
        As above; `table` is that of all panels.
    panels : int32[n]
        Panel of each peak.
    centres : int64[n, 2]
        fs and ss of the centre pixels.
    max_adu, gains : float64[n_panels]
        Saturation level and gain of each panel.
    found : float64[n, 2], written
        Intensity and its error.
    state : uint8[n], written
        0 = failed, 1 = good, 2 = good and saturated.
    """
    for i in range(panels.shape[0]):
        panel = panels[i]
        is_good, is_saturated, _, _, intensity, sigma = integrate_rings(
            pixels, table[panel], bad, (centres[i, 0], centres[i, 1]), radii, max_adu[panel], gains[panel]
        )
        found[i, 0] = intensity
        found[i, 1] = sigma
        state[i] = 0 if not is_good else 2 if is_saturated else 1


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    integrate_list(
        np.zeros(1, dtype),
        np.ones((1, N_COLUMNS), np.int64),
        np.zeros(2, np.uint8),
        np.zeros(1, np.int32),
        np.zeros((1, 2), np.int64),
        (1.0, 2.0, 3.0),
        np.zeros(1),
        np.zeros(1),
        np.zeros((1, 2)),
        np.zeros(1, np.uint8),
    )
