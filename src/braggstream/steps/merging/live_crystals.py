"""Crystals that are held: those that are scaled together at the beginning, and those whose indexing is unclear."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class LiveCrystal:
    """A crystal on its way into the running mean."""

    hkl: NDArray[np.integer]
    """Indices as they were found, int[n, 3]."""
    observed: NDArray[np.float64]
    """Intensities and errors, corrected for polarisation, float64[2, n]."""
    half: int
    """Half set, 0 or 1."""
    group: str = ""
    """Name of its group; empty where there are none."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class NumberedCrystal:
    """The same, with the rows of its reflections in the running sums under each label."""

    rows: NDArray[np.int32]
    """int32[n_labels, n]; a crystal that is indexed without doubt has one label."""
    observed: NDArray[np.float64]
    """float64[2, n]"""
    half: int
    group: str

    def __len__(self) -> int:
        return self.rows.shape[1]

    def under(self, label: int) -> "NumberedCrystal":
        """Decide for a label."""
        return NumberedCrystal(
            rows=np.ascontiguousarray(self.rows[label : label + 1]),
            observed=self.observed,
            half=self.half,
            group=self.group,
        )


@dataclass(slots=True)
class HeldCrystals:
    """A pool of crystals that never holds more than so many measurements."""

    most: int
    """Measurements that it can hold."""
    n_measurements: int = 0
    _crystals: list[NumberedCrystal] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._crystals)

    def __iter__(self) -> Iterator[NumberedCrystal]:
        return iter(self._crystals)

    def has_room_for(self, crystal: NumberedCrystal) -> bool:
        """Whether one more fits."""
        return self.n_measurements + len(crystal) <= self.most

    def put(self, crystal: NumberedCrystal) -> None:
        """Hold one more."""
        self._crystals.append(crystal)
        self.n_measurements += len(crystal)

    def take_all(self) -> list[NumberedCrystal]:
        """Empty the pool."""
        crystals, self._crystals, self.n_measurements = self._crystals, [], 0
        return crystals

    def joined(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
        """Join all: rows, int32[n_labels, n], measurements, float64[2, n], and the first one of each crystal."""
        start = np.zeros(len(self._crystals) + 1, np.int64)
        np.cumsum([len(crystal) for crystal in self._crystals], out=start[1:])
        rows = np.concatenate([crystal.rows for crystal in self._crystals], axis=1)
        observed = np.concatenate([crystal.observed for crystal in self._crystals], axis=1)
        return np.ascontiguousarray(rows), np.ascontiguousarray(observed), start
