"""Which of several indexing choices each crystal was given, told by its intensities.

For two choices: the leading vector of the matrix of agreement between crystals, by power iteration over pairs of
reflections that the ambiguity swaps, at a cost that is linear in the number of observations.  For any number: the
correlation of each crystal, in each of its choices, with the mean of the others, again and again.  (All pairs of
crystals are compared by Brehm & Diederichs 2014, doi:10.1107/S1399004713025431.)

Observations that do not count have no weight.  They are not skipped: half of them, at random, would be one branch
in two that the processor does not foresee.
"""

from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit

FEWEST = 4
"""Reflections that have to be compared."""
LEAST_WEIGHT = 1e-9


@jit
def add_pairs(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    entry: NDArray[np.float32],
    vector: NDArray[np.float64],
    pairs: NDArray[np.float64],
) -> None:
    """Add crystals, weighted by a vector, to the differences within pairs of reflections.

    Parameters
    ----------
    start : int64[n + 1]
        Where the observations of each crystal start.
    images : int32[2, m]
        Unique reflections in either choice.
    entry : float32[m]
        Normalised intensities times their weights; 0 where both choices give the same reflection.
    vector : float64[n]
        Weights of the crystals.
    pairs : float64[n_unique], changed
        Sums by the lower reflection of each pair.
    """
    for crystal in range(start.shape[0] - 1):
        for i in range(start[crystal], start[crystal + 1]):
            one, other = images[0, i], images[1, i]
            pairs[min(one, other)] += vector[crystal] * (entry[i] if one < other else -entry[i])


@jit
def take_pairs(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    entry: NDArray[np.float32],
    vector: NDArray[np.float64],
    pairs: NDArray[np.float64],
) -> None:
    """Give each crystal's agreement with the differences of all others in `vector`; arguments as `add_pairs`."""
    for crystal in range(start.shape[0] - 1):
        total = own = 0.0
        for i in range(start[crystal], start[crystal + 1]):
            one, other = images[0, i], images[1, i]
            total += pairs[min(one, other)] * (entry[i] if one < other else -entry[i])
            own += entry[i] * entry[i]
        vector[crystal] = total - own * vector[crystal]


@jit
def add_chosen(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    observed: NDArray[np.float32],
    choice: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add crystals, as they are chosen (negative: not at all), to weighted sums, weights and counts.

    Parameters
    ----------
    start : int64[n + 1]
        Where the observations of each crystal start.
    images : int32[n_choices, m]
        Unique reflections in each choice.
    observed : float32[2, m]
        Normalised intensities, and their weights.
    choice : int64[n]
    sums : float64[n_unique, 3], changed
    """
    for crystal in range(start.shape[0] - 1):
        if choice[crystal] >= 0:
            for i in range(start[crystal], start[crystal + 1]):
                uid, weight = images[choice[crystal], i], observed[1, i]
                sums[uid, 0] += weight * observed[0, i]
                sums[uid, 1] += weight
                sums[uid, 2] += 1.0 if weight > 0.0 else 0.0


@jit
def correlate_choices(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    observed: NDArray[np.float32],
    choice: NDArray[np.int64],
    sums: NDArray[np.float64],
    correlations: NDArray[np.float64],
) -> None:
    """Correlate each crystal, in each choice, with the mean of the others, float64[n, n_choices].

    NaN where fewer than `FEWEST` reflections can be compared.  Arguments as `add_chosen`.
    """
    for crystal in range(start.shape[0] - 1):
        for k in range(images.shape[0]):
            own = 1.0 if k == choice[crystal] else 0.0
            n_compared = n = x_sum = y_sum = xx = yy = xy = 0.0
            for i in range(start[crystal], start[crystal + 1]):
                uid, x, weight = images[k, i], float(observed[0, i]), float(observed[1, i])
                counts = 1.0 if weight > 0.0 else 0.0
                others = sums[uid, 1] - own * weight
                y = (sums[uid, 0] - own * weight * x) / max(others, LEAST_WEIGHT)
                counts = counts if sums[uid, 2] - own * counts > 0.5 else 0.0
                w = weight * counts
                n_compared += counts
                n += w
                x_sum += w * x
                y_sum += w * y
                xx += w * x * x
                yy += w * y * y
                xy += w * x * y
            correlations[crystal, k] = nan
            if n_compared >= FEWEST:
                x_spread, y_spread = xx - x_sum * x_sum / n, yy - y_sum * y_sum / n
                if x_spread > 0.0 and y_spread > 0.0:
                    correlations[crystal, k] = (xy - x_sum * y_sum / n) / sqrt(x_spread * y_spread)


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    start, images = np.array([0, 1]), np.zeros((2, 1), np.int32)
    observed, ones, choice = np.ones((2, 1), np.float32), np.ones(1), np.zeros(1, np.int64)
    add_pairs(start, images, observed[0], ones, ones.copy())
    take_pairs(start, images, observed[0], ones.copy(), ones)
    add_chosen(start, images, observed, choice, np.zeros((1, 3)))
    correlate_choices(start, images, observed, choice, np.zeros((1, 3)), np.zeros((1, 2)))
