"""`braggstream solutions`: from a stream file to a list of lattices for `indexamajig --indexing=file`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from braggstream.cli.command_parser import CommandParser
from braggstream.cli.notices import say
from braggstream.formats.replaced_file import check_has_content, replacing
from braggstream.formats.solutions import solution_lines
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError


def run(words: Sequence[str]) -> int:
    """Run `braggstream solutions` with the words after its name; gives the exit status."""
    parser = CommandParser(
        prog="braggstream solutions",
        description="Write the lattices of a stream file as a list, one crystal a line, "
        "for indexamajig --indexing=file --fromfile-input-file=LIST.",
    )
    parser.add_argument("file", help="stream file, also .xz or .gz")
    parser.add_argument("-o", "--output", default="-", metavar="LIST", help="the list (default: standard output)")
    chosen = parser.parse_args(words)
    stream = read_stream(chosen.file)
    say(*stream.notices)
    n_frames = n_crystals = 0
    with _opened(chosen.output) as file:
        for frame in stream:
            file.write(solution_lines(frame))
            n_frames += bool(frame.crystals)
            n_crystals += len(frame.crystals)
        check_has_content(chosen.output, n_crystals, "crystals")
    print(f"{n_crystals} crystals of {n_frames} frames", file=sys.stderr)
    return 0


@contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdout
        return
    try:
        with (
            replacing(path) as part,
            part.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            yield file
    except OSError as error:
        raise UserError(f"cannot write the list: {error.strerror or error}", path=path) from None
