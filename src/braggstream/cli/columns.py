"""`braggstream columns STREAM -o FILE`: a columnar cache of a stream file, which merging reads fast."""

from collections.abc import Sequence
from pathlib import Path

from braggstream.cli.command_parser import CommandParser
from braggstream.cli.notices import say
from braggstream.formats.columns import arrow, write_columns
from braggstream.formats.stream_columns import read_observations
from braggstream.model.errors import UserError
from braggstream.pipeline.merging import tell_of


def run(words: Sequence[str]) -> int:
    """Run `braggstream columns` with the words after its name; gives the exit status."""
    parser = CommandParser(
        prog="braggstream columns",
        description="Write the crystals of a stream file as columns, as indexamajig --reflections-out does.",
    )
    parser.add_argument("file", help="stream file, also .xz or .gz; - is standard input")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the cache; .arrows is its usual suffix"
    )
    chosen = parser.parse_args(words)
    if Path(chosen.output).resolve() == Path(chosen.file).resolve():
        raise UserError(f"--output={chosen.output} would overwrite the input: give another name")
    arrow()
    source = read_observations(chosen.file, n_threads=2)
    n_crystals = write_columns(chosen.output, source, audit=source.audit)
    tell_of(source, say)
    say(f"{n_crystals} crystals in {chosen.output}")
    return 0
