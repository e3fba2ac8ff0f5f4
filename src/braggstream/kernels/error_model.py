"""Scales and merging weights from a model of the errors, instead of from logarithms and partialities alone.

The variance of an observation about g p R, g = G exp(-B s²), is σ² of its surroundings and beside it
(g p R)² (a² + c² (1-p)/p²).  a is the relative error of all that is not modelled; c is that of the
excitation error in units of the radius, which matters where the profile is steep.  Weights are from
expected intensities, never from the observation's own, which would favour low values.
"""

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.crystal_columns import (
    B_FACTOR,
    IS_FITTED,
    LN_G,
    MEASURED,
    N_STATE,
    REJECTED,
    RESIDUAL,
    WITHIN,
)
from braggstream.kernels.weighted_means import COUNT, MEAN, N_MEAN, SQUARES, WEIGHT

N_NOISE = 8
"""Shells of s² within which a crystal's σ² are averaged."""

LN_G_SPREAD, B_SPREAD = 1.0, 10.0
"""Standard deviations of what is expected of ln G and of B [Å²] before anything is known."""
N_STEPS = 4
CAUCHY = 4.0
"""Deviations beyond so many standard deviations count less and less."""

N_PART_BINS, N_DEVIATION_BINS = 12, 400
MOST_DEVIATION = 2.0
MOST_STEEPNESS = 8.0
"""Ends of a histogram of relative deviations by (1-p)/p²."""


@inline_jit
def _noise_of(
    first: int,
    last: int,
    s2: NDArray[np.float64],
    sigma: NDArray[np.float64],
    s2_end: float,
    noise: NDArray[np.float64],
) -> None:
    """Give the mean σ² in shells of a crystal, and in empty shells that of the whole crystal."""
    count = np.zeros(N_NOISE)
    noise[:] = 0.0
    total, n = 0.0, 0.0
    for i in range(first, last):
        if sigma[i] > 0.0 and sigma[i] < np.inf:
            shell = min(int(s2[i] / s2_end * N_NOISE), N_NOISE - 1)
            noise[shell] += sigma[i] * sigma[i]
            count[shell] += 1.0
            total += sigma[i] * sigma[i]
            n += 1.0
    for shell in range(N_NOISE):
        noise[shell] = noise[shell] / count[shell] if count[shell] > 0.0 else total / max(n, 1.0)


@inline_jit
def _relative_variance(part: float, model: NDArray[np.float64]) -> float:
    return model[0] + model[1] * (1.0 - part) / (part * part) if part < 1.0 else model[0]


@jit
def scale_by_intensities(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
    flags: NDArray[np.uint8],
    reference: NDArray[np.float64],
    model: NDArray[np.float64],
    s2_end: float,
    with_b: bool,
    is_first: bool,
    state: NDArray[np.float64],
) -> None:
    """Fit scales by robust weighted least squares of intensities, also of negative ones, on a reference.

    Parameters
    ----------
    start, uid, part, s2, intensity, flags
        As for `add_crystals`.
    sigma : float64[m]
        Standard errors.
    reference : float64[n_unique]
        Intensities, NaN where there is none.
    model : float64[2]
        a² and c².
    s2_end : float64
        Largest s² [Å⁻²].
    with_b : bool
        Fit B factors too.
    is_first : bool
        Start from the ratio of the sums, and not from the state.
    state : float64[n, N_STATE], changed
        ln G and B; the residual is the mean squared deviation in units of its variance.
    """
    noise = np.empty(N_NOISE)
    for crystal in range(start.shape[0] - 1):
        first, last, here = start[crystal], start[crystal + 1], state[crystal]
        _noise_of(first, last, s2, sigma, s2_end, noise)
        upper = lower = 0.0
        n = 0
        for i in range(first, last):
            x = reference[uid[i]] * part[i]
            if flags[i] & MEASURED and x > 0.0:
                upper += intensity[i] * x
                lower += x * x
                n += 1
        here[IS_FITTED] = 1.0 if n >= 2 and upper > 0.0 else 0.0
        if here[IS_FITTED] == 0.0:
            continue
        ln_g, b = here[LN_G], here[B_FACTOR]
        if is_first:
            ln_g, b = log(upper / lower), 0.0
        for _ in range(N_STEPS):
            # Priors on the departure from the mean crystal, which the gauge keeps at zero.
            a00, a01, a11 = 1.0 / LN_G_SPREAD**2, 0.0, 1.0 / B_SPREAD**2
            r0, r1 = -ln_g * a00 if not is_first else 0.0, -b * a11
            chi = 0.0
            for i in range(first, last):
                x = reference[uid[i]] * part[i]
                if not (flags[i] & MEASURED and x > 0.0):
                    continue
                expected = x * exp(ln_g - b * s2[i])
                shell = min(int(s2[i] / s2_end * N_NOISE), N_NOISE - 1)
                variance = noise[shell] + expected * expected * _relative_variance(part[i], model)
                off = intensity[i] - expected
                t2 = off * off / variance
                weight = 1.0 / (variance * (1.0 + t2 / (CAUCHY * CAUCHY)))
                slope = -s2[i] * expected
                a00 += weight * expected * expected
                a01 += weight * expected * slope
                a11 += weight * slope * slope
                r0 += weight * expected * off
                r1 += weight * slope * off
                chi += t2 / (1.0 + t2 / (CAUCHY * CAUCHY))
            if with_b:
                determinant = a00 * a11 - a01 * a01
                step_g, step_b = (a11 * r0 - a01 * r1) / determinant, (a00 * r1 - a01 * r0) / determinant
            else:
                step_g, step_b = r0 / a00, 0.0
            ln_g += min(max(step_g, -1.0), 1.0)
            b += min(max(step_b, -50.0), 50.0)
        here[LN_G], here[B_FACTOR], here[RESIDUAL] = ln_g, b, chi / n


@jit
def add_by_errors(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
    flags: NDArray[np.uint8],
    typical: NDArray[np.float64],
    model: NDArray[np.float64],
    s2_end: float,
    state: NDArray[np.float64],
    group: NDArray[np.int8],
    means: NDArray[np.float64],
) -> None:
    """Add full intensities to running means with weights from the model of errors.

    As `add_crystals`; `typical`, float64[n_unique], is the mean intensity around each reflection.
    """
    wanted = MEASURED | WITHIN
    noise = np.empty(N_NOISE)
    for crystal in range(start.shape[0] - 1):
        if group[crystal] < 0:
            continue
        first, last = start[crystal], start[crystal + 1]
        into, ln_g, b = means[group[crystal]], state[crystal, LN_G], state[crystal, B_FACTOR]
        _noise_of(first, last, s2, sigma, s2_end, noise)
        for i in range(first, last):
            if flags[i] & wanted != wanted:
                continue
            scale = part[i] * exp(ln_g - b * s2[i])
            shell = min(int(s2[i] / s2_end * N_NOISE), N_NOISE - 1)
            level = typical[uid[i]]
            variance = noise[shell] / (scale * scale) + level * level * _relative_variance(part[i], model)
            if not variance > 0.0:
                continue
            full, weight = intensity[i] / scale, 1.0 / variance
            mean = into[uid[i]]
            mean[WEIGHT] += weight
            off = full - mean[MEAN]
            mean[MEAN] += off * (weight / mean[WEIGHT])
            mean[SQUARES] += weight * off * (full - mean[MEAN])
            mean[COUNT] += 1.0


@jit
def count_deviations(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
    flags: NDArray[np.uint8],
    merged: NDArray[np.float64],
    state: NDArray[np.float64],
    counts: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> None:
    """Count relative deviations of strong observations from the merge by the steepness (1-p)/p² of the profile.

    Parameters
    ----------
    start, uid, part, s2, intensity, sigma, flags, merged, state
        As above.
    counts : float64[N_PART_BINS, N_DEVIATION_BINS], changed
        Histogram of |I/(g p R) - 1|.
    noise : float64[N_PART_BINS, 3], changed
        Sums of the squared relative errors by counting, of ones, and of the steepness.
    """
    for crystal in range(start.shape[0] - 1):
        if state[crystal, REJECTED] != 0.0:
            continue
        ln_g, b = state[crystal, LN_G], state[crystal, B_FACTOR]
        for i in range(start[crystal], start[crystal + 1]):
            expected = merged[uid[i]] * part[i] * exp(ln_g - b * s2[i])
            if not (flags[i] & MEASURED and expected > 5.0 * sigma[i]):
                continue
            steepness = (1.0 - part[i]) / (part[i] * part[i])
            row = min(max(int(steepness / MOST_STEEPNESS * N_PART_BINS), 0), N_PART_BINS - 1)
            column = int(abs(intensity[i] / expected - 1.0) / MOST_DEVIATION * N_DEVIATION_BINS)
            counts[row, min(column, N_DEVIATION_BINS - 1)] += 1.0
            noise[row, 0] += sigma[i] * sigma[i] / (expected * expected)
            noise[row, 1] += 1.0
            noise[row, 2] += steepness


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    ones, flags, start = np.ones(1), np.zeros(1, np.uint8), np.array([0, 1])
    uid, state, model = np.zeros(1, np.int32), np.zeros((1, N_STATE)), np.ones(2)
    columns = (start, uid, ones, ones, ones, ones, flags, ones)
    scale_by_intensities(*columns, model, 1.0, True, True, state)
    group, means = np.zeros(1, np.int8), np.zeros((1, 1, N_MEAN))
    add_by_errors(*columns, model, 1.0, state, group, means)
    count_deviations(*columns, state, np.zeros((N_PART_BINS, N_DEVIATION_BINS)), np.zeros((N_PART_BINS, 3)))
