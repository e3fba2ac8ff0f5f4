"""Running weighted means of full intensities over crystals: merging, in a form whose parts can be added.

Means and sums of squared deviations are updated as in West (1979), doi:10.1145/359146.359153, and parts are joined
as in Chan, Golub & LeVeque (1983), doi:10.1080/00031305.1983.10483115: no digits are lost to large intensities.
"""

from math import exp

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.crystal_columns import B_FACTOR, LN_G, MEASURED, N_STATE, WITHIN

WEIGHT, MEAN, SQUARES, COUNT = range(4)
"""Columns of a running mean: sum of weights, mean, sum of weighted squared deviations, number of observations."""
N_MEAN = 4


@jit
def add_crystals(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    state: NDArray[np.float64],
    group: NDArray[np.int8],
    is_weighted: bool,
    means: NDArray[np.float64],
) -> None:
    """Add the full intensities of crystals to the means of their groups.

    Parameters
    ----------
    start, uid, part, s2, flags, state
        As for `scale_by_logs`.
    intensity : float64[m]
        Corrected intensities.
    group : int8[n]
        Group of each crystal; negative: in none.
    is_weighted : bool
        With the weight p G exp(-B s²); or else 1.
    means : float64[n_groups, n_unique, N_MEAN], changed
        Running means.
    """
    wanted = MEASURED | WITHIN
    for crystal in range(start.shape[0] - 1):
        if group[crystal] < 0:
            continue
        into, ln_g, b = means[group[crystal]], state[crystal, LN_G], state[crystal, B_FACTOR]
        for i in range(start[crystal], start[crystal + 1]):
            if flags[i] & wanted != wanted:
                continue
            g = exp(ln_g - b * s2[i])
            full = intensity[i] / (g * part[i])
            weight = part[i] * g if is_weighted else 1.0
            mean = into[uid[i]]
            mean[WEIGHT] += weight
            off = full - mean[MEAN]
            mean[MEAN] += off * (weight / mean[WEIGHT])
            mean[SQUARES] += weight * off * (full - mean[MEAN])
            mean[COUNT] += 1.0


@jit
def join_means(into: NDArray[np.float64], more: NDArray[np.float64]) -> None:
    """Add running means float64[n, N_MEAN] of other observations to those of `into`."""
    for i in range(into.shape[0]):
        if more[i, COUNT] == 0.0:
            continue
        weight = into[i, WEIGHT] + more[i, WEIGHT]
        off = more[i, MEAN] - into[i, MEAN]
        share = more[i, WEIGHT] / weight
        into[i, SQUARES] += more[i, SQUARES] + off * off * into[i, WEIGHT] * share
        into[i, MEAN] += off * share
        into[i, WEIGHT] = weight
        into[i, COUNT] += more[i, COUNT]


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    ones, flags, means = np.ones(1), np.zeros(1, np.uint8), np.zeros((1, 1, N_MEAN))
    start, uid, state = np.array([0, 1]), np.zeros(1, np.int32), np.zeros((1, N_STATE))
    add_crystals(start, uid, ones, ones, ones, flags, state, np.zeros(1, np.int8), True, means)
    join_means(means[0], means[0].copy())
