"""The plain merge: a mean of all observations, each crystal scaled to the merge of all where that is wished.

`MeanMerger` takes blocks of crystals and can be given to another machine as plain columns, so that files, the
columnar cache and a Dask cluster are merged by the same few lines.
"""

from dataclasses import dataclass, field, replace
from math import exp, inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.mean import compare_with_reference, geometry_factors
from braggstream.model.merge_settings import CrystalRow, Merged, MergeSettings
from braggstream.model.observations import Observations
from braggstream.model.point_group import point_group
from braggstream.steps.merging.fitting_lattice import CellSurvey
from braggstream.steps.merging.means import Means, PartialMeans
from braggstream.steps.merging.polarisation import parse_polarisation
from braggstream.steps.merging.reflection_index import ReflectionIndex


@dataclass(slots=True)
class Counts:
    """What was merged and what was not."""

    n_crystals: int = 0
    n_crystals_dropped: int = 0
    n_observations: int = 0
    n_observations_left_out: int = 0
    sum_log_scale: float = 0.0
    """Sum of ln g over the crystals, which the result's scale follows from."""

    def add(self, other: "Counts") -> None:
        """Add the counts of another part."""
        self.n_crystals += other.n_crystals
        self.n_crystals_dropped += other.n_crystals_dropped
        self.n_observations += other.n_observations
        self.n_observations_left_out += other.n_observations_left_out
        self.sum_log_scale += other.sum_log_scale


@dataclass(slots=True)
class PartialMerge:
    """What a part of the crystals gave, as plain values."""

    means: PartialMeans
    counts: Counts
    rows: list[CrystalRow] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    cells: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 6), np.float32))
    """Of the merged crystals, as `CellSurvey` has them."""


class MeanMerger:
    """Merges blocks of crystals.

    Parameters
    ----------
    settings
        What to merge.
    reference
        Means of the first pass; with them, this is the second one.
    """

    def __init__(self, settings: MergeSettings, reference: PartialMeans | None = None) -> None:
        self._settings = settings
        self._group = point_group(settings.symmetry)
        self._polarisation = parse_polarisation(settings.polarisation)
        self._means = Means(ReflectionIndex(self._group))
        self._reference: Means | None = None
        if reference is not None:
            self._reference = Means(self._means.index)
            self._reference.join(reference)
        self._target = self._number_of_histogram()
        self.counts = Counts()
        self._survey = CellSurvey()
        self._rows: list[CrystalRow] = []
        self._values: list[float] = []

    def add(self, block: Observations) -> None:
        """Add crystals that were chosen."""
        if block.n_crystals == 0:
            return
        self._survey.add(block.crystals)
        value, sigma, is_near = self._corrected(block)
        number = self._means.index.numbers(block.hkl)
        crystal_is_kept = np.ones(block.n_crystals, np.bool_)
        if self._reference is not None:
            scale, crystal_is_kept = self._scales(block, number, value)
            each = np.repeat(scale, np.diff(block.start))
            value, sigma = value * each, sigma * each
        kept = is_near & block.is_usable & np.isfinite(value) & np.repeat(crystal_is_kept, np.diff(block.start))
        if self._settings.max_adu < inf:
            kept &= ~(block.peak_value > self._settings.max_adu)
        if self._settings.min_snr > -inf:
            kept &= value >= self._settings.min_snr * sigma
        self._means.add(number, value, kept)
        if self._target is not None:
            self._values += value[kept & (number == self._target)].tolist()
        self._count(block, kept, crystal_is_kept)

    def join(self, part: PartialMerge) -> None:
        """Add what another merger of the same kind has merged."""
        self._means.join(part.means)
        self.counts.add(part.counts)
        self._survey.join(part.cells)
        self._rows += part.rows
        self._values += part.values

    def part(self) -> PartialMerge:
        """Give what was merged so far, to be joined by another merger or taken for the reference."""
        return PartialMerge(self._means.part(), self.counts, self._rows, self._values, self._survey.cells)

    def merged(self, *, n_crystals_seen: int) -> Merged:
        """Give the result."""
        settings, counts = self._settings, self.counts
        # Scales are too small where there is noise: what they are on average is taken back.
        common = exp(-counts.sum_log_scale / max(counts.n_crystals, 1)) if settings.scale else 1.0
        reflections = self._means.reflections(
            self._group, min_measurements=settings.min_measurements, is_unbiased=settings.unbiased_sigma
        )
        return Merged(
            reflections=reflections.scaled(common),
            n_crystals=counts.n_crystals,
            n_crystals_seen=n_crystals_seen,
            n_crystals_dropped=counts.n_crystals_dropped,
            n_observations=counts.n_observations,
            n_observations_left_out=counts.n_observations_left_out,
            rows=tuple(replace(row, scale=common * row.scale) for row in self._rows),
            values=tuple(common * value for value in self._values),
            warnings=tuple(self._survey.warnings(self._group)),
        )

    def _number_of_histogram(self) -> int | None:
        if self._settings.histogram_of is None:
            return None
        return int(self._means.index.numbers(np.array([self._settings.histogram_of], np.int16))[0])

    def _corrected(self, block: Observations) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Correct for polarisation, and tell which observations are within reach of their crystal's resolution."""
        value, sigma = block.intensity.astype(np.float64), block.sigma.astype(np.float64)
        is_near = np.ones(len(block), np.bool_)
        if self._polarisation is None and self._settings.push_res == inf:
            return value, sigma, is_near
        factor, inverse_d = np.empty(len(block)), np.empty(len(block))
        polarisation = np.zeros(3) if self._polarisation is None else self._polarisation.numbers
        table = block.crystals
        geometry_factors(
            block.hkl, block.start, table.reciprocal_axes, 1.0 / table.wavelength, polarisation, factor, inverse_d
        )
        if self._settings.push_res < inf:
            limit = table.resolution_limit + self._settings.push_res
            is_near = ~(inverse_d > np.repeat(limit, np.diff(block.start)))
        if self._polarisation is None:
            return value, sigma, is_near
        return value / factor, sigma / factor, is_near

    def _scales(
        self, block: Observations, number: NDArray[np.int32], value: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Compare crystals with the reference; gives the scale of each, and whether it is kept.

        The scale is that of the reference program, the slope of R against I: noise makes it small, so that a weak
        crystal has a small weight.  See decision 16.
        """
        assert self._reference is not None
        sums = np.empty((block.n_crystals, 6))
        compare_with_reference(number, value, block.start, self._reference.reference(), sums)
        n, sum_i, sum_r, sum_ii, sum_rr, sum_ri = sums.T
        with np.errstate(divide="ignore", invalid="ignore"):
            product = (sum_ii - sum_i**2 / n) * (sum_rr - sum_r**2 / n)
            cc = np.where(product > 0, (sum_ri - sum_i * sum_r / n) / np.sqrt(product), 0.0)
            scale = sum_ri / sum_ii if self._settings.scale else np.ones(block.n_crystals)
        kept = (scale > 0) & np.isfinite(scale) & (cc >= self._settings.min_cc)
        self.counts.sum_log_scale += float(np.log(scale[kept]).sum())
        names = zip(block.crystals.filename, block.crystals.event, scale.tolist(), cc.tolist(), strict=True)
        rows = [CrystalRow(filename=file, event=event, scale=g, cc=c) for file, event, g, c in names]
        self._rows += [row for row, is_kept in zip(rows, kept.tolist(), strict=True) if is_kept]
        return np.where(kept, scale, 1.0), kept

    def _count(self, block: Observations, kept: NDArray[np.bool_], crystal_is_kept: NDArray[np.bool_]) -> None:
        n_kept = int(kept.sum())
        self.counts.n_crystals += int(crystal_is_kept.sum())
        self.counts.n_crystals_dropped += int((~crystal_is_kept).sum())
        self.counts.n_observations += n_kept
        self.counts.n_observations_left_out += len(block) - n_kept
