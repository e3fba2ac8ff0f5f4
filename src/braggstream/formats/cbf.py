"""CBF images (imgCIF; the PILATUS kind, miniCBF), plain or gzipped, on disk or as a message.

Sizes that the header states are checked against the bytes that are there before memory is taken.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import inflate
from braggstream.formats.pixel_room import PixelRoom, as_writable
from braggstream.kernels.byte_offset import OUT_TYPES, TOO_LARGE, byte_offset
from braggstream.model.errors import DecodeError, MismatchError
from braggstream.model.frame import HeaderValue

START = b"###CBF: VERSION"
GZIP = b"\x1f\x8b"
MAX_HEADER_BYTES = 1 << 20
MAX_BINARY_BYTES = 100 << 20
"""Most bytes of a binary section, as in the reference."""

_SECTION = re.compile(rb"^--CIF-BINARY-FORMAT-SECTION--\r?\n", re.MULTILINE)
_DATA = re.compile(rb"^\x0c\x1a\x04\xd5", re.MULTILINE)
_CONVERSION = re.compile(rb'conversions="([^"\r\n]{0,80})"')
_VALUE = re.compile(r"#\s*([A-Za-z]\w*)\s*[:=]?\s*(.*)")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_PAIR = re.compile(r"\(\s*([-+.0-9eE]+)\s*,\s*([-+.0-9eE]+)\s*\)")
_TYPES = {
    "signed 8-bit integer": "<i1",
    "unsigned 8-bit integer": "<u1",
    "signed 16-bit integer": "<i2",
    "unsigned 16-bit integer": "<u2",
    "signed 32-bit integer": "<i4",
    "unsigned 32-bit integer": "<u4",
    "signed 32-bit real ieee": "<f4",
    "signed 64-bit real ieee": "<f8",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    """What the header of a binary section says."""

    width: int
    height: int
    n_bytes: int
    is_compressed: bool
    dtype: str
    is_unsigned: bool
    """Whether it says that pixels are unsigned 32-bit integers, in so many words."""


class CbfImage:
    """A CBF file that lies in memory; its header is read at once, its pixels when they are asked for."""

    def __init__(self, payload: memoryview | bytes, room: PixelRoom) -> None:
        """Raises `DecodeError` where there is no image."""
        self._room = room
        content = memoryview(_plain(payload))
        head = bytes(content[:MAX_HEADER_BYTES])
        section = _SECTION.search(head)
        data = None if section is None else _DATA.search(head, section.end())
        if section is None or data is None:
            raise DecodeError("the CBF file has no binary section")
        self._text = head[: section.start()].decode("latin-1")
        self._section = _section(head[section.end() : data.start()])
        self._data = content[data.end() : data.end() + self._section.n_bytes]
        if len(self._data) < self._section.n_bytes:
            raise DecodeError(
                f"the CBF file ends {self._section.n_bytes - len(self._data)} bytes before its image does"
            )

    def headers(self) -> Mapping[str, HeaderValue]:
        """Give the values of a PILATUS header, `# Name value unit`; the pair Beam_xy also as Beam_x and Beam_y."""
        found: dict[str, HeaderValue] = {}
        for line in self._text.splitlines()[:1000]:
            match = _VALUE.match(line)
            if match is None:
                continue
            name, text = match[1], match[2].strip()[:1000]
            number, pair = _NUMBER.match(text), _PAIR.match(text)
            if pair is not None and name.endswith("_xy"):
                for axis, word in zip("xy", pair.groups(), strict=True):
                    if _NUMBER.fullmatch(word):
                        found.setdefault(name[:-2] + axis, float(word))
            if text:
                found.setdefault(name, float(number[0]) if number else text)
        return found

    def pixels(self) -> NDArray[Any]:
        """Give the image, [height, width]."""
        section = self._section
        shape = (section.height, section.width)
        n_pixels = section.height * section.width
        if not section.is_compressed:
            n_bytes = n_pixels * np.dtype(section.dtype).itemsize
            if n_bytes > len(self._data):
                raise DecodeError(f"the CBF image has {len(self._data)} bytes, {shape} pixels need {n_bytes}")
            return np.frombuffer(self._data[:n_bytes], section.dtype).reshape(shape)
        if n_pixels > len(self._data):
            raise DecodeError(f"the CBF image has {len(self._data)} bytes for {n_pixels} pixels: it is damaged")
        source = as_writable(np.frombuffer(self._data, np.uint8))
        mark = self._room.mark()
        for kind in OUT_TYPES:
            self._room.back_to(mark)
            limits = np.iinfo(kind)
            image = self._room.take(shape, kind)
            n_used = byte_offset(source, image.reshape(-1), limits.min, limits.max)
            if n_used != TOO_LARGE:
                break
        if n_used < 0:
            raise DecodeError(f"the CBF image ends before its {n_pixels} pixels do, or holds too large numbers")
        if section.is_unsigned and image.dtype == np.int32:
            return image.view(np.uint32)  # Writers count steps of more than 32 bits modulo 2^32.
        return image


def _plain(payload: memoryview | bytes) -> memoryview | bytes:
    """Undo gzip where that is what the bytes are."""
    if bytes(payload[:2]) == GZIP:
        try:
            payload = inflate(payload, MAX_HEADER_BYTES + MAX_BINARY_BYTES, window=zlib.MAX_WBITS | 16)
        except zlib.error as error:
            raise DecodeError(f"the gzipped CBF file is damaged ({error})") from None
    if bytes(payload[: len(START)]) != START:
        raise DecodeError(f"the file is no CBF image: it does not begin with {START.decode()}")
    return payload


def _section(head: bytes) -> _Section:
    conversion = _CONVERSION.search(head)
    if conversion is not None and conversion[1] != b"x-CBF_BYTE_OFFSET":
        raise MismatchError(
            f"the CBF image is compressed with {conversion[1].decode('latin-1')!r}, expected x-CBF_BYTE_OFFSET"
        )
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip(), value.strip())
    order = fields.get("X-Binary-Element-Byte-Order", "LITTLE_ENDIAN")
    if order != "LITTLE_ENDIAN":
        raise MismatchError(f"the CBF image has the byte order {order[:40]!r}, expected LITTLE_ENDIAN")
    kind = " ".join(fields.get("X-Binary-Element-Type", "unsigned 32-bit integer").strip('"').lower().split())
    if conversion is None and kind not in _TYPES:
        raise MismatchError(f"the CBF image has pixels of type {kind[:40]!r}, expected integers or reals")
    n_bytes = _whole(fields, "X-Binary-Size")
    if n_bytes > MAX_BINARY_BYTES:
        raise DecodeError(f"the CBF image has {n_bytes} bytes, at most {MAX_BINARY_BYTES} are taken")
    return _Section(
        width=_whole(fields, "X-Binary-Size-Fastest-Dimension"),
        height=_whole(fields, "X-Binary-Size-Second-Dimension"),
        n_bytes=n_bytes,
        is_compressed=conversion is not None,
        dtype=_TYPES.get(kind, "<u4"),
        is_unsigned=_TYPES.get(kind) == "<u4" and "X-Binary-Element-Type" in fields,
    )


def _whole(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise DecodeError(f"the CBF image's header says {name}: {text[:20]!r}, expected a whole number")
    return int(text)
