"""The scale of one crystal against the running mean, and what its measurements weigh (spec: merging §9.3, §9.4).

    I = g R,   g = exp(γ - B s²),   s² = 1/(4d²)

The data are regressed on the reference, never the reverse, and all of them are used, negative ones too: choosing
the strong ones would bias the scale.  Reflections that are hardly known yet take the mean of their bin of
resolution for a reference, with the spread that intensities have by themselves.
"""

from math import exp, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.live_sums import INVERSE_D, SHIFT, WX, WXX, N, W

N_BINS = 64
"""Bins of resolution, equal in 1/d² up to 1 Å⁻²; what is beyond falls into the last one."""
FEWEST_KNOWN = 3
"""A reflection with so many measurements is known: its mean is the reference."""
FEWEST_IN_BIN = 10
"""A bin with so many measurements has a mean."""
SPREAD_IN_BIN = 1.0
"""Standard deviation of the intensities of a bin about their mean, relative: that of acentric reflections."""
CAUCHY = 4.0
"""Residuals of so many standard deviations count half in the fit."""
PRIOR_GAMMA, PRIOR_B = 1.0, 10.0
"""Standard deviations of γ and B [Å²] among crystals."""
N_ROUNDS = 4
STRONG, FEWEST_STRONG = 3.0, 5
"""Measurements that tell how good the model of a still is: expected above so many σ; and how many it takes."""
OUTLIER, FEWEST_FOR_OUTLIER = 6.0, 5
"""A measurement further off than so many standard deviations is left out, where there are so many others."""

GAMMA, B, CC, USED = range(4)
"""What the fit gives: γ, B [Å²], correlation with the known reflections, and how many there were of those."""


@inline_jit
def bin_of(inverse_d: float) -> int:
    """Bin of resolution of 1/d [Å⁻¹]."""
    return min(int(inverse_d * inverse_d * N_BINS), N_BINS - 1)


@inline_jit
def _reference(
    row: int,
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    bins: NDArray[np.float64],
    model_error: float,
) -> tuple[float, float]:
    """Reference intensity of a reflection, and the variance of a measurement about it; 0: there is none."""
    n = sums[0, row, N] + sums[1, row, N]
    if n >= FEWEST_KNOWN:
        weight = sums[0, row, W] + sums[1, row, W]
        mean = facts[row, SHIFT] + (sums[0, row, WX] + sums[1, row, WX]) / weight
        return mean, model_error * model_error * (mean * mean + _bin_mean(row, facts, bins) ** 2 / n)
    mean = _bin_mean(row, facts, bins)
    return mean, (SPREAD_IN_BIN * SPREAD_IN_BIN + model_error * model_error) * mean * mean


@inline_jit
def _bin_mean(row: int, facts: NDArray[np.float64], bins: NDArray[np.float64]) -> float:
    place = bin_of(facts[row, INVERSE_D])
    return bins[place, 1] / bins[place, 0] if bins[place, 0] >= FEWEST_IN_BIN else 0.0


@inline_jit
def _gather(
    numbers: NDArray[np.int32],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    bins: NDArray[np.float64],
    model_error: float,
    references: NDArray[np.float64],
) -> None:
    """Look the references up: intensity, variance, and s² of each measurement, float64[3, n]."""
    for i in range(numbers.shape[0]):
        row = numbers[i]
        references[1, i] = 0.0
        if row >= 0:
            references[0, i], references[1, i] = _reference(row, facts, sums, bins, model_error)
            references[2, i] = 0.25 * facts[row, INVERSE_D] * facts[row, INVERSE_D]


@inline_jit
def _start(intensities: NDArray[np.float64], references: NDArray[np.float64], gamma: float) -> float:
    product, square = 0.0, 0.0
    for i in range(intensities.shape[0]):
        if references[1, i] > 0.0:
            product += references[0, i] * intensities[i]
            square += references[0, i] * references[0, i]
    return log(product / square) if product > 0.0 and square > 0.0 else gamma


@jit
def fit_scale(
    numbers: NDArray[np.int32],
    observed: NDArray[np.float64],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    bins: NDArray[np.float64],
    model: NDArray[np.float64],
    fit: NDArray[np.float64],
) -> bool:
    """Fit γ and B of one crystal.

    Parameters
    ----------
    numbers : int32[n]
        Row of each measurement's reflection; negative ones are left out.
    observed : float64[2, n]
        Intensities and their errors.
    facts : float64[c, 2]
    sums : float64[2, c, 5]
        Of both halves.
    bins : float64[N_BINS, 2]
        Number and sum of the values of each bin of resolution.
    model : float64[2]
        Relative error of the model of a still (spec: a), and the mean γ of crystals so far.
    fit : float64[4], written
        γ, B, correlation with known reflections, and their number.

    Returns
    -------
    bool
        Whether there was anything to fit to; otherwise γ is the mean one and B is 0.
    """
    intensities, sigmas = observed[0], observed[1]
    prior = model[1]
    references = np.empty((3, numbers.shape[0]))
    _gather(numbers, facts, sums, bins, model[0], references)
    gamma, b = _start(intensities, references, prior), 0.0
    n_fitted = 0
    for _ in range(N_ROUNDS):
        h11, h12, h22 = 1.0 / PRIOR_GAMMA**2, 0.0, 1.0 / PRIOR_B**2
        v1, v2 = (prior - gamma) / PRIOR_GAMMA**2, -b / PRIOR_B**2
        n_fitted = 0
        for i in range(numbers.shape[0]):
            reference, variance, s2 = references[0, i], references[1, i], references[2, i]
            if not variance > 0.0:
                continue
            scale = exp(gamma - b * s2)
            expected = scale * reference
            residual = intensities[i] - expected
            spread = sigmas[i] * sigmas[i] + scale * scale * variance
            weight = 1.0 / (spread * (1.0 + residual * residual / (CAUCHY * CAUCHY * spread)))
            h11 += weight * expected * expected
            h12 -= weight * expected * expected * s2
            h22 += weight * expected * expected * s2 * s2
            v1 += weight * expected * residual
            v2 -= weight * expected * residual * s2
            n_fitted += 1
        determinant = h11 * h22 - h12 * h12
        step1 = (h22 * v1 - h12 * v2) / determinant
        step2 = (h11 * v2 - h12 * v1) / determinant
        gamma += min(max(step1, -2.0), 2.0)
        b += min(max(step2, -50.0), 50.0)
    fit[GAMMA], fit[B] = (gamma, b) if n_fitted else (prior, 0.0)
    _correlate(numbers, intensities, facts, sums, fit)
    return n_fitted > 0


@inline_jit
def _correlate(
    numbers: NDArray[np.int32],
    intensities: NDArray[np.float64],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    fit: NDArray[np.float64],
) -> None:
    """Correlation of the crystal with the reflections that are known; NaN where there are too few."""
    n, sx, sy, sxx, syy, sxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(numbers.shape[0]):
        row = numbers[i]
        if row < 0 or sums[0, row, N] + sums[1, row, N] < FEWEST_KNOWN:
            continue
        x = intensities[i]
        y = facts[row, SHIFT] + (sums[0, row, WX] + sums[1, row, WX]) / (sums[0, row, W] + sums[1, row, W])
        n += 1
        sx += x
        sy += y
        sxx += x * x
        syy += y * y
        sxy += x * y
    fit[USED], fit[CC] = n, np.nan
    spread = (n * sxx - sx * sx) * (n * syy - sy * sy)
    if n > 2 and spread > 0.0:
        fit[CC] = (n * sxy - sx * sy) / sqrt(spread)


@jit
def put_on_scale(
    numbers: NDArray[np.int32],
    observed: NDArray[np.float64],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    bins: NDArray[np.float64],
    model: NDArray[np.float64],
    fit: NDArray[np.float64],
    scaled: NDArray[np.float64],
) -> int:
    """Put a crystal's measurements on the common scale and weigh them; outliers weigh nothing.

    A measurement weighs what the crystal's measurements of its resolution weigh on average,

        w = 1 / (⟨σ²⟩/g² + (a ⟨I⟩)²)

    its own counts do not matter: they would favour low values.

    Parameters are those of `fit_scale`; `scaled` is float64[2, n], written: values and weights.

    Returns
    -------
    int
        Outliers.
    """
    variances = np.zeros((N_BINS, 2))
    for i in range(numbers.shape[0]):
        if numbers[i] >= 0:
            place = bin_of(facts[numbers[i], INVERSE_D])
            variances[place, 0] += 1.0
            variances[place, 1] += observed[1, i] * observed[1, i]
    n_outliers = 0
    for i in range(numbers.shape[0]):
        row = numbers[i]
        scaled[0, i] = scaled[1, i] = 0.0
        if row < 0:
            continue
        place = bin_of(facts[row, INVERSE_D])
        scale = exp(fit[GAMMA] - fit[B] * 0.25 * facts[row, INVERSE_D] * facts[row, INVERSE_D])
        value = observed[0, i] / scale
        expected = model[0] * _bin_mean(row, facts, bins)
        variance = variances[place, 1] / variances[place, 0] / (scale * scale) + expected * expected
        if _is_outlier(row, value, observed[1, i] / scale, facts, sums):
            n_outliers += 1
        elif variance > 0.0 and isfinite(value):
            scaled[0, i], scaled[1, i] = value, 1.0 / variance
    return n_outliers


@inline_jit
def _is_outlier(
    row: int, value: float, sigma: float, facts: NDArray[np.float64], sums: NDArray[np.float64]
) -> bool:
    n = sums[0, row, N] + sums[1, row, N]
    if n < FEWEST_FOR_OUTLIER:
        return False
    weight = sums[0, row, W] + sums[1, row, W]
    mean = (sums[0, row, WX] + sums[1, row, WX]) / weight
    square = (sums[0, row, WXX] + sums[1, row, WXX]) / weight
    variance = max(square - mean * mean, 0.0) * n / (n - 1.0) + sigma * sigma
    difference = value - facts[row, SHIFT] - mean
    return difference * difference > OUTLIER * OUTLIER * variance


@jit
def relative_spread(
    numbers: NDArray[np.int32],
    observed: NDArray[np.float64],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    fit: NDArray[np.float64],
) -> float:
    """How far a crystal's strong measurements lie from the mean, relative to it: as a standard deviation.

    The median over known reflections that are expected to be above 3 σ; their own part of the mean is allowed for.
    Parameters are those of `fit_scale`.  NaN where there are fewer than five.
    """
    spreads = np.empty(numbers.shape[0])
    n_strong = 0
    for i in range(numbers.shape[0]):
        row = numbers[i]
        if row < 0:
            continue
        n = sums[0, row, N] + sums[1, row, N]
        if n < FEWEST_KNOWN:
            continue
        mean = facts[row, SHIFT] + (sums[0, row, WX] + sums[1, row, WX]) / (sums[0, row, W] + sums[1, row, W])
        scale = exp(fit[GAMMA] - fit[B] * 0.25 * facts[row, INVERSE_D] * facts[row, INVERSE_D])
        if scale * mean > STRONG * observed[1, i]:
            spreads[n_strong] = abs(observed[0, i] / scale - mean) / mean / sqrt(1.0 - 1.0 / n)
            n_strong += 1
    return 1.4826 * np.median(spreads[:n_strong]) if n_strong >= FEWEST_STRONG else np.nan


@jit
def add_to_bins(
    numbers: NDArray[np.int32],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    facts: NDArray[np.float64],
    bins: NDArray[np.float64],
) -> None:
    """Add values that weigh something to the sums of their bins of resolution, float64[N_BINS, 2]."""
    for i in range(numbers.shape[0]):
        if numbers[i] >= 0 and weights[i] > 0.0:
            place = bin_of(facts[numbers[i], INVERSE_D])
            bins[place, 0] += 1.0
            bins[place, 1] += values[i]


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    numbers, facts = np.zeros(1, np.int32), np.ones((1, 2))
    sums, bins, model, fit = np.ones((2, 1, 5)), np.ones((N_BINS, 2)), np.array([0.5, 0.0]), np.zeros(4)
    fit_scale(numbers, np.ones((2, 1)), facts, sums, bins, model, fit)
    put_on_scale(numbers, np.ones((2, 1)), facts, sums, bins, model, fit, np.empty((2, 1)))
    relative_spread(numbers, np.ones((2, 1)), facts, sums, fit)
    add_to_bins(numbers, np.ones(1), np.ones(1), facts, bins)
