"""`list_events`: write the frames of files, one a line, as a list for `indexamajig -i`."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.geom import read_geometry
from braggstream.formats.hdf5_places import FramelessPlace
from braggstream.formats.replaced_file import check_has_content, replacing
from braggstream.model.errors import UserError
from braggstream.sources.files import list_lines
from braggstream.sources.frame_search import FrameSearch

MAX_COMPLAINTS = 20
"""So many places without frames are told of each file."""

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
    n_frameless = 0
    try:
        with (
            closing(FrameSearch(geometry)) as search,
            replacing(chosen["output"]) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            for name in names:
                n_frameless += _list_file(name, search, file)
            check_has_content(chosen["output"], file.tell(), "frames")
    except OSError as error:
        raise UserError(f"cannot write the list: {error.strerror or error}", path=chosen["output"]) from None
    return int(n_frameless > 0)


def _list_file(name: str, search: FrameSearch, file: IO[str]) -> int:
    """List the frames of one file; gives how many places in it gave none, each of which is told."""
    if not Path(name).exists():
        say(f"{name}: there is no such file; it is listed as one frame")
    n_frames = 0
    complaints = []
    for found in search.events(name):
        if isinstance(found, FramelessPlace):
            complaints.append(found.complaint)
            continue
        file.write(f"{name} {found}\n")
        n_frames += 1
    without = f", {len(complaints)} places gave none" if complaints else ""
    say(f"{n_frames} events found in {name}{without}")
    for complaint in complaints[:MAX_COMPLAINTS]:
        say(f"list_events: {complaint}")
    if len(complaints) > MAX_COMPLAINTS:
        say(f"list_events: ... and {len(complaints) - MAX_COMPLAINTS} more")
    return len(complaints)
