"""Partial merging: scale, merge, leave out what does not agree, refine, and again."""

from collections.abc import Iterable
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_columns import B_FACTOR, LN_G, N_SHAPE, REJECTED
from braggstream.kernels.crystal_residuals import LINEAR, LINEAR_FREE, LOG, LOG_FREE, N_RESIDUALS, overall_cc_half
from braggstream.model.errors import UserError
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.partialator.ambiguity import reindex, resolve_ambiguity
from braggstream.steps.partialator.block import GOOD, CrystalBlock
from braggstream.steps.partialator.crew import Crew, Threads
from braggstream.steps.partialator.error_scaling import ErrorScaling
from braggstream.steps.partialator.judging import half_set_deltas_of, newly_rejected, residuals_of
from braggstream.steps.partialator.loading import Loaded
from braggstream.steps.partialator.means import (
    OUTSIDE,
    joined,
    merge_groups,
    merged_intensities,
    merged_list,
    merged_sigmas,
)
from braggstream.steps.partialator.refinement import Ways, refine_blocks
from braggstream.steps.partialator.scaling import Say, scale_crystals
from braggstream.steps.partialator.settings import MODELS, PartialSettings
from braggstream.steps.partialator.told import shapes, states

N_HALVES = 2
LEAST_FOR_COMPARISON = 2
"""Measurements that a merged intensity needs to be compared with."""


class PartialMerge:
    """The crystals with their scales, and what is merged from them."""

    def __init__(
        self,
        loaded: Loaded,
        settings: PartialSettings,
        *,
        crew: Crew | None = None,
        say: Say = print,
        reference: NDArray[np.float64] | None = None,
    ) -> None:
        self.settings = settings
        self.unique = loaded.unique
        self.crystals = loaded.crystals
        self.crew: Crew = Threads(loaded.blocks) if crew is None else crew
        self.say = say
        self._reference = reference
        self._errors: ErrorScaling | None = None
        self._slices = loaded.slices
        n = len(loaded.crystals)
        self.status = np.full(n, GOOD, np.uint8)
        """Why a crystal is left out, uint8[n]."""
        self.deltas = np.zeros(n)
        """ΔCC1/2 of each crystal, float64[n]."""
        self.half = np.concatenate([np.empty(0, np.int64), *loaded.crystals.halves])
        """Half set of each crystal, 0 or 1, int64[n]."""
        self.residuals = np.empty((n, N_RESIDUALS))
        self.merged = self.merged_sigma = np.full(len(self.unique), np.nan)
        """What crystals are compared with, and its errors, float64[n_unique]."""
        self.labels = np.zeros(n, np.int64)
        """Operator by which each crystal was reindexed, from 1, int64[n]; 0: none."""
        self.ways: Ways = {}
        self.first_shapes = np.empty((0, N_SHAPE))
        """How crystals were refined in the last cycle, and what they were before, float64[n, N_SHAPE]."""
        self._require_crystals()

    def run(self) -> None:
        """Do all cycles."""
        self.begin()
        for _ in range(self.settings.n_cycles):
            self.cycle()
        self.finish()

    def start_from(self, ln_g: NDArray[np.float64], b_factor: NDArray[np.float64]) -> None:
        """Set the scales from which to start, float64[n] each."""
        columns = np.column_stack([ln_g, b_factor])
        _drain(self.crew.work(_set_scales, each=[columns[numbers] for numbers in self._slices]))

    def begin(self) -> None:
        """Scale, merge and judge for the first time."""
        self._resolve_ambiguity()
        self.say("Initial scaling and merging")
        self.settle()

    def cycle(self) -> None:
        """Refine against the last merge, and scale and merge anew."""
        if self.settings.refines:
            self.first_shapes = np.concatenate([shape.copy() for shape in self.crew.work(shapes)])
            squares = None if self._errors is None else self._errors.model.squares
            self.ways = refine_blocks(self.crew, self.merged, MODELS[self.settings.model], squares)
        self.settle()

    def finish(self) -> None:
        """Scale for the last time."""
        self.say("Final scaling and merging")
        self.scale()

    def settle(self) -> None:
        """Scale, merge, leave out what does not agree, and compare each crystal with the merge."""
        self.scale()
        self._compare_with_merge()
        self._reject()
        self._show_residuals()

    def scale(self) -> None:
        """Fit the scales, where they are wanted."""
        settings = self.settings
        if not settings.scale:
            return
        if self._errors is None:
            scale_crystals(
                self.crew, len(self.unique), with_b=settings.scale_b, say=self.say, fixed=self._reference
            )
        if settings.by_errors:
            merged = merged_intensities(joined(self.means()), LEAST_FOR_COMPARISON)
            errors = self._errors or ErrorScaling(self.crew, self.unique)
            groups = self._by_block(np.zeros(len(self.status), np.int64))
            errors.scale(groups, merged, with_b=settings.scale_b, say=self.say, fixed=self._reference)
            self._errors = errors

    def means(
        self, groups: NDArray | None = None, *, n_groups: int = N_HALVES, is_weighted: bool = True
    ) -> NDArray:
        """Merge the crystals that are not left out by group; as a rule by half set."""
        each = self._by_block(self.half if groups is None else groups)
        if is_weighted and self._errors is not None:
            return self._errors.merge(each, n_groups)
        return merge_groups(self.crew, len(self.unique), each, n_groups=n_groups, is_weighted=is_weighted)

    def _by_block(self, groups: NDArray) -> list[NDArray[np.int8]]:
        """Give the group of each crystal that is not left out, block by block."""
        labels = np.where(self.status == GOOD, groups, OUTSIDE).astype(np.int8)
        return [labels[numbers] for numbers in self._slices]

    def lists(self, means: NDArray) -> list[ReflectionList]:
        """Give the reflection list of each group of means."""
        least, name = self.settings.min_measurements, self.settings.symmetry.name
        return [
            merged_list(group, self.unique, least=least, symmetry=name, by_errors=self._has_own_sigmas)
            for group in means
        ]

    @property
    def _has_own_sigmas(self) -> bool:
        return self._errors is not None and not self.settings.compat_sigma

    def column(self, number: int) -> NDArray[np.float64]:
        """Give a column of the crystals' states, float64[n]."""
        return np.concatenate([state[:, number] for state in self.crew.work(states)])

    def _resolve_ambiguity(self) -> None:
        """Give every crystal the choice of indices that agrees with the others, if there are choices."""
        settings = self.settings
        if not settings.operators:
            return
        found = resolve_ambiguity(self.crew, self.unique, settings.operators, settings.symmetry)
        share = f"{100 * found.agreement:.1f} % of the crystals have one choice from either half of the reflections"
        if not found.is_resolved:
            self.say(f"Indexing ambiguity: not resolved, nothing is reindexed; {share}")
            return
        self.say(f"Indexing ambiguity: {share}; {np.count_nonzero(found.labels)} of {len(found.labels)} reindexed")
        model = MODELS[settings.model]
        reindex(self.crew, found.labels, self.unique, settings.operators, settings.symmetry, model)
        self.labels = found.labels

    def _compare_with_merge(self) -> None:
        if self._reference is not None:
            self.merged, self.merged_sigma = self._reference, np.zeros(len(self.unique))
            return
        whole = joined(self.means())
        self.merged = merged_intensities(whole, LEAST_FOR_COMPARISON)
        self.merged_sigma = merged_sigmas(whole, by_errors=self._has_own_sigmas)

    def _reject(self) -> None:
        deltas, settings = None, self.settings
        if settings.reject_by_half_sets:
            whole = joined(self.means(is_weighted=False))
            cc, n = overall_cc_half(whole)
            self.say(f"Overall CChalf = {_in_percent(cc)} % ({n} reflections)")
            deltas = self.deltas = half_set_deltas_of(self.crew, whole, also_rejected=settings.by_errors)
            spread = deltas.std(ddof=1) if len(deltas) > 1 else nan
            self.say(f"deltaCChalf = {_in_percent(deltas.mean())} ± {_in_percent(spread)} %")
        self.status = newly_rejected(
            self.status, deltas, self.column(B_FACTOR), settings.max_b, is_revisable=settings.by_errors
        )
        _drain(self.crew.work(_mark, each=[self.status[numbers] for numbers in self._slices]))
        self._require_crystals()

    def _require_crystals(self) -> None:
        if not len(self.unique):
            raise UserError(f"there are no observations to merge in {len(self.status)} crystals")
        if np.sum(self.status == GOOD) < 2:
            raise UserError(
                f"{np.sum(self.status == GOOD)} of {len(self.status)} crystals are left: at least 2 are needed"
            )

    def _show_residuals(self) -> None:
        self.residuals = residuals_of(self.crew, self.merged)
        is_in = self.status == GOOD
        shown = []
        for name, column in (
            ("linear", LINEAR),
            ("linear free", LINEAR_FREE),
            ("log", LOG),
            ("log free", LOG_FREE),
        ):
            values = self.residuals[is_in, column]
            shown.append(f"{name} {np.sum(values[np.isfinite(values)]):e}")
        self.say("Residuals: " + ", ".join(shown))


def _in_percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:f}"


def _drain(reports: Iterable[object]) -> None:
    """Have work done whose reports are of no interest."""
    for _ in reports:
        pass


def _set_scales(block: CrystalBlock, columns: NDArray[np.float64]) -> tuple[CrystalBlock, None]:
    block.state[:, LN_G], block.state[:, B_FACTOR] = columns[:, 0], columns[:, 1]
    return block, None


def _mark(block: CrystalBlock, status: NDArray[np.uint8]) -> tuple[CrystalBlock, None]:
    block.state[:, REJECTED] = status != GOOD
    return block, None
