"""The seam behind which every indexing method stands."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.view import PeakView


class Indexer(Protocol):
    """Finds lattices in the peaks of a frame."""

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Lattices, best first, of peaks that are sorted by intensity, strongest first.

        With `thorough` it may take several times as long: the first attempt on a frame is thorough, repetitions
        with fewer peaks are not.  A lattice need not be in the target's setting and is not judged here; the same
        peaks always give the same answer.
        """
        ...


def candidate(reciprocal_axes: NDArray[np.float64], target: UnitCell | None) -> Crystal:
    """Make a crystal of axes, rows a*, b*, c*, float64[3, 3] [Å⁻¹], with the target's lattice type and centring.

    Without a target the lattice is primitive and triclinic.
    """
    if target is None:
        return Crystal(reciprocal_axes=reciprocal_axes)
    return Crystal(
        reciprocal_axes=reciprocal_axes,
        lattice_type=target.lattice_type,
        centring=target.centring,
        unique_axis=target.unique_axis,
    )


def complaints_of(indexer: Indexer) -> tuple[str, ...]:
    """Take what an indexer that runs another program has to say about it, one line each."""
    program = getattr(indexer, "program", None)
    return () if program is None else tuple(program.complaints())
