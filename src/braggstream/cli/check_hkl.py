"""`check_hkl`: completeness, redundancy and signal of a merged list; Wilson plot and L-test."""

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
from braggstream.steps.merging.fitting_lattice import warnings_of_list
from braggstream.steps.merging.l_test import LTest, l_test
from braggstream.steps.merging.list_check import ListCheck, SelectedReflections, check_list, select_reflections
from braggstream.steps.merging.matching import check_symmetry, symmetry_of
from braggstream.steps.merging.wilson import WilsonPlot, wilson_plot

PROGRAM = Program(
    name="check_hkl",
    usage="check_hkl -p CELL [-y GROUP] [options] LIST",
    description="Tell completeness, redundancy and signal of a list of merged reflections by resolution.",
    operands="lists",
)
GROUPS = {
    "Input": LIST_OPTIONS,
    "Shells": SHELL_OPTIONS,
    "Which reflections count": SELECTION_OPTIONS,
    "Other tests": (
        option("--wilson", "flag", "Wilson plot and B factor instead of the table"),
        option("--ltest", "flag", "L-test for twinning instead of the table; with --ignore-negs or --zero-negs"),
    ),
}
N_SHELLS, N_BINS = 10, 50
"""Shells of the table, and bins of the other tests, where --nshells is not given."""


def run(words: Sequence[str]) -> int:
    """Run `check_hkl` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    if len(chosen["lists"]) != 1:
        raise UserError("expected one list of reflections")
    if chosen["pdb"] is None:
        raise UserError("a unit cell is needed: give it with -p")
    if chosen["wilson"] and chosen["ltest"]:
        raise UserError("give either --wilson or --ltest, not both")
    if chosen["ltest"] and not (chosen["ignore_negs"] or chosen["zero_negs"]):
        raise UserError("--ltest needs --ignore-negs or --zero-negs: ratios of negative intensities mean nothing")
    say(*_check(chosen))
    return 0


def _check(chosen: dict[str, Any]) -> Iterator[str]:
    """Make the test that is wanted, and write its table; yields what the terminal is told."""
    (path,) = chosen["lists"]
    selection, warnings = selection_of(chosen)
    if selection.negatives != "keep" and not chosen["ltest"]:
        warnings.append("--ignore-negs and --zero-negs bias the means: no test but --ltest needs them")
    yield from (f"Warning: {warning}" for warning in warnings)
    cell, reflections = read_cell(chosen["pdb"], say), read_list(path)
    group = symmetry_of(reflections, chosen["symmetry"])
    check_symmetry(reflections, group, path)
    yield from (f"Warning: {warning}" for warning in warnings_of_list(reflections, group, cell))
    selected = select_reflections(reflections, cell, group, selection)
    yield f"Discarded {selected.n_rejected} of {len(reflections)} reflections"
    low, high = (10.0 * limit for limit in (selected.inverse_d.min(), selected.inverse_d.max()))
    yield f"1/d goes from {low:.3f} to {high:.3f} nm^-1 ({10.0 / low if low else 0.0:.2f} to {10.0 / high:.2f} A)"
    if chosen["wilson"]:
        plot = wilson_plot(selected, group, chosen["nshells"] or N_BINS)
        write_table(chosen["shell_file"], _wilson_table(plot))
        yield from _wilson_lines(plot)
    elif chosen["ltest"]:
        found = l_test(selected, cell.centring, group)
        write_table(chosen["shell_file"], _l_table(found, chosen["nshells"] or N_BINS))
        yield from _l_lines(found)
    else:
        check = check_list(reflections, cell, group, selection=selection, n_shells=chosen["nshells"] or N_SHELLS)
        write_table(chosen["shell_file"], check_table(check))
        yield from _overall_lines(check, selected)


def check_table(check: ListCheck) -> Iterator[str]:
    """Write the table of shells."""
    yield ("Center 1/nm  # refs Possible  Compl       Meas   Red   SNR     Mean I     d(A)    Min 1/nm   Max 1/nm")
    counts, edges = check.counts, 10.0 * check.shells.edges
    for shell, centre in enumerate(check.shells.centres):
        yield (
            f"{10.0 * centre:10.3f} {counts.n_reflections[shell]:8d} {counts.n_possible[shell]:8d}"
            f" {100.0 * counts.completeness[shell]:6.2f} {counts.n_measured[shell]:10d}"
            f" {counts.redundancy[shell]:5.1f} {counts.snr[shell]:5.2f} {counts.intensity[shell]:10.2f}"
            f" {1.0 / centre:8.2f}  {edges[shell]:10.3f} {edges[shell + 1]:10.3f}"
        )


def _overall_lines(check: ListCheck, selected: SelectedReflections) -> Iterator[str]:
    counts = check.counts
    if check.n_without_ratio:
        yield f"Warning: {check.n_without_ratio} reflections with sigma(I) = 0 are not in the mean of I/sigma(I)"
    yield f"{counts.n_measured[-1]} measurements in total"
    yield f"{len(selected)} reflections in total, of {counts.n_possible[-1]} possible"
    yield f"Overall <snr> = {counts.snr[-1]:f}"
    yield f"Overall redundancy = {counts.redundancy[-1]:f} measurements/unique reflection"
    if counts.n_possible[-1]:
        yield f"Overall completeness = {100.0 * counts.completeness[-1]:f} %"
    else:
        yield "Overall completeness = - (no reflection is possible in this range)"


def _wilson_table(plot: WilsonPlot) -> Iterator[str]:
    yield "  n  s^2/A^-2      d/A  ln <I>/eE  nrefl"
    for number, s_squared in enumerate(plot.s_squared):
        yield (
            f"{number:3d}  {s_squared:8.6f} {0.5 / s_squared**0.5:8.4f} {plot.ln_ratio[number]:10f}"
            f" {plot.n_reflections[number]:6d}"
        )


def _wilson_lines(plot: WilsonPlot) -> Iterator[str]:
    if isnan(plot.ln_k):
        yield "Too few bins above 1/d = 3.125 nm^-1 for a straight line: no B factor"
        return
    yield f"ln k = {plot.ln_k:.2f}"
    yield f"B = {plot.b_factor:.2f} A^2"


def _l_table(found: LTest, n_bins: int) -> Iterator[str]:
    yield "   |L|    N(|L|)  untwinned  twinned"
    for limit, part in zip(*found.cumulative(n_bins), strict=True):
        yield f"{limit:6.3f} {part:9.6f} {limit:10.6f} {limit * (3.0 - limit**2) / 2.0:8.6f}"


def _l_lines(found: LTest) -> Iterator[str]:
    yield f"{len(found.values)} pairs"
    yield f"<|L|> = {found.mean_abs:.3f} (0.500 for untwinned, 0.375 for perfectly twinned crystals)"
    yield f"<L^2> = {found.mean_square:.3f} (0.333 for untwinned, 0.200 for perfectly twinned crystals)"
