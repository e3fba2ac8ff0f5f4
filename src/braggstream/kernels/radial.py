"""Clipping of the values in radial bins: the rule itself, and what its kernels share.

Barty et al. 2014, J. Appl. Cryst. 47, 1118, doi:10.1107/S1600576714007626.  A bin's limits are the mean and so many
standard deviations of the pixels between its limits before; five rounds, the first without limits.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

N_PASSES = 5

FAR = 1e9
LARGEST_FLOAT32 = 3.4028234663852886e38
SMALLEST_FLOAT32 = 1.1754943508222875e-38


@inline_jit
def limits_of(
    n: float, total: float, squares: float, threshold: float, min_snr: float
) -> tuple[float, float, float]:
    """Give mean, lower and upper limit of a bin whose accepted pixels are counted and summed.

    What an empty bin gets, and the limits of one whose rounding errors make the variance negative, are the
    reference's choice.
    """
    if n == 0.0:
        return 0.0, SMALLEST_FLOAT32, LARGEST_FLOAT32
    mean = total / n
    variance = squares / n - mean * mean
    sigma = sqrt(variance) if variance >= 0.0 else variance
    return mean, mean - min_snr * sigma, max(mean + min_snr * sigma, threshold)


@jit
def sort_by_bin(
    bins: NDArray[np.uint16],
    values: NDArray[np.float64],
    n_values: int,
    first: NDArray[np.int64],
    ordered: NDArray[np.float64],
) -> None:
    """Put values of the same bin together.

    Parameters
    ----------
    bins : uint16[n], values : float64[n]
        Bin and value of each pixel.
    n_values : int64
        So many of them are there.
    first : int64[n_bins + 1], written
        Where the values of each bin begin, and their number.
    ordered : float64[n_values], written
        The values.
    """
    n_bins = first.shape[0] - 1
    first[:] = 0
    for k in range(n_values):
        first[bins[k] + 1] += 1
    for number in range(n_bins):
        first[number + 1] += first[number]
    place = first.copy()
    for k in range(n_values):
        ordered[place[bins[k]]] = values[k]
        place[bins[k]] += 1


def warm_up() -> None:
    """Compile the kernel."""
    sort_by_bin(np.zeros(1, np.uint16), np.zeros(1), 1, np.zeros(2, np.int64), np.zeros(1))
