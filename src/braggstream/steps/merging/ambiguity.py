"""Indexing ambiguities: which crystals of a set are indexed the other way (`ambigator`).

Brehm & Diederichs (2014), Acta Cryst. D70, 101 (doi:10.1107/S1399004713025431) compare all pairs of crystals.  Here
the leading vector of their matrix of similarities is found by power iteration without the matrix itself, so the
cost grows with the number of observations.  The problem is solved twice, on two halves of the reflections: only
where both give the same answer there is one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.observations import Observations
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.matching import index_keys
from braggstream.steps.merging.shells import Shells

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Labels = NDArray[np.bool_]

LEAST_AGREEMENT = 0.9
"""Part of the crystals that both halves must label alike for the labels to be believed."""
N_ROUNDS = 30
"""Power iterations."""
N_STARTS = 6
"""Random beginnings where an operator is not its own inverse, and there is no leading vector."""
FEWEST_REFLECTIONS = 4
"""A crystal with fewer that can decide has no label."""
N_SHELLS = 20
LOWEST, HIGHEST = -1.0, 4.0
"""Normalised intensities beyond are cut off: single strong reflections would decide alone."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ComparableReflections:
    """What crystals have measured of reflections that can decide, as columns of equal length."""

    n_crystals: int
    crystal: IntArray
    """Number of the crystal, int64[n]."""
    member: IntArray
    """Number of the unique reflection as it was indexed, int64[n]."""
    mate: IntArray
    """Number of the unique reflection after reindexing, int64[n]; that of `member` where no operator is known."""
    value: FloatArray
    """Intensity in units of the mean at its resolution and in its crystal, less the crystal's mean, float64[n]."""
    weight: FloatArray
    """float64[n]"""
    hkl: NDArray[np.int32]
    """Indices of the unique reflections, int32[n_members, 3]."""
    has_operator: bool
    is_involution: bool
    """Whether reindexing twice changes nothing."""

    def take(self, index: NDArray) -> "ComparableReflections":
        """Select observations by a boolean array."""
        columns = ("crystal", "member", "mate", "value", "weight")
        return replace(self, **{name: getattr(self, name)[index] for name in columns})


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Resolution:
    """The answer for a set of crystals."""

    labels: Labels
    """Which crystals are to be reindexed, bool[n_crystals]; none where the answer is not to be believed."""
    is_labelled: NDArray[np.bool_]
    """Which crystals have reflections enough to be told, bool[n_crystals]."""
    agreement: float
    """Part of the crystals that two halves of the reflections label alike: 1 is sure, 0.5 is chance."""
    passes: tuple[tuple[FloatArray, FloatArray], ...]
    """For each pass, f and g of each crystal, float64[n_crystals]: its correlation with the others as it is, and
    indexed the other way."""

    @property
    def is_resolved(self) -> bool:
        """Whether the labels are to be believed."""
        return self.agreement >= LEAST_AGREEMENT


def comparable_reflections(
    blocks: Iterable[Observations],
    group: PointGroup,
    operator: NDArray[np.integer] | None,
    *,
    low: float = 0.0,
    high: float = np.inf,
) -> ComparableReflections:
    """Take the observations that can decide, equivalent ones of a crystal averaged.

    Parameters
    ----------
    blocks
        The crystals, in blocks.
    group
        Their true symmetry.
    operator
        hkl · operator is the other way of indexing, int[3, 3]; None where it is not known.
    low, high
        Limits as 1/d [Å⁻¹].

    Raises
    ------
    UserError
        No observation can decide.
    """
    parts = [_averaged(block, group, low, high) for block in blocks]
    n_crystals = sum(part[0] for part in parts)
    if not parts or not sum(len(part[1]) for part in parts):
        raise UserError("no reflections within the limits: nothing can be told")
    offsets = np.cumsum([0, *(part[0] for part in parts[:-1])])
    crystal = np.concatenate([part[1] + offset for part, offset in zip(parts, offsets, strict=True)])
    hkl, inverse_d, intensity, sigma = (np.concatenate([part[n] for part in parts]) for n in (2, 3, 4, 5))
    own_keys = index_keys(hkl)
    mates = hkl if operator is None else group.asymmetric(hkl @ np.asarray(operator, np.int32))
    decides = np.ones(len(hkl), np.bool_) if operator is None else own_keys != index_keys(mates)
    if not decides.any():
        raise UserError("the operator changes no reflection to one that is not equivalent: there is no ambiguity")
    value, weight = _normalised(crystal, inverse_d, intensity, sigma, n_crystals)
    keys, mate_keys = own_keys[decides], index_keys(mates)[decides]
    known, first = np.unique(np.concatenate([keys, mate_keys]), return_index=True)
    unique_hkl = np.concatenate([hkl[decides], mates[decides]])[first]
    again = unique_hkl if operator is None else unique_hkl @ np.asarray(operator @ operator, np.int32)
    return ComparableReflections(
        n_crystals=n_crystals,
        crystal=crystal[decides],
        member=np.searchsorted(known, keys),
        mate=np.searchsorted(known, mate_keys),
        value=value[decides],
        weight=weight[decides],
        hkl=unique_hkl,
        has_operator=operator is not None,
        is_involution=bool(np.array_equal(group.asymmetric(again), unique_hkl)),
    )


def resolve_ambiguity(
    data: ComparableReflections,
    rng: np.random.Generator,
    *,
    n_passes: int = 6,
    start: Labels | None = None,
) -> Resolution:
    """Tell which crystals are indexed the other way.

    Parameters
    ----------
    data
        What they have measured.
    rng
        For the beginning, and for the two halves.
    n_passes
        In each pass every crystal is compared with all others, and changes where that fits better.
    start
        Labels to begin the passes with, bool[n_crystals]; the leading vector where they are not given.
    """
    enough = np.bincount(data.crystal, minlength=data.n_crystals) >= FEWEST_REFLECTIONS
    agreement = _agreement_of_halves(data, rng)
    labels = _first_labels(data, rng) if start is None else start
    labels, passes = _passed(data, labels, n_passes)
    is_labelled = enough.copy()
    if passes:
        is_labelled &= np.isfinite(passes[-1][0]) & np.isfinite(passes[-1][1])
    if agreement < LEAST_AGREEMENT and start is None:
        labels = np.zeros_like(labels)
    elif start is None and labels[is_labelled].mean() > 0.5:
        # Either way of indexing is as good: as many crystals as possible stay as they are.
        labels = ~labels
    labels = labels & is_labelled
    return Resolution(labels=labels, is_labelled=is_labelled, agreement=agreement, passes=tuple(passes))


def _agreement_of_halves(data: ComparableReflections, rng: np.random.Generator) -> float:
    """Part of the crystals that two random halves of the reflections label alike; 0.5 where nothing can be told."""
    # Mates go to the same half: together they make one comparison.
    half = rng.random(len(data.hkl)) < 0.5
    in_first = half[np.minimum(data.member, data.mate)]
    labels, told = [], np.ones(data.n_crystals, np.bool_)
    for part in (data.take(in_first), data.take(~in_first)):
        told &= np.bincount(part.crystal, minlength=data.n_crystals) >= FEWEST_REFLECTIONS
        labels.append(_passed(part, _first_labels(part, rng), 2)[0])
    if told.sum() < 2:
        return 0.5
    alike = float((labels[0][told] == labels[1][told]).mean())
    return max(alike, 1.0 - alike)


def _first_labels(data: ComparableReflections, rng: np.random.Generator) -> Labels:
    """Label the crystals, without any labels to begin with."""
    if data.is_involution:
        return _leading_vector(data, rng) < 0.0
    tries = [_passed(data, rng.random(data.n_crystals) < 0.5, 10) for _ in range(N_STARTS)]
    best = max(tries, key=lambda found: float(np.nansum(found[1][-1][0])))
    return best[0]


def _leading_vector(data: ComparableReflections, rng: np.random.Generator) -> FloatArray:
    """Leading vector of the crystals' similarities, float64[n_crystals]: its signs are the labels."""
    if data.has_operator:
        # What counts is by how much a reflection is stronger than its mate.
        column = np.minimum(data.member, data.mate)
        entry = np.where(data.member < data.mate, 1.0, -1.0) * data.value * data.weight
    else:
        column = data.member
        mean = _sums(column, data.value * data.weight, len(data.hkl)) / _at_least_one_weight(data)
        entry = (data.value - mean[column]) * data.weight
    diagonal = _sums(data.crystal, entry**2, data.n_crystals)
    vector = rng.choice((-1.0, 1.0), data.n_crystals)
    for _ in range(N_ROUNDS):
        difference = _sums(column, entry * vector[data.crystal], len(data.hkl))
        vector = _sums(data.crystal, entry * difference[column], data.n_crystals) - diagonal * vector
        present = np.abs(vector[vector != 0.0])
        if not len(present):
            return vector
        # A few crystals with strong reflections must not be all there is.
        middle = float(np.median(present))
        vector = np.clip(vector / middle, -3.0, 3.0)
    return vector


def _passed(
    data: ComparableReflections, labels: Labels, n_passes: int
) -> tuple[Labels, list[tuple[FloatArray, FloatArray]]]:
    """Compare every crystal with all others, both ways, and change labels; gives f and g of each pass."""
    n_members = len(data.hkl)
    labels, passes = labels.copy(), []
    weighted = data.value * data.weight
    for _ in range(n_passes):
        flipped = labels[data.crystal]
        if data.has_operator:
            own, other = np.where(flipped, data.mate, data.member), np.where(flipped, data.member, data.mate)
        else:
            own, other = data.member + n_members * flipped, data.member + n_members * ~flipped
        total = _sums(own, weighted, 2 * n_members)
        weights = _sums(own, data.weight, 2 * n_members)
        f = _correlations(data, total[own] - weighted, weights[own] - data.weight)
        g = _correlations(data, total[other], weights[other])
        passes.append((f, g))
        labels = labels ^ (f < g)
    return labels, passes


def _correlations(data: ComparableReflections, total: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted correlation of each crystal with the mean of others, float64[n_crystals]; NaN where it has none."""
    known = weights > 1e-9
    crystal, x, n = data.crystal[known], data.value[known], data.n_crystals
    y, w = total[known] / weights[known], data.weight[known]
    number = np.bincount(crystal, minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        norm = _sums(crystal, w, n)
        x_mean, y_mean = _sums(crystal, w * x, n) / norm, _sums(crystal, w * y, n) / norm
        dx, dy = x - x_mean[crystal], y - y_mean[crystal]
        variances = _sums(crystal, w * dx * dx, n) * _sums(crystal, w * dy * dy, n)
        found = _sums(crystal, w * dx * dy, n) / np.sqrt(variances)
    return np.where((number >= FEWEST_REFLECTIONS) & (variances > 0.0), found, np.nan)


def _averaged(
    block: Observations, group: PointGroup, low: float, high: float
) -> tuple[int, IntArray, NDArray[np.int32], FloatArray, FloatArray, FloatArray]:
    """Average the equivalent observations of each crystal of a block.

    Gives the number of crystals; for each average the crystal, hkl, 1/d [Å⁻¹], intensity and its error.
    """
    crystal = block.crystal.astype(np.int64)
    vectors = np.einsum("ni,nij->nj", block.hkl.astype(np.float64), block.crystals.reciprocal_axes[crystal])
    inverse_d = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    kept = (inverse_d >= low) & (inverse_d <= high) & np.isfinite(block.intensity) & np.isfinite(block.sigma)
    crystal, inverse_d = crystal[kept], inverse_d[kept]
    hkl = group.asymmetric(block.hkl[kept])
    order = np.lexsort((index_keys(hkl), crystal))
    crystal, hkl, inverse_d = crystal[order], hkl[order], inverse_d[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (np.diff(crystal) != 0) | (hkl[1:] != hkl[:-1]).any(axis=1)
    number = np.cumsum(is_new) - 1
    n = np.bincount(number)
    intensity = np.bincount(number, block.intensity[kept][order]) / np.maximum(n, 1)
    sigma = np.sqrt(np.bincount(number, block.sigma[kept][order].astype(np.float64) ** 2)) / np.maximum(n, 1)
    first = np.flatnonzero(is_new)
    return block.n_crystals, crystal[first], hkl[first], inverse_d[first], intensity, sigma


def _normalised(
    crystal: IntArray, inverse_d: FloatArray, intensity: FloatArray, sigma: FloatArray, n_crystals: int
) -> tuple[FloatArray, FloatArray]:
    """Bring intensities of all resolutions and crystals to one scale; gives them and their weights."""
    shells = Shells.of_equal_volume(float(inverse_d.min()), float(inverse_d.max()), N_SHELLS)
    shell = shells.numbers(inverse_d)
    of_shell = _means(shell, intensity, N_SHELLS)[shell]
    value, error = intensity / of_shell, sigma / of_shell
    of_crystal = _means(crystal, value, n_crystals)[crystal]
    value, error = np.clip(value / of_crystal, LOWEST, HIGHEST), error / of_crystal
    return value - _means(crystal, value, n_crystals, least=-np.inf)[crystal], 1.0 / (error**2 + 1.0)


def _means(number: NDArray, values: FloatArray, n: int, least: float = 1e-6) -> FloatArray:
    """Mean of each group, float64[n]; what is not above `least` is no scale and becomes the smallest that is."""
    means = _sums(number, values, n) / np.maximum(np.bincount(number, minlength=n), 1)
    usable = means[means > least]
    return np.maximum(means, usable.min() if len(usable) else 1.0)


def _at_least_one_weight(data: ComparableReflections) -> FloatArray:
    weights = _sums(data.member, data.weight, len(data.hkl))
    return np.where(weights > 0.0, weights, 1.0)


def _sums(number: NDArray, values: FloatArray, n: int) -> FloatArray:
    return np.asarray(np.bincount(number, weights=values, minlength=n), np.float64)
