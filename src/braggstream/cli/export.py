"""`braggstream export`: the observations of stream files, unmerged, for other programs."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.cell import read_cell
from braggstream.formats.observation_files import open_observations
from braggstream.model.errors import UserError
from braggstream.model.observations import Observations
from braggstream.model.point_group import point_group

PROGRAM = Program(
    name="braggstream export",
    usage="braggstream export -o FILE.mtz -p CELL -y GROUP STREAM...   or   -o FILE.parquet STREAM...",
    description="Write the observations of stream files, unmerged: as MTZ with a batch for each crystal, or as "
    "Parquet with a row for each observation.",
    operands="streams",
    syntax_error=2,
)
GROUPS = {
    "Input and output": (
        option("-o --output", "text", "file to write, .mtz or .parquet", argument="FILE"),
        option("-p --pdb", "text", "unit cell file, or PDB file, for MTZ", argument="FILE"),
        option("-y --symmetry", "text", "point group, for MTZ", argument="GROUP"),
        option("--space-group", "text", "space group of an MTZ file, such as 'P 43 21 2'", argument="SYMBOL"),
    ),
}


def run(words: Sequence[str]) -> int:
    """Run `braggstream export` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    output, paths = chosen["output"], chosen["streams"]
    if not paths or output is None:
        raise UserError("expected stream files, and the file to write with -o")
    suffix = Path(output).suffix.lower()
    if suffix == ".parquet":
        from braggstream.formats.unmerged_table import write_unmerged_parquet

        n_crystals, n_observations = write_unmerged_parquet(output, _blocks(paths))
    elif suffix == ".mtz":
        from braggstream.formats.mtz import fitting_space_group
        from braggstream.formats.unmerged_table import write_unmerged_mtz

        if chosen["pdb"] is None or chosen["symmetry"] is None:
            raise UserError("an MTZ file needs a unit cell and a point group: give them with -p and -y")
        cell = read_cell(chosen["pdb"], say)
        symmetry = fitting_space_group(point_group(chosen["symmetry"]), cell, chosen["space_group"])
        n_crystals, n_observations = write_unmerged_mtz(output, _blocks(paths), cell, symmetry)
    else:
        raise UserError(f"-o {output}: expected a name that ends with .mtz or .parquet")
    print(f"{n_observations} observations of {n_crystals} crystals in {output}", file=sys.stderr)
    return 0


def _blocks(paths: Sequence[str]) -> Iterator[Observations]:
    for path in paths:
        file = open_observations(path)
        yield from file
        for notice in file.notices:
            print(notice, file=sys.stderr)
