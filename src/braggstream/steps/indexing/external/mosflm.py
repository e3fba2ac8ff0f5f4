"""MOSFLM: DPS autoindexing of a list of spots.

Powell (1999), Acta Cryst. D55, 1690 (doi:10.1107/S0907444999009506).
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring, LatticeType, UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing.external.program import ExternalProgram
from braggstream.steps.indexing.external.spots import DISTANCE_MM, on_detector
from braggstream.steps.indexing.external.symmetry import group_symbol, lattice_of_symbol, parameters_text
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.view import PeakView

MAX_SPOTS = 500
"""More than these, the strongest ones, MOSFLM does not take."""
_IMAGE, _SPOTS, _MATRIX = "frame_001.img", "frame.spt", "frame.mat"


class MosflmIndexer:
    """Asks MOSFLM for the lattice of a frame."""

    def __init__(self, settings: IndexingSettings) -> None:
        self._target = settings.target_cell
        self.program = ExternalProgram("mosflm", scratch=settings.scratch)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the lattice that MOSFLM finds where it is of the wanted type, or nothing."""
        if not self.program.may_try(thorough=thorough):
            return []
        files: dict[str, str | bytes] = {_IMAGE: image_file(), _SPOTS: spot_file(view)}
        answers = keywords(view.wavelength, self._target)
        found = read_matrix(self.program.run([], files, answers=answers, results=[_MATRIX]).get(_MATRIX, ""))
        if found is None:
            return []
        axes, lattice = found
        if self._target is not None and not self._is_wanted(lattice):
            return []
        return [candidate(axes / view.wavelength, self._target)]

    def _is_wanted(self, lattice: tuple[LatticeType, Centring] | None) -> bool:
        target = self._target
        assert target is not None
        return (
            target.lattice_type == "monoclinic"
            or lattice is None
            or lattice == lattice_of_symbol(group_symbol(target))
        )


def spot_file(view: PeakView) -> str:
    """Write a list of spots: a header of three lines, then x, y [mm], and an end mark."""
    places = on_detector(view.q[:MAX_SPOTS], view.wavelength)
    lines = ["1 1 0.0 1.0 0.0", "1 1", "0.0 0.0"]
    lines += [f"{-x:10.2f} {y:10.2f} 0.0 0.0 1000.0 10.0" for x, y in places]
    lines += ["-999.0 -999.0 -999.0 -999.0 -999.0 -999.0"]
    return "\n".join(lines) + "\n"


def image_file() -> bytes:
    """Write an image of one pixel, without which MOSFLM does not start."""
    header = (
        "{\nHEADER_BYTES=512;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nDIM=2;\nSIZE1=1;\nSIZE2=1;\n"
        f"DISTANCE={DISTANCE_MM:g};\nPIXEL_SIZE=0.1;\nOSC_START=0.0;\nOSC_RANGE=0.0;\n}}\n"
    )
    return header.encode().ljust(512) + b"\0\0"


def keywords(wavelength: float, cell: UnitCell | None) -> str:
    """Write what MOSFLM reads from its standard input."""
    lines = ["DETECTOR ROTATION HORIZONTAL ANTICLOCKWISE ORIGIN LL FAST HORIZONTAL RECTANGULAR"]
    if cell is not None:
        lines += [f"CELL {parameters_text(cell)}", f"SYMM {group_symbol(cell)}"]
    lines += [
        f"DISTANCE {DISTANCE_MM:g}",
        "BEAM 0.0 0.0",
        f"WAVELENGTH {wavelength:.5f}",
        f"NEWMAT {_MATRIX}",
        f"IMAGE {_IMAGE} PHI 0 0",
        f"AUTOINDEX DPS FILE {_SPOTS} IMAGE 1 MAXCELL 1000 REFINE",
        "GO",
    ]
    return "\n".join(lines) + "\n"


def read_matrix(text: str) -> tuple[NDArray[np.float64], tuple[LatticeType, Centring] | None] | None:
    """Read a matrix file: reciprocal axes as rows, float64[3, 3], times the wavelength, and the lattice.

    None where there is no matrix.  Its columns are the axes, in MOSFLM's frame: x along the beam, z up or down
    the spindle.
    """
    lines = text.splitlines()
    try:
        matrix = np.array([[float(line[i : i + 12]) for i in (0, 12, 24)] for line in lines[:3]])
    except ValueError:
        return None
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not abs(np.linalg.det(matrix)) > 1e-12:
        return None
    mx, my, mz = matrix
    symbols = [line.split(None, 1)[1] for line in lines[3:] if line.upper().startswith("SYMM") and " " in line]
    lattice = lattice_of_symbol(symbols[-1]) if symbols else None
    return np.ascontiguousarray(np.stack([-my, -mz, mx], axis=1)), lattice


def make_indexer(settings: IndexingSettings) -> MosflmIndexer:
    """Make the indexer; `UserError` where MOSFLM is not installed."""
    return MosflmIndexer(settings)
