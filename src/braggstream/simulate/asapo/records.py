"""Messages as the broker hands them out, and its answers where there is none."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from braggstream.simulate.asapo.database import MAX_ID
from braggstream.simulate.asapo.http import Answer, Refused
from braggstream.simulate.asapo.messages import Stream, parts_of

COMPLETE, INCOMPLETE, NO_DATA = 200, 206, 409


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a message is to be given."""

    is_dataset: bool = False
    min_size: int = 0
    """Parts that make a dataset complete; 0 = all of them."""
    substream: int = 0
    """Only this part of a dataset; 0 = all parts."""


def wanted(query: Mapping[str, str]) -> Wanted:
    """Read the dataset parameters of a request."""
    if query.get("dataset", "false") != "true":
        return Wanted()
    return Wanted(True, whole(query, "minsize", 0), whole(query, "substream", 0))


def whole(query: Mapping[str, str], name: str, default: int, *, status: int = 400) -> int:
    """A number of a request; refused with `status` where it is none."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_ID:
        raise Refused(status, f"{name}: expected a whole number")
    return int(text)


def record(db: sqlite3.Connection, stream: Stream, number: int, how: Wanted, *, data_address: str) -> Answer | None:
    """The message with an id; None where there is none."""
    row = db.execute(
        "SELECT time_id, timestamp, set_size FROM messages WHERE stream=? AND id=?", (stream.key, number)
    ).fetchone()
    if row is None:
        return None
    time_id, timestamp, set_size = row
    parts = [
        (part[0], _message(stream.name, number, time_id, data_address, part))
        for part in parts_of(db, stream.key, number)
    ]
    if not set_size:
        return Answer(COMPLETE, parts[0][1].encode(), "application/json")
    given = [text for substream, text in parts if how.substream in (0, substream)]
    enough = 1 if how.substream else min(how.min_size or set_size, set_size)
    text = (
        f'{{"_id":{number},"dataset_size":{set_size},"messages":[{",".join(given)}],"schema_version":"v0.1",'
        f'"size":{set_size},"time_id":{time_id},"timestamp":{timestamp}}}'
    )
    status = INCOMPLETE if how.is_dataset and len(given) < enough else COMPLETE
    return Answer(status, text.encode(), "application/json")


def no_record(number: int, highest: int, next_stream: str = "") -> Answer:
    """The answer where a message is missing (a hole), is still to come, or will never come."""
    text = json.dumps({"op": "get_record_by_id", "id": number, "id_max": highest, "next_stream": next_stream})
    return Answer(NO_DATA, text.encode(), "application/json")


def finished(stream: Stream) -> Answer:
    """The answer at the end of a finished stream."""
    return no_record(stream.last_id, stream.last_id, stream.next_stream)


def _message(
    stream: str, number: int, time_id: int, address: str, part: tuple[int, str, int, int, int, int, str]
) -> str:
    """One message as JSON; its metadata were checked when they came, and are passed on as they are."""
    substream, name, size, timestamp, buf_id, ingest_mode, meta = part
    return (
        f'{{"_id":{number},"buf_id":{buf_id},"dataset_substream":{substream},"ib_source":"",'
        f'"ingest_mode":{ingest_mode},"meta":{meta},"name":{json.dumps(name)},"size":{size},'
        f'"source":"{address}","stream":{json.dumps(stream)},"time_id":{time_id},"timestamp":{timestamp}}}'
    )
