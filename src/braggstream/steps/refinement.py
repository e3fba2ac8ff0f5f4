"""Prediction refinement: cell and orientation that predict the peaks where they are.

Least squares on excitation errors and on positions, as CrystFEL's, under an exact restraint to the lattice type.
What differs: each kind of residual is weighted by its own scatter, and outliers count less.  With CrystFEL's unit
weights the excitation errors, which are no measurement of zero but spread over the profile radius, outweigh the
positions and turn the lattice away from where it is.  And all pairs take part: a list that is cut at 1.5 times the
median excitation error keeps the pairs that agree with the start, and so holds the lattice there.
"""

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.refine import EXCITATION, FS, SS, normal_equations, residuals_and_gradients
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal, Residual
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.pairing import MIN_PAIRS, PeakPairs, pack_beam, pair_peaks
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

N_ROUNDS = 2
"""Peaks are paired anew after each round."""
N_CYCLES = 8
"""Most steps of a round."""
SMALL_SHIFT = 1e-6
"""A round ends where no lattice point moves by more, relative to its distance from the origin."""
LEAST_POSITION_SCATTER = 0.05
"""[px]"""
LEAST_EXCITATION_SCATTER = 1e-5
"""[Å⁻¹]"""
TUKEY = 4.7
"""Residuals further out than so many standard deviations do not count (Tukey's biweight)."""
SCATTER_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""
NOTE_EXCITATION = 1e3
"""Excitation errors in Å⁻¹ to the unit of CrystFEL's residuals, 1e-7 m × error."""


def refine_crystal(crystal: Crystal, view: PeakView, target: UnitCell | None) -> Crystal | None:
    """Refine cell and orientation of a crystal.

    Parameters
    ----------
    crystal
        The crystal as found, its axes in the target's order.
    view
        Peaks to fit.
    target
        Its lattice type is imposed; None leaves the cell free.

    Returns
    -------
    Crystal or None
        The refined crystal, with residuals; None where fewer than three peaks belong to it.
    """
    pairs = pair_peaks(crystal, view, most_excitation=inf)
    if len(pairs) < MIN_PAIRS or not (view.peaks.intensity[pairs.peak] > 0).any():
        return None
    fit = _Fit.of(pairs, view, crystal)
    before = fit.residual(np.ascontiguousarray(crystal.reciprocal_axes))
    lattice = RestrainedLattice.nearest(crystal.reciprocal_axes, target)
    initial = fit.residual(lattice.axes)
    for _ in range(N_ROUNDS):
        lattice = _refined(lattice, fit)
        refined = replace(crystal, reciprocal_axes=lattice.axes)
        pairs = pair_peaks(refined, view, most_excitation=inf)
        if len(pairs) < MIN_PAIRS:
            return None
        fit = _Fit.of(pairs, view, crystal)
    notes = (
        ("residual_before_constraints", before),
        ("initial_residual", initial),
        ("final_residual", fit.residual(lattice.axes)),
    )
    return replace(refined, residuals=notes)


@dataclass(frozen=True, eq=False, slots=True)
class _Fit:
    """Pairs, packed for the kernel."""

    hkl: FloatArray
    panels: NDArray[np.int32]
    positions: FloatArray
    inverses: FloatArray
    beam: FloatArray

    @classmethod
    def of(cls, pairs: PeakPairs, view: PeakView, crystal: Crystal) -> "_Fit":
        peaks = view.peaks.take(pairs.peak)
        return cls(
            hkl=pairs.hkl.astype(np.float64),
            panels=np.ascontiguousarray(peaks.panel),
            positions=np.stack([peaks.fs, peaks.ss], axis=1),
            inverses=view.detector.inverses,
            beam=pack_beam(view.wavelength, view.bandwidth, crystal.profile_radius),
        )

    def compare(self, axes: FloatArray, derivatives: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Give residuals, float64[n, 3], and their gradients, float64[n, 3, n_parameters]."""
        n = len(self.hkl)
        residuals, gradients = np.empty((n, 3)), np.empty((n, 3, len(derivatives)))
        residuals_and_gradients(
            self.hkl,
            self.panels,
            self.positions,
            np.ascontiguousarray(axes),
            derivatives,
            self.inverses,
            self.beam,
            residuals,
            gradients,
        )
        return residuals, gradients

    def residual(self, axes: FloatArray) -> Residual:
        """Sum of squares in CrystFEL's units, for the stream file's notes."""
        residuals, _ = self.compare(axes, np.zeros((0, 3, 3)))
        squares = np.einsum("ij,ij->j", residuals, residuals)
        return Residual(
            excitation=float(squares[EXCITATION]) * NOTE_EXCITATION**2, fs=float(squares[FS]), ss=float(squares[SS])
        )


def _refined(lattice: RestrainedLattice, fit: _Fit) -> RestrainedLattice:
    """Take Gauss-Newton steps until nothing moves any more."""
    for _ in range(N_CYCLES):
        derivatives = lattice.derivatives()
        residuals, gradients = fit.compare(lattice.axes, derivatives)
        shifts = _solve(residuals, gradients, _weights(residuals, n_free=len(derivatives)))
        moved = lattice.moved(shifts)
        largest = np.abs(moved.axes - lattice.axes).max() / np.abs(lattice.axes).max()
        if not np.isfinite(largest):
            break
        lattice = moved
        if largest < SMALL_SHIFT:
            break
    return lattice


def _weights(residuals: FloatArray, *, n_free: int) -> FloatArray:
    """Weight each residual by the scatter of its kind, less where it is an outlier."""
    n = len(residuals)
    size = np.abs(residuals)
    # With few pairs the fit follows the peaks, and its residuals are smaller than the errors.
    freedom = np.sqrt(3.0 * n / max(3.0 * n - n_free, 1.0))
    scatter = np.empty(3)
    scatter[EXCITATION] = max(SCATTER_OF_MEDIAN * np.median(size[:, EXCITATION]), LEAST_EXCITATION_SCATTER)
    scatter[FS:] = max(SCATTER_OF_MEDIAN * np.median(size[:, FS:]), LEAST_POSITION_SCATTER)
    scatter *= freedom
    relative = np.minimum(size / (TUKEY * scatter), 1.0)
    return (1.0 - relative**2) ** 2 / scatter**2


def _solve(residuals: FloatArray, gradients: FloatArray, weights: FloatArray) -> FloatArray:
    """Solve the scaled normal equations; what the pairs do not determine stays as it is."""
    n_parameters = gradients.shape[2]
    matrix, right_side = np.empty((n_parameters, n_parameters)), np.empty(n_parameters)
    normal_equations(residuals, gradients, weights, matrix, right_side)
    scale = np.sqrt(np.diag(matrix))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    kept = values > 1e-6 * values[-1]
    along = vectors[:, kept].T @ (right_side / scale) / values[kept]
    return np.asarray(vectors[:, kept] @ along / scale)
