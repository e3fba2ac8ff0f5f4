"""How well each crystal agrees with the merge: residuals, and what the merge's CC1/2 would be without it.

CC1/2 is taken from the variances of means and of their errors (σ-τ method: Assmann, Brehm & Diederichs 2016,
doi:10.1107/S1600576716005471); leaving a crystal out costs O(1) an observation.
"""

from math import exp, inf, isnan, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.crystal_columns import ABOVE, B_FACTOR, FREE, LN_G, MEASURED, N_STATE, REJECTED, WITHIN
from braggstream.kernels.weighted_means import COUNT, MEAN, N_MEAN, SQUARES

LINEAR, LINEAR_FREE, LOG, LOG_FREE = range(4)
"""Columns of residuals: linear of working and free set; of logarithms of all and of the free set."""
N_RESIDUALS = 4

N_MOMENTS = 4
"""Number of reflections, sum of their means, of their squares, of the variances of half-set means."""


@inline_jit
def clipped_ratio(observed: float, full: float) -> float:
    """Give the observed partiality, between 0 and 1; NaN where it is 0/0."""
    ratio = observed / full
    return ratio if isnan(ratio) else min(max(ratio, 0.0), 1.0)


@jit
def crystal_residuals(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    state: NDArray[np.float64],
    log_full: NDArray[np.float64],
    merged: NDArray[np.float64],
    log_merged: NDArray[np.float64],
    residuals: NDArray[np.float64],
) -> None:
    """Give the residuals of crystals against merged intensities.

    Parameters
    ----------
    start, uid, part, s2, intensity, flags, state, log_full
        As for `scale_by_logs` and `add_crystals`.
    merged, log_merged : float64[n_unique]
        Merged intensities and their logarithms, NaN where there are fewer than two observations.
    residuals : float64[n, N_RESIDUALS], written
        Linear: the mean difference between observed and calculated partiality, weighted by G exp(-B s²).  Log: the
        sum of squared differences of logarithms.
    """
    for crystal in range(start.shape[0] - 1):
        ln_g, b = state[crystal, LN_G], state[crystal, B_FACTOR]
        off = np.zeros(2)
        weight = np.zeros(2)
        logs = np.zeros(2)
        for i in range(start[crystal], start[crystal + 1]):
            full = merged[uid[i]]
            if isnan(full):
                continue
            free = 1 if flags[i] & FREE else 0
            g = exp(ln_g - b * s2[i])
            off[free] += g * abs(clipped_ratio(intensity[i], g * full) - part[i])
            weight[free] += g
            log_off = ln_g - b * s2[i] + log_merged[uid[i]] - log_full[i]
            if flags[i] & ABOVE and not isnan(log_off):
                logs[free] += log_off * log_off
        residuals[crystal, LINEAR] = off[0] / weight[0]
        residuals[crystal, LINEAR_FREE] = off[1] / weight[1]
        residuals[crystal, LOG] = logs[0] + logs[1]
        residuals[crystal, LOG_FREE] = logs[1]


@jit
def crystal_correlations(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    state: NDArray[np.float64],
    merged: NDArray[np.float64],
    correlations: NDArray[np.float64],
) -> None:
    """Correlate each crystal's intensities with what merge, scale and partiality say; NaN where that fails.

    Arguments as for `crystal_residuals`; `correlations` is float64[n].
    """
    for crystal in range(start.shape[0] - 1):
        ln_g, b = state[crystal, LN_G], state[crystal, B_FACTOR]
        n = x_mean = y_mean = xx = yy = xy = 0.0
        for i in range(start[crystal], start[crystal + 1]):
            x = merged[uid[i]] * part[i] * exp(ln_g - b * s2[i])
            if flags[i] & MEASURED and not isnan(x):
                n += 1.0
                x_off, y_off = x - x_mean, intensity[i] - y_mean
                x_mean += x_off / n
                y_mean += y_off / n
                xx += x_off * (x - x_mean)
                yy += y_off * (intensity[i] - y_mean)
                xy += x_off * (intensity[i] - y_mean)
        correlations[crystal] = xy / sqrt(xx * yy) if xx > 0.0 and yy > 0.0 else nan


@inline_jit
def _add_moment(moments: NDArray[np.float64], n: float, mean: float, squares: float) -> None:
    moments[0] += 1.0
    moments[1] += mean
    moments[2] += mean * mean
    moments[3] += 2.0 * squares / ((n - 1.0) * n)


@inline_jit
def cc_half(moments: NDArray[np.float64]) -> float:
    """Give CC1/2 from moments; NaN for fewer than two reflections."""
    n = moments[0]
    if n < 2.0:
        return nan
    between = (moments[2] - moments[1] * moments[1] / n) / (n - 1.0)
    error = moments[3] / n
    return (between - 0.5 * error) / (between + 0.5 * error)


@jit
def overall_cc_half(means: NDArray[np.float64]) -> tuple[float, int]:
    """Give CC1/2 of unweighted means float64[n_unique, N_MEAN] with two observations or more, and their number."""
    moments = np.zeros(N_MOMENTS)
    for i in range(means.shape[0]):
        if means[i, COUNT] >= 2.0:
            _add_moment(moments, means[i, COUNT], means[i, MEAN], means[i, SQUARES])
    return cc_half(moments), int(moments[0])


@jit
def half_set_deltas(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    state: NDArray[np.float64],
    means: NDArray[np.float64],
    also_rejected: bool,
    deltas: NDArray[np.float64],
) -> None:
    """Give CC1/2 with each crystal less CC1/2 without it, over the reflections of that crystal.

    Parameters
    ----------
    start, uid, part, s2, intensity, flags, state
        As for `add_crystals`.
    means : float64[n_unique, N_MEAN]
        Unweighted means over all crystals that are not left out.
    also_rejected : bool
        Tell what crystals that are left out would change.
    deltas : float64[n], written
        0 where CC1/2 cannot be told, and, unless `also_rejected`, for crystals that are left out.
    """
    wanted = MEASURED | WITHIN
    for crystal in range(start.shape[0] - 1):
        deltas[crystal] = 0.0
        is_out = state[crystal, REJECTED] != 0.0
        if is_out and not also_rejected:
            continue
        ln_g, b = state[crystal, LN_G], state[crystal, B_FACTOR]
        with_it, without = np.zeros(N_MOMENTS), np.zeros(N_MOMENTS)
        i, last = start[crystal], start[crystal + 1]
        while i < last:
            mean = means[uid[i]]
            here = uid[i]
            own_n, own_mean, own_squares = 0.0, 0.0, 0.0
            while i < last and uid[i] == here:
                if flags[i] & wanted == wanted:
                    full = intensity[i] / (exp(ln_g - b * s2[i]) * part[i])
                    own_n += 1.0
                    off = full - own_mean
                    own_mean += off / own_n
                    own_squares += off * (full - own_mean)
                i += 1
            n = mean[COUNT]
            if is_out:
                if n >= 2.0:
                    _add_moment(without, n, mean[MEAN], mean[SQUARES])
                both = n + own_n
                if both >= 2.0:
                    off = own_mean - mean[MEAN]
                    squares = mean[SQUARES] + own_squares + off * off * own_n * n / both
                    _add_moment(with_it, both, mean[MEAN] + off * own_n / both, squares)
                continue
            if n < 2.0:
                continue
            _add_moment(with_it, n, mean[MEAN], mean[SQUARES])
            rest = n - own_n
            if rest >= 2.0:
                rest_mean = mean[MEAN] + (mean[MEAN] - own_mean) * own_n / rest
                off = own_mean - rest_mean
                squares = mean[SQUARES] - own_squares - off * off * own_n * rest / n
                _add_moment(without, rest, rest_mean, max(squares, 0.0))
        delta = cc_half(with_it) - cc_half(without)
        if -inf < delta < inf:
            deltas[crystal] = delta


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    ones, flags, means = np.ones(1), np.zeros(1, np.uint8), np.zeros((1, N_MEAN))
    start, uid, state = np.array([0, 1]), np.zeros(1, np.int32), np.zeros((1, N_STATE))
    crystal_residuals(start, uid, ones, ones, ones, flags, state, ones, ones, ones, np.zeros((1, N_RESIDUALS)))
    crystal_correlations(start, uid, ones, ones, ones, flags, state, ones, ones.copy())
    half_set_deltas(start, uid, ones, ones, ones, flags, state, means, True, ones.copy())
    overall_cc_half(means)
