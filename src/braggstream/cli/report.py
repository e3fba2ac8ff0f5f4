"""`braggstream report`: one page about a data set, with figures and Table 1."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.cli.report_page import page_of
from braggstream.formats.cell import read_cell
from braggstream.formats.reflection_file import read_reflections
from braggstream.formats.replaced_file import write_text_result
from braggstream.model.errors import UserError
from braggstream.pipeline.data_summary import (
    MergedSummary,
    latex_of,
    summarise_merge,
    summarise_streams,
    table_one,
    text_of,
)
from braggstream.steps.merging.fitting_lattice import warnings_of_list
from braggstream.steps.merging.matching import check_symmetry, symmetry_of

PROGRAM = Program(
    name="braggstream report",
    usage="braggstream report [-o PAGE] [--stream FILE]... [--hkl LIST -p CELL [--half1 LIST --half2 LIST]]",
    description="Write a page about a data set: what was measured, how good the merged data are, and Table 1.",
    syntax_error=2,
)
GROUPS = {
    "Input": (
        option("--stream", "list", "stream file; may be given several times", argument="FILE"),
        option("--hkl", "text", "merged list", argument="FILE"),
        option("--half1", "text", "first half set; LIST1 where it is there and none is given", argument="FILE"),
        option("--half2", "text", "second half set; LIST2 where it is there and none is given", argument="FILE"),
        option("-p --pdb", "text", "unit cell file, or PDB file", argument="FILE"),
        option("-y --symmetry", "text", "point group; that of the list where it is not given", argument="GROUP"),
    ),
    "Shells": (
        option("--nshells", "integer", "resolution shells", default=10, argument="N", least=2, most=1000),
        option("--lowres", "number", "lowest resolution in Angstroms", argument="D", least=1e-6),
        option("--highres", "number", "highest resolution in Angstroms", argument="D", least=1e-6),
    ),
    "Output": (
        option("-o --output", "text", "the page, HTML", default="report.html", argument="FILE"),
        option("--text", "text", "Table 1 as text", argument="FILE"),
        option("--latex", "text", "Table 1 as LaTeX", argument="FILE"),
        option("--title", "text", "title of the page", argument="TEXT"),
    ),
}


def run(words: Sequence[str]) -> int:
    """Run `braggstream report` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    streams: Sequence[str] = chosen["stream"] or ()
    if not streams and chosen["hkl"] is None:
        raise UserError("nothing to report on: give --stream, --hkl or both")
    merged = None if chosen["hkl"] is None else _merged(chosen)
    stream = summarise_streams(streams) if streams else None
    rows = table_one(stream, merged)
    title = chosen["title"] or Path(chosen["hkl"] or streams[0]).name
    sources = [*streams, *(chosen[name] for name in ("hkl", "pdb") if chosen[name] is not None)]
    write_text_result(chosen["output"], page_of(title, sources, rows, stream=stream, merged=merged))
    if chosen["text"] is not None:
        write_text_result(chosen["text"], text_of(rows))
    if chosen["latex"] is not None:
        write_text_result(chosen["latex"], latex_of(rows))
    say(*(merged.remarks if merged is not None else ()))
    print(text_of(rows), end="")
    print(f"Page: {chosen['output']}", file=sys.stderr)
    return 0


def _merged(chosen: dict[str, Any]) -> MergedSummary:
    """Read and judge the merged list and its half sets."""
    if chosen["pdb"] is None:
        raise UserError("--hkl needs a unit cell: give it with -p")
    merged = read_reflections(chosen["hkl"])
    group = symmetry_of(merged, chosen["symmetry"])
    check_symmetry(merged, group, chosen["hkl"])
    cell = read_cell(chosen["pdb"], say)
    say(*(f"Warning: {warning}" for warning in warnings_of_list(merged, group, cell)))
    names = _half_names(chosen)
    return summarise_merge(
        merged,
        None if names is None else (read_reflections(names[0]), read_reflections(names[1])),
        cell,
        group,
        n_shells=chosen["nshells"],
        resolution=(chosen["lowres"], chosen["highres"]),
    )


def _half_names(chosen: dict[str, Any]) -> tuple[str, str] | None:
    """Find the half sets: those that are given, or those that stand beside the list."""
    given = (chosen["half1"], chosen["half2"])
    if (given[0] is None) != (given[1] is None):
        raise UserError("give both --half1 and --half2")
    if given[0] is not None and given[1] is not None:
        return given[0], given[1]
    beside = (f"{chosen['hkl']}1", f"{chosen['hkl']}2")
    return beside if all(Path(name).exists() for name in beside) else None
