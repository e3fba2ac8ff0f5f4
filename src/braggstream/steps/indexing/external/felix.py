"""Felix: several lattices of a known cell.

Beyerlein et al. (2017), J. Appl. Cryst. 50, 1075 (doi:10.1107/S1600576717007506).
"""

from math import degrees

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import FelixSettings, IndexingSettings
from braggstream.steps.indexing.external.program import ExternalProgram
from braggstream.steps.indexing.external.spots import reciprocal_of
from braggstream.steps.indexing.external.symmetry import group_number, parameters_text
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.view import PeakView

MAX_TIME_S = 120
"""Felix stops by itself after so long; it is killed a little later."""
MAX_GRAINS = 50
NEAR = 0.25
"""A peak with indices this near to integers belongs to a grain."""
_PEAKS, _SETTINGS, _GRAINS = "frame.gve", "frame.ini", "frame.felix"
_FIRST_COLUMN, _N_COLUMNS = 12, 21


class FelixIndexer:
    """Asks Felix for the lattices of a frame."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=felix needs a unit cell: give one with -p")
        self._target = settings.target_cell
        self._settings = settings.felix
        if group_number(self._target) is None:
            lattice = f"{self._target.lattice_type} {self._target.centring}"
            raise UserError(f"--indexing=felix has no space group for a {lattice} cell: use another setting")
        self.program = ExternalProgram("felix", scratch=settings.scratch, timeout_s=MAX_TIME_S + 10.0)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the lattices that Felix finds and whose peaks lie where they should."""
        q = view.q[np.isfinite(view.q).all(axis=1)]
        if not len(q) or not self.program.may_try(thorough=thorough):
            return []
        files = {
            _PEAKS: peak_file(q, view.wavelength, self._target),
            _SETTINGS: ini_file(self._settings, self._target),
        }
        text = self.program.run([_SETTINGS], files, results=[_GRAINS]).get(_GRAINS, "")
        limit = self._settings.max_internal_angle
        return [candidate(axes, self._target) for axes in read_grains(text) if internal_angle(axes, q) <= limit]


def peak_file(q: NDArray[np.float64], wavelength: float, cell: UnitCell) -> str:
    """Write scattering vectors in the order z, x, y, with 1/d [Å⁻¹] and the azimuth [deg]."""
    lines = [
        f"{parameters_text(cell)} {cell.centring}",
        f"# wavelength = {wavelength:.6f}",
        "# wedge = 0.000000",
        "# ds h k l",
        "# xr yr zr xc yc ds eta omega",
    ]
    sizes, azimuths = np.linalg.norm(q, axis=1), np.degrees(np.arctan2(q[:, 1], q[:, 0]))
    for (x, y, z), size, azimuth in zip(q, sizes, azimuths, strict=True):
        lines.append(f"{z:.6f} {x:.6f} {y:.6f} 0 0 {size:.6f} {azimuth:.6f} 0")
    return "\n".join(lines) + "\n"


def ini_file(chosen: FelixSettings, cell: UnitCell) -> str:
    """Write the settings file."""
    lines = [
        f"spacegroup {group_number(cell)}",
        f"tthrange {chosen.tthrange_min:g} {chosen.tthrange_max:g}",
        "etarange 0 360",
        f"domega {chosen.domega:g}",
        "omegarange -1 1",
        f"filespecs {_PEAKS} {_GRAINS}",
        f"cuts {chosen.min_visits} {chosen.min_completeness:g} {chosen.max_uniqueness:g}",
        f"voxels {chosen.num_voxels} {chosen.fraction_max_visits:g}",
        f"uncertainties {chosen.sigma:g} {chosen.sigma:g} {chosen.sigma:g}",
        "nsigmas 1",
        "orispace frustum",
        f"maxtime {MAX_TIME_S}",
    ]
    return "\n".join(lines) + "\n"


def read_grains(text: str) -> list[NDArray[np.float64]]:
    """Read reciprocal axes from lines of at least 21 words, whose 13th to 21st are axes in the order z, x, y."""
    found: list[NDArray[np.float64]] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < _N_COLUMNS or len(found) == MAX_GRAINS:
            continue
        try:
            matrix = np.array([float(word) for word in words[_FIRST_COLUMN:_N_COLUMNS]]).reshape(3, 3)
        except ValueError:
            continue
        axes = reciprocal_of(matrix[:, [1, 2, 0]])
        if axes is not None:
            found.append(axes)
    return found


def internal_angle(axes: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Mean angle between the peaks of a grain and its lattice points as seen from the origin [deg]."""
    indices = q @ np.linalg.inv(axes)
    nearest = np.rint(indices)
    own = (np.abs(indices - nearest) < NEAR).all(axis=1) & nearest.any(axis=1)
    if not own.any():
        return float("inf")
    points = nearest[own] @ axes
    sizes = np.linalg.norm(points, axis=1) * np.linalg.norm(q[own], axis=1)
    sines = np.linalg.norm(np.cross(points, q[own]), axis=1) / sizes
    return degrees(float(np.arcsin(np.minimum(sines, 1.0)).mean()))


def make_indexer(settings: IndexingSettings) -> FelixIndexer:
    """Make the indexer; `UserError` without a cell or where Felix is not installed."""
    return FelixIndexer(settings)
