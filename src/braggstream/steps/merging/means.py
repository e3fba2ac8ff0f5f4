"""Means: mean and spread of the observations of each reflection; those of two sets can be joined."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.mean import add_to_means, join_means
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.reflection_index import ReflectionIndex


@dataclass(frozen=True, eq=False, slots=True)
class PartialMeans:
    """Means of some of the observations, as plain columns: what goes from one machine to another."""

    keys: NDArray[np.int64]
    """Keys of the reflections, int64[n]."""
    count: NDArray[np.int64]
    """Number of observations of each, int64[n]."""
    mean: NDArray[np.float64]
    """Their mean, float64[n]."""
    spread: NDArray[np.float64]
    """Sum of squares of what they differ from it, float64[n]."""


class Means:
    """Mean and spread of each reflection of an index, which may grow and may be shared."""

    def __init__(self, index: ReflectionIndex) -> None:
        self.index = index
        self.count = np.zeros(0, np.int64)
        """Number of observations of each reflection, int64[n]."""
        self.mean = np.zeros(0)
        """Their mean, float64[n]; 0 where there is none."""
        self.spread = np.zeros(0)
        """Sum of squares of what they differ from it, float64[n]."""

    def add(self, number: NDArray[np.int32], value: NDArray[np.float64], keep: NDArray[np.bool_]) -> None:
        """Add observations of numbered reflections, where `keep` says so."""
        self._grow()
        add_to_means(number, value, keep, self.count, self.mean, self.spread)

    def join(self, other: PartialMeans) -> None:
        """Add means of other observations; the sum depends on the order of the parts, in its last digits."""
        number = self.index.numbers_of_keys(other.keys)
        self._grow()
        join_means(number, other.count, other.mean, other.spread, self.count, self.mean, self.spread)

    def part(self) -> PartialMeans:
        """Give what there is, to be joined elsewhere."""
        self._grow()
        return PartialMeans(self.index.keys.copy(), self.count, self.mean, self.spread)

    def reference(self) -> NDArray[np.float64]:
        """Give the mean of each reflection of the index, NaN where it has none."""
        self._grow()
        return np.where(self.count > 0, self.mean, np.nan)

    def reflections(
        self, group: PointGroup, *, min_measurements: int = 1, is_unbiased: bool = False
    ) -> ReflectionList:
        """Give the merged list.

        Parameters
        ----------
        group
            Its name goes into the list.
        min_measurements
            Reflections that were measured less often are left out.
        is_unbiased
            Whether the error of a mean of n values is sqrt(spread / (n - 1) / n), and not sqrt(spread / n / n) as
            the reference has it, which is too small; a single value then has no error (NaN).
        """
        self._grow()
        kept = np.flatnonzero(self.count >= max(min_measurements, 1))
        count = self.count[kept]
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = np.sqrt(self.spread[kept] / (count - 1 if is_unbiased else count)) / np.sqrt(count)
        return ReflectionList.of(
            self.index.hkl[kept], self.mean[kept], sigma, n_measured=count, symmetry=group.name
        )

    def _grow(self) -> None:
        n_more = len(self.index) - len(self.count)
        if n_more > 0:
            self.count = np.concatenate((self.count, np.zeros(n_more, np.int64)))
            self.mean = np.concatenate((self.mean, np.zeros(n_more)))
            self.spread = np.concatenate((self.spread, np.zeros(n_more)))
