"""Frames that a message service announces: it gives them their names, and headers beside those in their bytes."""

from collections.abc import Iterator
from typing import Any

import msgspec

from braggstream.formats.json_objects import read_json
from braggstream.formats.raw import RawFrame, text_header
from braggstream.model.errors import HeaderError
from braggstream.model.frame import FrameIdentity, HeaderValue, MessageOrigin

MAX_DEPTH = 8
MAX_METADATA = 1 << 20
"""Longer metadata are refused [bytes]."""
STREAM_HEADER = "asapo/stream"
"""Header of a chunk that names the message stream: with the serial number it tells a message from all others."""
TIME_HEADER = "asapo/time"
"""Header of a chunk that tells when the service received the message [s since 1970]."""
EVENT = "//"
"""`Event` of such a frame, as CrystFEL writes it."""


def encode_metadata(metadata: object) -> bytes:
    """Write metadata as JSON; empty where they are no object, or too long."""
    if not isinstance(metadata, dict) or not metadata:
        return b""
    try:
        text = msgspec.json.encode(metadata)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return b""
    return text if len(text) <= MAX_METADATA else b""


def read_metadata(text: bytes) -> dict[str, Any]:
    """Read metadata; raises `DecodeError` where they are no JSON object."""
    if not text:
        return {}
    return read_json(text, MAX_METADATA, what="what was said of the message (its metadata)")


class FrameWithMetadata:
    """A frame in its own format, and what its sender says beside it in JSON; a `RawFrame`.

    A header is looked for in the frame first and in the metadata after that.
    """

    def __init__(self, raw: RawFrame, metadata: bytes) -> None:
        self._raw = raw
        self._text = metadata
        self._metadata: dict[str, Any] | None = None
        self.image = raw.image
        self.masks = raw.masks
        self.saturation = raw.saturation
        self.peak_list = raw.peak_list
        self.own_headers = raw.own_headers
        self.contents = raw.contents

    @property
    def identity(self) -> FrameIdentity:
        """The names that the frame has."""
        return self._raw.identity

    def header(self, name: str) -> HeaderValue:
        """Give a header of the frame, else a member of its metadata."""
        try:
            return self._raw.header(name)
        except HeaderError:
            found = _member(self._members(), name)
            if not isinstance(found, int | float | str) or found == "":
                raise
            return text_header(name, found) if isinstance(found, str) else found

    def header_names(self) -> Iterator[str]:
        """Give the names of the frame's headers, and of the members of its metadata."""
        yield from self._raw.header_names()
        yield from _member_names(self._members())

    def _members(self) -> dict[str, Any]:
        if self._metadata is None:
            self._metadata = read_metadata(self._text)
        return self._metadata


class AnnouncedFrame(FrameWithMetadata):
    """A frame with the name and the headers that a message service gives."""

    def __init__(self, raw: RawFrame, origin: MessageOrigin) -> None:
        super().__init__(raw, origin.metadata)
        self.origin = origin

    @property
    def identity(self) -> FrameIdentity:
        """The names that the service gives."""
        return FrameIdentity(filename=_one_line(self.origin.name), event=EVENT, serial=self.origin.number)


def announced(raw: RawFrame, origin: MessageOrigin | None) -> RawFrame:
    """Give a frame the name and the headers of its origin, where it has one."""
    return raw if origin is None else AnnouncedFrame(raw, origin)


def with_metadata(raw: RawFrame, metadata: bytes) -> RawFrame:
    """Give a frame the headers that were sent in front of it, where there are such."""
    return FrameWithMetadata(raw, metadata) if metadata else raw


def origin_headers(raw: RawFrame) -> tuple[tuple[str, HeaderValue], ...]:
    """Headers that tell where a frame came from, for its chunk."""
    if not isinstance(raw, AnnouncedFrame):
        return ()
    time_s = raw.origin.time_s
    told = () if time_s is None else ((TIME_HEADER, time_s),)
    return (*told, (STREAM_HEADER, _one_line(raw.origin.stream)))


def _member(found: Any, name: str) -> object:
    """A member by its name, or by its path where objects lie in objects; None where there is none."""
    if name in found:
        return found[name]
    for part in name.strip("/").split("/"):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def _member_names(found: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Names of numbers and texts, those in objects by their paths; what describes the array is none of them."""
    for name, value in found.items():
        if isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _member_names(value, f"{prefix}{name}/", depth + 1)
        elif isinstance(value, int | float | str) and not name.startswith("_"):
            yield f"{prefix}{name}"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:1000])
