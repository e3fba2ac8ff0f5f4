"""`braggstream geometry`: the geometry that a detector's start message describes, as a file."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from braggstream.cli.command_parser import CommandParser
from braggstream.cli.notices import say
from braggstream.formats.dectris import kind_of, read_series_message
from braggstream.formats.dectris_geometry import geometry_text
from braggstream.formats.replaced_file import write_text_result
from braggstream.formats.series_message import SeriesMessage
from braggstream.model.errors import DecodeError, UserError
from braggstream.model.settings import FrameSettings, RunSettings, ZmqSourceSettings
from braggstream.run.begun_source import open_socket, wait_for_start

MAX_BYTES = 1 << 30


def run(words: Sequence[str]) -> int:
    """Run `braggstream geometry` with the words after its name; gives the exit status."""
    options = _parser().parse_args(list(words))
    start = _read(options.message) if options.message else _received(options)
    text = geometry_text(start, follows=options.follow)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    write_text_result(options.output, text)
    print(f"{options.output}: made from the start message of series {start.series}")
    return 0


def _received(options: argparse.Namespace) -> SeriesMessage:
    tags = tuple(options.zmq_subscribe or ())
    settings = ZmqSourceSettings(
        endpoint=options.zmq_input,
        request=options.zmq_request,
        subscribe=tags,
        pull=not tags and options.zmq_request is None,
    )
    socket = open_socket(settings, FrameSettings(), RunSettings(), say)
    try:
        return wait_for_start(socket, say)
    finally:
        socket.close()


def _read(name: str) -> SeriesMessage:
    try:
        with Path(name).open("rb") as file:
            content = file.read(MAX_BYTES)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path=name) from None
    if kind_of(content) != "start":
        raise UserError("holds no start message of a DECTRIS stream", path=name)
    try:
        return read_series_message(content)
    except DecodeError as error:
        raise UserError(str(error), path=name) from None


def _parser() -> CommandParser:
    made = CommandParser(
        prog="braggstream geometry",
        description="Write the geometry file that the start message of a DECTRIS or Jungfraujoch stream describes. "
        "The next start message is waited for; each goes to one receiver only, so let the series begin once more.",
        allow_abbrev=False,
    )
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--zmq-input", metavar="ADDRESS", help="where the stream is sent from, by PUSH")
    source.add_argument("--message", metavar="FILE", help="a start message that was saved")
    made.add_argument("--zmq-subscribe", metavar="TAG", action="append", help="it is broadcast: take this tag")
    made.add_argument("--zmq-request", metavar="TEXT", help="it has to be asked for, with this text")
    made.add_argument(
        "--follow",
        action="store_true",
        help="look energy, distance and beam centre up in each start message, instead of writing numbers",
    )
    made.add_argument("-o", "--output", metavar="FILE", help="geometry file to write (default: standard output)")
    return made
