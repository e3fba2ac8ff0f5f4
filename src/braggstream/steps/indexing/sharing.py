"""The lattices that share points with one that peaks agree with: sparser ones within it, denser ones around it.

Only those of prime index are looked at, see `kernels.rivals`; one of another index lies within one of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import log10, prod

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.chance import evidence_of
from braggstream.kernels.rivals import count_classes, find_sparser

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PRIMES = (2, 3, 5, 7, 11, 13)
"""Indices of the sublattices that are tried."""
LEAST_OUTSIDE = 5.0
"""Evidence from outside of each sublattice; there are about 430 of them, so chance has nearly three decades."""
MOST_BETWEEN = 6.0
"""Evidence for a denser lattice from which on it is believed."""
SPECIAL = 6.0
"""Evidence from which on a lattice is more than an arbitrary part of the denser one: it has the strong spots."""
MOST_REPEATS = 4
"""A cell that is at most so many times too large may be right, and half of its spots too weak to be found."""
MANY_PEAKS = 90
"""Of so many peaks some would be weak spots, were these 5 % of all."""


def _classes() -> IntArray:
    rows = [
        (p, *triple)
        for p in PRIMES
        for triple in product(range(p), repeat=3)
        if next((number for number in triple if number), 0) == 1
    ]
    return np.array(rows, np.int64)


CLASSES = _classes()


def sparser_steps(hkl: IntArray, n_peaks: int, chance: float) -> Iterator[tuple[int, FloatArray]]:
    """Find sublattices, each in the one before, outside of which there is no evidence for a lattice.

    Parameters
    ----------
    hkl : int64[n, 3]
        Indices of the peaks that the lattice explains.
    n_peaks
        All peaks.
    chance
        Probability that it explains a peak by chance.

    Yields
    ------
    int, float64[3]
        The prime index, and the shorter vector of the direct lattice that goes with it, in terms of the axes.
    """
    basis = np.eye(3)
    for _ in range(MOST_REPEATS):
        row = find_sparser(hkl, n_peaks, chance, LEAST_OUTSIDE, CLASSES)
        if row < 0:
            return
        p, numbers = int(CLASSES[row, 0]), CLASSES[row, 1:]
        multiples = hkl @ numbers
        is_inside = multiples % p == 0
        # The axis whose number is 1 gives way to the new vector.
        axis = int(np.flatnonzero(numbers)[0])
        n_peaks -= int((~is_inside).sum())
        hkl = hkl[is_inside]
        hkl[:, axis] = multiples[is_inside] // p
        basis[axis] = numbers @ basis / p
        chance /= p
        yield p, basis[axis].copy()


def is_too_large(hkl: IntArray, steps: list[tuple[int, FloatArray]]) -> bool:
    """Whether a cell, of which sparser lattices explain the peaks as well, is larger than the crystal's."""
    n_times = prod(p for p, _ in steps)
    return n_times > MOST_REPEATS or (n_times > 1 and len(hkl) >= MANY_PEAKS)


@dataclass(frozen=True, kw_only=True, slots=True)
class DenserClass:
    """A denser lattice of prime index: what speaks for it, and where its points lie."""

    evidence: float = 0.0
    n_more: int = 0
    """Peaks that it explains between the points of the lattice."""
    p: int = 0
    numbers: tuple[int, int, int] = (0, 0, 0)
    """Its points lie at these indices over p, and multiples."""

    def has_arbitrary_part(self, n_explained: int) -> bool:
        """Whether the lattice holds no more of the peaks than any other p-th part of the denser one would."""
        return evidence_of(n_explained, n_explained + self.n_more, 1.0 / self.p) <= SPECIAL


def best_class(
    n: int, chance: float, reach: float, looked_up: Callable[[int], tuple[FloatArray, FloatArray]]
) -> DenserClass:
    """Find the denser lattice that explains most of the peaks between the points of a lattice.

    Parameters
    ----------
    n
        Number of those peaks.
    chance
        Probability that the lattice explains a peak by chance.
    reach
        Distance within which a peak is explained [Å⁻¹].
    looked_up
        Gives, for a prime p, indices of the peaks times p, float64[n, 3], and their squared distances from the
        points where all these are whole, float64[n] [Å⁻²].
    """
    best = DenserClass()
    for p in PRIMES:
        by_chance = (p - 1) * chance
        if not 0.0 < by_chance < 1.0 or -n * log10(by_chance) < MOST_BETWEEN:
            break
        counts = np.empty(p**3, np.int64)
        key = count_classes(*looked_up(p), reach, p, counts)
        n_more = int(counts[key])
        evidence = evidence_of(n_more, n, by_chance) if n_more else 0.0
        if evidence > best.evidence:
            numbers = (key // p**2, key // p % p, key % p)
            best = DenserClass(evidence=evidence, n_more=n_more, p=p, numbers=numbers)
    return best
