"""Which of several ways of indexing each crystal was given, told by how well it agrees with the others.

Brehm & Diederichs (2014), Acta Cryst. D70, 101 (doi:10.1107/S1399004713025431) compare all pairs of crystals.  Here
each is compared with the mean of the others, so the cost grows with the number of observations.  `partialator` does
so with blocks that may lie on other machines, before it scales; `ambigator` with averages in one piece, and told in
passes: what the two have in common is here.  While frames arrive, `live_ambiguity` does it in its own way: there is
a running mean, and crystals can wait.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Labels = NDArray[np.int64]

LEAST_AGREEMENT = 0.9
"""Part of the crystals that both halves of the reflections must label alike for the labels to be believed."""
UNKNOWN = -1
"""Label of a crystal that does not count."""
ALL = 2
"""All reflections; 0 and 1 are halves of them."""
N_POWER_ROUNDS = 30
N_ROUNDS = 15
N_STARTS = 10
N_FIRST = 2048
"""Crystals from which the choices are found where there is no leading vector; the others follow."""
MOST_LABELS = 6


class Comparisons(Protocol):
    """Compares crystals over all reflections (`ALL`) or over half of them (0, 1)."""

    n_crystals: int
    n_choices: int
    is_swap: bool
    """Whether there are two choices, either of which turns into the other."""

    def pairs(self, half: int, vector: FloatArray) -> FloatArray:
        """Add up the crystals, by weights float64[n], to differences within pairs of reflections."""
        ...

    def agreements(self, half: int, vector: FloatArray, pairs: FloatArray) -> FloatArray:
        """Give each crystal's agreement with the differences of all others, float64[n]."""
        ...

    def correlations(self, half: int, labels: Labels) -> FloatArray:
        """Correlate each crystal, in each choice, with the mean of the others, float64[n, n_choices].

        NaN where too few reflections can be compared.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ChoiceObservations:
    """What crystals have measured, as the kernels want it."""

    images: NDArray[np.int32]
    """Unique reflection of each observation in each choice, int32[n_choices, m]."""
    value: NDArray[np.float32]
    """Normalised intensity, float32[m]."""
    weight: NDArray[np.float32]
    """0 where the choices make no difference, float32[m]."""
    half: NDArray[np.uint8]
    """Half that it belongs to, with all observations of the reflections that a swap exchanges, uint8[m]."""

    @classmethod
    def of(
        cls, images: NDArray[np.int32], value: NDArray[np.floating], weight: NDArray[np.floating]
    ) -> "ChoiceObservations":
        """Leave out what cannot tell choices apart, and divide the rest into halves."""
        tells = (images[1:] != images[0]).any(axis=0)
        mixed = images.min(axis=0).astype(np.int64) * 2654435761
        return cls(
            images=images,
            value=np.asarray(value, np.float32),
            weight=np.asarray(weight * tells, np.float32),
            half=(mixed >> 13 & 1).astype(np.uint8),
        )

    def weights(self, half: int) -> NDArray[np.float32]:
        """Give the weights in a half of the reflections, float32[m]."""
        return self.weight if half == ALL else self.weight * (self.half == half)

    def observed(self, half: int) -> NDArray[np.float32]:
        """Give values and weights, float32[2, m]."""
        return np.array([self.value, self.weights(half)], np.float32)


def find_labels(compared: Comparisons, half: int, random: np.random.Generator) -> Labels:
    """Find the choice of each crystal from nothing but the agreement between them, int64[n]."""
    if compared.is_swap:
        return (_leading_vector(compared, half, random) < 0.0).astype(np.int64)
    n, best, found = compared.n_crystals, -np.inf, np.zeros(compared.n_crystals, np.int64)
    among = np.arange(n) < N_FIRST
    for _ in range(N_STARTS):
        start = np.where(among, random.integers(0, compared.n_choices, n), UNKNOWN)
        labels = polished(compared, start, half)
        score = float(_known(compared.correlations(half, labels))[among].max(axis=1).sum())
        if score > best:
            best, found = score, labels
    return best_choices(compared.correlations(half, found))


def polished(compared: Comparisons, labels: Labels, half: int) -> Labels:
    """Let every crystal that has a label take the choice that agrees best with the others, until none changes."""
    for _ in range(N_ROUNDS):
        better = np.where(labels == UNKNOWN, UNKNOWN, best_choices(compared.correlations(half, labels)))
        if np.array_equal(better, labels):
            break
        labels = better
    return labels


def best_choices(correlations: FloatArray) -> Labels:
    """Give the choice with the highest correlation, int64[n]; 0 where none is known."""
    return np.asarray(_known(correlations).argmax(axis=1), np.int64)


def agreement_of_halves(compared: Comparisons, random: np.random.Generator) -> float:
    """Find the labels from either half of the reflections; gives the part of the crystals that have them alike."""
    labels = []
    for half in (0, 1):
        found = polished(compared, find_labels(compared, half, random), half)
        is_told = np.isfinite(compared.correlations(half, found)).any(axis=1)
        labels.append(np.where(is_told, found, UNKNOWN))
    return agreement_of(labels[0], labels[1], compared.n_choices)


def agreement_of(one: Labels, other: Labels, n_choices: int) -> float:
    """Give the part of equal labels among crystals that have both; the names of the labels do not matter.

    What chance gives where fewer than two crystals have both.
    """
    known = (one != UNKNOWN) & (other != UNKNOWN)
    if np.count_nonzero(known) < 2:
        return 1.0 / n_choices
    counts = np.zeros((n_choices, n_choices))
    np.add.at(counts, (one[known], other[known]), 1.0)
    names = range(min(n_choices, MOST_LABELS))
    best = max(sum(counts[n, order[n]] for n in names) for order in permutations(names))
    return float(best / np.count_nonzero(known))


def _known(correlations: FloatArray) -> FloatArray:
    return np.where(np.isfinite(correlations), correlations, 0.0)


def _leading_vector(compared: Comparisons, half: int, random: np.random.Generator) -> FloatArray:
    """Leading vector of the matrix of agreement between crystals, float64[n]; its signs are the labels."""
    vector = random.choice((-1.0, 1.0), compared.n_crystals)
    for _ in range(N_POWER_ROUNDS):
        vector = compared.agreements(half, vector, compared.pairs(half, vector))
        present = np.abs(vector[vector != 0.0])
        if not len(present):
            return vector
        # A few crystals with strong reflections must not be all there is.
        limit = 3.0 * float(np.median(present))
        vector = np.clip(vector / limit, -1.0, 1.0)
    return vector
