"""XDS: its IDXREF step on a list of spots.

Kabsch (2010), Acta Cryst. D66, 125 (doi:10.1107/S0907444909047337).
"""

import re

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing.external.program import ExternalProgram
from braggstream.steps.indexing.external.spots import DISTANCE_MM, numbers_of, reciprocal_of
from braggstream.steps.indexing.external.symmetry import group_number, parameters_text
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.view import PeakView

MIN_PEAKS = 25
PIXEL_MM = 0.07
CENTRE_PX = 1500.0
N_PIXELS = 3000
_AXIS = re.compile(r"COORDINATES OF UNIT CELL ([ABC])-AXIS(.*)")


class XdsIndexer:
    """Asks XDS for the lattice of a frame."""

    def __init__(self, settings: IndexingSettings) -> None:
        self._target = settings.target_cell
        if self._target is not None and group_number(self._target) is None:
            lattice = f"{self._target.lattice_type} {self._target.centring}"
            raise UserError(f"--indexing=xds has no space group for a {lattice} cell: use another setting")
        self.program = ExternalProgram("xds", scratch=settings.scratch)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the lattice that XDS finds, or nothing."""
        n, spots = spot_file(view)
        if n < MIN_PEAKS or not self.program.may_try(thorough=thorough):
            return []
        files = {"XDS.INP": input_file(view.wavelength, self._target), "SPOT.XDS": spots}
        axes = read_result(self.program.run([], files, results=["IDXREF.LP"]).get("IDXREF.LP", ""))
        return [] if axes is None else [candidate(axes, self._target)]


def spot_file(view: PeakView) -> tuple[int, str]:
    """Write `SPOT.XDS`: x, y [px], frame, intensity; gives the number of spots as well."""
    forward = 1.0 / view.wavelength + view.q[:, 2]
    intensity = view.peaks.intensity
    usable = np.flatnonzero(np.isfinite(view.q).all(axis=1) & (forward > 0.0) & (intensity > 0.0))
    places = CENTRE_PX + DISTANCE_MM / PIXEL_MM * view.q[usable, :2] / forward[usable, None]
    lines = [f"{x:.2f} {y:.2f} 0.5 {i:.1f}\n" for (x, y), i in zip(places, intensity[usable], strict=True)]
    return len(lines), "".join(lines)


def input_file(wavelength: float, cell: UnitCell | None) -> str:
    """Write `XDS.INP`."""
    lines = [
        "JOB= IDXREF",
        f"ORGX= {CENTRE_PX:g} ORGY= {CENTRE_PX:g}",
        f"DETECTOR_DISTANCE= {DISTANCE_MM:g}",
        "OSCILLATION_RANGE= 0.300",
        f"X-RAY_WAVELENGTH= {wavelength:.6f}",
        "NAME_TEMPLATE_OF_DATA_FRAMES= frame_???.img",
        "DATA_RANGE= 1 1",
        "SPOT_RANGE= 1 1",
        f"NX= {N_PIXELS} NY= {N_PIXELS} QX= {PIXEL_MM:g} QY= {PIXEL_MM:g}",
        "DETECTOR= CCDCHESS MINIMUM_VALID_PIXEL_VALUE= 1 OVERLOAD= 200000000",
        "DIRECTION_OF_DETECTOR_X-AXIS= 1 0 0",
        "DIRECTION_OF_DETECTOR_Y-AXIS= 0 1 0",
        "INCIDENT_BEAM_DIRECTION= 0 0 1",
        "ROTATION_AXIS= 0 -1 0",
        "TRUSTED_REGION= 0.0 1.4",
        "INDEX_ERROR= 0.3",
        "INDEX_MAGNITUDE= 15",
        "INDEX_QUALITY= 0.2",
        "MAXIMUM_ERROR_OF_SPOT_POSITION= 5.0",
    ]
    if cell is not None:
        lines += [
            f"SPACE_GROUP_NUMBER= {group_number(cell)}",
            f"UNIT_CELL_CONSTANTS= {parameters_text(cell)}",
        ]
    return "\n".join(lines) + "\n"


def read_result(text: str) -> NDArray[np.float64] | None:
    """Read reciprocal axes from `IDXREF.LP`, the last set of axes that it gives; None where there is none."""
    axes: dict[str, list[float]] = {}
    for name, rest in _AXIS.findall(text):
        numbers = numbers_of(rest, 3)
        if numbers is not None:
            axes[name] = numbers
    if axes.keys() != {"A", "B", "C"}:
        return None
    # The input file has given XDS our own frame.
    return reciprocal_of(np.array([axes["A"], axes["B"], axes["C"]]))


def make_indexer(settings: IndexingSettings) -> XdsIndexer:
    """Make the indexer; `UserError` where XDS is not installed."""
    return XdsIndexer(settings)
