"""From a centred cell to a primitive, reduced one, and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.niggli import reduce_niggli
from braggstream.model.cell import Centring, UnitCell

FloatArray = NDArray[np.float64]


def _half(*rows: tuple[int, int, int]) -> FloatArray:
    return np.array(rows, np.float64) / 2.0


TO_PRIMITIVE: dict[Centring, FloatArray] = {
    "P": np.eye(3),
    "R": np.eye(3),
    "A": _half((2, 0, 0), (0, 1, -1), (0, 1, 1)),
    "B": _half((1, 0, -1), (0, 2, 0), (1, 0, 1)),
    "C": _half((1, -1, 0), (1, 1, 0), (0, 0, 2)),
    "I": _half((-1, 1, 1), (1, -1, 1), (1, 1, -1)),
    "F": _half((0, 1, 1), (1, 0, 1), (1, 1, 0)),
    "H": np.array([(2, -1, -1), (1, 1, -2), (1, 1, 1)], np.float64) / 3.0,
}
"""Columns: a primitive basis in terms of the centred axes (inverses of International Tables A, 5.1.3.1); H is
obverse."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ReducedLattice:
    """A primitive, Niggli-reduced basis, and how to get the cell back."""

    basis: FloatArray
    """Columns are the reduced basis vectors, float64[3, 3] [Å]."""
    to_cell: FloatArray
    """Integer matrix: cell axes (columns) = basis @ to_cell."""


def reduce_lattice(axes: FloatArray, centring: Centring) -> ReducedLattice | None:
    """Reduce the lattice of a cell whose axes are the rows of `axes` [Å]; None for a degenerate one."""
    to_primitive = TO_PRIMITIVE[centring]
    basis = np.ascontiguousarray(axes.T @ to_primitive)
    transform = np.empty((3, 3))
    if not np.isfinite(basis).all() or not reduce_niggli(basis, transform):
        return None
    to_cell = np.rint(np.linalg.inv(to_primitive @ transform))
    return ReducedLattice(basis=basis, to_cell=to_cell)


def reduce_cell(cell: UnitCell) -> ReducedLattice:
    """Reduce the lattice of a valid unit cell."""
    reduced = reduce_lattice(cell.direct_axes(), cell.centring)
    if reduced is None:
        raise ValueError(f"degenerate cell {cell}")
    return reduced
