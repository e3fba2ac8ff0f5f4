"""Messages of several parts as one: a table of lengths, then the parts, so that one slot of memory holds all."""

from collections.abc import Sequence

import numpy as np

from braggstream.model.errors import DecodeError

START = b"\xc1parts\0\1"
"""Begins a message that was joined here; 0xc1 begins no MessagePack, CBOR, JSON nor file that is known."""
MAX_PARTS = 64
TOO_LARGE = 0xFFFFFFFF
"""In place of the number of parts: they were too many or too large to be kept."""

Bytes = memoryview | bytes


def join_parts(parts: Sequence[Bytes]) -> list[Bytes]:
    """Put a table in front of the parts; what is given has to be written one after the other."""
    lengths = np.array([len(part) for part in parts], "<u8").tobytes()
    return [START + len(parts).to_bytes(4, "little") + lengths, *parts]


def refused_parts() -> bytes:
    """Stands for a message whose parts were not kept: it is counted as a frame that cannot be decoded."""
    return START + TOO_LARGE.to_bytes(4, "little")


def is_joined(payload: Bytes) -> bool:
    """Whether a message was joined of parts."""
    return bytes(payload[: len(START)]) == START


def split_parts(payload: Bytes) -> list[memoryview]:
    """Take a joined message apart; raises `DecodeError` where its table lies."""
    view = memoryview(payload)
    first = len(START) + 4
    n_parts = int.from_bytes(view[len(START) : first], "little")
    if n_parts == TOO_LARGE:
        raise DecodeError(f"the message has more than {MAX_PARTS} parts, or is too large: it was not kept")
    start = first + 8 * n_parts
    if not 1 <= n_parts <= MAX_PARTS or start > len(view):
        raise DecodeError("the message's table of parts is damaged")
    parts = []
    for length in np.frombuffer(view[first:start], "<u8").tolist():
        if start + length > len(view):
            raise DecodeError("the message's table of parts is damaged")
        parts.append(view[start : start + length])
        start += length
    return parts
