"""`cell_explorer`: the unit cells of the crystals of stream files, found and described without a window."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.cell import write_cell
from braggstream.formats.cell_lattice import CellError, check_cell
from braggstream.formats.replaced_file import write_text_result
from braggstream.formats.stream_columns import read_observations
from braggstream.model.cell import CENTRINGS, HAS_UNIQUE_AXIS, LATTICE_TYPES, LatticeType, UnitCell
from braggstream.model.errors import UserError
from braggstream.model.observations import CrystalTable
from braggstream.steps.indexing.bravais import idealized
from braggstream.steps.indexing.cell_clusters import FoundCell
from braggstream.steps.indexing.cell_exploration import (
    N_BINS,
    PARAMETERS,
    BoolArray,
    CellHistogram,
    CellSample,
    cell_histogram,
    cell_sample,
    find_populations,
    fitted_gaussian,
)

PROGRAM = Program(
    name="cell_explorer",
    usage="cell_explorer [-o CELL] [--png FILE] [options] STREAM...",
    description="Find the unit cells that the crystals of stream files have, with their centring, mean and spread.",
    operands="streams",
)
GROUPS = {
    "Output": (
        option("-o --output", "text", "unit cell file to write, for indexamajig -p", argument="FILE"),
        option("--png", "text", "picture of the cells", argument="FILE"),
        option("--json", "text", "all populations, with mean, spread and fraction", argument="FILE"),
        option("--data", "text", "histograms of the cell parameters, and fits", argument="FILE"),
        option("--bins", "integer", "bins of the histograms", default=N_BINS, argument="N", least=4, most=100000),
    ),
    "Which crystals": (
        option("--interval", "list", "range of a parameter, such as a=70,85 or be=88,92", argument="NAME=MIN,MAX"),
        option("--methods", "text", "indexing methods, such as asdf,xgandalf-nolatt-nocell", argument="NAMES"),
        option("--centerings", "text", "centrings, such as P,I", argument="LETTERS"),
        option("--max-crystals", "integer", "look at so many, evenly chosen", default=10000, argument="N", least=1),
    ),
    "Populations": (
        option(
            "--min-fraction", "number", "smallest that are told", default=0.02, argument="X", least=0.0, most=1.0
        ),
        option("--choose", "integer", "write this one, 1 is the largest", default=1, argument="N", least=1),
        option("--lattice-type", "text", "write it with this, lower, symmetry", argument="TYPE"),
    ),
}
LOWER: dict[LatticeType, tuple[LatticeType, ...]] = {
    "cubic": ("rhombohedral", "tetragonal", "orthorhombic", "monoclinic", "triclinic"),
    "tetragonal": ("orthorhombic", "monoclinic", "triclinic"),
    "hexagonal": ("triclinic",),
    "rhombohedral": ("triclinic",),
    "orthorhombic": ("monoclinic", "triclinic"),
    "monoclinic": ("triclinic",),
    "triclinic": (),
}
"""What each lattice type may be taken for; a monoclinic cell has b as its unique axis, a tetragonal one c."""
DATA_ORDER = ("P", "A", "B", "C", "I", "F", "R", "H")
DECIMALS = 3


def run(words: Sequence[str]) -> int:
    """Run `cell_explorer` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    if not chosen["streams"]:
        raise UserError("expected stream files")
    intervals = dict(_interval(text) for text in chosen["interval"] or ())
    methods, centrings = (_words(chosen[name]) for name in ("methods", "centerings"))
    if set(centrings) - set(CENTRINGS):
        raise UserError(f"--centerings={chosen['centerings']}: expected letters of {', '.join(CENTRINGS)}")
    sample = cell_sample(_tables(chosen["streams"]))
    kept = sample.selected(intervals, methods=methods, centrings=centrings)
    say(f"Selected {int(kept.sum())} of {len(sample)} cells")
    if sample.n_left_handed:
        say(f"{sample.n_left_handed} cells have left-handed axes")
    found, n_sorted = find_populations(sample, kept, most=chosen["max_crystals"], least_part=chosen["min_fraction"])
    for line in _report(found, n_sorted):
        print(line)
    _write_files(chosen, sample, kept, found, n_sorted)
    return 0


def _interval(text: str) -> tuple[str, tuple[float, float]]:
    name, _, limits = text.partition("=")
    try:
        low, high = (float(word) for word in limits.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if name not in PARAMETERS or not low <= high:
        raise UserError(f"--interval={text}: expected one of {', '.join(PARAMETERS)}, '=' and MIN,MAX")
    return name, (low, high)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _tables(paths: Sequence[str]) -> Iterator[CrystalTable]:
    for path in paths:
        stream = read_observations(path)
        for block in stream:
            yield block.crystals
        for notice in stream.notices:
            say(notice)


def _report(found: Sequence[FoundCell], n_all: int) -> Iterator[str]:
    """Describe the populations."""
    if not found:
        yield f"No population: the {n_all} cells are all different"
    for number, each in enumerate(found, start=1):
        cell = each.cell
        unique = f", unique axis {cell.unique_axis}" if cell.lattice_type in HAS_UNIQUE_AXIS else ""
        yield (
            f"{number}: {cell.lattice_type} {cell.centring}{unique}, {each.n_crystals} crystals"
            f" ({100.0 * each.n_crystals / n_all:.1f} %)"
        )
        for name, value, spread in zip(PARAMETERS, cell.parameters, each.spread, strict=True):
            yield f"   {name:2} = {value:9.3f} ± {spread:.3f} {'A' if name in 'abc' else 'deg'}"


def _write_files(
    chosen: dict[str, Any], sample: CellSample, kept: BoolArray, found: Sequence[FoundCell], n_all: int
) -> None:
    """Write what was asked for."""
    if chosen["json"] is not None:
        about = {"n_cells": n_all, "cells": [_record(each, n_all) for each in found]}
        write_text_result(chosen["json"], json.dumps(about, indent=2) + "\n")
    if chosen["data"] is not None:
        histograms = (cell_histogram(sample, kept, name, chosen["bins"]) for name in PARAMETERS)
        write_text_result(chosen["data"], "\n".join(_data_lines(histograms)) + "\n")
    if chosen["png"] is not None:
        from braggstream.plots import cell_figure, save_png

        named = [(f"{each.cell.lattice_type} {each.cell.centring}", each.parameters) for each in found]
        save_png(cell_figure(named or [("all", sample.parameters[kept])]), chosen["png"])
    if chosen["output"] is not None:
        write_text_result(chosen["output"], write_cell(_chosen_cell(chosen, found), decimals=DECIMALS))
        say(f"Unit cell file: {chosen['output']}")


def _record(found: FoundCell, n_all: int) -> dict[str, object]:
    return {**found.as_record(), "fraction": found.n_crystals / n_all if n_all else 0.0}


def _chosen_cell(chosen: dict[str, Any], found: Sequence[FoundCell]) -> UnitCell:
    """Give the cell to write; raises `UserError` where there is none, or it cannot have the wished symmetry."""
    number = chosen["choose"]
    if number > len(found):
        raise UserError(f"there is no population {number}, only {len(found)}: no cell file is written")
    cell = found[number - 1].cell
    wanted = chosen["lattice_type"]
    if wanted is None or wanted == cell.lattice_type:
        return cell
    lower: LatticeType | None = next((each for each in LOWER[cell.lattice_type] if each == wanted), None)
    if lower is None:
        possible = ", ".join(LOWER[cell.lattice_type]) or "nothing else"
        known = "" if wanted in LATTICE_TYPES else " is no lattice type;"
        raise UserError(f"--lattice-type={wanted}:{known} a {cell.lattice_type} cell may be taken for {possible}")
    unique = {"monoclinic": "b", "tetragonal": "c"}.get(lower, "*")
    median = cell.with_parameters(np.median(found[number - 1].parameters, axis=0))
    free = replace(median, lattice_type=lower, unique_axis=unique)
    try:
        return check_cell(idealized(free), {})
    except CellError as error:
        raise UserError(f"--lattice-type={wanted}: {error}") from None


def _data_lines(histograms: Iterable[CellHistogram]) -> Iterator[str]:
    """Write histograms as text: name, range and bins, the fit, and the counts by centring."""
    for each in histograms:
        yield f"# {each.name} from {each.edges[0]:g} to {each.edges[-1]:g} in {len(each.edges) - 1} bins"
        fit = fitted_gaussian(each.edges, each.total)
        if fit is not None:
            yield "# A = {:g}, B = {:g}, C = {:g}".format(*fit)
        for centring in DATA_ORDER:
            yield f"{centring}: {','.join(map(str, each.counts[centring].tolist()))}"
        yield f"Excluded: {','.join(map(str, each.excluded.tolist()))}"
