"""As much of HTTP/1.1 as the clients of ASAP::O need, with bounds on everything that comes in."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from braggstream.simulate.asapo.tcp import CHUNK_BYTES, Closed, Connection

MAX_HEAD_BYTES = 32_768
MAX_BODY_BYTES = 1 << 18
MAX_FIELDS = 100
MAX_NESTING = 32

REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request."""

    method: str
    path: tuple[str, ...]
    """Elements of the path, still percent-encoded."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes = b""
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back; a file's content follows where one is named."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is answered with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = Answer(status, text.encode())


def json_answer(content: Any, status: int = 200) -> Answer:
    """An answer whose body is JSON."""
    return Answer(status, json.dumps(content, separators=(",", ":")).encode(), "application/json")


def serve_http(connection: Connection, respond: Callable[[Request], Answer]) -> None:
    """Answer one request after the other, until the other end closes or sends what is no request."""
    buffered = bytearray()
    while True:
        try:
            request, keep = _read_request(connection, buffered)
        except Refused as refusal:
            _send(connection, refusal.answer, keep=False)
            connection.hang_up()
            raise Closed from None
        try:
            answer = respond(request)
        except Refused as refusal:
            answer = refusal.answer
        _send(connection, answer, keep=keep)
        if not keep:
            raise Closed


def _read_request(connection: Connection, buffered: bytearray) -> tuple[Request, bool]:
    head = _read_head(connection, buffered)
    deadline = time.monotonic() + connection.patience.request_s
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise Refused(400, "no HTTP request") from None
    if version not in ("HTTP/1.1", "HTTP/1.0") or not target.startswith("/"):
        raise Refused(400, "no HTTP/1.1 request")
    headers = _headers(lines)
    if "transfer-encoding" in headers:
        raise Refused(501, "a body needs a Content-Length here")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > 12:
        raise Refused(400, "bad Content-Length")
    if int(length) > MAX_BODY_BYTES:
        raise Refused(413, f"a body of more than {MAX_BODY_BYTES} bytes")
    if headers.get("expect", "").lower() == "100-continue" and len(buffered) < int(length):
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(buffered) < int(length):
        buffered += connection.read_some(CHUNK_BYTES, deadline)
    body = bytes(buffered[: int(length)])
    del buffered[: int(length)]
    path, _, query = target.partition("?")
    request = Request(
        method=method,
        path=tuple(path[1:].split("/")),
        query=_query(query),
        headers=headers,
        body=body,
        peer=connection.peer,
    )
    kept = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close")
    return request, kept.lower() != "close"


def _read_head(connection: Connection, buffered: bytearray) -> bytes:
    """Read up to the empty line; a slow sender has a deadline from its first byte."""
    idle_until = time.monotonic() + connection.patience.idle_s
    deadline = time.monotonic() + connection.patience.request_s if buffered else idle_until
    while (end := buffered.find(b"\r\n\r\n")) < 0:
        if len(buffered) > MAX_HEAD_BYTES:
            raise Refused(431, f"a head of more than {MAX_HEAD_BYTES} bytes")
        was_empty = not buffered
        buffered += connection.read_some(MAX_HEAD_BYTES, deadline)
        if was_empty:
            deadline = time.monotonic() + connection.patience.request_s
    head = bytes(buffered[:end])
    del buffered[: end + 4]
    return head


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MAX_FIELDS:
        raise Refused(431, f"more than {MAX_FIELDS} header fields")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise Refused(400, "bad header field")
        if headers.get(name, value.strip()) != value.strip() and name == "content-length":
            raise Refused(400, "two lengths")
        headers[name] = value.strip()
    return headers


def _query(text: str) -> dict[str, str]:
    try:
        return dict(reversed(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)))
    except ValueError:
        raise Refused(400, "bad query") from None


def _send(connection: Connection, answer: Answer, *, keep: bool) -> None:
    if answer.file is not None:
        _send_file(connection, answer, keep=keep)
        return
    connection.write(_head(answer, len(answer.body), keep=keep) + answer.body)


def _head(answer: Answer, length: int, *, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Other')}"]
    if answer.status != 204:
        lines += [f"Content-Type: {answer.content_type}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _send_file(connection: Connection, answer: Answer, *, keep: bool) -> None:
    assert answer.file is not None
    try:
        file = answer.file.open("rb")
    except OSError:
        connection.write(_head(Answer(404), 0, keep=keep))
        return
    with file:
        length = file.seek(0, 2)
        file.seek(0)
        connection.write(_head(answer, length, keep=keep))
        left = length
        while left:
            part = file.read(min(left, CHUNK_BYTES))
            if not part:
                raise Closed  # The file has become shorter: what was announced cannot be sent.
            connection.write(part)
            left -= len(part)


def json_object(body: bytes) -> dict[str, Any] | None:
    """The object that a JSON text holds; None where it is none, is too deeply nested, or is not JSON at all."""
    try:
        content = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and _depth(content) <= MAX_NESTING else None


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def _depth(content: Any) -> int:
    """Levels of nesting, without recursion."""
    depth, level = 0, [content]
    while level:
        depth += 1
        level = [
            item
            for thing in level
            if isinstance(thing, dict | list)
            for item in (thing.values() if isinstance(thing, dict) else thing)
        ]
        if depth > MAX_NESTING:
            break
    return depth
