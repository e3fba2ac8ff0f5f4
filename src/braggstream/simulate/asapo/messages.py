"""Streams and their messages: what the receiver stores and the broker reads."""

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from braggstream.simulate.asapo.database import MAX_ID, Database

FINISH_NAME = "asapo_finish_stream"
NO_NEXT = "asapo_no_next"
MAX_RECORD_CHARACTERS = 1 << 24
"""Most metadata of a dataset's parts together: what one document of the database behind ASAP::O holds."""

STREAM_COLUMNS = "key, name, created_ns, last_ns, max_id, n_arrived, marker_id, next_stream, n_messages"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A message, or one part of a dataset, that a producer sends."""

    id: int
    """0 = the next automatic one."""
    name: str
    size: int
    meta: str
    """A JSON object, as text."""
    ingest_mode: int
    substream: int = 0
    """From 1 in datasets."""
    set_size: int = 0
    """Parts of the dataset; 0 for plain messages."""


class Outcome(Enum):
    """What became of an arrival."""

    STORED = "stored"
    REPEATED = "duplicated request: the same message is stored already"
    CONFLICT = "there is another message with the same id"
    TOO_LARGE = "the metadata of the dataset's parts are too long together"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it stands."""

    key: int
    name: str
    created_ns: int | None
    last_ns: int | None
    max_id: int
    """Highest id, that of the marker included; 0 = no message."""
    n_arrived: int
    """Highest number in the order of arrival."""
    marker_id: int
    next_stream: str
    n_messages: int
    """Messages and datasets, the marker included."""

    @property
    def is_finished(self) -> bool:
        """Whether the marker has the highest id."""
        return 0 < self.marker_id == self.max_id

    @property
    def last_id(self) -> int:
        """Highest id of a message."""
        return self.max_id - self.is_finished

    def info(self) -> dict[str, object]:
        """What the broker tells about it."""
        successor = self.next_stream if self.is_finished and self.next_stream != NO_NEXT else ""
        return {
            "lastId": self.last_id,
            "name": self.name,
            "timestampCreated": self.created_ns or 0,
            "timestampLast": self.last_ns or 0,
            "finished": self.is_finished,
            "nextStream": successor,
        }


class Messages:
    """All streams of all beamtimes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, place: tuple[str, str, str], arrival: Arrival, buf_id: int) -> tuple[Outcome, int]:
        """Store an arrival in (beamtime, source, stream); gives its id too."""
        with self._database.change() as db:
            key = stream_key(db, place)
            number = arrival.id or _automatic_id(db, key)
            if number > MAX_ID:
                return Outcome.CONFLICT, number
            known = db.execute("SELECT set_size FROM messages WHERE stream=? AND id=?", (key, number)).fetchone()
            if known is None:
                _open_message(db, key, number, arrival)
            elif (outcome := _compare(db, key, number, arrival, known[0])) is not None:
                return outcome, number
            db.execute(
                "INSERT INTO parts VALUES(?,?,?,?,?,?,?,?,?)",
                (
                    key,
                    number,
                    arrival.substream,
                    arrival.name,
                    arrival.size,
                    time.time_ns(),
                    buf_id,
                    arrival.ingest_mode,
                    arrival.meta,
                ),
            )
        return Outcome.STORED, number

    def outcome(self, place: tuple[str, str, str], arrival: Arrival) -> Outcome:
        """What would become of an arrival."""
        with self._database.look() as db:
            stream = find_stream(db, place)
            if stream is None or not arrival.id:
                return Outcome.STORED
            row = db.execute(
                "SELECT set_size FROM messages WHERE stream=? AND id=?", (stream.key, arrival.id)
            ).fetchone()
            return (row and _compare(db, stream.key, arrival.id, arrival, row[0])) or Outcome.STORED

    def streams(self, beamtime: str, source: str) -> list[Stream]:
        """The streams with messages, in the order of their creation."""
        with self._database.look() as db:
            rows = db.execute(
                f"SELECT {STREAM_COLUMNS} FROM streams WHERE beamtime=? AND source=? AND max_id>0"
                " ORDER BY created_ns, key",
                (beamtime, source),
            ).fetchall()
        return [Stream(*row) for row in rows]

    def sources(self, beamtime: str) -> list[str]:
        """The sources with messages."""
        with self._database.look() as db:
            rows = db.execute(
                "SELECT DISTINCT source FROM streams WHERE beamtime=? AND max_id>0 ORDER BY source", (beamtime,)
            ).fetchall()
        return [source for (source,) in rows]

    def set_persistent(self, place: tuple[str, str, str]) -> bool:
        """Note that a stream is to be kept; False where there is none."""
        with self._database.change() as db:
            found = db.execute(
                "UPDATE streams SET is_persistent=1 WHERE beamtime=? AND source=? AND name=? AND max_id>0", place
            )
            return found.rowcount > 0

    def delete(self, place: tuple[str, str, str]) -> bool:
        """Forget a stream's messages, and what groups have read; False where there is none.

        What `groupedlast` has given and the stream's metadata stay, as in ASAP::O.
        """
        with self._database.change() as db:
            stream = find_stream(db, place)
            if stream is None or not stream.max_id:
                return False
            for table in ("messages", "parts", "positions", "acknowledged", "resends"):
                db.execute(f"DELETE FROM {table} WHERE stream=?", (stream.key,))
            db.execute(
                "UPDATE streams SET created_ns=NULL, last_ns=NULL, max_id=0, n_arrived=0, marker_id=0,"
                " next_stream='', n_messages=0, last_automatic=0, is_persistent=0 WHERE key=?",
                (stream.key,),
            )
            return True


def stream_key(db: sqlite3.Connection, place: tuple[str, str, str]) -> int:
    """The number of a stream, which may still have no message."""
    row = db.execute("SELECT key FROM streams WHERE beamtime=? AND source=? AND name=?", place).fetchone()
    if row is not None:
        return int(row[0])
    added = db.execute("INSERT INTO streams(beamtime, source, name) VALUES(?,?,?)", place)
    return int(added.lastrowid or 0)


def find_stream(db: sqlite3.Connection, place: tuple[str, str, str]) -> Stream | None:
    """A stream as it stands."""
    row = db.execute(
        f"SELECT {STREAM_COLUMNS} FROM streams WHERE beamtime=? AND source=? AND name=?", place
    ).fetchone()
    return None if row is None else Stream(*row)


def _automatic_id(db: sqlite3.Connection, key: int) -> int:
    row = db.execute("SELECT max(last_automatic, max_id) + 1 FROM streams WHERE key=?", (key,)).fetchone()
    return int(row[0])


def _open_message(db: sqlite3.Connection, key: int, number: int, arrival: Arrival) -> None:
    """Make the entry of a new id, and bring the stream's own entry up to date."""
    now = time.time_ns()
    db.execute(
        "UPDATE streams SET created_ns=coalesce(created_ns, ?), last_ns=?, max_id=max(max_id, ?),"
        " n_arrived=n_arrived+1, n_messages=n_messages+1 WHERE key=?",
        (now, now, number, key),
    )
    if not arrival.id:
        db.execute("UPDATE streams SET last_automatic=? WHERE key=?", (number, key))
    if arrival.name == FINISH_NAME:
        successor = json.loads(arrival.meta).get("next_stream", NO_NEXT)
        db.execute(
            "UPDATE streams SET marker_id=?, next_stream=? WHERE key=? AND marker_id<?",
            (number, str(successor) or NO_NEXT, key, number),
        )
    db.execute(
        "INSERT INTO messages SELECT ?, ?, n_arrived, ?, ? FROM streams WHERE key=?",
        (key, number, now, arrival.set_size, key),
    )


def _compare(db: sqlite3.Connection, key: int, number: int, arrival: Arrival, set_size: int) -> Outcome | None:
    """Compare with what is stored under the same id; None where it is a new part of a dataset."""
    if set_size != arrival.set_size:
        return Outcome.CONFLICT
    row = db.execute(
        "SELECT name, size, meta FROM parts WHERE stream=? AND id=? AND substream=?",
        (key, number, arrival.substream),
    ).fetchone()
    if row is None:
        return _room_in_dataset(db, key, number, arrival) if set_size else Outcome.CONFLICT
    return Outcome.REPEATED if row == (arrival.name, arrival.size, arrival.meta) else Outcome.CONFLICT


def _room_in_dataset(db: sqlite3.Connection, key: int, number: int, arrival: Arrival) -> Outcome | None:
    """None where another part still fits into the one record that the broker gives for a dataset."""
    (held,) = db.execute(
        "SELECT coalesce(sum(length(meta)), 0) FROM parts WHERE stream=? AND id=?", (key, number)
    ).fetchone()
    return Outcome.TOO_LARGE if held + len(arrival.meta) > MAX_RECORD_CHARACTERS else None


def parts_of(db: sqlite3.Connection, key: int, number: int) -> Iterator[tuple[int, str, int, int, int, int, str]]:
    """Substream, name, size, timestamp, buf_id, ingest mode and metadata of each part of a message."""
    return iter(
        db.execute(
            "SELECT substream, name, size, timestamp, buf_id, ingest_mode, meta FROM parts"
            " WHERE stream=? AND id=? ORDER BY substream",
            (key, number),
        )
    )
