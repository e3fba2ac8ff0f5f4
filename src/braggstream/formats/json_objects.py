"""Objects in JSON, as senders write them: NaN and infinity are numbers there, though not in the standard."""

import json
from typing import Any

import msgspec

from braggstream.model.errors import DecodeError

_OBJECT: Any = msgspec.json.Decoder(dict[str, Any])


def read_json(data: memoryview | bytes, most: int, *, what: str = "a part of the message") -> dict[str, Any]:
    """Read an object of at most so many bytes; raises `DecodeError`, in which it is called `what`."""
    if len(data) > most:
        raise DecodeError(f"{what} has {len(data)} bytes, expected at most {most} of JSON")
    try:
        found: dict[str, Any] = _OBJECT.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as error:
        found = _leniently(data, what, error)
    return found


def _leniently(data: memoryview | bytes, what: str, refusal: Exception) -> dict[str, Any]:
    """Read an object as the standard library does, which takes the names of numbers that JSON does not have."""
    try:
        found = json.loads(bytes(data))
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DecodeError(f"{what} is no JSON object: {str(refusal)[:200]}") from None
    return found
