"""Indexing with a known cell for wide spectra and for electrons, by voting in the space of rotations.

After the idea of Gevorkov et al. (2020), Acta Cryst. A76, 121 (doi:10.1107/S2053273319015559): a peak tells the
direction of its scattering vector exactly and its length only within the bandwidth; the rotations that carry a
lattice point of fitting length into that direction form a curve; where the curves of many peaks meet is the
rotation of the crystal.

Ours in particular: cells on the sphere of quaternions; peaks vote once a cell; many cells are refined, and
solutions are ranked and accepted by how improbable it is that so many peaks are explained by chance.
"""

from dataclasses import replace
from math import degrees, inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.pink_match import LENGTH, refine_rotations
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, PinkIndexerSettings
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.pink_refinement import (
    PinkLimits,
    PinkSolution,
    has_rival,
    judge,
    refine_cell,
    refine_cell_and_shift,
    refine_rotation,
    turned,
)
from braggstream.steps.indexing.rotation_votes import RotationVotes
from braggstream.steps.pairing import shifted_q
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MIN_PEAKS = 5
N_VOTERS = (16, 24, 32, 48, 64)
CELL_DEGREES = (8.0, 5.0, 3.0, 2.4, 2.0)
SMALLEST_CELL_DEGREES = 1.8
LOW_RESOLUTION = 0.1
"""Peaks of this 1/d are to be told apart from their neighbours by rotations of one cell [Å⁻¹]."""
HALF_BANDWIDTH = 0.005
"""The spectrum is taken to be at least so wide on each side, relative."""
N_SIGMAS = 2.0
"""Half width of the spectrum in units of the geometry's bandwidth."""
N_REFINED = 512
"""Cells that are refined with the peaks that voted."""
N_FINALISTS = 24
"""Rotations that are refined with all peaks."""
ELECTRONS = 0.1
"""With shorter wavelengths the sphere is so flat that peaks lie in a layer or two, whatever the cell [Å]."""
N_STARTS = (1, 1, 1, 1, 8, 8)
"""Rotations that are refined to the end, by type of refinement."""
RADIUS = 0.02
"""Radius of a lattice point, as a part of the shortest axis, where none is given."""
MARGIN = 7.0
"""A solution is accepted where it is less probable than exp(-MARGIN) to find one anywhere by chance."""


class PinkIndexer:
    """Find a known lattice in peaks whose wavelength is known within the bandwidth only."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=pinkIndexer needs a unit cell: give one with -p")
        chosen = self._settings = check_settings(settings.pink_indexer)
        self._target = settings.target_cell
        reduced = reduce_cell(settings.target_cell)
        self._to_cell = reduced.to_cell
        direct = np.ascontiguousarray(reduced.basis.T)
        self._cell = np.stack([np.ascontiguousarray(np.linalg.inv(direct).T), direct])
        self._volume = abs(float(np.linalg.det(direct)))
        self._spacing = float(np.linalg.norm(self._cell[0], axis=1).min())
        finest = max(degrees(self._spacing / LOW_RESOLUTION), SMALLEST_CELL_DEGREES)
        self._votes = RotationVotes(self._cell[0], cell_degrees=min(CELL_DEGREES[chosen.angle_resolution], finest))

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the best lattice, or nothing."""
        limits = self._limits(view.bandwidth)
        peaks = limits.pack(view.q)
        if len(peaks) < MIN_PEAKS:
            return []
        starts = self._starts(peaks, limits)
        best: PinkSolution | None = None
        for rotation in starts[: N_STARTS[self._settings.refinement_type]]:
            found = self._refined(turned(self._cell[0], rotation), view, peaks, limits)
            if best is None or found.evidence > best.evidence:
                best = found
        if best is None or best.evidence < MARGIN or best.n_explained < MIN_PEAKS:
            return []
        if best.disbalance > self._settings.max_refinement_disbalance:
            return []
        if view.wavelength > ELECTRONS and has_rival(
            best.axes, limits.pack(shifted_q(view, best.det_shift)), limits
        ):
            return []
        axes = np.ascontiguousarray(np.linalg.inv(self._to_cell.T @ np.linalg.inv(best.axes).T).T)
        return [replace(candidate(axes, self._target), det_shift=best.det_shift)]

    def _limits(self, bandwidth: float) -> PinkLimits:
        chosen = self._settings
        radius = RADIUS * self._spacing if chosen.reflection_radius is None else chosen.reflection_radius
        return PinkLimits(
            bandwidth=max(HALF_BANDWIDTH, N_SIGMAS * bandwidth),
            radius=radius,
            across=chosen.tolerance * self._spacing,
            spacing=self._spacing,
            volume=self._volume,
        )

    def _starts(self, peaks: FloatArray, limits: PinkLimits) -> FloatArray:
        """The most promising rotations, the best first, as quaternions, float64[n, 4]."""
        most = np.searchsorted(peaks[:, LENGTH], self._settings.max_resolution_for_indexing, side="right")
        voters = peaks[: min(int(most), N_VOTERS[self._settings.considered_peaks_count])]
        rotations = self._votes.find(
            voters, bandwidth=limits.bandwidth, radius=limits.radius, slack=limits.across, n_wanted=N_REFINED
        )
        angle = self._votes.cell_angle
        steps = [(1.0, 0.8 * angle), (1.0, 0.5 * angle), (1.0, 0.25 * angle), (2.0, 0.0), (1.0, 0.0), (1.0, 0.0)]
        rotations = _best_refined(rotations, voters, self._cell, limits.rows(*steps), N_FINALISTS)
        steps = [(2.0, 0.0), (1.5, 0.0), (1.0, 0.0), (1.0, 0.0)]
        return _best_refined(rotations, peaks, self._cell, limits.rows(*steps), N_FINALISTS)

    def _refined(self, axes: FloatArray, view: PeakView, peaks: FloatArray, limits: PinkLimits) -> PinkSolution:
        kind = self._settings.refinement_type
        shift = (0.0, 0.0)
        if kind in (1, 3, 4, 5):
            axes = refine_rotation(axes, peaks, limits)
        if kind >= 2:
            axes = refine_cell(axes, peaks, limits)
        if kind == 5:
            axes, shift = refine_cell_and_shift(axes, view, limits, shift)
            peaks = limits.pack(shifted_q(view, shift))
        return judge(axes, peaks, limits, shift)


def make_indexer(settings: IndexingSettings) -> PinkIndexer:
    """Make the indexer; `UserError` without a cell or with impossible parameters."""
    return PinkIndexer(settings)


def check_settings(chosen: PinkIndexerSettings) -> PinkIndexerSettings:
    """Check the limits of the parameters; `UserError` names the option that is out of them."""
    radius = chosen.reflection_radius
    rules = (
        ("considered-peaks-count", 0 <= chosen.considered_peaks_count <= 4, "0 to 4"),
        ("angle-resolution", 0 <= chosen.angle_resolution <= 4, "0 to 4"),
        ("refinement-type", 0 <= chosen.refinement_type <= 5, "0 to 5"),
        ("tolerance", 0.0 < chosen.tolerance <= 0.5, "more than 0, at most 0.5"),
        ("reflection-radius", radius is None or 0.0 <= radius < inf, "a radius in Å⁻¹, at least 0"),
        ("max-resolution-for-indexing", chosen.max_resolution_for_indexing > 0.0, "more than 0"),
        ("max-refinement-disbalance", 0.0 <= chosen.max_refinement_disbalance <= 2.0, "0 to 2"),
    )
    for name, is_good, expected in rules:
        if not is_good:
            value = getattr(chosen, name.replace("-", "_"))
            raise UserError(f"--pinkIndexer-{name}={value}: expected {expected}")
    return chosen


def _best_refined(
    rotations: FloatArray, peaks: FloatArray, cell: FloatArray, schedule: FloatArray, n_best: int
) -> FloatArray:
    """Refine rotations and give the best-scored ones."""
    scores = np.empty((len(rotations), 2))
    refine_rotations(rotations, peaks, cell, schedule, scores)
    return np.ascontiguousarray(rotations[np.argsort(-scores[:, 0], kind="stable")[:n_best]])
