"""Messages of DECTRIS stream version 1 (SIMPLON API reference): several parts, JSON before each block of bytes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braggstream.formats.json_objects import read_json
from braggstream.formats.packed_arrays import Arrays, PackedArray, checked_shape
from braggstream.formats.raw import MAX_TEXT_HEADER
from braggstream.formats.series_message import Kind, SeriesIdentity, SeriesMessage, whole_number_of
from braggstream.formats.series_values import USER_DATA, SeriesValues
from braggstream.model.errors import DecodeError, FrameError, MismatchError

MAX_JSON = 1 << 22
MAX_HEAD = 4096
ONLY_CHANNEL = "image"
"""Name of the one channel of version 1."""
OF_HEADER = ("dflatfield", "dpixelmask", "dcountrate_table")
"""Tables of a header message, each with a part of bytes behind it."""

_HTYPES: Mapping[str, Kind] = {"dheader": "start", "dimage": "image", "dseries_end": "end"}
_ENCODING = re.compile(r"(?:(?:bs(8|16|32|64)-)?(lz4))?([<>]?)")
_TYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "int32": "i4", "float32": "f4"}


def identify_1(part: memoryview | bytes) -> SeriesIdentity | None:
    """Tell what a message is by its first part; None where that is none of version 1."""
    kind = _HTYPES.get(htype_of(part))
    if kind is None:
        return None
    number = read_json(part, MAX_HEAD).get("series")
    return SeriesIdentity(kind=kind, series=number if type(number) is int else None)


def htype_of(part: memoryview | bytes) -> str:
    """Give what a part of JSON says it is, without its version; empty where it says nothing."""
    if bytes(part[:1]) != b"{":
        return ""
    try:
        return str(read_json(part, MAX_HEAD).get("htype", "")).partition("-")[0]
    except DecodeError:
        return ""


def read_version_1(parts: Sequence[memoryview]) -> SeriesMessage:
    """Understand a message; raises `DecodeError` or `MismatchError`."""
    head = read_json(parts[0], MAX_JSON)
    kind = _HTYPES.get(str(head.get("htype", "")).partition("-")[0])
    if kind is None:
        raise MismatchError(f"the message's htype {str(head.get('htype'))[:40]!r} is none of stream version 1")
    members = dict(head)
    arrays: Arrays = {}
    if kind == "start":
        arrays = _read_header(parts[1:], members)
    elif kind == "image":
        arrays = _read_image(parts, members)
    return SeriesMessage(
        kind=kind,
        series=whole_number_of(head, "series"),
        image=whole_number_of(head, "frame") if kind == "image" else 0,
        values=SeriesValues(members),
        arrays=arrays,
        channels=(ONLY_CHANNEL,) if kind == "start" else (),
    )


def _read_header(parts: Sequence[memoryview], members: dict[str, Any]) -> Arrays:
    """Read what follows the head of a header message: configuration, tables, and what the user appends."""
    arrays: dict[str, PackedArray | FrameError] = {}
    left = list(parts)
    if left and members.get("header_detail") != "none":
        members |= read_json(left.pop(0), MAX_JSON)
    while left:
        part = left.pop(0)
        table = htype_of(part)
        if table not in OF_HEADER:
            members[USER_DATA] = _appendix(part)
        elif left and table == "dpixelmask":
            arrays[ONLY_CHANNEL] = _array(read_json(part, MAX_JSON), left.pop(0), "the pixel mask")
        elif left:
            left.pop(0)
    return arrays


def _read_image(parts: Sequence[memoryview], members: dict[str, Any]) -> Arrays:
    """Read what follows the head of an image message: the image, its times, and what the user appends."""
    if len(parts) < 3:
        raise DecodeError(f"the image message has {len(parts)} parts, expected four")
    told = read_json(parts[1], MAX_JSON)
    members |= told
    for part in parts[3:]:
        if htype_of(part) == "dconfig":
            members |= read_json(part, MAX_JSON)
        else:
            members[USER_DATA] = _appendix(part)
    return {ONLY_CHANNEL: _array(told, parts[2], "the image")}


def _array(told: Mapping[str, Any], data: memoryview, what: str) -> PackedArray | FrameError:
    """Understand what is told of an array; an error in its place, for those who ask for it."""
    try:
        return _packed(told, data, what)
    except FrameError as error:
        return error


def _packed(told: Mapping[str, Any], data: memoryview, what: str) -> PackedArray:
    encoding = str(told.get("encoding", ""))
    match = _ENCODING.fullmatch(encoding)
    kind = _TYPES.get(str(told.get("type")))
    if match is None or kind is None:
        raise MismatchError(
            f"{what} has the type {str(told.get('type'))[:20]!r} and the encoding {encoding[:20]!r}, expected "
            "unsigned integers and bs32-lz4<, lz4< or <"
        )
    order = match[3] or "<"
    dtype = np.dtype(order + kind)
    if match[1] is not None and int(match[1]) != 8 * dtype.itemsize:
        raise MismatchError(f"{what} is of type {told.get('type')} and shuffled for items of {match[1]} bits")
    shape = checked_shape(told.get("shape"), what)[::-1]  # Fast scan comes first here.
    algorithm = "none" if match[2] is None else "lz4 block" if match[1] is None else "bslz4"
    return PackedArray(shape=shape, dtype=dtype.str, algorithm=algorithm, data=data)


def _appendix(data: memoryview) -> Any:
    try:
        return read_json(data, MAX_JSON)
    except DecodeError:
        return str(data[:MAX_TEXT_HEADER], "utf-8", "replace")
