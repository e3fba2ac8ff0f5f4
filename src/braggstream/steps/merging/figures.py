"""Figures of merit as plain functions of arrays: used on merged lists, and on running sums while frames arrive.

Definitions: Karplus & Diederichs (2012), Science 336, 1030 (doi:10.1126/science.1218231) for CC1/2 and CC*; White
et al. (2012), J. Appl. Cryst. 45, 335 (doi:10.1107/S0021889812002312) for Rsplit.  Fractions are fractions here;
they become percent where they are printed.
"""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Pearson's correlation coefficient; NaN for fewer than two values, or where one array is constant."""
    if len(one) < 2:
        return nan
    x, y = one - one.mean(), other - other.mean()
    return _ratio(float(x @ y), sqrt(float(x @ x) * float(y @ y)))


def cc_star(cc_half: float) -> float:
    """CC*, the correlation with the unknown truth that a CC1/2 lets expect; NaN below zero."""
    return sqrt(2.0 * cc_half / (1.0 + cc_half)) if cc_half >= 0.0 else nan


def r_split(one: FloatArray, other: FloatArray) -> float:
    """Rsplit of the intensities of two half sets."""
    return _ratio(sqrt(2.0) * float(np.abs(one - other).sum()), float((one + other).sum()))


def r1_of_intensities(one: FloatArray, other: FloatArray) -> float:
    """Σ|I₁ - I₂| / ΣI₁."""
    return _ratio(float(np.abs(one - other).sum()), float(one.sum()))


def r1_of_amplitudes(one: FloatArray, other: FloatArray) -> float:
    """Σ|√I₁ - √I₂| / Σ√I₁; intensities must not be negative."""
    first, second = np.sqrt(one), np.sqrt(other)
    return _ratio(float(np.abs(first - second).sum()), float(first.sum()))


def r2(one: FloatArray, other: FloatArray) -> float:
    """√(Σ(I₁ - I₂)² / ΣI₁²)."""
    difference = one - other
    return sqrt(_ratio(float(difference @ difference), float(one @ one)))


def crd_anomalous(one: FloatArray, other: FloatArray) -> float:
    """√(Σ(D₁ + D₂)² / Σ(D₁ - D₂)²) of the anomalous differences of two lists."""
    total, difference = one + other, one - other
    return sqrt(_ratio(float(total @ total), float(difference @ difference)))


def r_anomalous(plus: FloatArray, minus: FloatArray) -> float:
    """2Σ|I⁺ - I⁻| / Σ(I⁺ + I⁻)."""
    return _ratio(2.0 * float(np.abs(plus - minus).sum()), float((plus + minus).sum()))


@dataclass(frozen=True, eq=False, slots=True)
class HalfSetFigures:
    """What two half sets say of a data set, for each shell and, as the last value, overall."""

    n_pairs: NDArray[np.int64]
    """Reflections in both half sets, int64[n_shells + 1]."""
    cc_half: FloatArray
    """CC1/2, float64[n_shells + 1]; NaN where it is not defined."""
    cc_star: FloatArray
    """CC*, float64[n_shells + 1]; NaN where CC1/2 is negative."""
    r_split: FloatArray
    """Rsplit as a fraction, float64[n_shells + 1]."""


def half_set_figures(
    one: FloatArray, other: FloatArray, shell: NDArray[np.integer], n_shells: int
) -> HalfSetFigures:
    """Compute CC1/2, CC* and Rsplit per shell and overall, in one pass.

    Parameters
    ----------
    one, other : float64[n]
        Intensities of the reflections that are in both half sets, on one scale.
    shell : int[n]
        Number of the shell of each, from 0.
    n_shells
        How many shells there are.
    """

    def summed(values: FloatArray) -> FloatArray:
        sums = np.bincount(shell, weights=values, minlength=n_shells)
        return np.append(sums, sums.sum())

    n = np.bincount(shell, minlength=n_shells)
    n = np.append(n, n.sum()).astype(np.int64)
    difference, total = summed(np.abs(one - other)), summed(one + other)
    # Deviations from the overall mean keep the precision that sums of squares would lose.
    x, y = (values - values.mean() if len(values) else values for values in (one, other))
    x_sum, y_sum = summed(x), summed(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = summed(x * y) - x_sum * y_sum / n
        variances = (summed(x * x) - x_sum**2 / n) * (summed(y * y) - y_sum**2 / n)
        cc = np.where((n > 1) & (variances > 0.0), covariance / np.sqrt(variances), nan)
        star = np.sqrt(2.0 * cc / (1.0 + cc))
        split = sqrt(2.0) * difference / np.where(total == 0.0, nan, total)
    return HalfSetFigures(n_pairs=n, cc_half=cc, cc_star=star, r_split=split)


@dataclass(frozen=True, eq=False, slots=True)
class ShellCounts:
    """What a merged list says of itself, for each shell and, as the last value, overall."""

    n_reflections: NDArray[np.int64]
    """Reflections, int64[n_shells + 1]."""
    n_possible: NDArray[np.int64]
    """Reflections that are possible, int64[n_shells + 1]."""
    n_measured: NDArray[np.int64]
    """Measurements, int64[n_shells + 1]."""
    snr: FloatArray
    """Mean of I/σ where that is finite, float64[n_shells + 1]."""
    intensity: FloatArray
    """Mean intensity, float64[n_shells + 1]."""

    @property
    def completeness(self) -> FloatArray:
        """Part of the possible reflections, float64[n_shells + 1]; NaN where none is possible."""
        return _ratios(self.n_reflections, self.n_possible)

    @property
    def redundancy(self) -> FloatArray:
        """Mean number of measurements, float64[n_shells + 1]."""
        return _ratios(self.n_measured, self.n_reflections)


def shell_counts(
    intensity: FloatArray,
    sigma: FloatArray,
    n_measured: NDArray[np.integer],
    *,
    shell: NDArray[np.integer],
    n_possible: NDArray[np.integer],
) -> ShellCounts:
    """Count the reflections of a merged list by shell.

    Parameters
    ----------
    intensity, sigma : float64[n]
        Of each reflection.
    n_measured : int[n]
        How many measurements each has.
    shell : int[n]
        Number of the shell of each, from 0.
    n_possible : int[n_shells]
        How many reflections are possible in each shell.
    """
    n_shells = len(n_possible)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = intensity / sigma
    known = np.isfinite(ratio)
    n = _with_total(np.bincount(shell, minlength=n_shells))
    n_known = _with_total(np.bincount(shell[known], minlength=n_shells))
    return ShellCounts(
        n_reflections=n.astype(np.int64),
        n_possible=_with_total(np.asarray(n_possible)).astype(np.int64),
        n_measured=np.rint(_with_total(np.bincount(shell, n_measured, n_shells))).astype(np.int64),
        snr=_ratios(_with_total(np.bincount(shell[known], ratio[known], n_shells)), n_known),
        intensity=_ratios(_with_total(np.bincount(shell, intensity, n_shells)), n),
    )


def _with_total(values: NDArray) -> NDArray:
    return np.append(values, values.sum())


def _ratio(number: float, divisor: float) -> float:
    return number / divisor if divisor else nan


def _ratios(numbers: NDArray, divisors: NDArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(divisors) == 0, nan, numbers / divisors).astype(np.float64)
