"""Sums over the measurements of each unique reflection, and what is merged from them.

Values are summed less the first one of their reflection, so that squares lose no digits.
"""

from math import floor, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

N, W, WX, WXX, WW = range(5)
"""Columns of the sums: measurements, weights, weight × value, weight × value², weight²; values less the first."""
INVERSE_D, SHIFT = range(2)
"""Columns of the facts about a reflection: 1/d [Å⁻¹], and what is taken from its values (NaN before the first)."""

PRIOR_WEIGHT = 6.0
"""The error model counts like so many measurements (spec: 4 to 10) beside the scatter of the measurements."""

_SPLIT = 134217729.0


@jit
def add_observations(
    numbers: NDArray[np.int32],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    facts: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> int:
    """Add measurements to the sums of one half.

    Parameters
    ----------
    numbers : int32[n]
        Row of each measurement's reflection; negative ones are left out.
    values, weights : float64[n]
        Values on the common scale, and their weights; those with a weight of 0 are left out.
    facts : float64[c, 2], SHIFT written
    sums : float64[c, 5], written

    Returns
    -------
    int
        Measurements added.
    """
    n_added = 0
    for i in range(numbers.shape[0]):
        row, weight = numbers[i], weights[i]
        if row < 0 or not weight > 0.0:
            continue
        if not isfinite(facts[row, SHIFT]):
            facts[row, SHIFT] = values[i]
        value = values[i] - facts[row, SHIFT]
        sums[row, N] += 1.0
        sums[row, W] += weight
        sums[row, WX] += weight * value
        sums[row, WXX] += weight * value * value
        sums[row, WW] += weight * weight
        n_added += 1
    return n_added


@inline_jit
def rounded(value: float) -> float:
    """Give a value as `%.2f` prints it: the exact product with 100 decides, ties go to the even digit."""
    if not abs(value) < 1e13:
        return value
    product = value * 100.0
    high = value * _SPLIT
    high -= high - value
    low = value - high
    error = (high * 100.0 - product) + low * 100.0  # Exact: 100 has seven bits.
    whole = float(floor(product))
    beyond = (product - whole - 0.5) + error
    if beyond > 0.0 or (beyond == 0.0 and whole % 2.0 == 1.0):
        whole += 1.0
    return whole / 100.0


@inline_jit
def _plain_sigma(n: float, mean: float, square: float) -> float:
    return sqrt(max(square - mean * mean, 0.0)) / sqrt(n)


@inline_jit
def _weighted_sigma(n: float, weight: float, weight2: float, variance: float) -> float:
    """Error of a weighted mean, drawn towards what the error model expects (spec: merging §9.3)."""
    n_effective = weight * weight / weight2
    expected = n / weight
    if n_effective <= 1.0:
        return sqrt(expected)
    sample = max(variance, 0.0) * n_effective / (n_effective - 1.0)
    shrunk = (PRIOR_WEIGHT * expected + (n - 1.0) * sample) / (PRIOR_WEIGHT + n - 1.0)
    return sqrt(shrunk / n_effective)


@inline_jit
def _merge(
    n: float,
    weight: float,
    first: float,
    second: float,
    weight2: float,
    shift: float,
    is_weighted: bool,
    merged: NDArray[np.float64],
) -> None:
    merged[0] = n
    if n == 0.0:
        merged[1] = merged[2] = np.nan
        return
    mean = first / weight
    if is_weighted:
        sigma = _weighted_sigma(n, weight, weight2, second / weight - mean * mean)
    else:
        sigma = _plain_sigma(n, mean, second / weight)
    merged[1] = rounded(mean + shift)
    merged[2] = rounded(sigma)


@jit
def merge_sums(
    sums: NDArray[np.float64],
    facts: NDArray[np.float64],
    n_known: int,
    is_weighted: bool,
    merged: NDArray[np.float64],
) -> None:
    """Merge what both halves hold together, and what each of them holds.

    Parameters
    ----------
    sums : float64[2, c, 5]
        Sums of the halves.
    facts : float64[c, 2]
    n_known : int
        Rows in use.
    is_weighted : bool
        Errors from the weights; else those of `process_hkl`, the scatter over √n.
    merged : float64[3, n_known, 3], written
        Of both, and of each: measurements, intensity and its error as a reflection list prints them; NaN where
        there are no measurements.
    """
    for row in range(n_known):
        one, other, shift = sums[0, row], sums[1, row], facts[row, SHIFT]
        n, weight, first = one[N] + other[N], one[W] + other[W], one[WX] + other[WX]
        second, weight2 = one[WXX] + other[WXX], one[WW] + other[WW]
        _merge(n, weight, first, second, weight2, shift, is_weighted, merged[0, row])
        _merge(one[N], one[W], one[WX], one[WXX], one[WW], shift, is_weighted, merged[1, row])
        _merge(other[N], other[W], other[WX], other[WXX], other[WW], shift, is_weighted, merged[2, row])


@jit
def round_all(values: NDArray[np.float64], written: NDArray[np.float64]) -> None:
    """Round values as `%.2f` prints them, float64[n] both."""
    for i in range(values.shape[0]):
        written[i] = rounded(values[i])


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    sums, facts = np.zeros((2, 1, 5)), np.full((1, 2), np.nan)
    add_observations(np.zeros(1, np.int32), np.ones(1), np.ones(1), facts, sums[0])
    merge_sums(sums, facts, 1, True, np.empty((3, 1, 3)))
    round_all(np.ones(1), np.empty(1))
