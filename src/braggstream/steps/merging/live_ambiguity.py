"""The indexing ambiguity, resolved while crystals arrive (spec: merging §9.5).

The first crystals are held until two independent halves of the reflections give them the same labels.  After that
each crystal is compared with the running mean under every label; one that cannot be told waits in a pool that is
asked again as the mean grows.  Nothing undecided is merged.  Where the first crystals have no preference at all, as
when there is nothing to resolve, they are merged as they were indexed, and so are all that follow.
"""

from dataclasses import dataclass, field
from math import atanh, nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.live_ambiguity import correlate_labels, leading_vector, normalise, relabel
from braggstream.kernels.live_scale import N_BINS, add_to_bins
from braggstream.steps.merging.live_crystals import HeldCrystals, NumberedCrystal
from braggstream.steps.merging.live_sums import LiveSums

Outcome = Literal["looking", "resolved", "none"]

FIRST_TRY = 100
"""It is tried with so many crystals..."""
GROWTH = 1.5
"""...and whenever there are so many times as many..."""
MOST_CRYSTALS = 1000
"""...until there are so many..."""
MOST_HELD = 1_000_000
"""...or they have so many measurements."""
FEWEST_AT_END = 20
"""With fewer crystals it is not tried when no more come."""
CONVINCING = 0.9
"""Part of the crystals that have to get the same label from both halves of the reflections."""
MOST_PENDING = 500_000
"""Measurements of crystals that wait."""
CLEAR = 3.0
"""A label is taken when it is better than the next one by so many standard deviations."""
ASKED_AFTER = 1.2
"""Those that wait are asked again when so many times as many crystals are merged."""
N_ROUNDS, N_STARTS, N_RELABELS = 30, 6, 12


@dataclass(slots=True)
class LiveAmbiguity:
    """Decides how crystals are indexed; `decided` gives those that can be merged."""

    sums: LiveSums
    outcome: Outcome = "looking"
    agreement: float = nan
    """Part of the first crystals that got the same label from both halves of the reflections."""
    n_of_label: list[int] = field(default_factory=list)
    """Crystals that were given each label."""
    n_dropped: int = 0
    """Undecided crystals for which there was no more room: they are never merged."""
    first: HeldCrystals = field(default_factory=lambda: HeldCrystals(MOST_HELD))
    pending: HeldCrystals = field(default_factory=lambda: HeldCrystals(MOST_PENDING))
    _next_try: float = FIRST_TRY
    _next_ask: float = 0.0

    @property
    def n_waiting(self) -> int:
        """Crystals that are held for now."""
        return len(self.first) + len(self.pending)

    def decided(self, crystal: NumberedCrystal, bins: NDArray[np.float64]) -> list[NumberedCrystal]:
        """Take a crystal; gives those whose label is known now.

        Parameters
        ----------
        crystal : NumberedCrystal
        bins : float64[N_BINS, 2]
            Number and sum of the merged values in bins of resolution.
        """
        if self.outcome == "none":
            return [self._given(crystal, 0)]
        if self.outcome == "looking":
            self.first.put(crystal)
            return self._try_to_resolve()
        label = self.label_of(crystal, bins)
        found = [] if label is None else [self._given(crystal, label)]
        if label is None:
            self._wait(crystal)
        if sum(self.n_of_label) >= self._next_ask:
            self._next_ask = ASKED_AFTER * sum(self.n_of_label)
            found += self._asked_again(bins)
        return found

    def conclude(self) -> list[NumberedCrystal]:
        """Try once more with the first crystals, because no more come; gives those that can be merged."""
        if self.outcome != "looking" or len(self.first) < FEWEST_AT_END:
            return []
        self._next_try = 0.0
        return self._try_to_resolve()

    def label_of(self, crystal: NumberedCrystal, bins: NDArray[np.float64]) -> int | None:
        """Compare a crystal with the running mean under each label; None where none is clearly better."""
        normal, start = np.empty(len(crystal)), np.array([0, len(crystal)])
        facts = self.sums.facts
        normalise(crystal.rows[0], crystal.observed, start, facts, bins, normal)
        correlations = np.zeros(len(crystal.rows))
        n = correlate_labels(crystal.rows, normal, facts, self.sums.everything, bins, correlations)
        if n < 5:
            return None
        best, second = np.argsort(correlations)[::-1][:2]
        gap = atanh(min(correlations[best], 0.999)) - atanh(min(correlations[second], 0.999))
        return int(best) if gap * sqrt(n - 3.0) > CLEAR else None

    def _given(self, crystal: NumberedCrystal, label: int) -> NumberedCrystal:
        self.n_of_label = self.n_of_label or [0] * len(crystal.rows)
        self.n_of_label[label] += 1
        return crystal.under(label)

    def _wait(self, crystal: NumberedCrystal) -> None:
        if self.pending.has_room_for(crystal):
            self.pending.put(crystal)
        else:
            self.n_dropped += 1

    def _asked_again(self, bins: NDArray[np.float64]) -> list[NumberedCrystal]:
        found = []
        for crystal in self.pending.take_all():
            label = self.label_of(crystal, bins)
            if label is None:
                self.pending.put(crystal)
            else:
                found.append(self._given(crystal, label))
        return found

    def _try_to_resolve(self) -> list[NumberedCrystal]:
        n = len(self.first)
        is_last = n >= MOST_CRYSTALS or self.first.n_measurements >= MOST_HELD
        if n < self._next_try and not is_last:
            return []
        self._next_try = GROWTH * n
        labels, self.agreement = resolve(*self.first.joined(), self.sums)
        if self.agreement >= CONVINCING:
            self.outcome = "resolved"
        elif is_last:
            self.outcome, labels = "none", np.zeros(n, np.int32)
        else:
            return []
        found = []
        for crystal, label in zip(self.first.take_all(), labels.tolist(), strict=True):
            if label < 0:
                self._wait(crystal)
            else:
                found.append(self._given(crystal, label))
        return found


def resolve(
    rows: NDArray[np.int32], observed: NDArray[np.float64], start: NDArray[np.int64], sums: LiveSums
) -> tuple[NDArray[np.int32], float]:
    """Find the labels of crystals from nothing but their agreement with each other.

    Parameters
    ----------
    rows : int32[n_labels, n]
        Rows of the reflections under each label.
    observed : float64[2, n]
        Intensities and errors.
    start : int64[n_crystals + 1]
        First measurement of each crystal.
    sums : LiveSums
        Knows the resolution of each row.

    Returns
    -------
    int32[n_crystals]
        Labels; -1 where two halves of the reflections do not agree.
    float
        The part of the crystals for which they do.
    """
    bins, ones = np.zeros((N_BINS, 2)), np.ones(rows.shape[1])
    add_to_bins(rows[0], observed[0], ones, sums.facts, bins)
    normal = np.empty(rows.shape[1])
    normalise(rows[0], observed, start, sums.facts, bins, normal)
    orbit = rows.min(axis=0)
    normal[(orbit < 0) | (rows == rows[0]).all(axis=0)] = 0.0
    side = _mixed(orbit) & 1
    solve = _solve_pairs if len(rows) == 2 else _solve_many
    one, other, all_labels = (
        solve(rows, np.where(chosen, normal, 0.0), start, sums.n_known)
        for chosen in (side == 0, side == 1, side >= 0)
    )
    one, other = _named_like(all_labels, one, len(rows)), _named_like(all_labels, other, len(rows))
    agree = one == other
    return np.where(agree, all_labels, -1).astype(np.int32), float(agree.mean())


def _mixed(numbers: NDArray) -> NDArray[np.uint64]:
    """Mix the bits of numbers, so that the lowest one is as good as any."""
    mixed = numbers.astype(np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return mixed >> np.uint64(40)


def _solve_pairs(
    rows: NDArray[np.int32], normal: NDArray[np.float64], start: NDArray[np.int64], n_known: int
) -> NDArray[np.int32]:
    pairs = np.maximum(rows.min(axis=0), 0)
    entries = np.where(rows[0] <= rows[1], normal, -normal)
    vector = np.random.default_rng(1).choice([-1.0, 1.0], len(start) - 1)
    leading_vector(pairs, entries, start, np.zeros(n_known), vector, N_ROUNDS)
    return (vector < 0.0).astype(np.int32)


def _solve_many(
    rows: NDArray[np.int32], normal: NDArray[np.float64], start: NDArray[np.int64], n_known: int
) -> NDArray[np.int32]:
    random = np.random.default_rng(1)
    best, best_score = np.zeros(len(start) - 1, np.int32), -np.inf
    means = np.zeros((n_known, 2))
    for _ in range(N_STARTS):
        labels = random.integers(0, len(rows), len(start) - 1).astype(np.int32)
        score = max(relabel(rows, normal, start, labels, means) for _ in range(N_RELABELS))
        if score > best_score:
            best, best_score = labels, score
    return best


def _named_like(wanted: NDArray[np.int32], labels: NDArray[np.int32], n_labels: int) -> NDArray[np.int32]:
    """Call labels as those of another solution: which crystal order is called 0 is arbitrary."""
    counts = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(counts, (labels, wanted), 1)
    names = np.full(n_labels, -1, np.int32)
    for _ in range(n_labels):
        label, name = np.unravel_index(int(counts.argmax()), counts.shape)
        names[label] = name
        counts[label, :] = counts[:, name] = -1
    return names[labels]
