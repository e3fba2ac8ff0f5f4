"""Frames that a message service announces: it gives them their names, and headers beside those in their bytes."""

from typing import Any

import msgspec

from braggstream.formats.raw import RawFrame, text_header
from braggstream.model.errors import DecodeError, HeaderError
from braggstream.model.frame import FrameIdentity, HeaderValue, MessageOrigin

MAX_METADATA = 1 << 20
"""Longer metadata are refused [bytes]."""
STREAM_HEADER = "asapo/stream"
"""Header of a chunk that names the message stream: with the serial number it tells a message from all others."""
EVENT = "//"
"""`Event` of such a frame, as CrystFEL writes it."""

_OBJECT: Any = msgspec.json.Decoder(dict[str, Any])


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
    if len(text) > MAX_METADATA:
        raise DecodeError(f"the message's metadata have {len(text)} bytes, at most {MAX_METADATA} are taken")
    try:
        found: dict[str, Any] = _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"the message's metadata are no JSON object: {error}") from None
    return found


class AnnouncedFrame:
    """A frame in its own format, with the name and the headers that the service gives; a `RawFrame`.

    A header is looked for in the message first and in the metadata after that.
    """

    def __init__(self, raw: RawFrame, origin: MessageOrigin) -> None:
        self._raw = raw
        self.origin = origin
        self._metadata: dict[str, Any] | None = None
        self.image = raw.image
        self.masks = raw.masks
        self.saturation = raw.saturation
        self.peak_list = raw.peak_list
        self.contents = raw.contents

    @property
    def identity(self) -> FrameIdentity:
        """The names that the service gives."""
        return FrameIdentity(filename=_one_line(self.origin.name), event=EVENT, serial=self.origin.number)

    def header(self, name: str) -> HeaderValue:
        """Give a header of the message, else a member of its metadata."""
        try:
            return self._raw.header(name)
        except HeaderError:
            if self._metadata is None:
                self._metadata = read_metadata(self.origin.metadata)
            found = _member(self._metadata, name)
            if isinstance(found, bool) or not isinstance(found, int | float | str) or found == "":
                raise
            return text_header(name, found) if isinstance(found, str) else found


def announced(raw: RawFrame, origin: MessageOrigin | None) -> RawFrame:
    """Give a frame the name and the headers of its origin, where it has one."""
    return raw if origin is None else AnnouncedFrame(raw, origin)


def origin_headers(raw: RawFrame) -> tuple[tuple[str, HeaderValue], ...]:
    """Headers that tell where a frame came from, for its chunk."""
    return ((STREAM_HEADER, _one_line(raw.origin.stream)),) if isinstance(raw, AnnouncedFrame) else ()


def _member(found: Any, name: str) -> object:
    """A member by its name, or by its path where objects lie in objects; None where there is none."""
    if name in found:
        return found[name]
    for part in name.strip("/").split("/"):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:1000])
