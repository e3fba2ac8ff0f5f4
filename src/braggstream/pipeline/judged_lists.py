"""Merged lists judged from Python: what `check_hkl` and `compare_hkl` tell, as tables."""

from collections.abc import Sequence
from pathlib import Path

from numpy.typing import NDArray

from braggstream.formats.cell import read_cell
from braggstream.formats.reflection_file import read_reflections
from braggstream.formats.shell_table import ShellTable, edges_columns
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.agreement import agreement, figure_of_merit
from braggstream.steps.merging.comparison import (
    BijvoetPairs,
    MatchedLists,
    bijvoet_pairs,
    fitted_scale,
    match_lists,
    scaled,
)
from braggstream.steps.merging.list_check import check_list
from braggstream.steps.merging.matching import check_symmetry, symmetry_of
from braggstream.steps.merging.selection import Selection
from braggstream.steps.merging.shells import Shells

HALF_SET_FIGURES = ("CC", "CC*", "Rsplit")
Limits = tuple[float | None, float | None]
"""Lowest and highest resolution [Å]."""


def check(
    merged: ReflectionList | str | Path,
    cell: UnitCell | str | Path,
    *,
    symmetry: str | None = None,
    n_shells: int = 10,
    resolution: Limits = (None, None),
) -> ShellTable:
    """Tell completeness, redundancy and signal of a merged list by resolution, as `check_hkl` does.

    Parameters
    ----------
    merged
        The list, or its file.
    cell
        The unit cell, or its file.
    symmetry
        Point group; that of the list where it is not given.
    n_shells
        How many shells of equal volume.
    resolution
        Lowest and highest resolution [Å]; None for that of the list.

    Returns
    -------
    ShellTable
        Columns `n_reflections`, `n_possible`, `completeness` (a fraction), `n_measured`, `redundancy`, `snr` and
        `intensity`.
    """
    (reflections,), group, cell = _understood([merged], cell, symmetry)
    counts_of = check_list(reflections, cell, group, selection=_selection(resolution), n_shells=n_shells)
    counts = counts_of.counts
    columns = {
        "n_reflections": counts.n_reflections,
        "n_possible": counts.n_possible,
        "completeness": counts.completeness,
        "n_measured": counts.n_measured,
        "redundancy": counts.redundancy,
        "snr": counts.snr,
        "intensity": counts.intensity,
    }
    return ShellTable(
        columns=edges_columns(counts_of.shells.edges) | {name: values[:-1] for name, values in columns.items()},
        overall={name: values[-1] for name, values in columns.items()},
    )


def compare(
    one: ReflectionList | str | Path,
    other: ReflectionList | str | Path,
    cell: UnitCell | str | Path,
    *,
    figures: Sequence[str] = HALF_SET_FIGURES,
    symmetry: str | None = None,
    n_shells: int = 10,
    resolution: Limits = (None, None),
    scale: bool = True,
) -> ShellTable:
    """Tell how well two merged lists agree by resolution, as `compare_hkl` does; for half sets, CC1/2 and Rsplit.

    Parameters
    ----------
    one, other
        The lists, or their files.
    cell
        The unit cell, or its file.
    figures
        Figures of merit, as for `compare_hkl --fom`; those that are percentages there are fractions here.
    symmetry
        Point group; that of the lists where it is not given.
    n_shells
        How many shells of equal volume.
    resolution
        Lowest and highest resolution [Å]; None for that of the lists.
    scale
        Whether the second list is brought to the scale of the first.

    Returns
    -------
    ShellTable
        A column for each figure, and `n_pairs`.
    """
    wanted = [figure_of_merit(name) for name in figures]
    (first, second), group, cell = _understood([one, other], cell, symmetry)
    anomalous = [figure.name for figure in wanted if figure.of_mates is not None]
    if anomalous and group.is_centrosymmetric:
        raise UserError(f"{anomalous[0]} needs a symmetry that keeps Bijvoet mates apart, not {group.name}")
    selection = _selection(resolution)
    matched, _ = match_lists(first, second, cell, group, selection)
    if scale:
        matched = scaled(matched, *fitted_scale(matched))
    shells = Shells.of_equal_volume(*selection.limits(matched.inverse_d), n_shells)
    columns: dict[str, NDArray] = dict(edges_columns(shells.edges))
    overall: dict[str, float] = {}
    mates = bijvoet_pairs(matched, group) if anomalous else None
    for figure in wanted:
        pairs: MatchedLists | BijvoetPairs = matched
        if figure.of_mates is not None and mates is not None:
            pairs = mates
        found = agreement(figure, pairs, shells)
        columns[figure.name], overall[figure.name] = found.values, found.overall
    columns["n_pairs"] = agreement(figure_of_merit("R1i"), matched, shells).n_pairs
    overall["n_pairs"] = len(matched)
    return ShellTable(columns=columns, overall=overall)


def _understood(
    lists: Sequence[ReflectionList | str | Path], cell: UnitCell | str | Path, symmetry: str | None
) -> tuple[list[ReflectionList], PointGroup, UnitCell]:
    """Read what is given by name, and find the symmetry of all lists."""
    found = [each if isinstance(each, ReflectionList) else read_reflections(each) for each in lists]
    groups = [symmetry_of(each, symmetry) for each in found]
    if any(group != groups[0] for group in groups):
        raise UserError(f"the lists have different symmetries, {' and '.join(group.name for group in groups)}")
    for each, source in zip(found, lists, strict=True):
        check_symmetry(each, groups[0], "the list" if isinstance(source, ReflectionList) else str(source))
    return found, groups[0], cell if isinstance(cell, UnitCell) else read_cell(cell)


def _selection(resolution: Limits) -> Selection:
    d_max, d_min = resolution
    if any(value is not None and not value > 0.0 for value in resolution):
        raise UserError(f"resolution={resolution}: expected the lowest and the highest in Å, or None")
    return Selection(low=None if d_max is None else 1.0 / d_max, high=None if d_min is None else 1.0 / d_min)
