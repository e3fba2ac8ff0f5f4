"""Which of several indexing choices each crystal was given, told by its intensities.

For two choices: the leading vector of the matrix of agreement between crystals, by power iteration over pairs of
reflections that the ambiguity swaps, at a cost that is linear in the number of observations.  For any number: the
correlation of each crystal, in each of its choices, with the mean of the others, again and again.  (All pairs of
crystals are compared by Brehm & Diederichs 2014, doi:10.1107/S1399004713025431.)
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

ALL = 2
"""Use all reflections; 0 and 1 are halves of them."""


@inline_jit
def _half(images: NDArray[np.int32], i: int) -> int:
    """Give the half, 0 or 1, of the reflections that the choices turn into each other."""
    least = images[0, i]
    for choice in range(1, images.shape[0]):
        least = min(least, images[choice, i])
    return ((least * 2654435761) >> 13) & 1


@jit
def add_pairs(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    value: NDArray[np.float64],
    half: int,
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
    value : float64[m]
        Normalised intensities.
    half : int64
        Half of the reflections that is used, or `ALL`.
    vector : float64[n]
        Weights of the crystals.
    pairs : float64[n_unique], changed
        Sums by the lower reflection of each pair.
    """
    for crystal in range(start.shape[0] - 1):
        for i in range(start[crystal], start[crystal + 1]):
            one, other = images[0, i], images[1, i]
            if one != other and (half == ALL or _half(images, i) == half):
                pairs[min(one, other)] += vector[crystal] * (value[i] if one < other else -value[i])


@jit
def take_pairs(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    value: NDArray[np.float64],
    half: int,
    vector: NDArray[np.float64],
    pairs: NDArray[np.float64],
) -> None:
    """Give each crystal's agreement with the differences of all others in `vector`; arguments as `add_pairs`."""
    for crystal in range(start.shape[0] - 1):
        total = own = 0.0
        for i in range(start[crystal], start[crystal + 1]):
            one, other = images[0, i], images[1, i]
            if one != other and (half == ALL or _half(images, i) == half):
                total += pairs[min(one, other)] * (value[i] if one < other else -value[i])
                own += value[i] * value[i]
        vector[crystal] = total - own * vector[crystal]


@jit
def add_chosen(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    value: NDArray[np.float64],
    choice: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Add crystals, as they are chosen (negative: not at all), to sums and counts float64[n_unique, 2]."""
    for crystal in range(start.shape[0] - 1):
        if choice[crystal] >= 0:
            for i in range(start[crystal], start[crystal + 1]):
                uid = images[choice[crystal], i]
                sums[uid, 0] += value[i]
                sums[uid, 1] += 1.0


@jit
def correlate_choices(
    start: NDArray[np.int64],
    images: NDArray[np.int32],
    value: NDArray[np.float64],
    half: int,
    choice: NDArray[np.int64],
    sums: NDArray[np.float64],
    correlations: NDArray[np.float64],
) -> None:
    """Correlate each crystal, in each choice, with the mean of the others, float64[n, n_choices].

    Reflections that no choice changes tell nothing and are left out.
    """
    for crystal in range(start.shape[0] - 1):
        for k in range(images.shape[0]):
            n = x_sum = y_sum = xx = yy = xy = 0.0
            for i in range(start[crystal], start[crystal + 1]):
                is_same = True
                for other in range(1, images.shape[0]):
                    is_same &= images[other, i] == images[0, i]
                uid = images[k, i]
                total, count = sums[uid, 0], sums[uid, 1]
                if k == choice[crystal]:
                    total -= value[i]
                    count -= 1.0
                if is_same or count < 1.0 or (half != ALL and _half(images, i) != half):
                    continue
                y = total / count
                n += 1.0
                x_sum += value[i]
                y_sum += y
                xx += value[i] * value[i]
                yy += y * y
                xy += value[i] * y
            correlations[crystal, k] = 0.0
            if n > 2.0:
                x_spread, y_spread = xx - x_sum * x_sum / n, yy - y_sum * y_sum / n
                if x_spread > 0.0 and y_spread > 0.0:
                    correlations[crystal, k] = (xy - x_sum * y_sum / n) / sqrt(x_spread * y_spread)


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    start, images = np.array([0, 1]), np.zeros((2, 1), np.int32)
    ones, choice = np.ones(1), np.zeros(1, np.int64)
    add_pairs(start, images, ones, ALL, ones, ones.copy())
    take_pairs(start, images, ones, ALL, ones.copy(), ones)
    add_chosen(start, images, ones, choice, np.zeros((1, 2)))
    correlate_choices(start, images, ones, ALL, choice, np.zeros((1, 2)), np.zeros((1, 2)))
