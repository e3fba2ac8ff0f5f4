"""Completeness, redundancy and signal of one merged list, shell by shell (`check_hkl`)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.figures import ShellCounts, shell_counts
from braggstream.steps.merging.selection import Selection
from braggstream.steps.merging.shells import Shells, inverse_d_of, possible_reflections

FloatArray = NDArray[np.float64]
DEFAULT_SELECTION = Selection()
ON_LIMIT = 1e-9
"""Relative distance from a limit within which a reflection is on it."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class SelectedReflections:
    """The reflections of a list that count, in the asymmetric unit."""

    hkl: NDArray[np.int32]
    """int32[n, 3]."""
    inverse_d: FloatArray
    """1/d, float64[n] [Å⁻¹]."""
    intensity: FloatArray
    """float64[n]."""
    sigma: FloatArray
    """float64[n]."""
    n_measured: NDArray[np.int32]
    """int32[n]."""
    n_rejected: int
    """Reflections of the list that do not count."""

    def __len__(self) -> int:
        return len(self.hkl)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ListCheck:
    """What a list says of itself."""

    shells: Shells
    counts: ShellCounts
    n_rejected: int
    """Reflections that do not count."""
    n_without_ratio: int
    """Reflections that are left out of the mean of I/σ, because σ is zero."""


def select_reflections(
    reflections: ReflectionList, cell: UnitCell, group: PointGroup, selection: Selection = DEFAULT_SELECTION
) -> SelectedReflections:
    """Take the reflections that count; raises `UserError` where there is none."""
    hkl = group.asymmetric(reflections.hkl)
    inverse_d = inverse_d_of(hkl, cell)
    accepted = selection.accepts(reflections, inverse_d)
    if not accepted.any():
        raise UserError(f"none of the {len(hkl)} reflections is within the limits")
    return SelectedReflections(
        hkl=hkl[accepted],
        inverse_d=inverse_d[accepted],
        intensity=selection.intensities(reflections)[accepted],
        sigma=reflections.sigma[accepted],
        n_measured=reflections.n_measured[accepted],
        n_rejected=int((~accepted).sum()),
    )


def check_list(
    reflections: ReflectionList,
    cell: UnitCell,
    group: PointGroup,
    *,
    selection: Selection = DEFAULT_SELECTION,
    n_shells: int = 10,
) -> ListCheck:
    """Count a merged list by shell, as `check_hkl` does.

    Where no lowest resolution is given, that of the list is the limit, and the reflection on it is measured but not
    counted as possible: so the reference counts, and its tables come out the same.
    """
    chosen = select_reflections(reflections, cell, group, selection)
    shells = Shells.of_equal_volume(*selection.limits(chosen.inverse_d), n_shells)
    lowest = float(shells.edges[0]) * (1.0 if selection.low is None else 1.0 - ON_LIMIT)
    possible = possible_reflections(cell, group, lowest, float(shells.edges[-1]))
    n_possible = np.bincount(shells.numbers(inverse_d_of(possible, cell)), minlength=n_shells)
    counts = shell_counts(
        chosen.intensity,
        chosen.sigma,
        chosen.n_measured,
        shell=shells.numbers(chosen.inverse_d),
        n_possible=n_possible,
    )
    return ListCheck(
        shells=shells,
        counts=counts,
        n_rejected=chosen.n_rejected,
        n_without_ratio=int((chosen.sigma == 0.0).sum()),
    )
