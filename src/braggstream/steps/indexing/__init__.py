"""Find lattices in the peaks of a frame.

A method is one module and one line in `INDEXERS`.  Importing this package loads no kernel; making a finder does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.cell import read_cell
from braggstream.model.cell import UnitCell
from braggstream.model.settings import FfbidxSettings, IndexingSettings
from braggstream.steps.indexing.methods import INDEXERS, check_means, check_methods
from braggstream.steps.indexing.outcome import IndexingOutcome

if TYPE_CHECKING:
    from braggstream.steps.view import PeakView

LatticeFinder = Callable[["PeakView"], IndexingOutcome]

__all__ = [
    "INDEXERS",
    "IndexingOutcome",
    "LatticeFinder",
    "check_means",
    "check_methods",
    "index_q",
    "make_lattice_finder",
]


def make_lattice_finder(settings: IndexingSettings) -> LatticeFinder:
    """Set up the methods and checks that the settings ask for.

    Raises
    ------
    UserError
        For a method that is not there, or that needs a unit cell where there is none.
    """
    from braggstream.steps.indexing.attempts import AttemptLoop

    return AttemptLoop(settings)


def index_q(
    q: NDArray[np.float64], target_cell: UnitCell | str | Path, settings: FfbidxSettings | None = None
) -> list[NDArray[np.float64]]:
    """Find a known lattice in scattering vectors, without refinement and without judging it.

    Parameters
    ----------
    q : float64[n, 3]
        Scattering vectors, no 2 pi, strongest first [Å⁻¹].
    target_cell : UnitCell or path
        The cell that is expected, or its file.
    settings : FfbidxSettings, optional
        Parameters of the search.

    Returns
    -------
    list of float64[3, 3]
        Reciprocal axes as rows a*, b*, c*, in the setting of the target, best first [Å⁻¹].

    Raises
    ------
    UserError
        For parameters out of their limits.
    """
    from braggstream.steps.indexing.cell_check import CellCheck
    from braggstream.steps.indexing.ffbidx import make_indexer
    from braggstream.steps.indexing.indexer import candidate

    if not isinstance(target_cell, UnitCell):
        target_cell = read_cell(target_cell)
    chosen = IndexingSettings(target_cell=target_cell, ffbidx=settings or FfbidxSettings())
    nearest = CellCheck(target_cell, chosen.tolerance)
    lattices = []
    for axes in make_indexer(chosen).find(np.ascontiguousarray(q, np.float64).reshape(-1, 3)):
        # The search may meet a pseudo-symmetric lattice in a setting that is only nearly the target's.
        found = nearest.reindexed(candidate(axes, target_cell))
        lattices.append(axes if found is None else found.reciprocal_axes)
    return lattices
