"""Groups of consumers: which message each gets next, what they have acknowledged, and what is sent again."""

import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from braggstream.simulate.asapo.database import Database
from braggstream.simulate.asapo.http import Answer, Refused, json_answer
from braggstream.simulate.asapo.messages import Stream, find_stream, stream_key
from braggstream.simulate.asapo.records import Wanted, finished, no_record, record, whole

BY_ID, BY_ARRIVAL = "_id", "time_id"
NS_PER_MS = 1_000_000
MAX_DELAY_MS = 10**11
"""Longer delays are cut to about three years [ms]."""

MAX_LOOKED = 10_000
MAX_RANGE = 1_000_000
"""Most ids that one answer lists."""

Place = tuple[str, str, str]
"""Beamtime, source, stream."""


@dataclass(frozen=True, slots=True)
class Resend:
    """What a consumer asks for about messages that are not acknowledged."""

    delay_ms: int = 0
    most: int = 0
    """Times that a message is sent again; 0 = never."""
    is_asked: bool = False


def resend(query: Mapping[str, str]) -> Resend:
    """Read the parameters of `next`; they are refused with status 503 where the numbers are missing."""
    if query.get("resend_nacks", "") in ("", "false"):
        return Resend()
    if "delay_ms" not in query or "resend_attempts" not in query:
        raise Refused(503, "resend_nacks needs delay_ms and resend_attempts")
    most = whole(query, "resend_attempts", 0, status=503)
    return Resend(min(whole(query, "delay_ms", 0, status=503), MAX_DELAY_MS), most, True)


def order(query: Mapping[str, str]) -> str:
    """In which order messages are read: by their ids, or as they arrived."""
    key = query.get("id_key", BY_ID)
    if key not in (BY_ID, BY_ARRIVAL):
        raise Refused(400, "id_key: expected _id or time_id")
    return key


@dataclass(frozen=True, slots=True)
class Reader:
    """A group that reads a stream in one of the two orders."""

    place: Place
    group: str
    order: str = BY_ID


class Groups:
    """The groups' part of the broker."""

    def __init__(self, database: Database, *, resend_check_s: float, data_address: str) -> None:
        self._database = database
        self._resend_check_s = resend_check_s
        self._data_address = data_address
        self._looked_at: dict[tuple[int, str], float] = {}
        self._looked_lock = threading.Lock()

    def next(self, reader: Reader, how: Wanted, again: Resend) -> Answer:
        """Give the next message of a group and move its position, or one that is due to be sent again."""
        with self._database.change() as db:
            stream = find_stream(db, reader.place)
            if stream is None or not stream.max_id:
                return no_record(0, 0)
            return (
                self._due(db, stream, reader, how, again, at_end=False)
                or self._step(db, stream, reader, how, again)
                or self._due(db, stream, reader, how, again, at_end=True)
                or (finished(stream) if stream.is_finished else no_record(stream.max_id, stream.max_id))
            )

    def last_once(self, reader: Reader, how: Wanted) -> Answer:
        """Give the last message, where the group has not had it."""
        with self._database.change() as db:
            stream = find_stream(db, reader.place)
            number = last_id(db, stream, how, reader.order)
            if stream is None or not number:
                return no_record(0, 0)
            if stream.is_finished:
                return finished(stream)
            key = (stream.key, reader.group, reader.order)
            row = db.execute("SELECT id FROM last_given WHERE stream=? AND reader=? AND id_key=?", key).fetchone()
            if (row is not None and row[0] >= number and reader.order == BY_ID) or row == (number,):
                return no_record(stream.max_id, stream.max_id)
            db.execute("INSERT OR REPLACE INTO last_given VALUES(?,?,?,?)", (*key, number))
            found = record(db, stream, number, how, data_address=self._data_address)
            assert found is not None
            return found

    def acknowledge(self, place: Place, group: str, number: int) -> Answer:
        """Note that a message has been dealt with; a second time is refused."""
        with self._database.change() as db:
            key = (stream_key(db, place), group, number)
            if db.execute("INSERT OR IGNORE INTO acknowledged VALUES(?,?,?)", key).rowcount == 0:
                raise Refused(400, "already acknowledged")
            db.execute("DELETE FROM resends WHERE stream=? AND reader=? AND id=?", key)
        return Answer(200)

    def refuse(self, place: Place, group: str, number: int, delay_ms: int) -> Answer:
        """Note that a message is to be sent once more (a negative acknowledgement)."""
        due = time.time_ns() + delay_ms * NS_PER_MS
        with self._database.change() as db:
            key = stream_key(db, place)
            db.execute("INSERT OR REPLACE INTO resends VALUES(?,?,?,?,0,1)", (key, group, number, due))
        return Answer(200)

    def unacknowledged(self, place: Place, group: str, first: int, last: int) -> Answer:
        """The ids from `first` to `last` (0 = open) that the group has not acknowledged."""
        if first and last and first > last:
            raise Refused(503, "from index is greater than to index")
        with self._database.look() as db:
            stream = find_stream(db, place)
            first, last = first or 1, last or (stream.last_id if stream else 0)
            if last - first >= MAX_RANGE:
                raise Refused(400, f"more than {MAX_RANGE} ids")
            done = {
                number
                for (number,) in db.execute(
                    "SELECT id FROM acknowledged WHERE stream=? AND reader=? AND id BETWEEN ? AND ?",
                    (stream.key if stream else 0, group, first, last),
                )
            }
        return json_answer({"unacknowledged": [number for number in range(first, last + 1) if number not in done]})

    def last_acknowledged(self, place: Place, group: str) -> Answer:
        """The highest id that the group has acknowledged; 0 = none."""
        with self._database.look() as db:
            stream = find_stream(db, place)
            row = db.execute(
                "SELECT coalesce(max(id), 0) FROM acknowledged WHERE stream=? AND reader=?",
                (stream.key if stream else 0, group),
            ).fetchone()
        return json_answer({"lastAckId": row[0]})

    def move(self, place: Place, group: str, position: int) -> Answer:
        """Set the position of ordered reading: the next message is the one after it."""
        with self._database.change() as db:
            key = stream_key(db, place)
            db.execute("INSERT OR REPLACE INTO positions VALUES(?,?,?,?)", (key, group, BY_ID, position))
            db.execute("DELETE FROM resends WHERE stream=? AND reader=? AND id>=?", (key, group, position))
        return Answer(200)

    def state(self, place: Place) -> list[dict[str, object]]:
        """What is known of each group of a stream (our own extension; ASAP::O does not tell)."""
        with self._database.look() as db:
            stream = find_stream(db, place)
            if stream is None:
                return []
            names = {
                name
                for table in ("positions", "acknowledged", "resends", "last_given")
                for (name,) in db.execute(f"SELECT DISTINCT reader FROM {table} WHERE stream=?", (stream.key,))
            }
            return [self._group_state(db, stream, name) for name in sorted(names)]

    def _group_state(self, db: sqlite3.Connection, stream: Stream, group: str) -> dict[str, object]:
        key = (stream.key, group)
        positions = dict(db.execute("SELECT id_key, position FROM positions WHERE stream=? AND reader=?", key))
        n_done, last = db.execute(
            "SELECT count(*), coalesce(max(id), 0) FROM acknowledged WHERE stream=? AND reader=?", key
        ).fetchone()
        pending = db.execute("SELECT count(*) FROM resends WHERE stream=? AND reader=?", key).fetchone()[0]
        return {
            "group": group,
            "position": positions.get(BY_ID, 0),
            "arrivalPosition": positions.get(BY_ARRIVAL, 0),
            "acknowledged": n_done,
            "lastAckId": last,
            "pending": pending,
        }

    def _step(
        self, db: sqlite3.Connection, stream: Stream, reader: Reader, how: Wanted, again: Resend
    ) -> Answer | None:
        """Move the position by one; None where all has been read."""
        key = (stream.key, reader.group, reader.order)
        row = db.execute("SELECT position FROM positions WHERE stream=? AND reader=? AND id_key=?", key).fetchone()
        position = (row[0] if row else 0) + 1
        number = position
        highest = stream.max_id
        if reader.order == BY_ARRIVAL:
            highest = stream.n_arrived
            position, number = _arrived(db, stream, position)
        if position > highest:
            return None
        db.execute("INSERT OR REPLACE INTO positions VALUES(?,?,?,?)", (*key, position))
        if stream.is_finished and number == stream.marker_id:
            return None
        found = record(db, stream, number, how, data_address=self._data_address)
        if found is None:
            return no_record(number, highest)
        if again.is_asked:
            due = time.time_ns() + again.delay_ms * NS_PER_MS
            noted = (stream.key, reader.group, number, due, again.most)
            db.execute("INSERT OR IGNORE INTO resends VALUES(?,?,?,?,0,?)", noted)
        return found

    def _due(
        self,
        db: sqlite3.Connection,
        stream: Stream,
        reader: Reader,
        how: Wanted,
        again: Resend,
        *,
        at_end: bool,
    ) -> Answer | None:
        """A message that is due to be sent again; before the end of a stream, looked for at times only."""
        if not (at_end or self._may_look(stream.key, reader.group)):
            return None
        now = time.time_ns()
        row = db.execute(
            "SELECT id FROM resends WHERE stream=? AND reader=? AND due_ns<=? AND attempts<most"
            " ORDER BY due_ns, id",
            (stream.key, reader.group, now),
        ).fetchone()
        if row is None:
            self._looked(stream.key, reader.group)  # As long as there are some, they come one after the other.
            return None
        db.execute(
            "UPDATE resends SET due_ns=?, most=?, attempts=attempts+1 WHERE stream=? AND reader=? AND id=?",
            (now + again.delay_ms * NS_PER_MS, again.most, stream.key, reader.group, row[0]),
        )
        found = record(db, stream, row[0], how, data_address=self._data_address)
        return found or no_record(row[0], stream.max_id)

    def _may_look(self, key: int, group: str) -> bool:
        with self._looked_lock:
            last = self._looked_at.get((key, group))
        return last is None or time.monotonic() - last >= self._resend_check_s

    def _looked(self, key: int, group: str) -> None:
        with self._looked_lock:
            if len(self._looked_at) > MAX_LOOKED:
                self._looked_at.clear()
            self._looked_at[key, group] = time.monotonic()


def last_id(db: sqlite3.Connection, stream: Stream | None, how: Wanted, by: str) -> int:
    """The id of the last message: of the last complete dataset where those are read; 0 = there is none."""
    if stream is None:
        return 0
    if stream.is_finished or not how.is_dataset:
        if by == BY_ARRIVAL and not stream.is_finished:
            return _arrived(db, stream, stream.n_arrived)[1]
        return stream.max_id
    row = db.execute(
        "SELECT id FROM messages AS m WHERE stream=? AND"
        " (SELECT count(*) FROM parts WHERE stream=m.stream AND id=m.id)"
        " >= CASE WHEN ?>0 THEN min(?, set_size) ELSE set_size END ORDER BY id DESC LIMIT 1",
        (stream.key, how.min_size, how.min_size),
    ).fetchone()
    return int(row[0]) if row else 0


def _arrived(db: sqlite3.Connection, stream: Stream, position: int) -> tuple[int, int]:
    """Position and id of what arrived there; a mark of the end that came too early is passed over."""
    rows = db.execute(
        "SELECT time_id, id FROM messages WHERE stream=? AND time_id>=? ORDER BY time_id LIMIT 2",
        (stream.key, position),
    ).fetchall()
    if len(rows) == 2 and stream.is_finished and rows[0][1] == stream.marker_id:
        return int(rows[1][0]), int(rows[1][1])
    return (int(rows[0][0]), int(rows[0][1])) if rows else (position, 0)
