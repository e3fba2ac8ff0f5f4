"""Which parts of a message are frames, and which messages are none.

A part that begins as a frame does is one; what stands before the first of them is its tag.  A part of JSON belongs
to the frames behind it; DECTRIS version 1 and Karabo's bridge need all parts of a message together.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from braggstream.formats.dectris import identify, is_cbor_map
from braggstream.formats.dectris_1 import identify_1
from braggstream.formats.foreign import describes_bytes, is_karabo
from braggstream.formats.json_objects import read_json
from braggstream.formats.parts import is_joined, join_parts, split_parts
from braggstream.formats.recognize import recognize_file
from braggstream.formats.series_message import KINDS
from braggstream.model.errors import DecodeError

SHORT_BYTES = 15
"""A part of up to so many bytes is no frame (the reference discards it unread)."""
MAX_NOTE = 1 << 12
"""Messages that are no frames are looked for among those of up to so many bytes."""
MAX_TAG = 1 << 12

_RAW_MAP: Any = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)
_ARRAYS = (*range(0x90, 0xA0), 0xDC, 0xDD)
_HOLDERS = frozenset((*_MAPS, *_ARRAYS, 0xC4, 0xC5, 0xC6))
"""First bytes of what an image or a list can be in, in MessagePack."""


def frames_in(parts: Sequence[memoryview]) -> tuple[list[memoryview], int]:
    """Give the frames of a message, and how many of its parts are neither frames nor said of one.

    A text in front is a tag, and is not counted.
    """
    if len(parts) == 1:
        return list(parts), 0
    if is_karabo(parts[0]):
        return [_joined(parts)], 0
    frames: list[memoryview] = []
    metadata: memoryview | None = None
    is_used, n_ignored = True, 0
    for number, part in enumerate(parts):
        if bytes(part[:1]) == b"{":
            if identify_1(part) is not None:
                return [*frames, _joined(parts[number:])], n_ignored
            n_ignored += not is_used
            metadata, is_used = part, False
        elif is_frame(part) or (metadata is not None and describes_bytes(metadata)):
            frames.append(part if metadata is None else _joined([metadata, part]))
            is_used = True
        elif frames and len(part) > SHORT_BYTES and not _is_text(part):
            frames.append(part)  # A damaged frame, perhaps: it is not for us to drop it.
        elif frames or (len(part) > SHORT_BYTES and not _is_text(part)):
            n_ignored += 1
    return (frames, n_ignored + (not is_used)) if frames else ([_of_unknown(parts)], 0)


def is_frame(part: memoryview | bytes) -> bool:
    """Whether a part begins as a frame of some format does."""
    if len(part) <= SHORT_BYTES:
        return False
    if recognize_file(bytes(part[:16])) is not None or part[0] in _MAPS:
        return True
    if part[0] in _ARRAYS:
        return part[{0xDC: 3, 0xDD: 5}.get(part[0], 1)] in _MAPS
    return is_cbor_map(part) and identify(part) is not None


def no_frame(payload: memoryview | bytes, *, needs_image: bool = True) -> str:
    """Tell what a message is that can be no frame, such as a heartbeat; empty for all others."""
    if is_joined(payload):
        return _no_frame_of_parts(payload)
    if len(payload) <= SHORT_BYTES:
        return f"messages of up to {SHORT_BYTES} bytes"
    if bytes(payload[:1]) == b"{":
        return _json_note(payload)
    if is_cbor_map(payload):
        found = identify(payload)
        return "" if found is None or found.kind in KINDS else f"messages of type {_word(found.kind)}"
    return "messages of MessagePack without an image" if needs_image and _is_note(payload) else ""


def _of_unknown(parts: Sequence[memoryview]) -> memoryview:
    """What is taken for the frame where nothing looks like one: all from JSON on, else the last part of bytes."""
    for number, part in enumerate(parts[:-1]):
        if bytes(part[:1]) == b"{":
            return _joined(parts[number:])
    return next((part for part in reversed(parts) if len(part) > SHORT_BYTES and not _is_text(part)), parts[-1])


def _joined(parts: Sequence[memoryview]) -> memoryview:
    return memoryview(b"".join(join_parts(parts)))


def _is_text(part: memoryview) -> bool:
    try:
        return len(part) <= MAX_TAG and str(part, "utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _no_frame_of_parts(payload: memoryview | bytes) -> str:
    """A note in JSON may have empty parts beside it."""
    try:
        first, *others = split_parts(payload)
    except DecodeError:
        return ""
    return _json_note(first) if bytes(first[:1]) == b"{" and not any(others) else ""


def _json_note(part: memoryview | bytes) -> str:
    try:
        found = read_json(part, MAX_NOTE)
    except DecodeError:
        return ""
    if identify_1(part) is not None:
        return ""
    kind = next((found[name] for name in ("htype", "type") if isinstance(found.get(name), str)), "")
    return f"messages of type {_word(kind)}" if kind else "messages of JSON alone"


def _is_note(payload: memoryview | bytes) -> bool:
    """Whether a message is a map of MessagePack in which nothing can be an image or a list."""
    if len(payload) > MAX_NOTE or payload[0] not in _MAPS:
        return False
    try:
        return all(memoryview(raw)[0] not in _HOLDERS for raw in _RAW_MAP.decode(payload).values())
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
        return False


def _word(kind: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in kind[:40])
