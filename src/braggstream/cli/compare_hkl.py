"""`compare_hkl`: how well two lists of merged reflections agree, such as the half sets of a merge."""

import sys
from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

from braggstream.cli.figure_options import (
    LIST_OPTIONS,
    SELECTION_OPTIONS,
    SHELL_OPTIONS,
    read_list,
    selection_of,
    write_table,
)
from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.cell import read_cell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.agreement import FIGURES, Agreement, FigureOfMerit, agreement, figure_of_merit
from braggstream.steps.merging.comparison import (
    BijvoetPairs,
    MatchedLists,
    bijvoet_pairs,
    fitted_scale,
    match_lists,
    scaled,
)
from braggstream.steps.merging.fitting_lattice import warnings_of_list
from braggstream.steps.merging.matching import check_symmetry, symmetry_of
from braggstream.steps.merging.shells import Shells

PROGRAM = Program(
    name="compare_hkl",
    usage="compare_hkl -p CELL [-y GROUP] [--fom FIGURE] [options] LIST1 LIST2",
    description="Compare two lists of merged reflections by resolution.",
    operands="lists",
)
GROUPS = {
    "Input": LIST_OPTIONS,
    "Comparison": (
        option("--fom", "text", f"figure of merit: {', '.join(FIGURES)}", default="R1i", argument="FIGURE"),
        option("-u --unity", "flag", "compare as they are: do not scale the second list to the first"),
    ),
    "Shells": SHELL_OPTIONS,
    "Which reflections count": (
        *SELECTION_OPTIONS,
        option(
            "--min-measurements", "integer", "fewest measurements in either list", default=0, argument="N", least=0
        ),
    ),
}
N_SHELLS = 10


def run(words: Sequence[str]) -> int:
    """Run `compare_hkl` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    if len(chosen["lists"]) != 2:
        raise UserError("expected two lists of reflections")
    if chosen["pdb"] is None:
        raise UserError("a unit cell is needed: give it with -p")
    for line in _compare(chosen, figure_of_merit(chosen["fom"])):
        print(line, file=sys.stderr)
    return 0


def _compare(chosen: dict[str, Any], figure: FigureOfMerit) -> Iterator[str]:
    """Compare the lists, and write the table; yields what the terminal is told."""
    selection, warnings = selection_of(chosen)
    if figure.needs_positive and selection.negatives == "keep":
        raise UserError(f"--fom={figure.name} takes square roots: give --ignore-negs or --zero-negs")
    if selection.negatives != "keep" and not figure.needs_positive:
        warnings.append(f"--ignore-negs and --zero-negs bias a comparison: --fom={figure.name} does not need them")
    yield from (f"Warning: {warning}" for warning in warnings)
    cell, (one, other) = read_cell(chosen["pdb"], say), (read_list(path) for path in chosen["lists"])
    group = _common_symmetry(one, other, chosen)
    if figure.of_mates is not None and group.is_centrosymmetric:
        raise UserError(f"--fom={figure.name} needs a symmetry that keeps Bijvoet mates apart, not {group.name}")
    yield from (f"Warning: {warning}" for warning in warnings_of_list(one, group, cell))
    matched, n_rejected = match_lists(one, other, cell, group, selection)
    yield f"{len(one)} and {len(other)} reflections; {len(matched) + n_rejected} are in both lists"
    if not chosen["unity"]:
        scale, b_factor = fitted_scale(matched)
        matched = scaled(matched, scale, b_factor)
        yield f"Scale factor of the second list = {scale:f}, B = {b_factor:f} A^2"
    pairs: MatchedLists | BijvoetPairs = matched
    if figure.of_mates is not None:
        pairs = bijvoet_pairs(matched, group)
    n_accepted = len(pairs) if isinstance(pairs, MatchedLists) else 2 * len(pairs)
    yield f"{n_accepted} reflections accepted, {n_rejected} rejected"
    shells = Shells.of_equal_volume(*selection.limits(pairs.inverse_d), chosen["nshells"] or N_SHELLS)
    found = agreement(figure, pairs, shells)
    write_table(chosen["shell_file"], agreement_table(found))
    yield overall_line(found)


def _common_symmetry(one: ReflectionList, other: ReflectionList, chosen: dict[str, Any]) -> PointGroup:
    """Give the symmetry of both lists; raises `UserError` where they differ, or where one has not that symmetry."""
    groups = [symmetry_of(each, chosen["symmetry"]) for each in (one, other)]
    if groups[0] != groups[1]:
        raise UserError(f"the lists have different symmetries, {groups[0].name} and {groups[1].name}")
    known = [each.symmetry for each in (one, other) if each.symmetry not in ("", "unknown")]
    if len(known) == 2 and symmetry_of(one, None) != symmetry_of(other, None):
        raise UserError(f"the lists have different symmetries, {known[0]} and {known[1]}")
    for each, path in zip((one, other), chosen["lists"], strict=True):
        check_symmetry(each, groups[0], path)
    return groups[0]


def agreement_table(found: Agreement) -> Iterator[str]:
    """Write the table of shells."""
    figure, edges = found.figure, 10.0 * found.shells.edges
    nref = f"{'nref':>{20 - len(figure.title)}}" if len(figure.title) == 11 else f"{'nref':>11}"
    yield f"  1/d centre{figure.title}{nref}      d / A   Min 1/nm    Max 1/nm"
    gap = " " * max(0, len(figure.title) - 9) if not figure.is_percentage else ""
    for shell, centre in enumerate(found.shells.centres):
        yield (
            f"{10.0 * centre:10.3f} {gap}{_value(figure, found.values[shell])} {found.n_pairs[shell]:10d}"
            f" {1.0 / centre:10.2f} {edges[shell]:10.3f}  {edges[shell + 1]:10.3f}"
        )


def overall_line(found: Agreement) -> str:
    """Tell the overall value, as scripts look for it; without reflections in common there is no percentage."""
    if isnan(found.overall) and found.figure.is_percentage:
        return found.figure.overall.partition("=")[0] + "= - (too few reflections)"
    return found.figure.overall % (100.0 * found.overall if found.figure.is_percentage else found.overall)


def _value(figure: FigureOfMerit, value: float) -> str:
    return f"{100.0 * value:10.2f}" if figure.is_percentage else f"{value:10.7f}"
