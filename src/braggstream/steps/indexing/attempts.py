"""The attempts on one frame: which method, with which peaks, how often, and which lattices are accepted."""

from dataclasses import replace

import numpy as np

from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing.cell_check import CellCheck
from braggstream.steps.indexing.evidence import ANY_CELL
from braggstream.steps.indexing.indexer import Indexer, complaints_of
from braggstream.steps.indexing.methods import (
    GIVE_SEVERAL,
    JUDGE_THEMSELVES,
    KEEP_SETTING,
    SEARCH_ONCE,
    make_indexers,
)
from braggstream.steps.indexing.outcome import IndexingOutcome
from braggstream.steps.indexing.peak_check import PeakWeighing, are_similar, weigh_peaks
from braggstream.steps.indexing.rivals import judge
from braggstream.steps.refinement import refine_crystal
from braggstream.steps.view import PeakView

MAX_TRIES = 6
"""Attempts with one method."""
MIN_PEAKS_TO_RETRY = 6
MIN_PEAKS_TO_GO_ON = 5
"""Peaks left for a further lattice."""
DELETED_PART = 10
"""Of every so many peaks the weakest one is deleted before another attempt."""
MAX_DEVIATION = 0.1
"""Relative deviation from an estimate that gives a warning."""


class AttemptLoop:
    """CrystFEL's order of trying methods on a frame and of checking crystals."""

    def __init__(self, settings: IndexingSettings) -> None:
        self._settings = settings
        self._indexers = make_indexers(settings)
        target = settings.target_cell
        self._check = CellCheck(target, settings.tolerance) if settings.check_cell and target else None
        self._tolerance = settings.tolerance if self._check else ANY_CELL

    def __call__(self, view: PeakView) -> IndexingOutcome:
        """Find the lattices of a frame; a frame without peaks has none."""
        warnings = self._deviations(view)
        if view.detector.average_camera_length < 0.0:
            # Seen from behind, a lattice explains its mirror image nearly as well.
            return IndexingOutcome(warnings=(*warnings, "not indexed: the camera length is negative"))
        if len(view):
            strongest_first = view.take(np.argsort(-view.peaks.intensity, kind="stable"))
            for name, indexer in self._indexers.items():
                notes: list[str] = []
                crystals, n_tries = self._try_method(name, indexer, strongest_first, notes)
                warnings += (*complaints_of(indexer), *dict.fromkeys(notes))
                if crystals:
                    return IndexingOutcome(
                        crystals=tuple(crystals), indexed_by=name, n_tries=n_tries, warnings=warnings
                    )
        return IndexingOutcome(warnings=warnings)

    def _try_method(
        self, name: str, indexer: Indexer, view: PeakView, notes: list[str]
    ) -> tuple[list[Crystal], int]:
        crystals: list[Crystal] = []
        n_tries = 0
        left: PeakView | None = view
        while left is not None and n_tries < MAX_TRIES:
            # A search that found nothing is repeated without the weakest peaks, but not in all its depth.
            n_before = len(crystals)
            remaining = self._attempt(name, indexer, left, crystals, notes, thorough=n_tries == 0)
            n_tries += 1
            if len(crystals) == n_before:
                left = self._without_weakest(left) if name not in SEARCH_ONCE else None
            else:
                is_done = not self._settings.multi or len(crystals) >= self._settings.max_lattices
                left = None if is_done or len(remaining) < MIN_PEAKS_TO_GO_ON else remaining
        return crystals, n_tries

    def _attempt(
        self,
        name: str,
        indexer: Indexer,
        view: PeakView,
        accepted: list[Crystal],
        notes: list[str],
        *,
        thorough: bool,
    ) -> PeakView:
        """Append the acceptable ones of the lattices that a method finds; gives the peaks that remain.

        Each lattice is judged by the peaks that those before it leave.  What is to be told about lattices, also
        about refused ones, goes to `notes`.
        """
        is_several = self._settings.multi or name in GIVE_SEVERAL
        most = self._settings.max_lattices if is_several else 1
        for candidate in indexer(view, thorough=thorough):
            if len(accepted) >= most or len(view) < MIN_PEAKS_TO_GO_ON:
                break
            crystal = self._refined(replace(candidate, indexed_by=name), view)
            if crystal is None:
                continue
            weighing = weigh_peaks(crystal, view, self._tolerance)
            is_new = not any(are_similar(crystal, other) for other in accepted)
            if self._is_believed(crystal, view, weighing, notes) and is_new:
                accepted.append(crystal)
                view = view.take(np.flatnonzero(weighing.unexplained))
        return view

    def _refined(self, candidate: Crystal, view: PeakView) -> Crystal | None:
        """Check the cell, refine, and check the refined cell, in this order; None = rejected."""
        crystal: Crystal | None = candidate
        if self._check is not None and not (candidate.indexed_by in KEEP_SETTING and self._check.fits(candidate)):
            crystal = self._check.reindexed(candidate)
        if crystal is not None and self._settings.refine:
            # Without a cell check the axes are in no particular order, so the target's constraints do not apply.
            target = None if self._check is None else self._settings.target_cell
            crystal = refine_crystal(crystal, view, target, moves_detector=self._settings.moves_detector)
        if crystal is None or (self._check is not None and not self._check.fits(crystal)):
            return None
        return crystal

    def _is_believed(self, crystal: Crystal, view: PeakView, weighing: PeakWeighing, notes: list[str]) -> bool:
        """Check the peaks: they have to be more than chance, and speak for this lattice alone."""
        if not self._settings.check_peaks or crystal.indexed_by in JUDGE_THEMSELVES:
            return True
        if not weighing.is_enough:
            return False
        verdict = judge(crystal, view, weighing, self._tolerance)
        if verdict.note:
            notes.append(verdict.note)
        return verdict.is_accepted

    def _without_weakest(self, view: PeakView) -> PeakView | None:
        n_deleted = len(view) // DELETED_PART
        if not self._settings.retry or len(view) < MIN_PEAKS_TO_RETRY or n_deleted == 0:
            return None
        return view.take(np.arange(len(view) - n_deleted))

    def _deviations(self, view: PeakView) -> tuple[str, ...]:
        """Say where the frame is far from the estimates."""
        chosen = self._settings
        pairs = (
            ("wavelength", view.wavelength, chosen.wavelength_estimate, "Å"),
            ("camera length", view.detector.average_camera_length, chosen.camera_length_estimate, "m"),
        )
        return tuple(
            f"{name} {value:.6g} {unit} is more than 10 % off the estimate of {estimate:.6g} {unit}"
            for name, value, estimate, unit in pairs
            if estimate is not None and not abs(value - estimate) <= MAX_DEVIATION * estimate
        )
