"""Where the detector stands, seen from one crystal: its lattice and the detector's offset, fitted together.

Least squares on the positions of peaks and on excitation errors, as in the refinement of crystals, with three more
parameters: the detector moves in x, y and z.  What the crystal's own parameters can explain as well is taken out
(Schur complement), so what is left says what this crystal alone knows of the detector, and can be summed over
crystals.

At small angles a longer camera and a smaller cell look the same.  At wide angles they do not, for the Ewald sphere
is curved: a lattice of the wrong size does not touch it where the peaks are.  A target cell, from which each
crystal may differ by a percent, helps where that tells little; without a target the camera length is left alone.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.refine import residuals_and_gradients
from braggstream.kernels.scatter import EXCITATION, FS, SS
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.detector import Detector
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.pairing import REACH, PeakPairs, pack_beam, pair_peaks
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MIN_PAIRS = 12
"""Fewer pairs say too little about lattice and detector together."""
FIRST_REACH = 0.9
"""At first peaks may be further from their lattice points: the detector is elsewhere."""
N_ROUNDS = 4
"""Peaks are paired anew after each round."""
N_CYCLES = 6
"""Most steps of a round."""
SMALL_STEP_PX = 1e-3
"""A round ends where the detector moves by less."""
LENGTH_SPREAD = 1e-2
"""Relative standard deviation of a crystal's axis lengths from the target's."""
ANGLE_SPREAD = 1e-2
"""Standard deviation of a crystal's angles from the target's [rad]."""
LEAST_POSITION_SCATTER = 0.05
"""[px]"""
LEAST_EXCITATION_SCATTER = 1e-5
"""[Å⁻¹]"""
TUKEY = 4.7
"""Peaks further out than so many standard deviations do not count."""
HUBER = 1.5
"""Excitation errors larger than so many standard deviations count less."""
SCATTER_OF_MEDIAN = 1.4826


def fit_offset(crystal: Crystal, view: PeakView, target: UnitCell | None) -> OffsetEstimate | None:
    """Fit a crystal and the offset of the detector together.

    Parameters
    ----------
    crystal
        The crystal as found, its axes in the target's setting.
    view
        Peaks of the frame.
    target
        Its lattice type is imposed, and its cell helps with the camera length; None leaves the camera length alone.

    Returns
    -------
    OffsetEstimate or None
        Seen from the detector of the view; None where too few peaks belong to the crystal, or nothing sensible
        comes out.
    """
    fit = GeometryFit.converged(view, crystal, target)
    return None if fit is None else fit.estimate()


class GeometryFit:
    """Lattice and offset, and the peaks that they are fitted to."""

    def __init__(self, view: PeakView, crystal: Crystal, target: UnitCell | None) -> None:
        self._view = view
        self._crystal = crystal
        self._lattice = RestrainedLattice.nearest(crystal.reciprocal_axes, target)
        self._expected = (
            None if target is None else RestrainedLattice.nearest(target.reciprocal_axes(), target).cell
        )
        self._free = np.array([True, True, target is not None])
        self._offset = np.array([*crystal.det_shift, 0.0])
        self._detector = moved_detector(view.detector, self._offset)
        self._row = np.full((len(view), 4), np.nan)
        self._pixel = float(np.median(view.detector.pixel_size))

    @classmethod
    def converged(cls, view: PeakView, crystal: Crystal, target: UnitCell | None) -> "GeometryFit | None":
        """Fit until the same peaks belong to the crystal; None where those are too few."""
        fit = cls(view, crystal, target)
        for number in range(N_ROUNDS):
            n_changed = fit.pair(FIRST_REACH if number == 0 else REACH)
            if fit.n_pairs < MIN_PAIRS:
                return None
            if n_changed == 0:
                break
            fit.refine()
        return fit

    @property
    def n_pairs(self) -> int:
        """Peaks that belong to the crystal."""
        return len(self._peak)

    def pair(self, reach: float = REACH) -> int:
        """Pair the peaks with the lattice as it is now; gives how many pairs came, went or changed."""
        peaks = self._view.peaks
        q = self._detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, self._view.wavelength)
        seen = replace(self._view, detector=self._detector, q=q)
        crystal = replace(self._crystal, reciprocal_axes=self._lattice.axes, det_shift=(0.0, 0.0))
        pairs: PeakPairs = pair_peaks(crystal, seen, most_excitation=np.inf, reach=reach)
        order = np.argsort(pairs.peak)
        peak, hkl = pairs.peak[order], pairs.hkl[order].astype(np.float64)
        row = np.full((len(self._view), 4), np.inf)
        row[peak, 0], row[peak, 1:] = peak, hkl
        n_changed = int((row != self._row).any(axis=1).sum())
        self._row, self._peak, self._hkl = row, peak, hkl
        taken = peaks.take(peak)
        self._panel = np.ascontiguousarray(taken.panel)
        self._places = np.stack([taken.fs, taken.ss, taken.intensity], axis=1)
        # With a bandwidth, positions depend on how large lattice points are.
        radius = float(np.median(np.abs(pairs.excitation_error))) if len(pairs) else self._crystal.profile_radius
        self._beam = pack_beam(self._view.wavelength, self._view.bandwidth, radius)
        return n_changed

    def refine(self) -> None:
        """Take Gauss-Newton steps until the detector stands still."""
        for _ in range(N_CYCLES):
            matrix, right_side = self._equations()
            shifts = _solved(matrix, right_side)
            if not np.isfinite(shifts).all():
                break
            n = len(shifts) - 3
            self._lattice = self._lattice.moved(shifts[:n])
            self._offset = self._offset + shifts[n:]
            self._detector = moved_detector(self._view.detector, self._offset)
            if np.abs(shifts[n:]).max() < SMALL_STEP_PX * self._pixel:
                break

    def median_excitation(self) -> float:
        """How far lattice points are from the Ewald sphere, in the middle [Å⁻¹]."""
        residuals, _ = self._compare()
        return float(np.median(np.abs(residuals[:, EXCITATION])))

    def estimate(self) -> OffsetEstimate | None:
        """Eliminate the crystal's own parameters."""
        matrix, _ = self._equations()
        n = len(matrix) - 3
        own, mixed = matrix[:n, :n], matrix[:n, n:]
        information = matrix[n:, n:] - mixed.T @ np.linalg.lstsq(own, mixed, rcond=None)[0]
        information[~self._free] = 0.0
        information[:, ~self._free] = 0.0
        if not (np.isfinite(information).all() and np.isfinite(self._offset).all()):
            return None
        return OffsetEstimate(
            offset=self._offset, information=information, camera_length=self._view.detector.average_camera_length
        )

    def _equations(self) -> tuple[FloatArray, FloatArray]:
        """Normal equations: the lattice's parameters first, the offset last."""
        residuals, gradients = self._compare()
        weights = _weights(residuals, n_free=gradients.shape[2])
        flat = (gradients * weights[:, :, None]).reshape(-1, gradients.shape[2])
        matrix = flat.T @ gradients.reshape(-1, gradients.shape[2])
        right_side = -flat.T @ residuals.ravel()
        n = gradients.shape[2] - 3
        if self._expected is not None:
            for number, tie in enumerate(self._lattice.ties):
                weight, distance = self._restraint(tie)
                matrix[number, number] += weight
                right_side[number] -= weight * distance
        for axis in np.flatnonzero(~self._free):
            matrix[n + axis] = matrix[:, n + axis] = right_side[n + axis] = 0.0
        return matrix, right_side

    def _restraint(self, tie: FloatArray) -> tuple[float, float]:
        """Weight of a cell parameter's distance from the target's, and the distance."""
        moving = tie != 0
        assert self._expected is not None
        expected = float(self._expected[moving].mean())
        distance = float(self._lattice.cell[moving].mean()) - expected
        spread = LENGTH_SPREAD * expected if moving[:3].any() else ANGLE_SPREAD
        return 1.0 / spread**2, distance

    def _compare(self) -> tuple[FloatArray, FloatArray]:
        """Residuals, float64[n, 3], and their gradients, float64[n, 3, n_parameters]."""
        derivatives = self._lattice.derivatives()
        n, n_own = len(self._hkl), len(derivatives)
        residuals, own = np.empty((n, 3)), np.empty((n, 3, n_own))
        inverses = self._detector.inverses
        axes = np.ascontiguousarray(self._lattice.axes)
        lattice = axes, derivatives
        detector = inverses, np.zeros(2)
        residuals_and_gradients(
            self._hkl, self._panel, self._places, *lattice, *detector, self._beam, residuals, own
        )
        gradients = np.zeros((n, 3, n_own + 3))
        gradients[:, :, :n_own] = own
        # A ray t meets the panel at v = m t; moving the corner by d turns m by -m d, times v's first element.
        m = inverses[self._panel]
        for kind, row in ((FS, 1), (SS, 2)):
            place = residuals[:, kind] + self._places[:, row - 1]
            gradients[:, kind, n_own:] = place[:, None] * m[:, 0] - m[:, row]
        return residuals, gradients


def moved_detector(detector: Detector, offset: FloatArray) -> Detector:
    """Move a detector, `offset` float64[3] [m]."""
    poses = detector.poses.copy()
    poses[:, 0] += offset
    return replace(detector, poses=poses)


def _weights(residuals: FloatArray, *, n_free: int) -> FloatArray:
    """Weight each residual by the scatter of its kind.

    A peak that is not where it is predicted does not belong to the lattice and counts in nothing (Tukey's
    biweight).  Excitation errors spread by themselves: large ones count less, but never nothing (Huber's weights),
    or the fit would stay with those points that touch the sphere at the start.
    """
    n = len(residuals)
    freedom = np.sqrt(3.0 * n / max(3.0 * n - n_free, 1.0)) * SCATTER_OF_MEDIAN
    places, excitation = residuals[:, FS:], np.abs(residuals[:, EXCITATION])
    spread = max(freedom * float(np.median(np.abs(places))), LEAST_POSITION_SCATTER)
    belongs = 1.0 - np.minimum(np.einsum("ij,ij->i", places, places) / (TUKEY * spread) ** 2, 1.0)
    belongs *= belongs
    depth = max(freedom * float(np.median(excitation)), LEAST_EXCITATION_SCATTER)
    weights = np.empty((n, 3))
    weights[:, EXCITATION] = belongs / depth**2 / np.maximum(excitation / (HUBER * depth), 1.0)
    weights[:, FS:] = (belongs / spread**2)[:, None]
    return weights


def _solved(matrix: FloatArray, right_side: FloatArray) -> FloatArray:
    """Solve scaled normal equations; what the pairs do not determine stays as it is."""
    scale = np.sqrt(np.diag(matrix))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    kept = values > 1e-9 * values[-1]
    along = vectors[:, kept].T @ (right_side / scale) / values[kept]
    return np.asarray(vectors[:, kept] @ along / scale)
