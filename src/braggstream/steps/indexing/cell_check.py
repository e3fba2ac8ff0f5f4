"""Does a lattice fit the expected cell, and in which setting?"""

from dataclasses import replace
from functools import lru_cache
from itertools import product
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.lattice_match import MAX_TIES, match_settings
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.indexing.centring import reduce_cell, reduce_lattice

FloatArray = NDArray[np.float64]
Tolerance = tuple[float, float, float, float, float, float]
"""Allowed deviation of lengths [percent] and angles [deg]."""

MIN_ANGLE = 10.0
"""Smallest plausible angle of a cell [deg]."""
MAX_AXIS_RATIO = 1e6
_INTERCHANGEABLE = frozenset("PR")


class CellCheck:
    """CrystFEL's comparison with the target cell, over all settings of the lattice."""

    def __init__(self, target: UnitCell, tolerance: Tolerance) -> None:
        self._cell = target
        self._allowed = tolerance
        reduced = reduce_cell(target)
        # Any setting of the reduced basis, followed by the way from the target's reduced basis to the target.
        self._settings = np.ascontiguousarray(_unimodular() @ reduced.to_cell)
        self._target = np.array([*target.parameters, *_g6(target.direct_axes())])
        self._tolerance = np.array([t / 100.0 for t in tolerance[:3]] + list(tolerance[3:]))
        self._ties = np.empty(MAX_TIES, np.int64)

    def reindexed(self, crystal: Crystal) -> Crystal | None:
        """Give the crystal in the target's setting, or None where no setting is within the tolerance.

        Of settings that fit equally well one is taken by a hash of the axes: no side of an angle is favoured, and
        the same frame always gives the same answer.
        """
        if not is_sane(crystal.cell):
            return None
        reduced = reduce_lattice(crystal.direct_axes, crystal.centring)
        if reduced is None:
            return None
        gram = np.ascontiguousarray(reduced.basis.T @ reduced.basis)
        n = match_settings(gram, self._settings, self._target, self._tolerance, self._ties)
        if n == 0:
            return None
        choice = crc32(np.round(crystal.reciprocal_axes, 9).tobytes()) % n
        direct = (reduced.basis @ self._settings[self._ties[choice]]).T
        return replace(
            crystal,
            reciprocal_axes=np.ascontiguousarray(np.linalg.inv(direct).T),
            lattice_type=self._cell.lattice_type,
            centring=self._cell.centring,
            unique_axis=self._cell.unique_axis,
        )

    def fits(self, crystal: Crystal) -> bool:
        """Compare the crystal with the target as it is, without another setting."""
        same = crystal.centring == self._cell.centring
        if not same and not {crystal.centring, self._cell.centring} <= _INTERCHANGEABLE:
            return False
        return is_within(crystal.cell, self._cell, self._allowed)


def is_within(found: UnitCell, target: UnitCell, tolerance: Tolerance) -> bool:
    """Compare parameters: lengths within percents of the found one's, angles within degrees."""
    for length, wanted, percent in zip(found.parameters[:3], target.parameters[:3], tolerance[:3], strict=True):
        if not abs(length - wanted) < percent / 100.0 * length:
            return False
    pairs = zip(found.parameters[3:], target.parameters[3:], tolerance[3:], strict=True)
    return all(abs(angle - wanted) <= degrees for angle, wanted, degrees in pairs)


def is_sane(cell: UnitCell) -> bool:
    """Tell whether a cell is possible and not absurdly long or flat; NaN is not."""
    parameters = np.array(cell.parameters)
    lengths, angles = parameters[:3], parameters[3:]
    if not np.isfinite(parameters).all() or not lengths.min() > 0.0:
        return False
    if lengths.max() > MAX_AXIS_RATIO * lengths.min() or angles.min() < MIN_ANGLE:
        return False
    if cell.lattice_type == "monoclinic" and cell.centring.lower() == cell.unique_axis:
        return False
    sums = [angles.sum(), *(angles.sum() - 2.0 * angles)]
    return all(0.0 < total < 360.0 for total in sums)


def _g6(axes: FloatArray) -> FloatArray:
    """G6 vector (a², b², c², 2bc cos α, 2ac cos β, 2ab cos γ) of axes as rows [Å²]."""
    gram = axes @ axes.T
    return np.array([*np.diag(gram), 2.0 * gram[1, 2], 2.0 * gram[0, 2], 2.0 * gram[0, 1]])


@lru_cache(maxsize=1)
def _unimodular() -> FloatArray:
    """All 3480 matrices with entries -1, 0 and 1 and determinant 1, float64[n, 3, 3]."""
    matrices = np.array(list(product((-1.0, 0.0, 1.0), repeat=9))).reshape(-1, 3, 3)
    return matrices[np.rint(np.linalg.det(matrices)) == 1.0]
