"""Whether cell, point group and reflections can belong together: what merging warns of."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell, cell_parameters
from braggstream.model.observations import CrystalTable
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.pairing import is_allowed

MOST_DISTORTION = 0.06
"""Largest relative difference that an operator of the point group may make in the metric: 3 % of an axis, or 3°."""
LENGTH_TOLERANCE, ANGLE_TOLERANCE = 0.05, 3.0
"""Crystals whose axes or angles [deg] differ more from the median have another cell."""
WORRYING_PART = 0.01
"""A warning is given where more than this part of the crystals, or of the reflections, does not fit."""
MOST_CELLS = 50_000
"""Most crystals whose cells are looked at."""


class CellSurvey:
    """The cells of crystals that are merged, as far as they are looked at."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float32]] = []
        self._n = 0

    def add(self, crystals: CrystalTable) -> None:
        """Look at the cells of crystals."""
        axes = crystals.reciprocal_axes[: max(0, MOST_CELLS - self._n)]
        volumes = np.abs(np.linalg.det(axes))
        axes = axes[np.isfinite(volumes) & (volumes > 0.0)]
        self.join(cell_parameters(np.linalg.inv(axes).transpose(0, 2, 1)).astype(np.float32))

    def join(self, cells: NDArray[np.float32]) -> None:
        """Add cells that were looked at elsewhere."""
        self._parts.append(cells)
        self._n += len(cells)

    @property
    def cells(self) -> NDArray[np.float32]:
        """Lengths [Å] and angles [deg], float32[n, 6]."""
        return np.concatenate([np.empty((0, 6), np.float32), *self._parts])

    def warnings(self, group: PointGroup) -> Iterator[str]:
        """Say what does not fit, a sentence each."""
        cells = self.cells.astype(np.float64)
        if not len(cells):
            return
        median = UnitCell.from_parameters(np.median(cells, axis=0))
        if not can_have(median, group):
            yield f"point group {group.name} is not possible with the cells of the crystals, {_shown(median)}"
        off = np.abs(cells - np.array(median.parameters))
        is_other = (off[:, :3] > LENGTH_TOLERANCE * np.array(median.parameters[:3])).any(axis=1)
        is_other |= (off[:, 3:] > ANGLE_TOLERANCE).any(axis=1)
        if is_other.sum() > WORRYING_PART * len(cells):
            yield (
                f"{is_other.sum()} of {len(cells)} crystals have other cells than most, {_shown(median)}: "
                "another protein, or wrong lattices; cell_explorer sorts them"
            )


def can_have(cell: UnitCell, group: PointGroup) -> bool:
    """Tell whether a cell can have the symmetry of a point group: its operators leave lengths and angles alone."""
    axes = cell.reciprocal_axes()
    metric = axes @ axes.T
    size = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    operators = group.operators.astype(np.float64)
    changed = np.einsum("nij,jk,nlk->nil", operators, metric, operators)
    return bool((np.abs(changed - metric) <= MOST_DISTORTION * size).all())


def warnings_of_list(reflections: ReflectionList, group: PointGroup, cell: UnitCell) -> Iterator[str]:
    """Say why a cell is perhaps not that of a merged list, a sentence each."""
    if not can_have(cell, group):
        yield f"point group {group.name} is not possible with the cell given with -p, {_shown(cell)}"
    n_absent = int(np.sum(~is_allowed(reflections.hkl, cell.centring)))
    if n_absent > WORRYING_PART * len(reflections):
        yield (
            f"{n_absent} of {len(reflections)} reflections are absent from a lattice with centring {cell.centring}:"
            " is the cell given with -p that of these crystals?"
        )


def _shown(cell: UnitCell) -> str:
    lengths = " ".join(f"{length:.2f}" for length in cell.parameters[:3])
    return f"{lengths} A, " + " ".join(f"{angle:.2f}" for angle in cell.parameters[3:]) + " deg"
