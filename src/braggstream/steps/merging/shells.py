"""Resolution shells of equal volume, and the reflections that are possible in them (spec: merging, 5.2)."""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup, is_absent

FloatArray = NDArray[np.float64]

MOST_POINTS = 3e8
"""Points of the reciprocal lattice that are looked at; each takes some tens of nanoseconds."""


@dataclass(frozen=True, eq=False, slots=True)
class Shells:
    """Shells between ascending limits of 1/d; a reflection on a limit belongs to the shell below it."""

    edges: FloatArray
    """Limits as 1/d, float64[n + 1] [Å⁻¹]."""

    @classmethod
    def of_equal_volume(cls, low: float, high: float, n_shells: int) -> "Shells":
        """Divide the reciprocal space between two 1/d [Å⁻¹] into shells of equal volume."""
        part = np.arange(n_shells + 1) / n_shells
        edges = np.cbrt(low**3 + part * (high**3 - low**3))
        # The cube root of the cube is not exactly the number itself.
        edges[0], edges[-1] = low, high
        return cls(edges)

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def centres(self) -> FloatArray:
        """Means of the limits, float64[n] [Å⁻¹]."""
        return 0.5 * (self.edges[:-1] + self.edges[1:])

    def numbers(self, inverse_d: FloatArray) -> NDArray[np.intp]:
        """Give each reflection its shell, by 1/d [Å⁻¹]; what lies outside all goes to the nearest one."""
        numbers = np.searchsorted(self.edges, inverse_d, side="left") - 1
        return np.clip(numbers, 0, len(self) - 1)


def inverse_d_of(hkl: NDArray[np.integer], cell: UnitCell) -> FloatArray:
    """1/d of reflections, int[n, 3], in a cell, float64[n] [Å⁻¹]."""
    vectors = hkl @ cell.reciprocal_axes()
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), np.float64)


def possible_reflections(cell: UnitCell, group: PointGroup, low: float, high: float) -> NDArray[np.int32]:
    """List the unique reflections that a crystal can show between two resolutions.

    Parameters
    ----------
    cell
        Its axes and centring; of systematic absences only those of the centring are known.
    group
        Reflections that it makes equivalent are listed once.
    low, high
        Limits as 1/d: low < 1/d <= high [Å⁻¹].

    Returns
    -------
    int32[n, 3]
        Representatives in the asymmetric unit, in ascending order of h, then k, then l.

    Raises
    ------
    UserError
        There are too many.
    """
    n_points = 4.0 / 3.0 * pi * high**3 * cell.volume
    if n_points > MOST_POINTS:
        raise UserError(f"up to {1.0 / high:.3g} Å there are {n_points:.1e} reflections, more than can be listed")
    most = [int(np.floor(high * length * (1.0 + 1e-12))) for length in cell.parameters[:3]]
    k, ell = (axis.ravel() for axis in np.mgrid[-most[1] : most[1] + 1, -most[2] : most[2] + 1])
    found = [np.zeros((0, 3), np.int32)]
    for h in range(-most[0], most[0] + 1):
        plane = np.column_stack([np.full(k.size, h), k, ell]).astype(np.int32)
        inverse_d = inverse_d_of(plane, cell)
        plane = plane[(inverse_d > low) & (inverse_d <= high)]
        plane = plane[~is_absent(plane, cell.centring)]
        found.append(plane[(group.asymmetric(plane) == plane).all(axis=1)])
    return np.concatenate(found)
