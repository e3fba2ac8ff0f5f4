"""Scales and weights from a model of the errors; see `kernels.error_model`.

The model's two numbers are estimated from how far strong observations are from the merge.  The reference is the
merge itself, of reflections with three measurements or more.  The mean crystal has ln G = 0 and B = 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_columns import B_FACTOR, LN_G, REJECTED, RESIDUAL
from braggstream.kernels.error_model import (
    MOST_DEVIATION,
    N_DEVIATION_BINS,
    N_PART_BINS,
    add_by_errors,
    count_deviations,
    scale_by_intensities,
)
from braggstream.kernels.weighted_means import N_MEAN, join_means
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew
from braggstream.steps.partialator.means import Groups, merged_intensities
from braggstream.steps.partialator.scaling import MAX_ROUNDS, Say
from braggstream.steps.partialator.told import largest_s2, shapes, states

CONVERGED = 0.005
"""Rounds end when half of the crystals change ln G by less than this."""
LEAST_MEASUREMENTS = 3
N_SHELLS = 20
FEWEST_DEVIATIONS = 50
NORMAL_MEDIAN = 1.4826
"""Standard deviation of a normal variable in units of its median size."""
LEAST_A2 = 1e-4

FloatArray = NDArray[np.float64]


@dataclass(kw_only=True, eq=False, slots=True)
class ErrorModel:
    """What the weights are made of."""

    squares: FloatArray
    """a² and c², float64[2]."""
    typical: FloatArray
    """Mean intensity around each unique reflection, float64[n_unique]."""
    s2_end: float
    """Above all s² [Å⁻²]."""


class ErrorScaling:
    """Scales crystals, and merges them, by a model of errors that is estimated on the way."""

    def __init__(self, crew: Crew, unique: NDArray[np.int32]) -> None:
        self._crew, self._n_unique = crew, len(unique)
        first, *_ = crew.work(shapes)
        axes = first[0, :9].reshape(3, 3)
        q = unique @ axes
        s2 = 0.25 * np.einsum("ij,ij->i", q, q)
        end = max(float(s2.max()), *crew.work(largest_s2)) * (1.0 + 1e-9)
        self._shell = np.minimum((s2 / end * N_SHELLS).astype(np.int64), N_SHELLS - 1)
        self.model = ErrorModel(squares=np.array([0.25, 0.0]), typical=np.ones(len(unique)), s2_end=end)
        self._is_first = True

    def scale(
        self, groups: Groups, merged: FloatArray, *, with_b: bool, say: Say, fixed: FloatArray | None = None
    ) -> None:
        """Scale all crystals; `merged`, float64[n_unique], is a first merge of `groups`, which are one group."""
        self._estimate(merged)
        reference = merged
        for _ in range(MAX_ROUNDS):
            changed, chi2, n = self._round(reference if fixed is None else fixed, with_b, keeps_gauge=fixed is None)
            means = self.merge(groups, 1)[0]
            self._estimate(merged_intensities(means, 2))
            reference = merged_intensities(means, LEAST_MEASUREMENTS)
            a, c = np.sqrt(self.model.squares).tolist()
            say(
                f"Median change of ln G = {changed:.4f}, median reduced chi² = {chi2:.3f}, {n} crystals;"
                f" errors a = {a:.3f}, c = {c:.3f}"
            )
            if changed < CONVERGED:
                break

    def merge(self, groups: Groups, n_groups: int) -> FloatArray:
        """Merge crystals by group with weights from the model, float64[n_groups, n_unique, N_MEAN]."""
        means = np.zeros((n_groups, self._n_unique, N_MEAN))
        for more in self._crew.work(_merge_block, self._n_unique, n_groups, self.model, each=groups):
            join_means(means.reshape(-1, N_MEAN), more.reshape(-1, N_MEAN))
        return means

    def _round(self, reference: FloatArray, with_b: bool, *, keeps_gauge: bool) -> tuple[float, float, int]:
        """Fit all crystals; give the median change of ln G, the median reduced χ², and how many are in."""
        before = np.concatenate(list(self._crew.work(states)))
        fitted = self._crew.work(_scale_block, reference, self.model, with_b, self._is_first)
        state = np.concatenate(list(fitted))
        self._is_first = False
        is_in = state[:, REJECTED] == 0.0
        gauge = state[is_in][:, [LN_G, B_FACTOR]].mean(axis=0) if keeps_gauge and is_in.any() else np.zeros(2)
        for _ in self._crew.work(_shift_block, gauge):
            pass
        change = np.abs(state[is_in, LN_G] - gauge[0] - before[is_in, LN_G])
        return float(np.median(change)), float(np.median(state[is_in, RESIDUAL])), int(is_in.sum())

    def _estimate(self, merged: FloatArray) -> None:
        """Estimate the model from strong observations, and what is typical around each reflection."""
        counts, noise = np.zeros((N_PART_BINS, N_DEVIATION_BINS)), np.zeros((N_PART_BINS, 3))
        for more_counts, more_noise in self._crew.work(_count_block, merged):
            counts += more_counts
            noise += more_noise
        self.model = ErrorModel(
            squares=model_of(counts, noise, self.model.squares),
            typical=self._typical(merged),
            s2_end=self.model.s2_end,
        )

    def _typical(self, merged: FloatArray) -> FloatArray:
        known = np.isfinite(merged)
        sums = np.bincount(self._shell[known], merged[known], N_SHELLS)
        counts = np.bincount(self._shell[known], minlength=N_SHELLS)
        overall = max(float(sums.sum()) / max(int(counts.sum()), 1), 1e-30)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
        return np.asarray(np.maximum(means, 1e-3 * overall)[self._shell])


def model_of(counts: FloatArray, noise: FloatArray, before: FloatArray) -> FloatArray:
    """Give a² and c² from deviations counted by `count_deviations`; what was `before` where they are too few."""
    total = counts.sum(axis=1)
    rows = np.flatnonzero(total >= FEWEST_DEVIATIONS)
    if not len(rows):
        return before
    middle = (np.cumsum(counts[rows], axis=1) < 0.5 * total[rows, None]).sum(axis=1) + 0.5
    variance = (NORMAL_MEDIAN * middle * MOST_DEVIATION / N_DEVIATION_BINS) ** 2
    variance = variance - noise[rows, 0] / noise[rows, 1]
    steepness = noise[rows, 2] / noise[rows, 1]
    if len(rows) == 1:
        return np.array([max(float(variance[0]), LEAST_A2), 0.0])
    # Relative errors of a variance are alike in all rows, but for the counts.
    weight = np.sqrt(total[rows]) / np.maximum(variance, 1e-3)
    columns = np.column_stack([np.ones(len(rows)), steepness])
    found = np.linalg.lstsq(columns * weight[:, None], variance * weight, rcond=None)[0]
    return np.maximum(found, [LEAST_A2, 0.0])


def _scale_block(
    block: CrystalBlock, reference: FloatArray, model: ErrorModel, with_b: bool, is_first: bool
) -> tuple[CrystalBlock, FloatArray]:
    columns = (block.start, block.uid, block.part, block.s2, block.intensity, block.sigma, block.flags)
    scale_by_intensities(*columns, reference, model.squares, model.s2_end, with_b, is_first, block.state)
    return block, block.state.copy()


def _shift_block(block: CrystalBlock, gauge: FloatArray) -> tuple[CrystalBlock, None]:
    block.state[:, LN_G] -= gauge[0]
    block.state[:, B_FACTOR] -= gauge[1]
    return block, None


def _merge_block(
    block: CrystalBlock, n_unique: int, n_groups: int, model: ErrorModel, group: NDArray[np.int8]
) -> tuple[CrystalBlock, FloatArray]:
    means = np.zeros((n_groups, n_unique, N_MEAN))
    columns = (block.start, block.uid, block.part, block.s2, block.intensity, block.sigma, block.flags)
    add_by_errors(*columns, model.typical, model.squares, model.s2_end, block.state, group, means)
    return block, means


def _count_block(block: CrystalBlock, merged: FloatArray) -> tuple[CrystalBlock, tuple[FloatArray, FloatArray]]:
    counts, noise = np.zeros((N_PART_BINS, N_DEVIATION_BINS)), np.zeros((N_PART_BINS, 3))
    columns = (block.start, block.uid, block.part, block.s2, block.intensity, block.sigma, block.flags)
    count_deviations(*columns, merged, block.state, counts, noise)
    return block, (counts, noise)
