"""Indexing ambiguities: which crystals of a set are indexed the other way (`ambigator`).

Brehm & Diederichs (2014), Acta Cryst. D70, 101 (doi:10.1107/S1399004713025431) compare all pairs of crystals.  Here
the leading vector of their matrix of similarities is found by power iteration without the matrix itself, so the
cost grows with the number of observations.  The problem is solved twice, on two halves of the reflections: only
where both give the same answer there is one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.steps.merging.ambiguity_data import ComparableReflections, sums_of

FloatArray = NDArray[np.float64]
Labels = NDArray[np.bool_]

LEAST_AGREEMENT = 0.9
"""Part of the crystals that both halves must label alike for the labels to be believed."""
N_ROUNDS = 30
"""Power iterations."""
N_STARTS = 6
"""Random beginnings where an operator is not its own inverse, and there is no leading vector."""
FEWEST_REFLECTIONS = 4
"""A crystal with fewer that can decide has no label."""
MOST_FOR_VECTOR = 20_000
"""Of more crystals a random part is resolved first, and the others are compared with it."""


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
    first = _first_crystals(data.n_crystals, rng)
    some = data if first.all() else data.take(first[data.crystal])
    agreement = _agreement_of_halves(some, rng)
    if start is None:
        n_passes = n_passes if first.all() else max(1, n_passes)
        labels, passes = _passed(data, _first_labels(some, rng), n_passes, known=first)
    else:
        labels, passes = _passed(data, start, n_passes)
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


def _first_crystals(n_crystals: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose the crystals to begin with, bool[n_crystals]."""
    chosen = np.ones(n_crystals, np.bool_)
    if n_crystals > MOST_FOR_VECTOR:
        chosen[rng.permutation(n_crystals)[MOST_FOR_VECTOR:]] = False
    return chosen


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
        mean = sums_of(column, data.value * data.weight, len(data.hkl)) / _at_least_one_weight(data)
        entry = (data.value - mean[column]) * data.weight
    diagonal = sums_of(data.crystal, entry**2, data.n_crystals)
    vector = rng.choice((-1.0, 1.0), data.n_crystals)
    for _ in range(N_ROUNDS):
        difference = sums_of(column, entry * vector[data.crystal], len(data.hkl))
        vector = sums_of(data.crystal, entry * difference[column], data.n_crystals) - diagonal * vector
        present = np.abs(vector[vector != 0.0])
        if not len(present):
            return vector
        # A few crystals with strong reflections must not be all there is.
        middle = float(np.median(present))
        vector = np.clip(vector / middle, -3.0, 3.0)
    return vector


def _passed(
    data: ComparableReflections, labels: Labels, n_passes: int, known: NDArray[np.bool_] | None = None
) -> tuple[Labels, list[tuple[FloatArray, FloatArray]]]:
    """Compare every crystal with all others, both ways, and change labels; gives f and g of each pass.

    In the first pass they are compared with the crystals that `known` names, bool[n_crystals], all without it.
    """
    n_members = len(data.hkl)
    labels, passes = labels.copy(), []
    for number in range(n_passes):
        weight = data.weight
        if number == 0 and known is not None and not known.all():
            weight = weight * known[data.crystal]
        weighted = data.value * weight
        flipped = labels[data.crystal]
        if data.has_operator:
            own, other = np.where(flipped, data.mate, data.member), np.where(flipped, data.member, data.mate)
        else:
            own, other = data.member + n_members * flipped, data.member + n_members * ~flipped
        total = sums_of(own, weighted, 2 * n_members)
        weights = sums_of(own, weight, 2 * n_members)
        f = _correlations(data, total[own] - weighted, weights[own] - weight)
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
        norm = sums_of(crystal, w, n)
        x_mean, y_mean = sums_of(crystal, w * x, n) / norm, sums_of(crystal, w * y, n) / norm
        dx, dy = x - x_mean[crystal], y - y_mean[crystal]
        variances = sums_of(crystal, w * dx * dx, n) * sums_of(crystal, w * dy * dy, n)
        found = sums_of(crystal, w * dx * dy, n) / np.sqrt(variances)
    return np.where((number >= FEWEST_REFLECTIONS) & (variances > 0.0), found, np.nan)


def _at_least_one_weight(data: ComparableReflections) -> FloatArray:
    weights = sums_of(data.member, data.weight, len(data.hkl))
    return np.where(weights > 0.0, weights, 1.0)
