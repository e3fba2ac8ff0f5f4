"""Running sums over the measurements of each unique reflection, for all crystals and for named groups of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.live_sums import INVERSE_D, SHIFT, N, add_observations, merge_sums, round_all
from braggstream.model.cell import UnitCell
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.reflection_index import ReflectionIndex

ALL = ""
"""Name of the group that every crystal belongs to."""
FIRST_CAPACITY = 1 << 12
MOST_REFLECTIONS = 1 << 22
"""So many unique reflections are merged; further ones are counted.  It bounds the memory, to 130 bytes each."""
N_COLUMNS = 5
LARGEST_INDEX = 1023
"""Reflections with a larger index have no row."""


class LiveSums:
    """Sums by unique reflection, half set and group; their size depends on the number of reflections only."""

    def __init__(self, cell: UnitCell, group: PointGroup) -> None:
        self.group = group
        self._axes = cell.reciprocal_axes()
        self._index = ReflectionIndex(group)
        self._members = np.empty((0, 3), np.int32)
        self.n_known = 0
        """Reflections that have a row."""
        self.facts = np.full((FIRST_CAPACITY, 2), np.nan)
        """1/d [Å⁻¹] and what is taken from values, by row, float64[capacity, 2]."""
        self.of_group: dict[str, NDArray[np.float64]] = {ALL: _empty(FIRST_CAPACITY)}
        """Sums of both halves, float64[2, capacity, 5]."""

    @property
    def members(self) -> NDArray[np.int32]:
        """Indices by row, int32[n_known, 3]."""
        if len(self._members) < self.n_known:
            self._members = self._index.hkl[: self.n_known]
        return self._members

    @property
    def everything(self) -> NDArray[np.float64]:
        """Sums over all crystals, float64[2, capacity, 5]."""
        return self.of_group[ALL]

    def rows_of(self, hkl: NDArray) -> NDArray[np.int32]:
        """Give the row of each reflection, new ones included, int32[n]; -1 where there is no room for it."""
        limited = np.clip(hkl, -LARGEST_INDEX - 1, LARGEST_INDEX + 1).astype(np.int16)
        rows = self._index.numbers(limited)
        rows[(np.abs(limited).max(axis=1, initial=0) > LARGEST_INDEX) | (rows >= MOST_REFLECTIONS)] = -1
        n_known = min(len(self._index), MOST_REFLECTIONS)
        if n_known > self.n_known:
            while n_known > len(self.facts):
                self._grow()
            vectors = self._index.hkl[self.n_known : n_known] @ self._axes
            self.facts[self.n_known : n_known, INVERSE_D] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            self.n_known = n_known
        return rows

    def add(
        self,
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        weights: NDArray[np.float64],
        *,
        half: int,
        group: str = ALL,
    ) -> int:
        """Add a crystal's measurements to the sums of all, and of its group; gives how many were added."""
        n_added = add_observations(rows, values, weights, self.facts, self.everything[half])
        if group != ALL:
            sums = self.of_group.setdefault(group, _empty(len(self.facts)))
            add_observations(rows, values, weights, self.facts, sums[half])
        return n_added

    def clear(self) -> None:
        """Forget all measurements; reflections keep their rows."""
        for sums in self.of_group.values():
            sums[:] = 0.0

    def merged(self, group: str = ALL, *, is_weighted: bool) -> NDArray[np.float64]:
        """Merge both halves of a group, and each: measurements, intensity, error, float64[3, n_known, 3]."""
        out = np.empty((3, self.n_known, 3))
        merge_sums(self.of_group[group], self.facts, self.n_known, is_weighted, out)
        return out

    def reflection_list(self, merged: NDArray[np.float64], least: int) -> ReflectionList:
        """Make a list of the reflections that have been measured so often."""
        chosen = np.flatnonzero(merged[:, 0] >= max(least, 1))
        n_measured, intensity, sigma = merged[chosen].T
        return ReflectionList.of(
            self.members[chosen], intensity, sigma, n_measured=n_measured, symmetry=self.group.name
        )

    @property
    def inverse_d(self) -> NDArray[np.float64]:
        """1/d by row, float64[n_known] [Å⁻¹]."""
        return self.facts[: self.n_known, INVERSE_D]

    @property
    def n_seen(self) -> int:
        """Unique reflections that have been measured."""
        return int(np.count_nonzero(self.everything[:, : self.n_known, N].sum(axis=0)))

    def arrays(self) -> dict[str, Any]:
        """Give all of it as arrays, for a checkpoint."""
        n = self.n_known
        sums = np.stack([sums[:, :n] for sums in self.of_group.values()])
        return {"members": self.members, "shifts": self.facts[:n, SHIFT], "sums": sums}

    def take_arrays(self, arrays: dict[str, Any], groups: tuple[str, ...]) -> None:
        """Go on from a checkpoint's arrays; `rows_of` must not have been called.  Raises `ValueError`."""
        members, shifts, sums = arrays["members"], arrays["shifts"], arrays["sums"]
        n = len(members)
        if members.shape != (n, 3) or shifts.shape != (n,) or sums.shape != (len(groups), 2, n, N_COLUMNS):
            raise ValueError("arrays of unexpected shapes")
        if groups[:1] != (ALL,) or n > MOST_REFLECTIONS:
            raise ValueError("unexpected groups")
        rows = self.rows_of(members)
        if self.n_known != n or not np.array_equal(rows, np.arange(n)):
            raise ValueError("reflections that are no unique ones of this symmetry")
        self.facts[:n, SHIFT] = shifts
        for name, each in zip(groups, sums, strict=True):
            self.of_group.setdefault(name, _empty(len(self.facts)))[:, :n] = each

    def _grow(self) -> None:
        capacity = 2 * len(self.facts)
        self.facts = _longer(self.facts, capacity, np.nan)
        for name, sums in self.of_group.items():
            self.of_group[name] = np.stack([_longer(half, capacity, 0) for half in sums])


def _empty(capacity: int) -> NDArray[np.float64]:
    return np.zeros((2, capacity, N_COLUMNS))


def _longer(array: NDArray, length: int, filling: float) -> NDArray:
    longer = np.full((length, *array.shape[1:]), filling, array.dtype)
    longer[: len(array)] = array
    return longer


def as_printed(values: NDArray) -> NDArray[np.float64]:
    """Round values as `%.2f` prints them, float64[n]."""
    out = np.empty(len(values))
    round_all(np.ascontiguousarray(values, np.float64), out)
    return out
