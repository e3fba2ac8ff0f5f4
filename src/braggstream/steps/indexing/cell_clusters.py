"""Unit cells of many crystals, sorted into populations, and what each of them is."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring, UnitCell, cell_parameters
from braggstream.model.crystal import Crystal
from braggstream.steps.indexing.bravais import bravais_lattice, idealized
from braggstream.steps.indexing.cell_check import CellCheck, is_sane
from braggstream.steps.indexing.centring import reduce_lattice

FloatArray = NDArray[np.float64]

TOLERANCE = (2.0, 2.0, 2.0, 1.5, 1.5, 1.5)
"""Cells of one population differ from its first one by no more, lengths [percent] and angles [deg]."""
LARGEST_VOLUME_RATIO = 1.25
"""More than the tolerances allow: cells whose volumes differ by more need not be compared."""
MOST_POPULATIONS = 40
"""Stray cells beyond these are counted only."""
MAX_ANGLE = 0.5
MAX_LENGTH = 0.006
"""Deviation from a symmetry that the mean of a population may have [deg; part of the length]."""
SCATTER_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundCell:
    """The unit cell of a population."""

    cell: UnitCell
    """Medians over the crystals, with the lattice type that they fit."""
    spread: tuple[float, float, float, float, float, float]
    """Standard deviation over the crystals, from the median deviation: lengths [Å], angles [deg]."""
    n_crystals: int
    parameters: FloatArray = field(repr=False, compare=False)
    """Lengths [Å] and angles [deg] of each crystal in the setting of the cell, float64[n_crystals, 6]."""

    def as_record(self) -> dict[str, object]:
        """Describe it for a JSON file."""
        cell = self.cell
        return {
            "lattice_type": cell.lattice_type,
            "centring": cell.centring,
            "unique_axis": cell.unique_axis,
            "lengths_angstrom": list(cell.parameters[:3]),
            "angles_deg": list(cell.parameters[3:]),
            "spread_of_lengths_angstrom": list(self.spread[:3]),
            "spread_of_angles_deg": list(self.spread[3:]),
            "n_crystals": self.n_crystals,
        }


@dataclass(eq=False, slots=True)
class _Population:
    check: CellCheck
    volume: float
    """Of the first one [Å³]."""
    members: list[FloatArray] = field(default_factory=list)
    """Direct axes, rows a, b, c in the setting of the first one [Å]."""


class CellClusters:
    """Sorts cells, whatever their settings, as they come."""

    def __init__(self, most_populations: int = MOST_POPULATIONS) -> None:
        self._most_populations = most_populations
        self._populations: list[_Population] = []
        self.n_cells = 0
        """Cells seen."""

    def add(self, reciprocal_axes: FloatArray, centring: Centring = "P") -> None:
        """Sort a cell in: rows a*, b*, c*, float64[3, 3] [Å⁻¹]; it counts as its primitive one."""
        self.n_cells += 1
        with np.errstate(all="ignore"):
            crystal = _reduced(reciprocal_axes, centring)
        if crystal is None:
            return
        volume = crystal.cell.volume
        for population in self._populations:
            if not 1.0 / LARGEST_VOLUME_RATIO < volume / population.volume < LARGEST_VOLUME_RATIO:
                continue
            found = population.check.reindexed(crystal)
            if found is not None:
                population.members.append(found.direct_axes)
                return
        if len(self._populations) < self._most_populations:
            self._populations.append(_Population(CellCheck(crystal.cell, TOLERANCE), volume, [crystal.direct_axes]))

    @property
    def n_largest(self) -> int:
        """Crystals of the largest population."""
        return max((len(population.members) for population in self._populations), default=0)

    def found_cells(self, fewest: int) -> list[FoundCell]:
        """Cells of the populations with so many crystals at least, the largest first."""
        large = [population.members for population in self._populations if len(population.members) >= fewest]
        large.sort(key=len, reverse=True)
        found = [_found_cell(np.array(members)) for members in large]
        return [each for each in found if each is not None]


def _reduced(reciprocal_axes: FloatArray, centring: Centring) -> Crystal | None:
    """Reduce a lattice; None for one that is none."""
    if not np.isfinite(reciprocal_axes).all() or not abs(np.linalg.det(reciprocal_axes)) > 0.0:
        return None
    reduced = reduce_lattice(np.asarray(np.linalg.inv(reciprocal_axes).T, np.float64), centring)
    if reduced is None:
        return None
    crystal = Crystal(reciprocal_axes=np.ascontiguousarray(np.linalg.inv(reduced.basis)))
    return replace(crystal, unique_axis="*") if is_sane(crystal.cell) else None


def _found_cell(members: FloatArray) -> FoundCell | None:
    """Describe a population, float64[n, 3, 3] [Å]."""
    middle = UnitCell.from_direct_axes(members[0])
    middle = middle.with_parameters(np.median(cell_parameters(members), axis=0))
    lattice = bravais_lattice(middle.direct_axes(), max_angle=MAX_ANGLE, max_length=MAX_LENGTH)
    if lattice is None:
        return None
    parameters = cell_parameters(lattice.from_primitive @ members)
    cell = idealized(lattice.cell.with_parameters(np.median(parameters, axis=0)))
    spread = SCATTER_OF_MEDIAN * np.median(np.abs(parameters - np.median(parameters, axis=0)), axis=0)
    s_a, s_b, s_c, s_alpha, s_beta, s_gamma = (float(number) for number in spread)
    return FoundCell(
        cell=cell,
        spread=(s_a, s_b, s_c, s_alpha, s_beta, s_gamma),
        n_crystals=len(members),
        parameters=parameters,
    )
