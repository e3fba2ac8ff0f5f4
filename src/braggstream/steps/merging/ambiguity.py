"""Indexing ambiguities: which crystals of a set are indexed the other way (`ambigator`).

The problem is solved twice, on two halves of the reflections: only where both give the same answer there is one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ambiguity import FEWEST, add_chosen, add_pairs, correlate_choices, take_pairs
from braggstream.steps.merging.ambiguity_data import ComparableReflections, sums_of
from braggstream.steps.merging.indexing_choices import (
    ALL,
    LEAST_AGREEMENT,
    ChoiceObservations,
    agreement_of_halves,
    find_labels,
)

FloatArray = NDArray[np.float64]
Labels = NDArray[np.bool_]


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
        For the beginning.
    n_passes
        In each pass every crystal is compared with all others, and changes where that fits better.
    start
        Labels to begin the passes with, bool[n_crystals]; the leading vector where they are not given.
    """
    compared = _Comparisons(data)
    agreement = agreement_of_halves(compared, rng)
    first = find_labels(compared, ALL, rng) == 1 if start is None else start
    labels, passes = _passed(compared, first, n_passes)
    is_labelled = np.diff(data.start) >= FEWEST
    if passes:
        is_labelled &= np.isfinite(passes[-1][0]) & np.isfinite(passes[-1][1])
    if start is None and agreement < LEAST_AGREEMENT:
        labels = np.zeros_like(labels)
    elif start is None and compared.is_swap and labels[is_labelled].mean() > 0.5:
        # Either way of indexing is as good: as many crystals as possible stay as they are.
        labels = ~labels
    return Resolution(
        labels=labels & is_labelled, is_labelled=is_labelled, agreement=agreement, passes=tuple(passes)
    )


def _passed(
    compared: "_Comparisons", labels: Labels, n_passes: int
) -> tuple[Labels, list[tuple[FloatArray, FloatArray]]]:
    """Compare every crystal with all others, both ways, and change labels; gives f and g of each pass."""
    passes = []
    for _ in range(n_passes):
        found = compared.correlations(ALL, labels.astype(np.int64))
        f, g = np.where(labels, found[:, 1], found[:, 0]), np.where(labels, found[:, 0], found[:, 1])
        passes.append((f, g))
        labels = labels ^ (f < g)
    return labels, passes


class _Comparisons:
    """Crystals in one piece; implements `indexing_choices.Comparisons`."""

    n_choices = 2

    def __init__(self, data: ComparableReflections) -> None:
        self._start, self._n_reflections = data.start, data.n_reflections
        self._all = ChoiceObservations.of(data.images, *data.observed)
        self._entry = _entries(data)
        self.n_crystals = data.n_crystals
        self.is_swap = data.is_involution or not data.has_operator

    def pairs(self, half: int, vector: FloatArray) -> FloatArray:
        pairs = np.zeros(self._n_reflections)
        add_pairs(self._start, self._all.images, self._entry * self._all.weights(half), vector, pairs)
        return pairs

    def agreements(self, half: int, vector: FloatArray, pairs: FloatArray) -> FloatArray:
        found = vector.copy()
        take_pairs(self._start, self._all.images, self._entry * self._all.weights(half), found, pairs)
        return found

    def correlations(self, half: int, labels: NDArray[np.int64]) -> FloatArray:
        sums, found = np.zeros((self._n_reflections, 3)), np.empty((self.n_crystals, 2))
        observed = self._all.observed(half)
        add_chosen(self._start, self._all.images, observed, labels, sums)
        correlate_choices(self._start, self._all.images, observed, labels, sums, found)
        return found


def _entries(data: ComparableReflections) -> NDArray[np.float32]:
    """What counts in the leading vector, but for the weights, float32[n]."""
    value, weight = data.observed
    if not data.has_operator:
        # Without a mate that a reflection could be stronger than, it may be stronger than in the other crystals.
        weights = sums_of(data.images[0], weight, len(data.hkl))
        mean = sums_of(data.images[0], value * weight, len(data.hkl)) / np.where(weights > 0.0, weights, 1.0)
        value = value - mean[data.images[0]]
    return np.asarray(value, np.float32)
