"""Messages of DECTRIS detectors: SIMPLON stream version 1 (multipart JSON) and version 2 (CBOR).

A series is a start message, images and an end message.  Version 2 is described in DECTRIS' public documentation
(stream_v2 and tag 56500), typed arrays in RFC 8746.  Jungfraujoch sends what is close to version 2 (its
documentation: CBOR messages).  Nothing is decompressed, and nothing decoded, before it is asked for.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.cbor import CborReader, Tagged, decode_cbor, untagged
from braggstream.formats.dectris_1 import identify_1, read_version_1
from braggstream.formats.packed_arrays import Arrays, PackedArray, checked_shape
from braggstream.formats.parts import is_joined, split_parts
from braggstream.formats.series_message import KINDS, Kind, SeriesIdentity, SeriesMessage, whole_number_of
from braggstream.formats.series_values import SeriesValues
from braggstream.model.errors import DecodeError, FrameError, MismatchError

ROW_MAJOR, COLUMN_MAJOR, COMPRESSED, SELF_DESCRIBED = 40, 1040, 56500, b"\xd9\xd9\xf7"
TYPES = {64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8", 72: "i1", 73: ">i2"}
TYPES |= {74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8", 80: ">f2", 81: ">f4", 82: ">f8", 84: "<f2"}
TYPES |= {85: "<f4", 86: "<f8"}
"""Tags of typed arrays (RFC 8746, 2.1)."""
ALGORITHMS = ("bslz4", "lz4", "bszstd")
MAX_CHANNELS = 32
MAX_SPOTS = 1 << 18
SPOT_KEYS = {ord(name): name for name in ("x", "y", "I")}
LOOKED_AT = 50_000
"""To tell what a message is, at most so many of its items are passed over."""
TELLING = ("type", "series_id", "series_unique_id")


def identify(payload: memoryview | bytes) -> SeriesIdentity | None:
    """Tell what a message of a series is, and of which one; None where it is no such message."""
    try:
        if is_joined(payload):
            parts = split_parts(payload)
            return identify_1(parts[0]) or (identify(parts[-1]) if len(parts) > 1 else None)
        if bytes(payload[:1]) == b"{":
            return identify_1(payload)
        return _identify_2(payload) if is_cbor_map(payload) else None
    except DecodeError:
        return None


def kind_of(payload: memoryview | bytes) -> Kind | None:
    """Tell what a message of a series is; None where it is no such message."""
    found = identify(payload)
    return next((kind for kind in KINDS if found is not None and found.kind == kind), None)


def is_cbor_map(payload: memoryview | bytes) -> bool:
    """Whether a message begins as a map of CBOR does."""
    return bytes(payload[:3]) == SELF_DESCRIBED or (len(payload) > 0 and 0xA1 <= payload[0] <= 0xBF)


def _identify_2(payload: memoryview | bytes) -> SeriesIdentity | None:
    told: dict[str, int | str] = {}
    try:
        for key, value in CborReader(payload, skips=LOOKED_AT).simple_members(TELLING):
            told[key] = value
            if len(told) == len(TELLING):
                break
    except DecodeError:  # What follows is not looked at here.
        pass
    kind, series, name = (told.get(key) for key in TELLING)
    if not isinstance(kind, str):
        return None
    return SeriesIdentity(
        kind=kind, series=series if isinstance(series, int) else None, name=name if isinstance(name, str) else ""
    )


def read_series_message(payload: memoryview | bytes) -> SeriesMessage:
    """Understand a message; arrays stay compressed.  Raises `DecodeError` or `MismatchError`."""
    if is_joined(payload):
        parts = split_parts(payload)
        if len(parts) == 1 or not is_cbor_map(parts[-1]) or identify_1(parts[0]) is not None:
            return read_version_1(parts)
        payload = parts[-1]  # What is in front of it is metadata.
    if bytes(payload[:1]) == b"{":
        return read_version_1([memoryview(payload)])
    return _read_version_2(payload)


class _Members(Mapping[str, Any]):
    """Members of a CBOR map, decoded when they are asked for."""

    def __init__(self, raw: Mapping[str, memoryview]) -> None:
        self._raw = raw

    def __getitem__(self, key: str) -> Any:
        return decode_cbor(self._raw[key])

    def __contains__(self, key: object) -> bool:
        return key in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _read_version_2(payload: memoryview | bytes) -> SeriesMessage:
    raw = dict(CborReader(payload).members())
    kind = untagged(decode_cbor(raw["type"])) if "type" in raw else None
    if kind not in KINDS:
        raise MismatchError(f"the CBOR message is of type {str(kind)[:40]!r}, expected start, image or end")
    source = {"start": "pixel_mask", "image": "data"}.get(kind)
    arrays: Arrays = {}
    if source is not None and source in raw:
        arrays = _packed_arrays(raw.pop(source), f"{source} of the {kind} message")
    spots = raw.pop("spots", None)
    numbers: dict[str, Any] = {
        key: untagged(decode_cbor(raw[key])) for key in ("series_id", "image_id") if key in raw
    }
    values = SeriesValues(_Members(raw))
    return SeriesMessage(
        kind=kind,
        series=whole_number_of(numbers, "series_id"),
        name=str(values.get("series_unique_id", "")),
        image=whole_number_of(numbers, "image_id") if kind == "image" else 0,
        values=values,
        arrays=arrays,
        channels=_channel_names(raw.get("channels")),
        spots=spots,
    )


def _channel_names(raw: memoryview | None) -> tuple[str, ...]:
    if raw is None:
        return ()
    try:
        found = untagged(decode_cbor(raw))
    except DecodeError:
        return ()
    return tuple(str(name) for name in found[:MAX_CHANNELS]) if isinstance(found, list) else ()


def _packed_arrays(raw: memoryview, what: str) -> Arrays:
    found = decode_cbor(raw)
    found = {"default": found} if _is_array(found) else untagged(found)
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > MAX_CHANNELS:
        raise DecodeError(f"{what} is no map of at most {MAX_CHANNELS} channels")
    return {name: _packed_array(item, f"channel {name[:40]!r} in {what}") for name, item in found.items()}


def _is_array(item: Any) -> bool:
    return isinstance(item, Tagged) and item.tag in (ROW_MAJOR, COLUMN_MAJOR)


def _packed_array(item: Any, what: str) -> PackedArray | FrameError:
    """Understand an array; an error in its place, for those who ask for it."""
    try:
        return _checked_array(item, what)
    except FrameError as error:
        return error


def _checked_array(item: Any, what: str) -> PackedArray:
    if not _is_array(item) or not isinstance(item.value, list) or len(item.value) != 2:
        raise DecodeError(f"{what} is no array with a shape (tag {ROW_MAJOR} or {COLUMN_MAJOR})")
    lengths, typed = item.value
    if not isinstance(typed, Tagged) or typed.tag not in TYPES:
        raise MismatchError(f"{what} is of no known type, expected a typed array of integers or floats")
    algorithm, data = "none", typed.value
    if isinstance(data, Tagged) and data.tag == COMPRESSED:
        if not isinstance(data.value, list) or len(data.value) != 3:
            raise DecodeError(f"{what} is not compressed as tag {COMPRESSED} says")
        algorithm, item_bytes, data = data.value
        if algorithm not in ALGORITHMS:
            raise MismatchError(f"{what} is compressed with {str(algorithm)[:40]!r}, expected bslz4, bszstd or lz4")
        if algorithm != "lz4" and item_bytes != np.dtype(TYPES[typed.tag]).itemsize:
            raise MismatchError(f"{what} is shuffled for items of {str(item_bytes)[:20]} bytes, its type is not")
    if not isinstance(data, memoryview):
        raise DecodeError(f"{what} has no bytes")
    return PackedArray(
        shape=checked_shape(lengths, what),
        dtype=TYPES[typed.tag],
        algorithm=algorithm,
        data=data,
        is_column_major=item.tag == COLUMN_MAJOR,
    )


def read_spots(raw: memoryview) -> NDArray[np.float64]:
    """Read x, y and intensity of spots, float64[3, n]; what else is told of them is passed over.

    Raises
    ------
    DecodeError
        They are no list of maps with numbers x, y and I.
    """
    columns: list[list[float]] = [[], [], []]
    for number, spot in enumerate(CborReader(raw).maps_of_array(SPOT_KEYS)):
        if number == MAX_SPOTS:
            raise DecodeError(f"the image message has more than {MAX_SPOTS} spots")
        for column, name in zip(columns, SPOT_KEYS.values(), strict=True):
            value = spot.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DecodeError("a spot of the image message has no numbers x, y and I")
            column.append(value)
    return np.array(columns, np.float64)
