"""The free parameters of a lattice under its type: reciprocal cell parameters that may differ, and a rotation.

A lattice is U·B: B the reciprocal axes of the cell in a standard setting, U the orientation.  The restraint is
exact: every set of free parameters gives a lattice of the type.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.restrained_lattice import N_CELL, move_lattice, write_axes, write_derivatives
from braggstream.model.cell import UnitCell

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class RestrainedLattice:
    """A lattice whose cell obeys a lattice type."""

    orientation: FloatArray
    """Rotates the standard setting into the lab, float64[3, 3]."""
    cell: FloatArray
    """Reciprocal lengths [Å⁻¹] and angles [rad], float64[6]."""
    ties: FloatArray
    """Which cell parameters move together, float64[n_free, 6]."""

    @classmethod
    def nearest(cls, axes: FloatArray, target: UnitCell | None) -> "RestrainedLattice":
        """Impose the target's lattice type on reciprocal axes, float64[3, 3] (rows) [Å⁻¹]; None imposes nothing."""
        free = _reciprocal_parameters(axes)
        cell, ties = _restrained(free, target)
        standard = np.empty((3, 3))
        write_axes(free, np.eye(3), standard)
        # Both are axes of the same cell, so this is a rotation, or a roto-inversion for a left-handed set.
        orientation = np.ascontiguousarray(np.linalg.solve(standard, axes).T)
        return cls(orientation, cell, ties)

    @property
    def axes(self) -> FloatArray:
        """Rows a*, b*, c* in the lab, float64[3, 3] [Å⁻¹]."""
        axes = np.empty((3, 3))
        write_axes(self.cell, self.orientation, axes)
        return axes

    def derivatives(self) -> FloatArray:
        """Change of the axes with each free cell parameter and with rotations about x, y, z, float64[n, 3, 3]."""
        found = np.empty((len(self.ties) + 3, 3, 3))
        write_derivatives(self.cell, self.orientation, self.ties, found)
        return found

    def copy(self) -> "RestrainedLattice":
        """Give a lattice of its own, that a kernel may change."""
        return RestrainedLattice(self.orientation.copy(), self.cell.copy(), self.ties)

    def moved(self, shifts: FloatArray) -> "RestrainedLattice":
        """Give the lattice with shifts applied, float64[n], in the order of `derivatives`."""
        moved = self.copy()
        move_lattice(moved.cell, moved.orientation, moved.ties, np.ascontiguousarray(shifts))
        return moved


def _restrained(free: FloatArray, target: UnitCell | None) -> tuple[FloatArray, FloatArray]:
    """Impose a lattice type on reciprocal cell parameters; gives them, and which of them move together."""
    kind = "triclinic" if target is None else target.lattice_type
    unique = {"a": 0, "b": 1, "c": 2}.get(target.unique_axis if target else "", 2)
    others = [axis for axis in range(3) if axis != unique]
    right = np.pi / 2.0
    groups: list[list[int]]
    cell = free.copy()
    match kind:
        case "triclinic":
            groups = [[number] for number in range(N_CELL)]
        case "monoclinic":
            groups = [[0], [1], [2], [3 + unique]]
            cell[[3 + axis for axis in others]] = right
        case "orthorhombic":
            groups = [[0], [1], [2]]
            cell[3:] = right
        case "tetragonal" | "hexagonal":
            groups = [others, [unique]]
            cell[3:] = right
            if kind == "hexagonal":
                cell[3 + unique] = np.pi / 3.0
        case "cubic":
            groups = [[0, 1, 2]]
            cell[3:] = right
        case _:
            groups = [[0, 1, 2], [3, 4, 5]]
    ties = np.zeros((len(groups), N_CELL))
    for number, group in enumerate(groups):
        ties[number, group] = 1.0
        cell[group] = cell[group].mean()
    return cell, ties


def _reciprocal_parameters(axes: FloatArray) -> FloatArray:
    """Lengths and angles (between b* and c*, a* and c*, a* and b*) of axes."""
    lengths = np.sqrt(np.einsum("ij,ij->i", axes, axes))
    a, b, c = axes / lengths[:, None]
    cosines = np.clip([b @ c, a @ c, a @ b], -1.0, 1.0)
    return np.concatenate([lengths, np.arccos(cosines)])
