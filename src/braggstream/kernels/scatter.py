"""How far residuals scatter, and what each is worth: robust weights of a least-squares fit to peaks.

A position is as good as the spot has photons, so its variance is a² + b²/I: a what the geometry leaves, b what
counting leaves.  The excitation error of a strong spot is small, for partiality weakens all others, so its scatter
falls with the intensity.  Both laws are measured on the strongest and the weakest third of the pairs themselves, by
the median of the residuals' sizes, so that outliers do not matter; these are weighted down (Tukey's biweight).
"""

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

EXCITATION, FS, SS = range(3)
"""Columns of the residuals: excitation error [Å⁻¹], predicted minus found position [px]."""

LEAST_POSITION_SCATTER = 0.02
"""[px]"""
LEAST_EXCITATION_SCATTER = 1e-5
"""[Å⁻¹]"""
TUKEY = 4.7
"""Residuals further out than so many standard deviations do not count."""
SCATTER_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""
MIN_PAIRS_FOR_LAW = 18
"""With fewer pairs all count alike: a median of less than six says little."""
STEEPEST = -0.5
"""Of the logarithm of the excitation errors' scatter against that of the intensity."""


@jit
def median_of(values: NDArray[np.float64], n: int) -> float:
    """Median (the upper one) of the first n values, float64[n or more]; they change places (quickselect)."""
    wanted, low, high = n // 2, 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return values[wanted]


@inline_jit
def _position_scatter(residuals: NDArray[np.float64], first: int, stop: int, work: NDArray[np.float64]) -> float:
    n = 0
    for i in range(first, stop):
        work[n], work[n + 1] = abs(residuals[i, FS]), abs(residuals[i, SS])
        n += 2
    return SCATTER_OF_MEDIAN * median_of(work, n)


@inline_jit
def _excitation_scatter(residuals: NDArray[np.float64], first: int, stop: int, work: NDArray[np.float64]) -> float:
    for i in range(first, stop):
        work[i - first] = abs(residuals[i, EXCITATION])
    return SCATTER_OF_MEDIAN * median_of(work, stop - first)


@inline_jit
def _biweight(residual: float, variance: float) -> float:
    relative2 = residual * residual / (TUKEY * TUKEY * variance)
    return (1.0 - relative2) * (1.0 - relative2) / variance if relative2 < 1.0 else 0.0


@jit
def weigh(
    residuals: NDArray[np.float64],
    intensities: NDArray[np.float64],
    n_parameters: int,
    work: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> None:
    """Weight residuals by their scatter.

    Parameters
    ----------
    residuals : float64[n, 3]
        Excitation errors and positions of the pairs, strongest first.
    intensities : float64[n]
        Their intensities, descending, above zero.
    n_parameters : int
        Parameters of the fit: with few pairs it follows them, and residuals are smaller than the errors.
    work : float64[2 n]
        Scratch.
    weights : float64[n, 3], written
        Weight of each squared residual.
    """
    n = residuals.shape[0]
    part = n // 3
    constant2, counting2, slope, middle = 0.0, 0.0, 0.0, 0.0
    if n < MIN_PAIRS_FOR_LAW:
        constant2 = _position_scatter(residuals, 0, n, work) ** 2
    else:
        strong, weak = intensities[part // 2], intensities[n - 1 - part // 2]
        strong2 = _position_scatter(residuals, 0, part, work) ** 2
        weak2 = _position_scatter(residuals, n - part, n, work) ** 2
        if strong > 1.0001 * weak:
            counting2 = max(weak2 - strong2, 0.0) / (1.0 / weak - 1.0 / strong)
            near = max(_excitation_scatter(residuals, 0, part, work), LEAST_EXCITATION_SCATTER)
            far = max(_excitation_scatter(residuals, n - part, n, work), LEAST_EXCITATION_SCATTER)
            slope = min(max(log(near / far) / log(strong / weak), STEEPEST), 0.0)
            middle = log(intensities[n // 2])
        constant2 = (
            strong2 - counting2 / strong if counting2 > 0.0 else _position_scatter(residuals, 0, n, work) ** 2
        )
    constant2 = max(constant2, LEAST_POSITION_SCATTER * LEAST_POSITION_SCATTER)
    for i in range(n):
        work[i] = abs(residuals[i, EXCITATION]) * exp(-slope * (log(intensities[i]) - middle))
    scale = SCATTER_OF_MEDIAN * median_of(work, n)
    freedom2 = 3.0 * n / max(3.0 * n - n_parameters, 1.0)
    for i in range(n):
        position2 = freedom2 * (constant2 + counting2 / intensities[i])
        scatter = max(scale * exp(slope * (log(intensities[i]) - middle)), LEAST_EXCITATION_SCATTER)
        weights[i, EXCITATION] = _biweight(residuals[i, EXCITATION], freedom2 * scatter * scatter)
        weights[i, FS] = _biweight(residuals[i, FS], position2)
        weights[i, SS] = _biweight(residuals[i, SS], position2)


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    median_of(np.ones(1), 1)
    weigh(np.ones((1, 3)), np.ones(1), 1, np.empty(2), np.empty((1, 3)))
