"""How far a group has read a stream of ASAP::O, as far as anybody tells.

The service itself tells what was acknowledged, and not its positions.  Ours does, at an address of its own; and
sessions on this machine keep a journal.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from braggstream.model.errors import SourceError, UserError
from braggstream.model.settings import AsapoServiceSettings
from braggstream.sources.asapo_client import AsapoClient, StreamInfo
from braggstream.sources.asapo_journal import GroupRecord, known_groups

ANSWER_S = 5.0
MAX_ANSWER = 1 << 22

START, END = "start", "end"


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a group has read one stream."""

    stream: StreamInfo
    group: str
    read_to: int | None
    """The last message that was handed out; None where nobody knows."""
    known_from: str
    """Who says so."""
    last_acknowledged: int
    """The highest message that was acknowledged; 0 for none."""
    unacknowledged: Sequence[int]
    """Messages up to `read_to` that are not acknowledged; empty where the group acknowledges nothing."""


def positions(client: AsapoClient, service: AsapoServiceSettings, stream: StreamInfo) -> list[Position]:
    """Give the positions of all groups of a stream that anybody knows of."""
    told = told_by_service(service, stream.name)
    records = {record.group: record for record in known_groups(service) if stream.name in record.streams}
    names = sorted({*records, *(told or ())})
    return [_position(client, stream, name, told, records.get(name)) for name in names]


def position_of(client: AsapoClient, service: AsapoServiceSettings, stream: StreamInfo, group: str) -> Position:
    """Give the position of one group in a stream."""
    told = told_by_service(service, stream.name)
    record = next((each for each in known_groups(service) if each.group == group), None)
    return _position(client, stream, group, told, record)


def _position(
    client: AsapoClient, stream: StreamInfo, group: str, told: dict[str, int] | None, record: GroupRecord | None
) -> Position:
    open_numbers = client.unacknowledged(stream.name, group)
    last = _highest_besides(open_numbers, stream.size)
    read_to, known_from = None, "nobody"
    if told is not None:
        read_to, known_from = told.get(group, 0), "the service"
    elif record is not None and stream.name in record.streams:
        read_to = record.streams[stream.name]["highest"]
        known_from = f"sessions on this machine, until {record.updated}"
    elif last:
        read_to, known_from = last, "its acknowledgements"
    limit = stream.size if read_to is None else read_to
    left = [number for number in open_numbers if number <= limit] if last else []
    return Position(
        stream=stream,
        group=group,
        read_to=None if read_to is None else min(read_to, stream.size),
        known_from=known_from,
        last_acknowledged=last,
        unacknowledged=left,
    )


def _highest_besides(numbers: Sequence[int], size: int) -> int:
    """The highest number up to `size` that is not among these; 0 for none.  (Asked for that, a client waits.)"""
    excluded = set(numbers)
    return next((number for number in range(size, 0, -1) if number not in excluded), 0)


def wanted_position(to: str, stream: StreamInfo) -> int:
    """Give the position for `start`, `end` or the number of the next message; raises `UserError`."""
    if to == START:
        return 0
    if to == END:
        return stream.size
    if not (to.isascii() and to.isdigit()) or not 1 <= int(to) < 1 << 63:
        raise UserError(f"--to={to}: expected start, end or the number of the message that is to come next")
    return int(to) - 1


def told_by_service(service: AsapoServiceSettings, stream: str) -> dict[str, int] | None:
    """Ask for the positions of all groups, which only our own stand-in tells; None where nobody answers that."""
    place = "/".join(quote(part, safe="") for part in (service.beamtime, service.source, stream))
    endpoint = service.endpoint if "://" in service.endpoint else f"http://{service.endpoint}"
    try:
        address = f"{endpoint}/braggstream/groups/{place}?token={quote(service.token, safe='')}"
        with urlopen(address, timeout=ANSWER_S) as answer:
            found: Any = json.loads(answer.read(MAX_ANSWER))
        return {str(each["group"]): int(each["position"]) for each in found["groups"]}
    except (URLError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def stream_named(client: AsapoClient, name: str) -> StreamInfo:
    """Find a stream; raises `UserError` with the names there are."""
    infos = client.streams()
    for info in infos:
        if info.name == name:
            return info
    known = ", ".join(info.name for info in infos[-10:]) or "none"
    raise UserError(f"--stream={name}: there is no such stream (the latest are: {known})")


def move(client: AsapoClient, group: str, stream: StreamInfo, position: int) -> None:
    """Set a position; raises `UserError` where the service does not answer."""
    try:
        client.set_position(stream.name, group, position)
    except SourceError as error:
        raise UserError(f"the position in stream {stream.name} was not moved: {error}") from None
