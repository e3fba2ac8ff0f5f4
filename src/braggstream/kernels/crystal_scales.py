"""Scale and B factor of each crystal against common reference intensities, by straight lines through logarithms."""

from math import exp, isnan

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.crystal_columns import (
    ABOVE,
    AT_LEAST,
    B_FACTOR,
    FREE,
    IS_FITTED,
    LN_G,
    MEASURED,
    N_STATE,
    REJECTED,
    RESIDUAL,
)

KEEP, FIT_G, FIT_G_AND_B = range(3)
"""What is fitted; `KEEP` gives residuals and sums only."""

LOG_WEIGHT, LOG_SUM, LOG_COUNT = range(3)
"""Columns of the sums from which logarithms of reference intensities are made."""
N_LOG_SUMS = 3


@inline_jit
def _fit_line(
    first: int,
    last: int,
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    log_full: NDArray[np.float64],
    flags: NDArray[np.uint8],
    log_reference: NDArray[np.float64],
    with_slope: bool,
) -> tuple[float, float, bool]:
    """Give ln G and B of a crystal by weighted least squares of ln(I/p) - ln R on s², and whether it has them."""
    weight = x_sum = y_sum = xx_sum = xy_sum = 0.0
    n, origin = 0, s2[first] if last > first else 0.0
    wanted = ABOVE | MEASURED
    for i in range(first, last):
        y = log_full[i] - log_reference[uid[i]]
        if flags[i] & wanted == wanted and not isnan(y):
            x, w = s2[i] - origin, part[i]
            weight += w
            x_sum += w * x
            y_sum += w * y
            xx_sum += w * x * x
            xy_sum += w * x * y
            n += 1
    if n < 2:
        return 0.0, 0.0, False
    if not with_slope:
        return y_sum / weight, 0.0, True
    spread = xx_sum - x_sum * x_sum / weight
    # One place on the line tells nothing of its slope; what is left then is rounding.
    if not spread > 1e-12 * xx_sum:
        return 0.0, 0.0, False
    slope = (xy_sum - x_sum * y_sum / weight) / spread
    return (y_sum - slope * x_sum) / weight - slope * origin, -slope, True


@jit
def scale_by_logs(
    start: NDArray[np.int64],
    uid: NDArray[np.int32],
    part: NDArray[np.float64],
    s2: NDArray[np.float64],
    log_full: NDArray[np.float64],
    flags: NDArray[np.uint8],
    log_reference: NDArray[np.float64],
    fit: int,
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Fit the crystals of a block to a reference, give their residuals, and add them to the next reference.

    Parameters
    ----------
    start : int64[n + 1]
        Where the observations of each crystal start.
    uid : int32[m]
        Unique reflections.
    part, s2, log_full : float64[m]
        Partialities, s² [Å⁻²] and ln(I/p).
    flags : uint8[m]
        Bits of the observations.
    log_reference : float64[n_unique]
        ln R, NaN where there is none.
    fit : int64
        `KEEP`, `FIT_G` or `FIT_G_AND_B`.  A crystal that cannot be fitted keeps its values.
    state : float64[n, N_STATE], changed
        ln G and B, the log residual over observations of more than three standard errors, whether the fit was
        good.
    sums : float64[n_unique, N_LOG_SUMS], changed
        Sums over crystals that are not left out, with the weight p G exp(-B s²), without the free set.
    """
    for crystal in range(start.shape[0] - 1):
        first, last, here = start[crystal], start[crystal + 1], state[crystal]
        if fit != KEEP:
            ln_g, b, is_good = _fit_line(
                first, last, uid, part, s2, log_full, flags, log_reference, fit == FIT_G_AND_B
            )
            if is_good:
                here[LN_G], here[B_FACTOR] = ln_g, b
            here[IS_FITTED] = 1.0 if is_good else 0.0
        residual = 0.0
        for i in range(first, last):
            full = log_full[i] - here[LN_G] + here[B_FACTOR] * s2[i]
            off = full - log_reference[uid[i]]
            if flags[i] & ABOVE and not isnan(off):
                residual += off * off
            if flags[i] & (AT_LEAST | MEASURED | FREE) == AT_LEAST | MEASURED and here[REJECTED] == 0.0:
                weight = part[i] * exp(here[LN_G] - here[B_FACTOR] * s2[i])
                sums[uid[i], LOG_WEIGHT] += weight
                sums[uid[i], LOG_SUM] += weight * full
                sums[uid[i], LOG_COUNT] += 1.0
        here[RESIDUAL] = residual


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    ones, flags = np.ones(1), np.zeros(1, np.uint8)
    start, uid, state = np.array([0, 1]), np.zeros(1, np.int32), np.zeros((1, N_STATE))
    scale_by_logs(start, uid, ones, ones, ones, flags, ones, FIT_G, state, np.zeros((1, N_LOG_SUMS)))
