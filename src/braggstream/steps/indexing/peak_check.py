"""Which peaks does a crystal explain, are they enough, and is it one that was found before?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.chance import (
    COUNT,
    EVIDENCE,
    FLAT_VOLUME,
    REACH,
    distances_from_lattice,
    weigh_distances,
)
from braggstream.model.crystal import Crystal
from braggstream.steps.indexing.cell_check import Tolerance
from braggstream.steps.indexing.centring import TO_PRIMITIVE
from braggstream.steps.indexing.evidence import REACHES, needed_evidence
from braggstream.steps.pairing import shifted_q
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MIN_PEAKS = 6
"""Fewer peaks are no evidence for a lattice, however well they fit."""
FLATNESS = 3.0
"""Lattice points may be so many times further from the Ewald sphere than peaks from where they are predicted."""
BELONGS = 2.5
"""Peaks within so many times the distance of best agreement belong to a crystal."""
SAME_ANGLE_DEG = 2.0
SAME_LENGTH = 0.1


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PeakWeighing:
    """How a crystal agrees with peaks."""

    evidence: float
    """Against chance, a decadic exponent."""
    reach: float
    """Distance from lattice points within which it is largest [Å⁻¹]."""
    n_explained: int
    """Peaks within that distance."""
    needed: float
    """Evidence that is enough."""
    distances: FloatArray
    """Squared distances of the peaks from lattice points, float64[n] [Å⁻²]."""

    @property
    def unexplained(self) -> NDArray[np.bool_]:
        """Peaks that remain for further lattices, bool[n]."""
        return np.asarray(self.distances > (BELONGS * self.reach) ** 2)

    @property
    def is_enough(self) -> bool:
        """Whether the crystal is more than chance."""
        return self.evidence > self.needed and self.n_explained >= MIN_PEAKS


def weigh_peaks(crystal: Crystal, view: PeakView, tolerance: Tolerance) -> PeakWeighing:
    """Weigh the agreement of a crystal, whose cell was to lie within a tolerance, with the peaks of a view."""
    distances, volume = _distances(crystal, view)
    weighing = np.zeros(3)
    weigh_distances(distances, len(distances), REACHES, FLAT_VOLUME * FLATNESS * volume, weighing)
    reach = float(weighing[REACH])
    inverse_d = view.inverse_d[np.isfinite(view.inverse_d)]
    return PeakWeighing(
        evidence=float(weighing[EVIDENCE]),
        reach=reach,
        n_explained=int(weighing[COUNT]),
        needed=needed_evidence(float(np.median(inverse_d)), reach, tolerance) if reach else np.inf,
        distances=distances,
    )


def _distances(crystal: Crystal, view: PeakView) -> tuple[FloatArray, float]:
    """Squared distances of peaks from lattice points, float64[n] [Å⁻²], and volume of the primitive cell [Å³]."""
    direct = np.ascontiguousarray(TO_PRIMITIVE[crystal.centring].T @ crystal.direct_axes)
    reciprocal = np.ascontiguousarray(np.linalg.inv(direct).T)
    distances = np.empty(len(view))
    q = shifted_q(view, crystal.det_shift)
    distances_from_lattice(q, direct, reciprocal, 1.0 / view.wavelength, FLATNESS, distances)
    return distances, abs(float(np.linalg.det(direct)))


def are_similar(one: Crystal, other: Crystal) -> bool:
    """Tell whether two crystals are the same lattice in any setting, within 2 degrees and 10 %."""
    if one.centring != other.centring:
        return False
    axes = other.direct_axes
    combined = _COMBINATIONS @ one.direct_axes
    length, wanted = np.linalg.norm(combined, axis=1), np.linalg.norm(axes, axis=1)
    with np.errstate(invalid="ignore"):
        cosine = (combined @ axes.T) / np.outer(length, wanted)
    same = (cosine >= np.cos(np.radians(SAME_ANGLE_DEG))) & (
        np.abs(length[:, None] - wanted) <= SAME_LENGTH * wanted
    )
    rows = [_COMBINATIONS[column] for column in same.T]
    if not all(len(row) for row in rows):
        return False
    # Determinants of all combinations of one row per axis.
    crossed = np.cross(rows[0][:, None], rows[1][None])
    return bool((np.abs(np.rint(crossed @ rows[2].T)) == 1.0).any())


_COMBINATIONS = np.array([m for m in np.ndindex(3, 3, 3) if m != (1, 1, 1)], np.float64) - 1.0
"""The 26 shortest combinations of axes."""
