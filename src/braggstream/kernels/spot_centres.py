"""Centres of spots: where a peak's photons come from, better than the centroid of its pixels above a limit.

One step of Fisher's scoring from the listed position towards the most likely centre of a round Gaussian spot on a
flat background (Mortensen et al. 2010, Nat. Methods 7, 377, doi:10.1038/nmeth.1447).  A pixel at x with the model's
share g(x) counts by g / (g + variance of the background / A): all pixels alike in a strong spot, those near the
centre in a weak one.  The width is a usual one, not the spot's own: another makes the weights less than best, but
moves no centre.
"""

from math import exp, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH

HALF = 3
SIDE = 2 * HALF + 1
"""A window of so many pixels a side holds a spot whose sigma is one pixel; its rim tells the background."""
ROW = SIDE + 1
"""Rows are read one pixel longer, which has no weight: vector registers hold eight numbers."""
LEAST_RIM = 12
"""With fewer good pixels in the rim a peak stays where it is."""
LEAST_VARIANCE = 1e-6
WIDEST = 2.5
"""A peak with so many times the intensity of the model is wider: its centroid is the better centre."""
MOST_SHIFT = 1.0
"""A centre that would move further is none [px]."""

_OFFSETS = np.arange(ROW) - float(HALF)
_FALL = np.where(_OFFSETS <= HALF, np.exp(-0.5 * _OFFSETS**2), 0.0)
_FS_OFFSETS = np.tile(_OFFSETS, SIDE)
_SS_OFFSETS = np.repeat(_OFFSETS[:SIDE], ROW)
_RIM = np.where(np.maximum(np.abs(_FS_OFFSETS), np.abs(_SS_OFFSETS)) == HALF, 1.0, 0.0) * (_FS_OFFSETS <= HALF)


@fast_jit
def _load(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    left: int,
    top: int,
    values: NDArray[np.float64],
    good: NDArray[np.float64],
) -> None:
    """Copy a window, which lies on the panel; bad pixels are 0 in `good`, and so is what is beyond the window."""
    for j in range(SIDE):
        start = place[OFFSET] + (top + j) * place[STRIDE] + left
        flags = place[START] + (top + j) * place[WIDTH] + left
        row, row_bad = pixels[start : start + ROW], bad[flags : flags + ROW]
        for i in range(ROW):
            values[ROW * j + i] = np.float64(row[i])
        for i in range(ROW):
            good[ROW * j + i] = 1.0 if row_bad[i] == 0 else 0.0


@fast_jit
def _background(values: NDArray[np.float64], good: NDArray[np.float64]) -> tuple[float, float, float]:
    """Give number, mean and variance of the good pixels in the window's rim."""
    n, total, squares = 0.0, 0.0, 0.0
    for i in range(values.shape[0]):
        counts = _RIM[i] * good[i]
        value = values[i] if counts > 0.0 else 0.0
        n += counts
        total += value
        squares += value * value
    mean = total / max(n, 1.0)
    return n, mean, max(squares / max(n, 1.0) - mean * mean, LEAST_VARIANCE)


@fast_jit
def _write_shares(x: float, y: float, good: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
    """Write a spot at (x, y) from the window's middle, without the factor exp(-(x² + y²) / 2); 0 for bad pixels."""
    step_x, step_y = exp(x), exp(y)
    along_y = 1.0 / (step_y * step_y * step_y)
    for j in range(SIDE):
        along = _FALL[j] * along_y / (step_x * step_x * step_x)
        for i in range(ROW):
            shares[ROW * j + i] = good[ROW * j + i] * along * _FALL[i]
            along *= step_x
        along_y *= step_y


@fast_jit
def centre_spots(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    gains: NDArray[np.float64],
    panels: NDArray[np.int32],
    peaks: NDArray[np.float64],
    centres: NDArray[np.float64],
) -> int:
    """Find the centres of the spots that peaks belong to.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel.
    bad : uint8[n_pixels]
        Nonzero where a pixel must not be used.
    gains : float64[n_panels]
        Detector units of a photon.
    panels : int32[n_peaks]
        Panel of each peak.
    peaks : float64[3, n_peaks]
        Their fs and ss from the panel's corner [px], and intensity [detector units].
    centres : float64[2, n_peaks], written
        fs and ss of the centres; as listed for peaks at a panel's edge and those whose pixels show no such spot.

    Returns
    -------
    int
        Number of peaks that were given a centre.
    """
    values, good, shares = np.empty(SIDE * ROW), np.empty(SIDE * ROW), np.empty(SIDE * ROW)
    n_found = 0
    for k in range(panels.shape[0]):
        fs, ss, place = peaks[0, k], peaks[1, k], table[panels[k]]
        centres[0, k], centres[1, k] = fs, ss
        is_inside = HALF <= fs < place[WIDTH] - ROW + HALF + 1 and HALF <= ss < place[HEIGHT] - HALF  # Not NaN.
        if not is_inside:
            continue
        left, top = int(fs) - HALF, int(ss) - HALF
        _load(pixels, place, bad, left, top, values, good)
        n_rim, mean, variance = _background(values, good)
        if n_rim < LEAST_RIM:
            continue
        x, y = fs - left - HALF - 0.5, ss - top - HALF - 0.5
        _write_shares(x, y, good, shares)
        product, norm = 0.0, 0.0
        for i in range(SIDE * ROW):
            values[i] = values[i] - mean if shares[i] > 0.0 else 0.0
            product += shares[i] * values[i]
            norm += shares[i] * shares[i]
        if not product > 0.0:
            continue
        height = product / norm
        if peaks[2, k] > WIDEST * 2.0 * pi * height * exp(0.5 * (x * x + y * y)):
            continue
        ratio = variance / (gains[panels[k]] * height)
        score_x, score_y, information_x, information_y = 0.0, 0.0, 0.0, 0.0
        for i in range(SIDE * ROW):
            weight = shares[i] / (shares[i] + ratio)
            rest, known = weight * (values[i] - height * shares[i]), weight * shares[i]
            dx, dy = _FS_OFFSETS[i] - x, _SS_OFFSETS[i] - y
            score_x += dx * rest
            score_y += dy * rest
            information_x += dx * dx * known
            information_y += dy * dy * known
        shift_x, shift_y = score_x / (height * information_x), score_y / (height * information_y)
        if abs(shift_x) < MOST_SHIFT and abs(shift_y) < MOST_SHIFT:
            centres[0, k], centres[1, k] = fs + shift_x, ss + shift_y
            n_found += 1
    return n_found


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    centre_spots(
        np.zeros(1, dtype),
        np.zeros((1, N_COLUMNS), np.int64),
        np.zeros(1, np.uint8),
        np.ones(1),
        np.zeros(1, np.int32),
        np.zeros((3, 1)),
        np.zeros((2, 1)),
    )
