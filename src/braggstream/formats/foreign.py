"""Messages of other systems that are not read here: they are known, so that somebody is told what to do instead."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from braggstream.formats.dectris_1 import MAX_HEAD, htype_of
from braggstream.formats.json_objects import read_json
from braggstream.formats.parts import is_joined, split_parts
from braggstream.formats.seedee import is_seedee
from braggstream.model.errors import DecodeError, MismatchError

INSTEAD = "have its frames sent as MessagePack or HDF5 instead (docs/reference/messages.md)"
_MAPS = (*range(0x82, 0x90), 0xDE)
_KEYS: Any = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_KARABO_MEMBERS = {"source", "content"}
_KARABO_SOURCE = re.compile(r"[^/\s]+/[^/\s]+/[^/:\s]+:[^/\s]+")
_SLS_MEMBERS = {"jsonversion", "frameIndex", "frameNumber", "detshape"}


def is_karabo(part: memoryview | bytes) -> bool:
    """Whether a message begins with a header of Karabo's bridge."""
    if len(part) > MAX_HEAD or len(part) == 0 or part[0] not in _MAPS:
        return False
    try:
        return _KEYS.decode(part).keys() >= _KARABO_MEMBERS
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
        return False


def describes_bytes(metadata: memoryview | bytes) -> bool:
    """Whether a part of JSON says what the plain bytes in the part behind it are."""
    return is_seedee(bytes(metadata)) or bool(_name_of_header(metadata))


def refuse_foreign(payload: memoryview | bytes) -> None:
    """Raise `MismatchError` with the name of what a message is, where it is known and not read."""
    try:
        first = split_parts(payload)[0] if is_joined(payload) else payload
    except DecodeError:
        return
    name = "Karabo's bridge" if is_karabo(first) else _name_of_header(first)
    if name:
        raise MismatchError(f"the message is of {name}, which is not read: {INSTEAD}")


def refuse_karabo_map(keys: Iterable[str]) -> None:
    """Raise `MismatchError` where all keys of a map are sources of Karabo, as in its bridge's first version."""
    names = list(keys)
    if names and all(_KARABO_SOURCE.fullmatch(name) for name in names):
        raise MismatchError(f"the message is of Karabo's bridge, which is not read: {INSTEAD}")


def _name_of_header(part: memoryview | bytes) -> str:
    """Whose header of JSON this is, with plain bytes behind it; empty for nobody's that is known."""
    kind = htype_of(part)
    if kind == "array":
        return "PSI's kind array-1.0 (JSON and plain bytes)"
    if kind.startswith("bsr_"):
        return "PSI's bsread"
    if bytes(part[:1]) != b"{":
        return ""
    try:
        found = read_json(part, MAX_HEAD)
    except DecodeError:
        return ""
    return "slsDetector (JSON and plain bytes)" if len(_SLS_MEMBERS & found.keys()) > 1 else ""
