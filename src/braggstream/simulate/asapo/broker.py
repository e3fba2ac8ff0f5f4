"""The broker: gives messages to groups of consumers over HTTP."""

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from braggstream.simulate.asapo import names, versions
from braggstream.simulate.asapo.authoriser import READ, WRITE, Authoriser
from braggstream.simulate.asapo.database import MAX_ID, Database
from braggstream.simulate.asapo.groups import MAX_DELAY_MS, Groups, Place, Reader, last_id, order, resend
from braggstream.simulate.asapo.http import Answer, Refused, Request, json_answer, json_object
from braggstream.simulate.asapo.messages import Messages, Stream, find_stream
from braggstream.simulate.asapo.metadata import Metadata
from braggstream.simulate.asapo.queries import BadQuery, parse
from braggstream.simulate.asapo.records import Wanted, finished, no_record, record, wanted, whole

BATCH = 100
"""Messages that a query looks at before others have their turn."""
MAX_ANSWER = 1 << 24
"""Largest answer to a query [bytes]."""
GROUP_LETTERS = "0123456789abcdefghijklmnopqrstuv"
FILTERS: dict[str, Callable[[Stream], bool]] = {
    "all": lambda _: True,
    "finished": lambda stream: stream.is_finished,
    "unfinished": lambda stream: not stream.is_finished,
}


class Broker:
    """Routes requests below `/vX.Y/`, each checked: version, names, token."""

    def __init__(self, database: Database, authoriser: Authoriser, groups: Groups, *, data_address: str) -> None:
        self._database = database
        self._authoriser = authoriser
        self._groups = groups
        self._messages = Messages(database)
        self._metadata = Metadata(database)
        self._data_address = data_address

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        version, *rest = request.path
        if rest == ["creategroup"]:
            versions.check(version, versions.NEWEST)
            if request.method != "POST":
                raise Refused(404, "no such route")
            return Answer(200, "".join(secrets.choice(GROUP_LETTERS) for _ in range(20)).encode())
        if len(rest) < 5 or rest[0] != "beamtime" or not all(rest):
            raise Refused(404, "no such route")
        versions.check(version, versions.NEWEST)
        place = self.place(rest[1:4])
        operation = [_decoded(part) for part in rest[4:]]
        if request.method == "GET":
            self._authoriser.check(request.query, place[0], READ)
            return self._read(place, operation, request)
        if request.method != "POST":
            raise Refused(404, "no such route")
        self._authoriser.check(request.query, place[0], WRITE if operation in (["delete"], ["persist"]) else READ)
        return self._write(place, operation, request)

    def place(self, path: Sequence[str]) -> Place:
        """Beamtime, source and stream of three elements of a path; refused where they cannot be names."""
        place = (path[0], _decoded(path[1]), _decoded(path[2]))
        names.check_source(*place[:2])
        names.check_stream(place[2])
        return place

    def _read(self, place: Place, operation: list[str], request: Request) -> Answer:
        query = request.query
        match operation:
            case ["size"]:
                return self._size(place, query.get("incomplete"))
            case ["streams"]:
                return self._streams(place, request)
            case ["sources"]:
                return json_answer({"sources": self._messages.sources(place[0])})
            case ["0", "last"]:
                return self._last(place, request)
            case ["0", "meta", kind]:
                return self._metadata.answer(place, kind)
            case ["0", number]:
                return self._by_id(place, number, request)
            case [group, "next"]:
                names.check_group(group)
                return self._groups.next(Reader(place, group, order(query)), wanted(query), resend(query))
            case [group, "groupedlast"]:
                names.check_group(group)
                return self._groups.last_once(Reader(place, group, order(query)), wanted(query))
            case [group, "nacks"]:
                names.check_group(group)
                first, last = whole(query, "from", 0, status=503), whole(query, "to", 0, status=503)
                return self._groups.unacknowledged(place, group, first, last)
            case [group, "lastack"]:
                names.check_group(group)
                return self._groups.last_acknowledged(place, group)
        raise Refused(404, "no such route")

    def _write(self, place: Place, operation: list[str], request: Request) -> Answer:
        match operation:
            case ["delete"]:
                return self._delete(place, json_object(request.body))
            case ["persist"]:
                if not self._messages.set_persistent(place):
                    raise Refused(400, "no such stream")
                return Answer(200)
            case ["0", "querymessages"]:
                return self._query(place, request.body)
            case [group, "resetcounter"]:
                names.check_group(group)
                return self._groups.move(place, group, whole(request.query, "value", 0, status=503))
            case [group, number]:
                names.check_group(group)
                return self._acknowledge(place, group, _id(number), json_object(request.body))
        raise Refused(404, "no such route")

    def _by_id(self, place: Place, text: str, request: Request) -> Answer:
        number, how, by = _id(text), wanted(request.query), order(request.query)
        with self._database.look() as db:
            stream = find_stream(db, place)
            if stream is None or not stream.max_id:
                return no_record(number, 0)
            highest = stream.max_id
            if by != "_id":
                highest = stream.n_arrived
                row = db.execute(
                    "SELECT id FROM messages WHERE stream=? AND time_id=?", (stream.key, number)
                ).fetchone()
                found_id = row[0] if row else 0
            else:
                found_id = number
            if stream.is_finished and found_id == stream.marker_id:
                return finished(stream)
            found = record(db, stream, found_id, how, data_address=self._data_address)
        return found or no_record(number, highest)

    def _last(self, place: Place, request: Request) -> Answer:
        how = wanted(request.query)
        with self._database.look() as db:
            stream = find_stream(db, place)
            number = last_id(db, stream, how, order(request.query))
            if stream is None or not number:
                return no_record(0, 0)
            if stream.is_finished:
                return finished(stream)
            return record(db, stream, number, how, data_address=self._data_address) or no_record(0, 0)

    def _query(self, place: Place, body: bytes) -> Answer:
        """The messages that a condition is true of."""
        try:
            query = parse(body.decode())
        except (BadQuery, UnicodeDecodeError) as error:
            raise Refused(400, f"query: {error}") from None
        found: list[dict[str, Any]] = []
        n_bytes, last = 0, 0
        while batch := self._records_after(place, last):
            last = batch[-1][0]
            for text in (text for _, text in batch):
                message = json.loads(text)
                if query.test(message):
                    n_bytes += len(text)
                    found.append(message)
            if n_bytes > MAX_ANSWER:
                raise Refused(400, f"query: more than {MAX_ANSWER} bytes of messages")
        return json_answer(query.ordered(found))

    def _records_after(self, place: Place, number: int) -> list[tuple[int, bytes]]:
        """Ids and records of some messages after one, without the mark of the end."""
        with self._database.look() as db:
            stream = find_stream(db, place)
            if stream is None:
                return []
            rows = db.execute(
                "SELECT id FROM messages WHERE stream=? AND id>? AND id<=? ORDER BY id LIMIT ?",
                (stream.key, number, stream.last_id, BATCH),
            ).fetchall()
            texts = [record(db, stream, row[0], Wanted(), data_address=self._data_address) for row in rows]
        return [(row[0], text.body) for row, text in zip(rows, texts, strict=True) if text is not None]

    def _size(self, place: Place, incomplete: str | None) -> Answer:
        with self._database.look() as db:
            stream = find_stream(db, place)
            if stream is None or not stream.max_id:
                return json_answer({"size": 0})
            n_datasets = db.execute(
                "SELECT count(*) FROM messages WHERE stream=? AND set_size>0", (stream.key,)
            ).fetchone()[0]
            if incomplete is None or incomplete == "true":
                if incomplete and not n_datasets:
                    raise Refused(400, "the stream has no datasets")
                return json_answer({"size": stream.n_messages - stream.is_finished})
            if not n_datasets:
                raise Refused(400, "the stream has no datasets")
            n_complete = db.execute(
                "SELECT count(*) FROM messages AS m WHERE stream=? AND set_size>0 AND"
                " (SELECT count(*) FROM parts WHERE stream=m.stream AND id=m.id)=set_size",
                (stream.key,),
            ).fetchone()[0]
        return json_answer({"size": n_complete})

    def _streams(self, place: Place, request: Request) -> Answer:
        query = request.query
        keep = FILTERS.get(query.get("filter") or "all")
        if keep is None:
            raise Refused(409, "filter: expected all, finished or unfinished")
        streams = self._messages.streams(*place[:2])
        first = query.get("from", "")
        if first:
            at = [stream.name for stream in streams].index(first) if first in {s.name for s in streams} else None
            streams = [] if at is None else streams[at:]
        streams = [stream for stream in streams if keep(stream)]
        if query.get("single") == "true":
            streams = [stream for stream in streams if stream.name == first]
        if query.get("last") == "true":
            streams = streams[-1:]
        return json_answer({"streams": [stream.info() for stream in streams]})

    def _acknowledge(self, place: Place, group: str, number: int, body: dict[str, Any] | None) -> Answer:
        operation = body.get("Op") if body else None
        if operation == "ackmessage":
            return self._groups.acknowledge(place, group, number)
        if operation != "negackmessage" or body is None:
            raise Refused(503, "Op: expected ackmessage or negackmessage")
        given = body.get("Params")
        delay = given.get("DelayMs", 0) if isinstance(given, dict) else 0
        if type(delay) is not int or not 0 <= delay <= MAX_DELAY_MS:
            raise Refused(503, "DelayMs: expected a whole number")
        return self._groups.refuse(place, group, number, delay)

    def _delete(self, place: Place, body: dict[str, Any] | None) -> Answer:
        flags = [body.get(name) if body else None for name in ("ErrorOnNotExist", "DeleteMeta")]
        if not all(isinstance(flag, bool) for flag in flags):
            raise Refused(503, "expected ErrorOnNotExist and DeleteMeta")
        if flags[1] and not self._messages.delete(place) and flags[0]:
            raise Refused(400, "no such stream")
        return Answer(200)


def _decoded(element: str) -> str:
    try:
        return unquote(element, errors="strict")
    except UnicodeDecodeError:
        raise Refused(400, "a name is not UTF-8") from None


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_ID:
        raise Refused(400, "id: expected a whole number")
    return int(text)
