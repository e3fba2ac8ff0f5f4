"""TIFF images (TIFF 6.0, and BigTIFF), on disk or as a message: the first image of the file.

Read here and not by a library, so that each offset, count and size is checked against the bytes that are there.
Strips and tiles, plain or deflated (with differences of neighbours or without), integers and floats of one sample.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import DEFLATE_RATIO, inflate
from braggstream.formats.pixel_room import PixelRoom
from braggstream.model.errors import DecodeError, MismatchError

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_TAGS = 4096
MAX_SEGMENTS = 1 << 16

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, ROWS = 256, 257, 258, 259, 277, 278
STRIPS, STRIP_BYTES, PREDICTOR, FORMAT = 273, 279, 317, 339
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
NO_COMPRESSION, DEFLATE, OLD_DEFLATE = 1, 8, 32946
NO_DIFFERENCES, DIFFERENCES = 1, 2
COMPRESSIONS = {5: "LZW", 7: "JPEG", 32773: "PackBits", 50000: "Zstandard"}

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
"""Types of the tags that are read."""
_KINDS = {1: "u", 2: "i", 3: "f"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """What the tags say of the first image."""

    width: int
    height: int
    dtype: np.dtype[Any]
    is_deflated: bool
    has_differences: bool
    segment_width: int
    segment_height: int
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]


def tiff_image(payload: memoryview | bytes, room: PixelRoom) -> NDArray[Any]:
    """Give the first image, [height, width]; raises `DecodeError` or `MismatchError`."""
    layout = _layout(_Tags(memoryview(payload)))
    n_bytes = layout.width * layout.height * layout.dtype.itemsize
    if n_bytes > len(payload) * (DEFLATE_RATIO if layout.is_deflated else 1):
        raise DecodeError(f"the TIFF file has {len(payload)} bytes, its image needs {n_bytes}")
    if (layout.offsets.astype(object) + layout.sizes.astype(object) > len(payload)).any():
        raise DecodeError("the TIFF file ends before its image does")
    shape = (layout.height, layout.width)
    if not layout.is_deflated and not layout.has_differences and _is_whole(layout, n_bytes):
        start = int(layout.offsets[0])
        return np.frombuffer(payload[start : start + n_bytes], layout.dtype).reshape(shape)
    image = room.take(shape, layout.dtype)
    for (top, left), segment in _segments(payload, layout):
        part = image[top : top + segment.shape[0], left : left + segment.shape[1]]
        part[...] = segment[: part.shape[0], : part.shape[1]]
    return image


class _Tags:
    """The tags of the first image."""

    def __init__(self, payload: memoryview) -> None:
        self._payload = payload
        if bytes(payload[:4]) not in STARTS:
            raise DecodeError("the file is no TIFF image: it does not begin as such files do")
        self.order = "<" if payload[0] == ord("I") else ">"
        is_big = 43 in (payload[2], payload[3])
        self._pointer = "u8" if is_big else "u4"
        start = int(self._numbers(8 if is_big else 4, self._pointer, 1)[0])
        n_tags = int(self._numbers(start, "u8" if is_big else "u2", 1)[0])
        if n_tags > MAX_TAGS:
            raise DecodeError(f"the TIFF file has {n_tags} tags, at most {MAX_TAGS} are taken")
        entry = np.dtype(
            {
                "names": ["tag", "kind", "count"],
                "formats": [self.order + "u2", self.order + "u2", self.order + self._pointer],
                "offsets": [0, 2, 4],
                "itemsize": 20 if is_big else 12,
            }
        )
        start += 8 if is_big else 2
        self._value_at = 12 if is_big else 8
        entries = np.frombuffer(self._bytes(start, n_tags * entry.itemsize), entry)
        self._places: dict[int, tuple[int, int, int]] = {}
        for number, (tag, kind, count) in enumerate(entries.tolist()):
            self._places.setdefault(tag, (kind, count, start + number * entry.itemsize + self._value_at))

    def numbers(self, tag: int) -> NDArray[np.uint64]:
        """Give all numbers of a tag; none where it is missing."""
        if tag not in self._places:
            return np.zeros(0, np.uint64)
        kind, count, place = self._places[tag]
        if kind not in _INTEGERS or count > MAX_SEGMENTS:
            raise DecodeError(f"tag {tag} of the TIFF file is of type {kind} with {count} values")
        n_bytes = count * np.dtype(_INTEGERS[kind]).itemsize
        if n_bytes > np.dtype(self._pointer).itemsize:
            place = int(self._numbers(place, self._pointer, 1)[0])
        return self._numbers(place, _INTEGERS[kind], count).astype(np.uint64)

    def number(self, tag: int, default: int | None = None) -> int:
        """Give the first number of a tag."""
        found = self.numbers(tag)
        if len(found):
            return int(found[0])
        if default is None:
            raise DecodeError(f"the TIFF file has no tag {tag}")
        return default

    def _numbers(self, start: int, kind: str, count: int) -> NDArray[Any]:
        dtype = np.dtype(self.order + kind)
        return np.frombuffer(self._bytes(start, count * dtype.itemsize), dtype)

    def _bytes(self, start: int, n_bytes: int) -> memoryview:
        if start + n_bytes > len(self._payload):
            raise DecodeError("the TIFF file ends before its tags do")
        return self._payload[start : start + n_bytes]


def _layout(tags: _Tags) -> _Layout:
    width, height = tags.number(WIDTH), tags.number(HEIGHT)
    compression, predictor = tags.number(COMPRESSION, NO_COMPRESSION), tags.number(PREDICTOR, NO_DIFFERENCES)
    if compression not in (NO_COMPRESSION, DEFLATE, OLD_DEFLATE):
        name = COMPRESSIONS.get(compression, f"number {compression}")
        raise MismatchError(f"the TIFF image is compressed with {name}, expected none or deflate")
    dtype = _dtype(tags)
    if predictor not in (NO_DIFFERENCES, DIFFERENCES) or (predictor == DIFFERENCES and dtype.kind == "f"):
        raise MismatchError(f"the TIFF image has the predictor {predictor}, expected 1, or 2 for integers")
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise DecodeError(f"the TIFF image has {width} x {height} pixels")
    is_tiled = len(tags.numbers(TILES)) > 0
    segment_width = tags.number(TILE_WIDTH) if is_tiled else width
    segment_height = tags.number(TILE_HEIGHT) if is_tiled else min(height, tags.number(ROWS, height))
    if not (0 < segment_width <= width + 65536 and 0 < segment_height <= height + 65536):
        raise DecodeError(f"the TIFF image has tiles of {segment_width} x {segment_height} pixels")
    offsets = tags.numbers(TILES if is_tiled else STRIPS)
    sizes = tags.numbers(TILE_BYTES if is_tiled else STRIP_BYTES)
    n_segments = -(-width // segment_width) * -(-height // segment_height)
    if len(offsets) != n_segments or len(sizes) != n_segments:
        raise DecodeError(f"the TIFF image has {len(offsets)} strips or tiles, its size needs {n_segments}")
    return _Layout(
        width=width,
        height=height,
        dtype=dtype,
        is_deflated=compression != NO_COMPRESSION,
        has_differences=predictor == DIFFERENCES,
        segment_width=segment_width,
        segment_height=segment_height,
        offsets=offsets,
        sizes=sizes,
    )


def _dtype(tags: _Tags) -> np.dtype[Any]:
    bits, samples = tags.number(BITS, 1), tags.number(SAMPLES, 1)
    kind = _KINDS.get(tags.number(FORMAT, 1))
    if samples != 1 or kind is None or bits not in ((16, 32, 64) if kind == "f" else (8, 16, 32, 64)):
        raise MismatchError(
            f"the TIFF image has {samples} samples of {bits} bits and format {tags.number(FORMAT, 1)} a pixel, "
            "expected one integer or float of whole bytes"
        )
    return np.dtype(f"{tags.order}{kind}{bits // 8}")


def _is_whole(layout: _Layout, n_bytes: int) -> bool:
    """Whether the strips follow one another without a gap."""
    ends = layout.offsets + layout.sizes
    return (
        layout.segment_width == layout.width
        and bool((ends[:-1] == layout.offsets[1:]).all())
        and int(layout.sizes.sum()) >= n_bytes
        and bool((layout.sizes[:-1] == layout.segment_height * layout.width * layout.dtype.itemsize).all())
    )


def _segments(payload: memoryview | bytes, layout: _Layout) -> Iterator[tuple[tuple[int, int], NDArray[Any]]]:
    """Strips or tiles with the place of their first pixel; the last strip may be lower than the others."""
    n_across = -(-layout.width // layout.segment_width)
    is_tiled = layout.segment_width != layout.width or layout.segment_height > layout.height
    for number, (offset, size) in enumerate(zip(layout.offsets.tolist(), layout.sizes.tolist(), strict=True)):
        top, left = number // n_across * layout.segment_height, number % n_across * layout.segment_width
        height = layout.segment_height if is_tiled else min(layout.segment_height, layout.height - top)
        n_bytes = height * layout.segment_width * layout.dtype.itemsize
        data: memoryview | bytes = payload[offset : offset + size]
        if layout.is_deflated:
            try:
                data = inflate(data, n_bytes)
            except zlib.error as error:
                raise DecodeError(f"a strip of the TIFF image is damaged ({error})") from None
        if len(data) < height * layout.segment_width * layout.dtype.itemsize:
            raise DecodeError(f"a strip of the TIFF image has {len(data)} bytes, expected {n_bytes}")
        segment = np.frombuffer(data[:n_bytes], layout.dtype).reshape(height, layout.segment_width)
        if layout.has_differences:
            segment = np.cumsum(segment, axis=1, dtype=layout.dtype.newbyteorder("=")).astype(layout.dtype)
        yield (top, left), segment
