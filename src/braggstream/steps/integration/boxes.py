"""`rings` and `prof2d`: intensity in a disc, summed up or fitted with a profile, background in a ring around it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.boxes import MIN_ELEMENTS
from braggstream.kernels.integrate import (
    FS_SHIFT,
    INTENSITY,
    MEAN_BACKGROUND,
    N_MEASURED,
    PEAK_VALUE,
    REJECTED,
    SATURATED,
    SATURATED_AND_REJECTED,
    SIGMA,
    SS_SHIFT,
    integrate,
)
from braggstream.kernels.profile import fit_profile, make_profile
from braggstream.model.crystal import Crystal, ReflectionTable
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame
from braggstream.model.settings import IntegrationSettings

IMPLAUSIBLE = -5.0
"""Reflections below so many sigma are counted and left out."""
WORRYING_PART = 0.25
"""A warning is given where more than this part of the reflections, without those at edges, was not integrated."""

NO_MAP = np.empty(0, np.float32)


class BoxIntegrator:
    """Integrates the reflections of all crystals of a frame together, for neighbours of any of them matter."""

    def __init__(self, settings: IntegrationSettings) -> None:
        self._settings = settings
        self._fits_profile = settings.method == "prof2d"
        inner, middle, outer = settings.radii
        self._radii = (int(inner), int(middle), int(outer))

    def __call__(self, frame: Frame, crystals: Sequence[Crystal]) -> tuple[tuple[Crystal, ...], list[str]]:
        """Give the crystals with measured reflections only, and complaints."""
        tables = [crystal.reflections for crystal in crystals if crystal.reflections is not None]
        if not tables:
            return tuple(crystals), []
        panels = np.concatenate([table.panel for table in tables])
        positions = np.concatenate([np.stack([table.fs, table.ss], axis=1) for table in tables])
        measured, state = self._measure(frame, panels, positions)
        finished, complaints = [], []
        first = 0
        for crystal in crystals:
            table = crystal.reflections
            if table is not None:
                part = slice(first, first + len(table))
                first += len(table)
                complaints += self._complaints(frame.detector, table, state[part])
                crystal = _with_results(crystal, table, measured[part], state[part])  # noqa: PLW2901
            finished.append(crystal)
        return tuple(finished), complaints

    def _complaints(self, detector: Detector, table: ReflectionTable, state: NDArray[np.uint8]) -> list[str]:
        """Remark on many reflections that were not integrated; that no box fits at an edge is to be expected."""
        outer = self._radii[2]
        width, height = detector.width[table.panel], detector.height[table.panel]
        fits = (table.fs >= outer) & (table.fs < width - outer) & (table.ss >= outer) & (table.ss < height - outer)
        n_rejected, n = int(np.sum(_is_rejected(state) & fits)), int(np.sum(fits))
        if n_rejected <= WORRYING_PART * n:
            return []
        at_edges = f", {len(table) - n} at edges of panels aside" if n < len(table) else ""
        return [f"{n_rejected} of {n} reflections could not be integrated{at_edges}"]

    def _measure(
        self, frame: Frame, panels: NDArray[np.int32], positions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        chosen, n, size = self._settings, len(panels), 2 * self._radii[2] + 1
        measured, state = np.zeros((n, N_MEASURED)), np.zeros(n, np.uint8)
        n_boxes = n if self._fits_profile else 1
        classes, values = np.empty((n_boxes, size, size), np.uint8), np.empty((n_boxes, size, size))
        planes = np.empty((n_boxes, 3))
        integrate(
            _long_enough(frame.pixels),
            frame.panel_table,
            _long_enough(frame.bad),
            NO_MAP if frame.saturation is None else frame.saturation,
            np.stack([frame.detector.max_adu, frame.detector.adu_per_photon]),
            self._radii,
            (chosen.centre, chosen.gradient, chosen.keep_saturated, self._fits_profile),
            panels,
            positions,
            classes,
            values,
            planes,
            measured,
            state,
        )
        if self._fits_profile and frame.has_image:
            profile = np.empty((size, size))
            if make_profile(classes, values, planes, measured, state, np.empty((size, size)), profile):
                fit_profile(classes, values, planes, profile, measured, state)
            else:
                state[:] = REJECTED
        return measured, state


def _long_enough(array: NDArray[Any]) -> NDArray[Any]:
    """Give an array that is not too short for the kernel."""
    return array if len(array) >= MIN_ELEMENTS else np.concatenate([array, np.zeros(MIN_ELEMENTS, array.dtype)])


def _is_rejected(state: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (state == REJECTED) | (state == SATURATED_AND_REJECTED)


def _with_results(
    crystal: Crystal, table: ReflectionTable, measured: NDArray[np.float64], state: NDArray[np.uint8]
) -> Crystal:
    """Keep what could be measured and is plausible."""
    is_measured = ~_is_rejected(state)
    is_plausible = measured[:, INTENSITY] >= IMPLAUSIBLE * measured[:, SIGMA]
    kept = np.flatnonzero(is_measured & is_plausible)
    reflections = ReflectionTable(
        hkl=table.hkl.take(kept, axis=0),
        panel=table.panel[kept],
        fs=table.fs[kept] + measured[:, FS_SHIFT][kept],
        ss=table.ss[kept] + measured[:, SS_SHIFT][kept],
        excitation_error=table.excitation_error[kept],
        partiality=table.partiality[kept],
        intensity=measured[:, INTENSITY][kept],
        sigma=measured[:, SIGMA][kept],
        peak_value=measured[:, PEAK_VALUE][kept],
        background=measured[:, MEAN_BACKGROUND][kept],
    )
    n_saturated = int(((state == SATURATED) | (state == SATURATED_AND_REJECTED)).sum())
    n_implausible = int((is_measured & ~is_plausible).sum())
    return replace(crystal, reflections=reflections, n_saturated=n_saturated, n_implausible=n_implausible)
