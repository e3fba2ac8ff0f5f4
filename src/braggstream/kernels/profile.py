"""Profile fitting: the shape that the strong reflections of a frame have in common, fitted to each.

After Rossmann (1979), J. Appl. Cryst. 12, 225 (doi:10.1107/S0021889879012218), as CrystFEL's `prof2d` does it.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.box_planes import has_steep_background
from braggstream.kernels.boxes import BACKGROUND, EXCLUDED, PEAK
from braggstream.kernels.integrate import (
    GOOD,
    INTENSITY,
    MEAN_BACKGROUND,
    N_MEASURED,
    REJECTED,
    SATURATED,
    SIGMA,
)

MIN_CONTRAST = 10.0
"""A reflection lends its shape where it is so many times higher than its background."""
TOP = 100.0
"""Height of the profile."""


@jit
def make_profile(
    classes: NDArray[np.uint8],
    values: NDArray[np.float64],
    planes: NDArray[np.float64],
    measured: NDArray[np.float64],
    state: NDArray[np.uint8],
    weights: NDArray[np.float64],
    profile: NDArray[np.float64],
) -> int:
    """Average the boxes of the strong reflections.

    Parameters
    ----------
    classes : uint8[n, size, size], values : float64[n, size, size], planes : float64[n, 3]
        Pixels of each box, and its background.
    measured : float64[n, 6], state : uint8[n]
        Ring integrals, and which boxes can be used.
    weights : float64[size, size], written
        Scratch.
    profile : float64[size, size], written
        The profile, 100 at the highest; 0 where no box tells.

    Returns
    -------
    int
        Number of boxes that lent their shape.
    """
    size = profile.shape[0]
    profile[:] = 0.0
    weights[:] = 0.0
    n_used = 0
    for i in range(classes.shape[0]):
        if state[i] != GOOD and state[i] != SATURATED:
            continue
        plane, total = planes[i], measured[i, INTENSITY]
        highest, below, n_peak = 0.0, 0.0, 0
        for q in range(size):
            for p in range(size):
                if classes[i, q, p] == PEAK:
                    highest = max(highest, values[i, q, p])
                    below += plane[0] * p + plane[1] * q + plane[2]
                    n_peak += 1
        if has_steep_background(classes[i], values[i], (plane[0], plane[1], plane[2])):
            continue
        if not highest > MIN_CONTRAST * below / n_peak:
            continue
        n_used += 1
        for q in range(size):
            for p in range(size):
                if classes[i, q, p] != EXCLUDED:
                    above = values[i, q, p] - (plane[0] * p + plane[1] * q + plane[2])
                    profile[q, p] += above * total
                    weights[q, p] += total * total
    top = 0.0
    for q in range(size):
        for p in range(size):
            if weights[q, p] > 0.0:
                profile[q, p] /= weights[q, p]
                top = max(top, profile[q, p])
    if not top > 0.0:
        return 0
    for q in range(size):
        for p in range(size):
            profile[q, p] *= TOP / top
    return n_used


@jit
def fit_profile(
    classes: NDArray[np.uint8],
    values: NDArray[np.float64],
    planes: NDArray[np.float64],
    profile: NDArray[np.float64],
    measured: NDArray[np.float64],
    state: NDArray[np.uint8],
) -> None:
    """Fit the profile to each box: intensity and sigma of the ring integrals are replaced.

    Parameters
    ----------
    classes : uint8[n, size, size], values : float64[n, size, size], planes : float64[n, 3]
        Pixels of each box, and its background.
    profile : float64[size, size]
        The profile.
    measured : float64[n, 6], state : uint8[n], changed
        What was measured; boxes with a steep background are rejected.
    """
    size = profile.shape[0]
    for i in range(classes.shape[0]):
        if state[i] != GOOD and state[i] != SATURATED:
            continue
        a, b, c = planes[i, 0], planes[i, 1], planes[i, 2]
        product, square, area = 0.0, 0.0, 0.0
        for q in range(size):
            for p in range(size):
                if classes[i, q, p] == PEAK:
                    product += profile[q, p] * (values[i, q, p] - (a * p + b * q + c))
                    square += profile[q, p] * profile[q, p]
                    area += profile[q, p]
        if not square > 0.0 or has_steep_background(classes[i], values[i], (a, b, c)):
            state[i] = REJECTED
            continue
        height, mean, misfit = product / square, measured[i, MEAN_BACKGROUND], 0.0
        for q in range(size):
            for p in range(size):
                if classes[i, q, p] == PEAK:
                    off = height * profile[q, p] - (values[i, q, p] - (a * p + b * q + c))
                    misfit += off * off
                elif classes[i, q, p] == BACKGROUND:
                    off = values[i, q, p] - mean
                    misfit += off * off
        measured[i, INTENSITY] = height * area
        measured[i, SIGMA] = sqrt(misfit)


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    classes, values, planes = np.zeros((1, 7, 7), np.uint8), np.zeros((1, 7, 7)), np.zeros((1, 3))
    measured, state, profile = np.zeros((1, N_MEASURED)), np.zeros(1, np.uint8), np.zeros((7, 7))
    make_profile(classes, values, planes, measured, state, np.zeros((7, 7)), profile)
    fit_profile(classes, values, planes, profile, measured, state)
