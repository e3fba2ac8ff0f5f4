"""`braggstream asapo`: the streams of ASAP::O, how far groups have read them, and moving those positions."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from braggstream.cli.asapo_choice import asapo_service
from braggstream.cli.asapo_options import SERVICE_OPTIONS
from braggstream.cli.command_parser import CommandParser
from braggstream.model.errors import SourceError, UserError
from braggstream.model.settings import AsapoServiceSettings
from braggstream.sources.asapo_client import AsapoClient, StreamInfo
from braggstream.sources.asapo_groups import (
    START,
    Position,
    move,
    position_of,
    positions,
    stream_named,
    wanted_position,
)
from braggstream.sources.asapo_journal import known_groups

ANSWER_S = 2.0
MAX_SHOWN = 8
"""So many numbers of unacknowledged messages are shown."""


def run(words: Sequence[str]) -> int:
    """Run `braggstream asapo` with the words after its name; gives the exit status."""
    chosen = _parser().parse_args(words)
    service = asapo_service({option.key: getattr(chosen, option.key) for option in SERVICE_OPTIONS})
    client = AsapoClient(service, timeout_s=ANSWER_S)
    commands: dict[str, Callable[[AsapoClient, AsapoServiceSettings, Any], int]] = {
        "streams": _streams,
        "groups": _groups,
        "position": _show_position,
        "rewind": _rewind,
        "reset": _reset,
    }
    try:
        return commands[chosen.command](client, service, chosen)
    except SourceError as error:
        raise UserError(f"--asapo-endpoint={service.endpoint}: {error}") from None


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="braggstream asapo",
        description="Streams of an ASAP::O source, how far groups have read them, and moving those positions.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in {
        "streams": "list the streams of the source, with their sizes",
        "groups": "list the groups that are known, and how far they have read",
        "position": "how far a group has read, and what it has not acknowledged",
        "rewind": "move a group to the start of a stream, to a message or to the end",
        "reset": "move a group to the start of one stream, or of all",
    }.items():
        _add_command(commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}."), name)
    return parser


def _add_command(command: CommandParser, name: str) -> None:
    for option in SERVICE_OPTIONS:
        short = option.names[0].replace("--asapo-", "--")
        command.add_argument(
            option.names[0], short, dest=option.key, help=option.help, metavar=option.argument, default=None
        )
    if name in ("position", "rewind", "reset"):
        command.add_argument("--asapo-group", "--group", dest="group", required=True, metavar="NAME")
    if name != "streams":
        text = "one stream" + ("" if name == "rewind" else " (default: all)")
        command.add_argument(
            "--asapo-stream", "--stream", dest="stream", required=name == "rewind", metavar="NAME", help=text
        )
    if name == "rewind":
        text = "start, end, or the number of the message that is to come next"
        command.add_argument("--to", required=True, metavar="PLACE", help=text)
    if name in ("rewind", "reset"):
        command.add_argument("--yes", action="store_true", help="do not ask")


def _streams(client: AsapoClient, service: AsapoServiceSettings, chosen: Any) -> int:
    rows = [
        (info.name, str(info.size), _time(info.created_ns), _time(info.last_ns), _end(info))
        for info in client.streams()
    ]
    if not rows:
        print(f"The source {service.source} of beamtime {service.beamtime} has no streams.")
    else:
        _print_table(("stream", "messages", "created", "last message", "finished"), rows)
    return 0


def _groups(client: AsapoClient, service: AsapoServiceSettings, chosen: Any) -> int:
    found = [position for info in _chosen_streams(client, chosen) for position in positions(client, service, info)]
    if found:
        _print_positions(found)
    else:
        print("No group is known: ASAP::O does not tell, and no session on this machine has read this source.")
    for record in known_groups(service):
        print(f"{record.group}: last read by this machine at {record.updated}, into {record.stream_file}")
    return 0


def _show_position(client: AsapoClient, service: AsapoServiceSettings, chosen: Any) -> int:
    found = [position_of(client, service, info, chosen.group) for info in _chosen_streams(client, chosen)]
    _print_positions(found)
    for position in found:
        numbers = position.unacknowledged
        if numbers:
            more = ", ..." if len(numbers) > MAX_SHOWN else ""
            shown = ", ".join(map(str, numbers[:MAX_SHOWN]))
            print(f"{position.stream.name}: not acknowledged: {shown}{more}")
    return 0


def _rewind(client: AsapoClient, service: AsapoServiceSettings, chosen: Any) -> int:
    return _move(client, service, [stream_named(client, chosen.stream)], chosen, chosen.to)


def _reset(client: AsapoClient, service: AsapoServiceSettings, chosen: Any) -> int:
    return _move(client, service, _chosen_streams(client, chosen), chosen, START)


def _move(
    client: AsapoClient, service: AsapoServiceSettings, infos: Sequence[StreamInfo], chosen: Any, to: str
) -> int:
    """Show what will happen, ask, and do it."""
    wanted = [(info, wanted_position(to, info)) for info in infos]
    if not wanted:
        print("There is no stream: nothing to do.")
        return 0
    for info, position in wanted:
        print(_consequence(position_of(client, service, info, chosen.group), position))
    print("Stop sessions that read with this group first. What was acknowledged stays acknowledged.")
    if not chosen.yes and not _agreed():
        print("Nothing was changed.")
        return 1
    for info, position in wanted:
        move(client, chosen.group, info, position)
    print(f"Done: {len(wanted)} position{'s' * (len(wanted) > 1)} of group {chosen.group} moved.")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UserError("nobody can be asked whether to go on: give --yes")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _consequence(now: Position, wanted: int) -> str:
    """Tell what moving a position means."""
    size = now.stream.size
    head = f"Stream {now.stream.name} ({size} messages), group {now.group}"
    following = f"message {wanted + 1} comes next" if wanted < size else "nothing comes before new messages do"
    if now.read_to is None:
        return f"{head}: how far it has read is not known; {following}, {max(0, size - wanted)} are to come."
    read = f"read to {now.read_to} (as {now.known_from} tells)"
    if wanted < now.read_to:
        return f"{head}: {read}; {following}: {now.read_to - wanted} messages come again."
    if wanted > now.read_to:
        return f"{head}: {read}; {following}: {wanted - now.read_to} messages are left out."
    return f"{head}: {read}, and stays there."


def _chosen_streams(client: AsapoClient, chosen: Any) -> list[StreamInfo]:
    return client.streams() if chosen.stream is None else [stream_named(client, chosen.stream)]


def _print_positions(found: Sequence[Position]) -> None:
    rows = [
        (
            position.group,
            position.stream.name,
            str(position.stream.size),
            "?" if position.read_to is None else str(position.read_to),
            str(len(position.unacknowledged)) if position.last_acknowledged else "-",
            position.known_from,
        )
        for position in found
    ]
    _print_table(("group", "stream", "messages", "read to", "unacknowledged", "as told by"), rows)


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    shown = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in (titles, *shown)) for n in range(len(titles))]
    for row in (titles, *shown):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _time(nanoseconds: int) -> str:
    if not 0 < nanoseconds < 1 << 62:
        return "-"
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(sep=" ", timespec="seconds")


def _end(info: StreamInfo) -> str:
    if not info.is_finished:
        return "no"
    return f"yes, {info.successor} follows" if info.successor else "yes"
