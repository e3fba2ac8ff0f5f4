"""The binary headers that the receiver and the data server share."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from braggstream.simulate.asapo.tcp import Closed, Connection

REQUEST = struct.Struct("<B7xQQQ3Q1024s1024s10s6x")
RESPONSE = struct.Struct("<BxH1024s")
MAX_TEXT_BYTES = 1024


class Op(IntEnum):
    """What is asked for."""

    DATA = 2
    DATASET_DATA = 3
    STREAM_INFO = 4
    LAST_STREAM = 5
    GET_BUFFER = 6
    AUTHORISE = 7
    METADATA = 8
    DELETE_STREAM = 9
    GET_METADATA = 10


class Code(IntEnum):
    """How it went."""

    OK = 0
    REAUTHORISE = 1
    WARNING = 2
    WRONG_REQUEST = 3
    NOT_SUPPORTED = 4
    NO_DATA = 5
    NOT_AUTHORISED = 6
    INTERNAL = 65535


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """A request's header; text is None where it is not UTF-8."""

    op: int
    data_id: int
    data_size: int
    meta_size: int
    custom: tuple[int, int, int]
    message: str | None
    stream: str | None
    version: str | None


def read_header(connection: Connection) -> Header:
    """Wait for the next request."""
    fields = REQUEST.unpack(connection.read(REQUEST.size, first_s=connection.patience.idle_s))
    return Header(
        op=fields[0],
        data_id=fields[1],
        data_size=fields[2],
        meta_size=fields[3],
        custom=fields[4:7],
        message=_text(fields[7]),
        stream=_text(fields[8]),
        version=_text(fields[9]),
    )


def respond(connection: Connection, op: int, code: Code, text: str = "", data: bytes | memoryview = b"") -> None:
    """Answer; a text that is too long is cut, as in ASAP::O."""
    connection.write(RESPONSE.pack(op, code, text.encode()[:MAX_TEXT_BYTES]), data)


def refuse(connection: Connection, op: int, code: Code, text: str) -> None:
    """Answer with an error and give up the connection, as the receiver does after every failure."""
    respond(connection, op, code, text)
    connection.hang_up()
    raise Closed


def _text(field: bytes) -> str | None:
    """Text ends at the first zero byte; what follows is garbage."""
    try:
        return field.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        return None
