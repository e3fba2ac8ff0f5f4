"""Crystals merged one by one: labels where there is an ambiguity, a scale where that is wished, then the sums."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.live_scale import N_BINS, add_to_bins
from braggstream.model.cell import UnitCell
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.live_ambiguity import LiveAmbiguity
from braggstream.steps.merging.live_crystals import LiveCrystal, NumberedCrystal
from braggstream.steps.merging.live_scaling import LAST_PASSES, LiveScaling
from braggstream.steps.merging.live_sums import ALL, LiveSums

MOST_GROUPS = 8
"""So many groups are merged apart; crystals of further ones are merged with all only, and counted."""


@dataclass(slots=True)
class LiveMerge:
    """The running mean of all crystals so far."""

    cell: UnitCell
    group: PointGroup
    is_scaled: bool = True
    operators: tuple[NDArray, ...] = ()
    """Of the indexing ambiguity, int[3, 3] each, hkl' = hkl · operator; empty where there is none."""
    n_crystals: int = 0
    """Crystals that came."""
    n_merged: int = 0
    """Crystals in the mean, those that could not be scaled included."""
    n_measurements: int = 0
    """Measurements that came."""
    n_ungrouped: int = 0
    """Crystals whose group is one too many."""
    n_of_group: dict[str, int] = field(default_factory=dict)
    """Crystals that came, by group."""
    sums: LiveSums = field(init=False)
    scaling: LiveScaling | None = field(init=False, default=None)
    ambiguity: LiveAmbiguity | None = field(init=False, default=None)
    bins: NDArray[np.float64] = field(init=False)
    """Number and sum of the merged values in bins of resolution, float64[N_BINS, 2]."""
    _merged: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """What was merged since the last crystal came."""

    def __post_init__(self) -> None:
        self.sums = LiveSums(self.cell, self.group)
        self.bins = np.zeros((N_BINS, 2))
        if self.is_scaled:
            self.scaling = LiveScaling(self.sums, bins=self.bins)
        if self.operators:
            self.ambiguity = LiveAmbiguity(self.sums)

    def add(self, crystal: LiveCrystal) -> None:
        """Take a crystal in."""
        self._merged.clear()
        self.n_crystals += 1
        self.n_measurements += len(crystal.hkl)
        hkl = crystal.hkl.astype(np.int32)
        ways = [hkl, *(hkl @ operator.astype(np.int32) for operator in self.operators)]
        numbered = NumberedCrystal(
            rows=np.stack([self.sums.rows_of(way) for way in ways]),
            observed=np.ascontiguousarray(crystal.observed, np.float64),
            half=crystal.half,
            group=self._known_group(crystal.group),
        )
        ready = [numbered] if self.ambiguity is None else self.ambiguity.decided(numbered, self.bins)
        for each in ready:
            self._merge(each)

    @property
    def n_held(self) -> int:
        """Crystals that wait for their label."""
        return 0 if self.ambiguity is None else self.ambiguity.n_waiting

    @property
    def is_settled(self) -> bool:
        """Whether the beginning is over: what it is made of can be told without the first crystals."""
        is_resolved = self.ambiguity is None or self.ambiguity.outcome != "looking"
        return is_resolved and (self.scaling is None or self.scaling.held is None)

    def conclude(self) -> None:
        """Make the best of what is there, because no more crystals come."""
        self._merged.clear()
        if self.ambiguity is not None:
            for each in self.ambiguity.conclude():
                self._merge(each)
        if self.scaling is not None and self.scaling.held is not None:
            self.scaling.scale_together(LAST_PASSES)

    def merged(self, group: str = ALL, half: int | None = None) -> NDArray[np.float64]:
        """Measurements, intensity and error by row of the sums, float64[n_known, 3]."""
        if group not in self._merged:
            self._merged[group] = self.sums.merged(group, is_weighted=self.is_scaled)
        return self._merged[group][0 if half is None else half + 1]

    def reflection_list(self, group: str = ALL, half: int | None = None, *, least: int = 1) -> ReflectionList:
        """Merge a group, or a half of it, as a list."""
        return self.sums.reflection_list(self.merged(group, half), least)

    def _known_group(self, name: str) -> str:
        if not name:
            return ALL
        if name not in self.n_of_group and len(self.n_of_group) >= MOST_GROUPS:
            self.n_ungrouped += 1
            return ALL
        self.n_of_group[name] = self.n_of_group.get(name, 0) + 1
        return name

    def _merge(self, crystal: NumberedCrystal) -> None:
        self.n_merged += 1
        if self.scaling is not None:
            self.scaling.add(crystal)
            return
        rows, values = crystal.rows[0], crystal.observed[0]
        weights = np.isfinite(values).astype(np.float64)
        self.sums.add(rows, values, weights, half=crystal.half, group=crystal.group)
        if self.ambiguity is not None:
            add_to_bins(rows, values, weights, self.sums.facts, self.bins)
