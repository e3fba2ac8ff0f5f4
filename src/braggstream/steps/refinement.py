"""Prediction refinement: cell and orientation that predict the peaks where they are.

Least squares on excitation errors and on positions, as CrystFEL's, under an exact restraint to the lattice type.
What differs: each residual is weighted by the scatter that peaks as strong as this one show, and outliers count
less.  With CrystFEL's unit weights the excitation errors, which are no measurement of zero but spread over the
profile radius, outweigh the positions and turn the lattice away from where it is; and weak spots, whose positions
are ten times less certain, count as much as strong ones.  And all pairs take part: a list that is cut at 1.5 times
the median excitation error keeps the pairs that agree with the start, and so holds the lattice there.
"""

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ewald import RADIUS
from braggstream.kernels.refine import FS_FOUND, SS_FOUND, STRENGTH, refine, residuals_and_gradients
from braggstream.kernels.scatter import EXCITATION, FS, SS
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal, Residual
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.pairing import MIN_PAIRS, PeakPairs, pack_beam, pair_peaks
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

N_ROUNDS = 3
"""Peaks are paired anew after each round."""
N_CYCLES = 8
"""Most steps of a round."""
WEAKEST = 1e-4
"""Intensities count as no smaller than this part of the largest: lists of peaks may hold zeroes."""
BROAD = 1e-5
"""Relative bandwidth above which positions depend on the radius of a lattice point, so that it is refined too."""
NOTE_EXCITATION = 1e3
"""Excitation errors in Å⁻¹ to the unit of CrystFEL's residuals, 1e-7 m × error."""


def refine_crystal(
    crystal: Crystal, view: PeakView, target: UnitCell | None, *, moves_detector: bool = False
) -> Crystal | None:
    """Refine cell and orientation of a crystal.

    Parameters
    ----------
    crystal
        The crystal as found, its axes in the target's order.
    view
        Peaks to fit.
    target
        Its lattice type is imposed; None leaves the cell free.
    moves_detector
        Refine the shift of the detector in x and y that belongs to this crystal as well.

    Returns
    -------
    Crystal or None
        The refined crystal, with residuals; None where fewer than three peaks belong to it.
    """
    view = _strongest_first(view)
    fit = PeakFit.of(crystal, view)
    if fit is None:
        return None
    before = fit.residual(np.ascontiguousarray(crystal.reciprocal_axes))
    lattice = RestrainedLattice.nearest(crystal.reciprocal_axes, target).copy()
    initial = fit.residual(lattice.axes)
    for _ in range(N_ROUNDS):
        crystal = _refined(fit, lattice, moves_detector=moves_detector)
        earlier, fit = fit, PeakFit.of(crystal, view)
        if fit is None:
            return None
        if fit.has_same_pairs(earlier):
            break
    notes = (
        ("residual_before_constraints", before),
        ("initial_residual", initial),
        ("final_residual", fit.residual(lattice.axes)),
    )
    return replace(crystal, residuals=notes)


def _strongest_first(view: PeakView) -> PeakView:
    """Sort peaks by their intensity, so that the pairs of all rounds are."""
    return view.take(np.argsort(-view.peaks.intensity, kind="stable"))


def _refined(fit: "PeakFit", lattice: RestrainedLattice, *, moves_detector: bool) -> Crystal:
    """Fit the lattice, which is changed, to pairs that stay as they are."""
    view, crystal, shift = fit.view, fit.crystal, fit.shift.copy()
    beam = fit.beam
    is_broad = view.bandwidth > BROAD
    if is_broad:
        beam[RADIUS] = np.median(np.abs(fit.pairs.excitation_error))
    n_more = (2 if moves_detector else 0) + (1 if is_broad else 0)
    motion = lattice.cell, lattice.orientation, lattice.ties, shift
    refine(fit.hkl, fit.panels, fit.peaks, view.detector.inverses, beam, *motion, n_more, N_CYCLES)
    return replace(
        crystal,
        reciprocal_axes=lattice.axes,
        profile_radius=float(beam[RADIUS]),
        det_shift=(float(shift[0]), float(shift[1])),
    )


@dataclass(frozen=True, eq=False, slots=True)
class PeakFit:
    """Pairs of peaks and lattice points, packed for the kernel, strongest first."""

    crystal: Crystal
    view: PeakView
    pairs: PeakPairs
    hkl: FloatArray
    panels: NDArray[np.int32]
    peaks: FloatArray
    shift: FloatArray

    @classmethod
    def of(cls, crystal: Crystal, view: PeakView) -> "PeakFit | None":
        """Pair the peaks of a view with a crystal's lattice; None where that says nothing about the crystal."""
        pairs = pair_peaks(crystal, view, most_excitation=inf)
        intensity = view.peaks.intensity[pairs.peak]
        if len(pairs) < MIN_PAIRS or not (strongest := float(intensity.max())) > 0:
            return None
        if (intensity[1:] > intensity[:-1]).any():
            order = np.argsort(-intensity, kind="stable")
            pairs, intensity = pairs.take(order), intensity[order]
        peaks = np.empty((len(pairs), 3))
        peaks[:, FS_FOUND] = view.peaks.fs[pairs.peak]
        peaks[:, SS_FOUND] = view.peaks.ss[pairs.peak]
        np.maximum(intensity, WEAKEST * strongest, out=peaks[:, STRENGTH])
        return cls(
            crystal=crystal,
            view=view,
            pairs=pairs,
            hkl=pairs.hkl.astype(np.float64),
            panels=np.ascontiguousarray(view.peaks.panel[pairs.peak]),
            peaks=peaks,
            shift=np.array(crystal.det_shift),
        )

    def has_same_pairs(self, other: "PeakFit") -> bool:
        """Whether the same peaks are paired with the same lattice points."""
        return np.array_equal(self.pairs.peak, other.pairs.peak) and np.array_equal(self.hkl, other.hkl)

    @property
    def beam(self) -> FloatArray:
        """The beam and the radius of a lattice point, packed."""
        return pack_beam(self.view.wavelength, self.view.bandwidth, self.crystal.profile_radius)

    def compare(self, axes: FloatArray, derivatives: FloatArray, n_more: int = 0) -> tuple[FloatArray, FloatArray]:
        """Give residuals, float64[n, 3], and their gradients, float64[n, 3, n_parameters + n_more]."""
        n = len(self.hkl)
        residuals, gradients = np.empty((n, 3)), np.empty((n, 3, len(derivatives) + n_more))
        residuals_and_gradients(
            self.hkl,
            self.panels,
            self.peaks,
            np.ascontiguousarray(axes),
            derivatives,
            self.view.detector.inverses,
            self.shift,
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
