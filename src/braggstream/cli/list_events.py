"""`list_events`: write the frames of files, one a line, as a list for `indexamajig -i`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.geom import read_geometry
from braggstream.formats.hdf5 import expand_file
from braggstream.formats.replaced_file import check_has_content, replacing
from braggstream.model.errors import FileError, UserError
from braggstream.model.geometry import Geometry
from braggstream.sources.files import list_lines

PROGRAM = Program(
    name="list_events",
    usage="list_events -i LIST -g GEOMETRY -o OUTPUT",
    description="List the frames of files: a line FILENAME EVENT for each.",
)
GROUPS = {
    "Input and output": (
        option("-i --input", "text", "text file with a file name a line", argument="LIST"),
        option("-g --geometry", "text", "geometry file, which tells where frames are", argument="FILE"),
        option("-o --output", "text", "list to write", argument="FILE"),
    ),
}


def run(words: Sequence[str]) -> int:
    """Run `list_events` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    for name in ("input", "geometry", "output"):
        if chosen[name] is None:
            raise UserError(f"-{name[0]} is missing: -i (input), -g (geometry) and -o (output) are needed")
    geometry = read_geometry(chosen["geometry"])
    names = [line.strip() for line in list_lines(chosen["input"]) if line.strip()]
    try:
        with (
            replacing(chosen["output"]) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            for name in names:
                _list_file(name, geometry, file)
            check_has_content(chosen["output"], file.tell(), "frames")
    except OSError as error:
        raise UserError(f"cannot write the list: {error.strerror or error}", path=chosen["output"]) from None
    return 0


def _list_file(name: str, geometry: Geometry, file: IO[str]) -> None:
    """List the frames of one file; raises `UserError` where it has none."""
    if not Path(name).exists():
        say(f"{name}: there is no such file; it is listed as one frame")
    n_frames = 0
    for event in _events(name, geometry):
        file.write(f"{name} {event}\n")
        n_frames += 1
    say(f"{n_frames} events found in {name}")


def _events(name: str, geometry: Geometry) -> Iterator[str]:
    try:
        yield from expand_file(name, geometry)
    except FileError as error:
        raise UserError(str(error)) from None
