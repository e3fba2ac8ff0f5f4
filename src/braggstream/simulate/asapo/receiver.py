"""The receiver: takes messages from producers over TCP, keeps their data, and tells the broker of them."""

import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from braggstream.simulate.asapo import names, versions
from braggstream.simulate.asapo.authoriser import Authoriser, Producer
from braggstream.simulate.asapo.cache import DataCache, signed
from braggstream.simulate.asapo.database import MAX_ID
from braggstream.simulate.asapo.file_transfer import path_within
from braggstream.simulate.asapo.http import Refused, json_object
from braggstream.simulate.asapo.messages import Arrival, Messages, Outcome
from braggstream.simulate.asapo.metadata import Metadata
from braggstream.simulate.asapo.packets import Code, Header, Op, read_header, refuse, respond
from braggstream.simulate.asapo.settings import AsapoSettings
from braggstream.simulate.asapo.tcp import Closed, Connection

TRANSFER, META_ONLY, IN_FILES, IN_DATABASE = 1, 2, 4, 8
"""Bits of the ingest mode."""

MAX_CREDENTIALS_BYTES = 8192
MAX_SET_SIZE = 4096

NO_STREAM = {
    "lastId": 0,
    "name": "",
    "timestampCreated": 0,
    "timestampLast": 0,
    "finished": False,
    "nextStream": "",
}


class Rejected(Exception):
    """A request that is answered with a code; the connection is closed."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class InFlight:
    """Bounds the bytes of all transfers that are under way."""

    def __init__(self, limit: int) -> None:
        self._limit, self._n_bytes = limit, 0
        self._changed = threading.Condition()

    def reserve(self, n_bytes: int, timeout_s: float) -> bool:
        """Wait for room; False where there is none in time."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: not self._n_bytes or self._n_bytes + n_bytes <= self._limit, timeout_s
            ):
                return False
            self._n_bytes += n_bytes
        return True

    def release(self, n_bytes: int) -> None:
        """Give room back."""
        with self._changed:
            self._n_bytes -= n_bytes
            self._changed.notify_all()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What all sessions of a receiver share."""

    settings: AsapoSettings
    authoriser: Authoriser
    messages: Messages
    metadata: Metadata
    cache: DataCache
    in_flight: InFlight


def make_parts(
    settings: AsapoSettings, authoriser: Authoriser, messages: Messages, metadata: Metadata, cache: DataCache
) -> Parts:
    """Put the receiver together."""
    return Parts(
        settings=settings,
        authoriser=authoriser,
        messages=messages,
        metadata=metadata,
        cache=cache,
        in_flight=InFlight(max(settings.max_data_bytes, settings.cache_bytes // 2)),
    )


class Session:
    """One producer's connection: authorisation first, then any number of requests."""

    def __init__(self, connection: Connection, parts: Parts) -> None:
        self._connection = connection
        self._parts = parts
        self._credentials, self._version = "", 0
        self._producer: Producer | None = None
        self._checked_at = 0.0

    def run(self) -> None:
        """Serve until the other end closes, or a request fails."""
        while True:
            header = read_header(self._connection)
            try:
                self._serve(header)
            except Rejected as rejection:
                refuse(self._connection, header.op, rejection.code, str(rejection))
            except sqlite3.Error:
                refuse(self._connection, header.op, Code.INTERNAL, "the database is unavailable")

    def _serve(self, header: Header) -> None:
        if header.op not in tuple(Op) or header.op == Op.GET_BUFFER:
            raise Closed
        version = versions.minor(header.version or "")
        if version is None or version > versions.NEWEST:
            raise Rejected(Code.NOT_SUPPORTED, f"this is v0.{versions.NEWEST}")
        if header.message is None or header.stream is None:
            raise Rejected(Code.WRONG_REQUEST, "a name is not UTF-8")
        if header.op == Op.AUTHORISE:
            self._authorise(header, version)
            respond(self._connection, header.op, Code.OK)
            return
        producer = self._permitted()
        code, text = Code.OK, ""
        match header.op:
            case Op.DATA | Op.DATASET_DATA:
                code, text = self._take_message(header, producer)
            case Op.METADATA:
                self._take_metadata(header, producer)
            case Op.DELETE_STREAM:
                self._delete(header, producer)
            case Op.GET_METADATA:
                place = (producer.beamtime, producer.source, header.stream)
                found = self._parts.metadata.read(place, is_stream=bool(header.stream))
                if found is None:
                    raise Rejected(Code.WRONG_REQUEST, "no metadata")
                text = found
            case _:
                text = self._stream_info(header, producer)
        respond(self._connection, header.op, code, text)

    def _authorise(self, header: Header, version: int) -> None:
        if not 0 < header.meta_size <= MAX_CREDENTIALS_BYTES:
            raise Rejected(Code.NOT_AUTHORISED, "credentials are missing or too long")
        data = self._connection.read(header.meta_size, first_s=self._connection.patience.request_s)
        try:
            self._credentials = bytes(data).decode()
        except UnicodeDecodeError:
            raise Rejected(Code.NOT_AUTHORISED, "credentials are not UTF-8") from None
        self._version = version
        self._producer = self._identify(Code.NOT_AUTHORISED)

    def _permitted(self) -> Producer:
        """The producer, whose permission is looked at again after a while."""
        if self._producer is None:
            raise Rejected(Code.NOT_AUTHORISED, "not authorised")
        if time.monotonic() - self._checked_at > self._parts.settings.authorisation_s:
            self._producer = self._identify(Code.REAUTHORISE)
        return self._producer

    def _identify(self, code: Code) -> Producer:
        try:
            producer = self._parts.authoriser.producer(self._credentials, self._version, self._connection.peer)
            names.check_source(producer.beamtime, producer.source)
            self._parts.authoriser.folder(producer.beamtime)
        except Refused as refusal:
            raise Rejected(code, str(refusal)) from None
        self._checked_at = time.monotonic()
        return producer

    def _take_message(self, header: Header, producer: Producer) -> tuple[Code, str]:
        mode = self._checked_mode(header, producer)
        meta = self._read_meta(header.meta_size)
        assert header.message is not None and header.stream is not None
        is_set = header.op == Op.DATASET_DATA
        arrival = Arrival(
            id=header.data_id,
            name=header.message,
            size=header.data_size,
            meta=meta,
            ingest_mode=mode,
            substream=header.custom[1] if is_set else 0,
            set_size=header.custom[2] if is_set else 0,
        )
        place = (producer.beamtime, producer.source, header.stream)
        if not mode & TRANSFER:
            return self._store(place, arrival, 0)
        n_bytes = header.data_size
        if not self._parts.in_flight.reserve(n_bytes, self._connection.patience.request_s):
            raise Rejected(Code.INTERNAL, "too many transfers at a time")
        try:
            data = self._connection.read(n_bytes, first_s=self._connection.patience.request_s)
            return self._keep(place, arrival, data)
        finally:
            self._parts.in_flight.release(n_bytes)

    def _checked_mode(self, header: Header, producer: Producer) -> int:
        """The ingest mode of a request that can be taken."""
        mode = header.custom[0]
        if mode >> 5 or bool(mode & TRANSFER) == bool(mode & META_ONLY):
            raise Rejected(Code.WRONG_REQUEST, "ingest mode: data, or metadata only")
        if (mode & TRANSFER and not mode & (IN_FILES | IN_DATABASE)) or (mode & META_ONLY and mode & IN_FILES):
            raise Rejected(Code.WRONG_REQUEST, "ingest mode: data need a place, metadata have none")
        if not header.message or not header.stream:
            raise Rejected(Code.WRONG_REQUEST, "file name or stream is missing")
        try:
            names.check_stream(header.stream)
        except Refused as refusal:
            raise Rejected(Code.WRONG_REQUEST, str(refusal)) from None
        if header.data_id > MAX_ID or header.data_size > MAX_ID:
            raise Rejected(Code.WRONG_REQUEST, "a number is too large")
        if header.op == Op.DATASET_DATA and not (
            header.data_id and 0 < header.custom[1] <= header.custom[2] <= MAX_SET_SIZE
        ):
            raise Rejected(Code.WRONG_REQUEST, f"a dataset has an id and 1 to {MAX_SET_SIZE} parts")
        if mode & TRANSFER and header.data_size > self._parts.settings.max_data_bytes:
            raise Rejected(Code.WRONG_REQUEST, f"data of more than {self._parts.settings.max_data_bytes} bytes")
        if mode & IN_FILES:
            self._path(producer, header.message)
        return mode

    def _path(self, producer: Producer, name: str) -> Path:
        """Where a file goes: below the producer's kind of data, in the beamtime's folder."""
        first, *others = name.split("/")
        path = path_within(self._parts.authoriser.folder(producer.beamtime), name)
        if first != producer.kind or not all(others) or not others or ".." in others or path is None:
            raise Rejected(Code.WRONG_REQUEST, f"file name: expected {producer.kind}/… without '..'")
        return path

    def _read_meta(self, n_bytes: int) -> str:
        if n_bytes > self._parts.settings.max_meta_bytes:
            raise Rejected(Code.WRONG_REQUEST, f"metadata of more than {self._parts.settings.max_meta_bytes} bytes")
        data = bytes(self._connection.read(n_bytes, first_s=self._connection.patience.request_s)) or b"{}"
        if json_object(data) is None:
            raise Rejected(Code.WRONG_REQUEST, "metadata: expected a JSON object")
        return data.decode()

    def _keep(self, place: tuple[str, str, str], arrival: Arrival, data: memoryview) -> tuple[Code, str]:
        """Put data into memory, and into a file where wanted, before anybody is told of them."""
        warning = ""
        assert self._producer is not None
        if arrival.ingest_mode & IN_FILES:
            path = self._path(self._producer, arrival.name)
            if self._parts.messages.outcome(place, arrival) is Outcome.STORED:
                warning = "file has been overwritten" if path.exists() else ""
                _write_file(path, data)
        if not arrival.ingest_mode & IN_DATABASE:
            return (Code.WARNING, warning) if warning else (Code.OK, "")  # A file, of which nobody is told.
        code, text = self._store(place, arrival, signed(self._parts.cache.put(data)))
        return (Code.WARNING, warning) if warning and code is Code.OK else (code, text)

    def _store(self, place: tuple[str, str, str], arrival: Arrival, slot: int) -> tuple[Code, str]:
        outcome, _ = self._parts.messages.add(place, arrival, slot)
        if outcome in (Outcome.CONFLICT, Outcome.TOO_LARGE):
            raise Rejected(Code.WRONG_REQUEST, outcome.value)
        return (Code.WARNING, outcome.value) if outcome is Outcome.REPEATED else (Code.OK, "")

    def _take_metadata(self, header: Header, producer: Producer) -> None:
        content = self._read_meta(header.data_size)
        place = (producer.beamtime, producer.source, header.stream or "")
        problem = self._parts.metadata.store(place, content, header.custom[1], is_stream=bool(header.stream))
        if problem:
            raise Rejected(Code.WRONG_REQUEST, problem)

    def _delete(self, header: Header, producer: Producer) -> None:
        place = (producer.beamtime, producer.source, header.stream or "")
        flags = header.custom[0]
        if flags & 1 and not self._parts.messages.delete(place) and flags & 2:
            raise Rejected(Code.WRONG_REQUEST, "no such stream")

    def _stream_info(self, header: Header, producer: Producer) -> str:
        """A stream's state, or that of the one created last; here the marker counts in `lastId`."""
        streams = self._parts.messages.streams(producer.beamtime, producer.source)
        if header.op == Op.STREAM_INFO:
            streams = [stream for stream in streams if stream.name == header.stream]
        if not streams:
            return json.dumps(NO_STREAM | {"name": header.stream})
        return json.dumps(streams[-1].info() | {"lastId": streams[-1].max_id})


def _write_file(path: Path, data: memoryview) -> None:
    """Write a file under another name first, so that nobody reads half of it."""
    draft = path.with_name(f".{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Rejected(Code.INTERNAL, f"cannot write the file: {error.strerror}") from None
