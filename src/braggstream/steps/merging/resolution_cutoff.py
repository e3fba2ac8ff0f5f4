"""Where a data set should end: the resolution beyond which its half sets no longer agree."""

from math import isnan

import numpy as np
from numpy.typing import NDArray

LEAST_CC_HALF = 0.3
"""Half sets that correlate less in a shell agree too little for it to be of use (Karplus & Diederichs 2012)."""
FEWEST_PAIRS = 20
"""The correlation of fewer pairs says nothing."""


def suggested_resolution(
    inverse_d: NDArray[np.float64], cc_half: NDArray[np.float64], n_pairs: NDArray[np.integer]
) -> float | None:
    """Find the resolution at which CC1/2 falls below 0.3 for good, from shell to shell interpolated.

    Parameters
    ----------
    inverse_d : float64[n]
        Middles of the shells as 1/d, ascending [Å⁻¹].
    cc_half : float64[n]
        CC1/2 of each shell.
    n_pairs : int[n]
        Pairs of reflections behind it; shells with few count as ones that do not agree.

    Returns
    -------
    float or None
        The resolution [Å]; None where the outermost shell still agrees, or none does.
    """
    agrees = (cc_half >= LEAST_CC_HALF) & (n_pairs >= FEWEST_PAIRS)
    good = np.flatnonzero(agrees)
    if not len(good) or good[-1] == len(agrees) - 1:
        return None
    last = int(good[-1])
    inner, outer = float(cc_half[last]), float(cc_half[last + 1])
    part = 0.5 if isnan(outer) or outer >= inner else (inner - LEAST_CC_HALF) / (inner - outer)
    return 1.0 / float(inverse_d[last] + part * (inverse_d[last + 1] - inverse_d[last]))
