"""Where the detector stands, as the crystals of one frame have it: those that were found, or one that was not.

A beam centre that is off moves all scattering vectors by nearly the same vector, so differences between peaks stay
differences between lattice points.  A frame that does not index is therefore searched once more, by the differences
of its peaks from one of them.  The lattice that is found so has no origin: each lattice point near the beam may be
it, and the right one is that which lets the others touch the Ewald sphere best.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.model.settings import IndexingSettings
from braggstream.steps.geometry_fit import MIN_PAIRS, GeometryFit
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MOST_OFF_PX = 10.0
"""A beam centre is looked for so far from where it should be, unless it is to be further."""
MOST_DEEP = 3e-3
"""An origin is looked for so far from the plane across the beam [Å⁻¹]."""
MAX_ORIGINS = 12
"""So many origins are tried, those nearest to the beam first."""
MAX_STEPS = 20
"""Origins are looked for among so many lattice points along each axis, either way."""
WELL_INDEXED = 0.25
"""Distance from an integer, in each index, up to which a peak tells where the lattice lies."""
STRONG_PART = 1.0 / 3.0
"""The peak that others are compared with is one of the strongest, of which this part is looked at."""


class OffsetFinder:
    """Asks the crystals of a frame where the detector stands."""

    def __init__(self, settings: IndexingSettings, *, most_off_px: float = MOST_OFF_PX) -> None:
        self._most_off_px = most_off_px
        # Without a cell check the axes are in no particular order.
        self._target = settings.target_cell if settings.check_cell else None
        self._find = make_lattice_finder(
            replace(settings, refine=False, retry=False, multi=False, check_peaks=True)
        )

    def __call__(self, crystals: tuple[Crystal, ...], view: PeakView) -> tuple[OffsetEstimate, ...]:
        """Give an estimate for each crystal that knows; without crystals, that of one found by differences."""
        if crystals:
            fits = [GeometryFit.converged(view, crystal, self._target) for crystal in crystals]
        else:
            fits = [self._without_centre(view)]
        estimates = (fit.estimate() for fit in fits if fit is not None)
        return tuple(estimate for estimate in estimates if estimate is not None)

    def _without_centre(self, view: PeakView) -> GeometryFit | None:
        """Find a lattice by differences of peaks, and the origin that suits it best."""
        if len(view) <= MIN_PAIRS:
            return None
        reference = _reference(view)
        others = np.flatnonzero(np.arange(len(view)) != reference)
        difference = np.ascontiguousarray(view.q - view.q[reference])
        found = self._find(replace(view, q=difference).take(others)).crystals
        if not found:
            return None
        fits = [
            GeometryFit.converged(view, replace(found[0], det_shift=shift), self._target)
            for shift in _possible_shifts(found[0], difference, view, self._most_off_px)
        ]
        known = [fit for fit in fits if fit is not None]
        most = max((fit.n_pairs for fit in known), default=0)
        return min(
            (fit for fit in known if 2 * fit.n_pairs > most), key=lambda fit: fit.median_excitation(), default=None
        )


def _reference(view: PeakView) -> int:
    """Choose the peak of lowest resolution among the strong ones."""
    n_strong = max(1, int(STRONG_PART * len(view)))
    strong = np.argsort(-view.peaks.intensity, kind="stable")[:n_strong]
    return int(strong[np.argmin(view.inverse_d[strong])])


def _possible_shifts(
    crystal: Crystal, difference: FloatArray, view: PeakView, most_off_px: float
) -> Iterator[tuple[float, float]]:
    """Detector shifts that put a lattice point into the beam, x and y, the smallest first [m]."""
    indices = difference @ crystal.direct_axes.T
    hkl = np.rint(indices)
    well = (np.abs(indices - hkl) < WELL_INDEXED).all(axis=1)
    place = np.median(view.q[well] - hkl[well] @ crystal.reciprocal_axes, axis=0)
    # A shift of the detector moves scattering vectors by this, as far as angles are small.
    per_metre = 1.0 / (view.wavelength * abs(view.detector.average_camera_length))
    reach = most_off_px * float(np.median(view.detector.pixel_size)) * per_metre
    n = np.minimum(np.ceil(1.5 * reach * np.linalg.norm(crystal.direct_axes, axis=1)), MAX_STEPS).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-most, most + 1) for most in n], indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    origins = place - (steps + np.rint(place @ crystal.direct_axes.T)) @ crystal.reciprocal_axes
    off = np.hypot(origins[:, 0], origins[:, 1])
    near = np.flatnonzero((off < reach) & (np.abs(origins[:, 2]) < MOST_DEEP))
    for number in near[np.argsort(off[near], kind="stable")][:MAX_ORIGINS]:
        x, y, _ = (-origins[number] / per_metre).tolist()
        yield x, y
