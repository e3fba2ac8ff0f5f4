"""Figures of merit of the running mean: what `check_hkl` and `compare_hkl` would say of its lists."""

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.possible import list_possible
from braggstream.model.cell import CENTRINGS, UnitCell
from braggstream.model.finite import finite_or_none
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.comparison import MatchedLists, fitted_scale, scaled
from braggstream.steps.merging.figures import HalfSetFigures, ShellCounts, half_set_figures, shell_counts
from braggstream.steps.merging.list_check import ON_LIMIT
from braggstream.steps.merging.live_merge import LiveMerge
from braggstream.steps.merging.live_sums import ALL
from braggstream.steps.merging.shells import Shells, inverse_d_of

FloatArray = NDArray[np.float64]

MARGIN = 1.05
"""The possible reflections are listed this much further out than asked for."""
MOST_POINTS = 1e8
"""Lattice points that are gone through; what lies further out is not counted as possible."""
FEWEST_PAIRS = 10
"""With fewer pairs there is no correlation worth telling."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureLimits:
    """Between which resolutions, in how many shells, of which reflections."""

    low: float | None = None
    """Lowest 1/d [Å⁻¹]; None = that of the data."""
    high: float | None = None
    """Highest 1/d [Å⁻¹]; None = that of the data."""
    n_shells: int = 10
    least: int = 2
    """Fewest measurements of a reflection, in each list."""


class PossibleReflections:
    """1/d of the reflections that a cell and a point group allow, listed as far as was asked for."""

    def __init__(self, cell: UnitCell, group: PointGroup) -> None:
        self._cell, self._group = cell, group
        self._reach = 0.0
        self._inverse_d = np.empty(0)

    def between(self, low: float, high: float) -> FloatArray:
        """1/d of those with low < 1/d <= high, ascending [Å⁻¹]; beyond what can be listed there are none."""
        if high > self._reach and self._volume_of(high) <= MOST_POINTS:
            self._reach = high * min(MARGIN, (MOST_POINTS / self._volume_of(high)) ** (1.0 / 3.0))
            self._inverse_d = np.sort(inverse_d_of(self._listed(), self._cell))
        first, stop = np.searchsorted(self._inverse_d, (low, high), side="right")
        return self._inverse_d[first:stop]

    def _volume_of(self, reach: float) -> float:
        """Lattice points within a sphere."""
        return 4.0 / 3.0 * pi * reach**3 * self._cell.volume

    def _listed(self) -> NDArray[np.int32]:
        reach = self._reach * (1.0 + ON_LIMIT)
        axes, operators = self._cell.reciprocal_axes(), self._group.operators
        most = np.floor(reach * np.array(self._cell.parameters[:3])).astype(np.int64)
        centring = CENTRINGS.index(self._cell.centring)
        room = int(self._volume_of(reach) / len(operators) * 1.5) + 1000
        while True:
            found = np.empty((room, 3), np.int32)
            n = list_possible(operators, axes, most, reach, centring, found)
            if n <= room:
                return found[:n]
            room = n


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class LiveFigures:
    """Figures by shell and, as the last value of each, overall."""

    shells: Shells
    counts: ShellCounts
    n_seen: NDArray[np.int64]
    """Reflections with at least one measurement, int64[n_shells + 1]."""
    halves: HalfSetFigures

    @property
    def overall(self) -> dict[str, float | int | None]:
        """The overall figures as plain values."""
        return self.row(-1)

    def row(self, shell: int) -> dict[str, float | int | None]:
        """The figures of a shell as plain values; None for what is not defined."""
        counts, halves = self.counts, self.halves
        return {
            "reflections": int(counts.n_reflections[shell]),
            "possible": int(counts.n_possible[shell]),
            "completeness": finite_or_none(counts.completeness[shell]),
            "completeness_of_seen": finite_or_none(self.n_seen[shell] / max(counts.n_possible[shell], 1)),
            "measurements": int(counts.n_measured[shell]),
            "multiplicity": finite_or_none(counts.redundancy[shell]),
            "snr": finite_or_none(counts.snr[shell]),
            "mean_intensity": finite_or_none(counts.intensity[shell]),
            "pairs": int(halves.n_pairs[shell]),
            "r_split": finite_or_none(halves.r_split[shell]),
            "cc_half": finite_or_none(halves.cc_half[shell]),
            "cc_star": finite_or_none(halves.cc_star[shell]),
        }

    def table(self) -> list[dict[str, Any]]:
        """The figures by shell, with the shells' limits."""
        edges = self.shells.edges
        return [
            {
                "low_inverse_nm": 10.0 * float(edges[shell]),
                "high_inverse_nm": 10.0 * float(edges[shell + 1]),
                "high_angstrom": 1.0 / float(edges[shell + 1]),
                **self.row(shell),
            }
            for shell in range(len(self.shells))
        ]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Difference:
    """How two groups differ, by shell and, as the last value of each, overall."""

    shells: Shells
    n_pairs: NDArray[np.int64]
    r_iso: FloatArray
    """Σ|I₁ - I₂| / Σ½(I₁ + I₂)."""
    cc_iso: FloatArray
    significance: FloatArray
    """Mean of |I₁ - I₂| / √(σ₁² + σ₂²)."""

    def row(self, shell: int) -> dict[str, float | int | None]:
        """The figures of a shell as plain values."""
        return {
            "pairs": int(self.n_pairs[shell]),
            "r_iso": finite_or_none(self.r_iso[shell]),
            "cc_iso": finite_or_none(self.cc_iso[shell]),
            "mean_difference_over_sigma": finite_or_none(self.significance[shell]),
        }

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        edges = self.shells.edges
        rows: list[dict[str, Any]] = [
            {
                "low_inverse_nm": 10.0 * float(edges[shell]),
                "high_inverse_nm": 10.0 * float(edges[shell + 1]),
                **self.row(shell),
            }
            for shell in range(len(self.shells))
        ]
        return {"overall": self.row(-1), "shells": rows}


def live_figures(
    merge: LiveMerge, limits: FigureLimits, possible: PossibleReflections, group: str = ALL
) -> LiveFigures | None:
    """Compute the figures of all crystals or of a group; None where nothing is merged yet."""
    merged, inverse_d = merge.merged(group), merge.sums.inverse_d
    listed = _listed(merged, limits)
    if not listed.any():
        return None
    shells = _shells(inverse_d[listed], limits)
    numbers, within = shells.numbers(inverse_d), _within(inverse_d, shells)
    listed &= within
    n_measured, intensity, sigma = merged[listed].T
    counts = shell_counts(
        intensity,
        sigma,
        n_measured.astype(np.int64),
        shell=numbers[listed],
        n_possible=_n_possible(possible, shells, limits),
    )
    n_seen = np.bincount(numbers[(merged[:, 0] > 0) & within], minlength=limits.n_shells)
    one, other = (merge.merged(group, half) for half in (0, 1))
    pairs = _listed(one, limits) & _listed(other, limits) & within
    matched = matched_pairs(merge, one, other, pairs)
    halves = half_set_figures(matched.intensity_1, matched.intensity_2, numbers[pairs], limits.n_shells)
    return LiveFigures(shells=shells, counts=counts, n_seen=np.append(n_seen, n_seen.sum()), halves=halves)


def _n_possible(possible: PossibleReflections, shells: Shells, limits: FigureLimits) -> NDArray[np.int64]:
    """Count possible reflections by shell, int64[n_shells], as `check_hkl` does."""
    edges = shells.edges.copy()
    if limits.low is not None:
        edges[0] *= 1.0 - ON_LIMIT
    candidates = possible.between(float(edges[0]), float(edges[-1]))
    return np.diff(np.searchsorted(candidates, edges, side="right"))


def matched_pairs(merge: LiveMerge, one: FloatArray, other: FloatArray, chosen: NDArray[np.bool_]) -> MatchedLists:
    """Pair the chosen rows of two merges, both on the scale of the first, as `compare_hkl` does it."""
    _, intensity_1, sigma_1 = one[chosen].T
    _, intensity_2, sigma_2 = other[chosen].T
    matched = MatchedLists(
        hkl=merge.sums.members[chosen],
        inverse_d=merge.sums.inverse_d[chosen],
        intensity_1=intensity_1,
        sigma_1=sigma_1,
        intensity_2=intensity_2,
        sigma_2=sigma_2,
    )
    n_positive = np.count_nonzero((intensity_1 > 0.0) & (intensity_2 > 0.0))
    return scaled(matched, *fitted_scale(matched)) if n_positive >= FEWEST_PAIRS else matched


def pairs_between(merge: LiveMerge, low: float, high: float, limits: FigureLimits) -> MatchedLists:
    """Pair the half sets between two 1/d [Å⁻¹], both on the scale of the first."""
    one, other, inverse_d = merge.merged(half=0), merge.merged(half=1), merge.sums.inverse_d
    chosen = _listed(one, limits) & _listed(other, limits) & (inverse_d > low) & (inverse_d <= high)
    return matched_pairs(merge, one, other, chosen)


def group_difference(merge: LiveMerge, limits: FigureLimits, one: str, other: str) -> Difference | None:
    """Compare two groups; None where they have too little in common."""
    first, second = merge.merged(one), merge.merged(other)
    both = _listed(first, limits) & _listed(second, limits)
    if np.count_nonzero(both) < FEWEST_PAIRS:
        return None
    shells = _shells(merge.sums.inverse_d[both], limits)
    matched = matched_pairs(merge, first, second, both & _within(merge.sums.inverse_d, shells))
    numbers, n_shells = shells.numbers(matched.inverse_d), limits.n_shells
    x, y = matched.intensity_1, matched.intensity_2
    figures = half_set_figures(x, y, numbers, n_shells)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(x - y) / np.hypot(matched.sigma_1, matched.sigma_2)
        known = np.isfinite(ratio)
        sums = np.bincount(numbers[known], ratio[known], n_shells)
        n = np.bincount(numbers[known], minlength=n_shells)
        significance = np.append(sums, sums.sum()) / np.append(n, n.sum())
    return Difference(
        shells=shells,
        n_pairs=figures.n_pairs,
        r_iso=np.sqrt(2.0) * figures.r_split,  # Rsplit is the same sum over √2 times the mean.
        cc_iso=figures.cc_half,
        significance=significance,
    )


def _listed(merged: FloatArray, limits: FigureLimits) -> NDArray[np.bool_]:
    """Rows that would be in a list."""
    return (merged[:, 0] >= max(limits.least, 1)) & np.isfinite(merged[:, 1]) & np.isfinite(merged[:, 2])


def _within(inverse_d: FloatArray, shells: Shells) -> NDArray[np.bool_]:
    return (inverse_d >= shells.edges[0]) & (inverse_d <= shells.edges[-1])


def _shells(inverse_d: FloatArray, limits: FigureLimits) -> Shells:
    """Shells between the limits that were asked for, else between the outermost reflections."""
    high = limits.high if limits.high is not None else float(inverse_d.max())
    low = limits.low if limits.low is not None else float(inverse_d.min())
    return Shells.of_equal_volume(min(low, high), high, limits.n_shells)
