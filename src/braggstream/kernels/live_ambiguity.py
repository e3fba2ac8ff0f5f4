"""Which way round crystals are indexed, where the lattice is more symmetric than they are (spec: merging §9.5).

One operator: pair the reflections that it exchanges.  The signed differences of a crystal's intensities within
pairs are its label, +1 or -1, times the true differences, plus noise: the labels are the leading vector of the
crystals' products with each other, found without ever making that matrix.  Several operators: labels are improved
one crystal at a time against the mean of all others, from several starts.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.live_scale import FEWEST_IN_BIN, bin_of
from braggstream.kernels.live_sums import INVERSE_D, SHIFT, WX, N, W

LEAST, MOST = -1.0, 4.0
"""Intensities in units of the mean of their resolution and of their crystal are cut off here."""
FEWEST_KNOWN = 2


@jit
def normalise(
    numbers: NDArray[np.int32],
    observed: NDArray[np.float64],
    start: NDArray[np.int64],
    facts: NDArray[np.float64],
    bins: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> None:
    """Divide intensities by the mean of their resolution and of their crystal, take the mean off, weigh by error.

    Parameters
    ----------
    numbers : int32[n]
        Row of each measurement's reflection; negative ones become 0.
    observed : float64[2, n]
        Intensities and their errors.
    start : int64[m + 1]
        First measurement of each crystal.
    facts : float64[c, 2]
    bins : float64[N_BINS, 2]
        Number and sum of the intensities of each bin of resolution.
    normal : float64[n], written
    """
    for crystal in range(start.shape[0] - 1):
        first, stop = start[crystal], start[crystal + 1]
        total, expected = 0.0, 0.0
        for i in range(first, stop):
            mean = _mean(numbers[i], facts, bins)
            if mean > 0.0:
                total += observed[0, i]
                expected += mean
        scale = total / expected if total > 0.0 and expected > 0.0 else 1.0
        n, mean_x = 0, 0.0
        for i in range(first, stop):
            mean = _mean(numbers[i], facts, bins)
            normal[i] = 0.0
            if mean > 0.0:
                normal[i] = min(max(observed[0, i] / (scale * mean), LEAST), MOST)
                mean_x += normal[i]
                n += 1
        for i in range(first, stop):
            mean = _mean(numbers[i], facts, bins)
            if mean > 0.0:
                error = observed[1, i] / (scale * mean)
                normal[i] = (normal[i] - mean_x / n) / (error * error + 1.0)


@inline_jit
def _mean(row: int, facts: NDArray[np.float64], bins: NDArray[np.float64]) -> float:
    if row < 0:
        return 0.0
    place = bin_of(facts[row, INVERSE_D])
    return bins[place, 1] / bins[place, 0] if bins[place, 0] >= FEWEST_IN_BIN else 0.0


@jit
def leading_vector(
    pairs: NDArray[np.int32],
    entries: NDArray[np.float64],
    start: NDArray[np.int64],
    differences: NDArray[np.float64],
    vector: NDArray[np.float64],
    n_rounds: int,
) -> None:
    """Iterate v ← Y(Yᵀv) - diag v, kept within three times the median.

    Parameters
    ----------
    pairs : int32[n]
        Pair of each measurement.
    entries : float64[n]
        Normalised intensity, negative for the upper member; 0: does not count.
    start : int64[m + 1]
        First measurement of each crystal.
    differences : float64[number of pairs]
        Scratch.
    vector : float64[m], written
        Start, and result; its signs are the labels.
    n_rounds : int
    """
    n_crystals = vector.shape[0]
    fresh = np.empty(n_crystals)
    for _ in range(n_rounds):
        differences[:] = 0.0
        for crystal in range(n_crystals):
            for i in range(start[crystal], start[crystal + 1]):
                differences[pairs[i]] += entries[i] * vector[crystal]
        for crystal in range(n_crystals):
            total = 0.0
            for i in range(start[crystal], start[crystal + 1]):
                total += entries[i] * (differences[pairs[i]] - entries[i] * vector[crystal])
            fresh[crystal] = total
        limit = 3.0 * np.median(np.abs(fresh))
        if limit == 0.0:
            limit = np.abs(fresh).max()
        if limit == 0.0:
            return
        for crystal in range(n_crystals):
            vector[crystal] = min(max(fresh[crystal] / limit, -1.0), 1.0)


@jit
def relabel(
    numbers: NDArray[np.int32],
    normal: NDArray[np.float64],
    start: NDArray[np.int64],
    labels: NDArray[np.int32],
    means: NDArray[np.float64],
) -> float:
    """Give each crystal the label that agrees best with the mean of the others, one crystal after the other.

    Parameters
    ----------
    numbers : int32[k, n]
        Rows of the reflections under each label; negative ones are left out.
    normal : float64[n]
        Normalised intensities; 0: does not count.
    start : int64[m + 1]
        First measurement of each crystal.
    labels : int32[m], written
    means : float64[c, 2]
        Scratch: number and sum of each reflection.

    Returns
    -------
    float
        Sum over the crystals of the best correlation.
    """
    means[:] = 0.0
    n_crystals = start.shape[0] - 1
    for crystal in range(n_crystals):
        _put(numbers[labels[crystal]], normal, start[crystal], start[crystal + 1], 1.0, means)
    score = 0.0
    for crystal in range(n_crystals):
        first, stop = start[crystal], start[crystal + 1]
        _put(numbers[labels[crystal]], normal, first, stop, -1.0, means)
        best = -2.0
        for label in range(numbers.shape[0]):
            correlation = _agreement(numbers[label], normal, first, stop, means)
            if correlation > best:
                best = correlation
                labels[crystal] = label
        score += best
        _put(numbers[labels[crystal]], normal, first, stop, 1.0, means)
    return score


@inline_jit
def _put(
    numbers: NDArray[np.int32],
    normal: NDArray[np.float64],
    first: int,
    stop: int,
    sign: float,
    means: NDArray[np.float64],
) -> None:
    for i in range(first, stop):
        if numbers[i] >= 0 and normal[i] != 0.0:
            means[numbers[i], 0] += sign
            means[numbers[i], 1] += sign * normal[i]


@inline_jit
def _agreement(
    numbers: NDArray[np.int32], normal: NDArray[np.float64], first: int, stop: int, means: NDArray[np.float64]
) -> float:
    n, sx, sy, sxx, syy, sxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(first, stop):
        row = numbers[i]
        if row < 0 or normal[i] == 0.0 or means[row, 0] < 0.5:
            continue
        x, y = normal[i], means[row, 1] / means[row, 0]
        n += 1
        sx += x
        sy += y
        sxx += x * x
        syy += y * y
        sxy += x * y
    spread = (n * sxx - sx * sx) * (n * syy - sy * sy)
    return (n * sxy - sx * sy) / sqrt(spread) if n > 2 and spread > 0.0 else -1.0


@jit
def correlate_labels(
    numbers: NDArray[np.int32],
    normal: NDArray[np.float64],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
    bins: NDArray[np.float64],
    correlations: NDArray[np.float64],
) -> int:
    """Correlate a crystal with the running mean under each label, over reflections that can tell labels apart.

    Parameters
    ----------
    numbers : int32[k, n]
        Rows of the reflections under each label; measurements with a negative one are left out.
    normal : float64[n]
        Normalised intensities; 0: does not count.
    facts : float64[c, 2]
    sums : float64[2, c, 5]
        Of both halves.
    bins : float64[N_BINS, 2]
    correlations : float64[k], written

    Returns
    -------
    int
        Reflections that were used.
    """
    n_labels = numbers.shape[0]
    n_used = 0
    for label in range(n_labels):
        n, sx, sy, sxx, syy, sxy = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(numbers.shape[1]):
            if normal[i] == 0.0 or not _tells(numbers, i, sums):
                continue
            row = numbers[label, i]
            mean = _mean(row, facts, bins)
            if not mean > 0.0:
                continue
            known = (sums[0, row, WX] + sums[1, row, WX]) / (sums[0, row, W] + sums[1, row, W])
            x, y = normal[i], min(max((facts[row, SHIFT] + known) / mean, LEAST), MOST)
            n += 1
            sx += x
            sy += y
            sxx += x * x
            syy += y * y
            sxy += x * y
        spread = (n * sxx - sx * sx) * (n * syy - sy * sy)
        correlations[label] = (n * sxy - sx * sy) / sqrt(spread) if n > 2 and spread > 0.0 else 0.0
        n_used = n
    return n_used


@inline_jit
def _tells(numbers: NDArray[np.int32], i: int, sums: NDArray[np.float64]) -> bool:
    """Whether a measurement can tell labels apart, and is known under each of them."""
    is_different = False
    for label in range(numbers.shape[0]):
        row = numbers[label, i]
        if row < 0 or sums[0, row, N] + sums[1, row, N] < FEWEST_KNOWN:
            return False
        is_different = is_different or row != numbers[0, i]
    return is_different


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    numbers, start = np.zeros((2, 1), np.int32), np.array([0, 1])
    facts, sums, bins, normal = np.ones((1, 2)), np.ones((2, 1, 5)), np.ones((64, 2)), np.ones(1)
    normalise(numbers[0], np.ones((2, 1)), start, facts, bins, normal)
    leading_vector(numbers[0], normal, start, np.zeros(1), np.ones(1), 1)
    relabel(numbers, normal, start, np.zeros(1, np.int32), np.zeros((1, 2)))
    correlate_labels(numbers, normal, facts, sums, bins, np.zeros(2))
