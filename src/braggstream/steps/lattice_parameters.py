"""The free parameters of a lattice under its type: reciprocal cell parameters that may differ, and a rotation.

A lattice is U·B: B the reciprocal axes of the cell in a standard setting, U the orientation.  The restraint is
exact: every set of free parameters gives a lattice of the type.
"""

from dataclasses import dataclass
from math import cos, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell

FloatArray = NDArray[np.float64]

N_CELL = 6
STEP = 1e-6
"""Of numerical derivatives of the cell's axes: relative for lengths, in radians for angles."""


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
        standard = _standard_axes(free)
        # Both are axes of the same cell, so this is a rotation, or a roto-inversion for a left-handed set.
        orientation = np.asarray(np.linalg.solve(standard, axes).T, np.float64)
        return cls(orientation, cell, ties)

    @property
    def axes(self) -> FloatArray:
        """Rows a*, b*, c* in the lab, float64[3, 3] [Å⁻¹]."""
        return _standard_axes(self.cell) @ self.orientation.T

    def derivatives(self) -> FloatArray:
        """Change of the axes with each free cell parameter and with rotations about x, y, z, float64[n, 3, 3]."""
        axes = self.axes
        found = np.empty((len(self.ties) + 3, 3, 3))
        for number, tie in enumerate(self.ties):
            step = STEP * self._scale(tie)
            above, below = _standard_axes(self.cell + step * tie), _standard_axes(self.cell - step * tie)
            found[number] = (above - below) / (2.0 * step) @ self.orientation.T
        for axis in range(3):
            unit = np.zeros(3)
            unit[axis] = 1.0
            found[len(self.ties) + axis] = np.cross(unit, axes)
        return found

    def moved(self, shifts: FloatArray) -> "RestrainedLattice":
        """Give the lattice with shifts applied, float64[n], in the order of `derivatives`."""
        n_free = len(self.ties)
        rotation = _rotation(shifts[n_free:])
        return RestrainedLattice(rotation @ self.orientation, self.cell + shifts[:n_free] @ self.ties, self.ties)

    def _scale(self, tie: FloatArray) -> float:
        lengths = self.cell[:3][tie[:3] != 0]
        return float(lengths.mean()) if len(lengths) else 1.0


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


def _standard_axes(cell: FloatArray) -> FloatArray:
    """Axes with the first along x and the second in the xy plane, float64[3, 3] (rows)."""
    a, b, c, alpha, beta, gamma = (float(number) for number in cell)
    x = cos(beta)
    y = (cos(alpha) - cos(beta) * cos(gamma)) / sin(gamma)
    z = sqrt(max(1e-12, 1.0 - x * x - y * y))
    return np.array([[a, 0.0, 0.0], [b * cos(gamma), b * sin(gamma), 0.0], [c * x, c * y, c * z]])


def _rotation(vector: FloatArray) -> FloatArray:
    """Rotation by a vector's length about its direction (Rodrigues), float64[3, 3]."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + sin(angle) * cross + (1.0 - cos(angle)) * cross @ cross
