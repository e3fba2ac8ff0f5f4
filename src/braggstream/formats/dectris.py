"""Messages of DECTRIS detectors: SIMPLON stream version 1 (multipart JSON) and version 2 (CBOR).

A series is a start message, images and an end message.  Version 2 is described in DECTRIS' public documentation
(stream_v2 and tag 56500), typed arrays in RFC 8746; version 1 in the SIMPLON API reference.  Jungfraujoch sends
what is close to version 2 (its documentation: CBOR messages).  Nothing is decompressed before it is asked for.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.cbor import CborReader, Tagged, decode_cbor, untagged
from braggstream.formats.compressed import Decompressor
from braggstream.formats.parts import is_joined, split_parts
from braggstream.formats.raw import MAX_TEXT_HEADER
from braggstream.model.constants import HC_EV_ANGSTROM
from braggstream.model.errors import DecodeError, MismatchError
from braggstream.model.frame import HeaderValue

ARRAY, COMPRESSED, SELF_DESCRIBED = 40, 56500, b"\xd9\xd9\xf7"
TYPES = {64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8", 72: "i1", 73: ">i2"}
TYPES |= {74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8", 80: ">f2", 81: ">f4", 82: ">f8", 84: "<f2"}
TYPES |= {85: "<f4", 86: "<f8"}
"""Tags of typed arrays (RFC 8746, 2.1)."""
ALGORITHMS = ("bslz4", "lz4", "bszstd")
MAX_JSON = 1 << 22
MAX_CHANNELS = 32
ONLY_CHANNEL = "image"
"""Name of the one channel of version 1."""

Kind = Literal["start", "image", "end"]
OtherKind = Literal["calibration", "metadata"]
OTHER_KINDS = ("calibration", "metadata")
"""Messages of Jungfraujoch that are neither frames nor needed here."""

ALIASES = (
    ("incident_wavelength", "wavelength"),
    ("incident_energy", "photon_energy"),
    ("pixel_size_x", "x_pixel_size"),
    ("pixel_size_y", "y_pixel_size"),
    ("image_size_x", "x_pixels_in_detector"),
    ("image_size_y", "y_pixels_in_detector"),
    ("number_of_images", "nimages"),
    ("saturation_value", "countrate_correction_count_cutoff"),
)
"""Names of one value in versions 2 and 1: both serve as headers, whichever was sent."""

_HTYPES: Mapping[str, Kind] = {"dheader": "start", "dimage": "image", "dseries_end": "end"}
_V1_ENCODING = re.compile(r"(?:(?:bs(8|16|32|64)-)?(lz4))?([<>]?)")
_V1_TYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "int32": "i4", "float32": "f4"}
_JSON: Any = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArray:
    """An array as it came, perhaps compressed."""

    shape: tuple[int, ...]
    """Slowest axis first."""
    dtype: str
    algorithm: str
    data: memoryview

    def decode(self, decompressor: Decompressor, *, what: str) -> NDArray[Any]:
        """Decode it; raises `DecodeError` or `MismatchError`."""
        return decompressor.decode(self.algorithm, self.data, self.shape, self.dtype, what=what)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesMessage:
    """A start, image or end message."""

    kind: Kind
    series: int
    values: Mapping[str, HeaderValue]
    """All numbers and texts; those in maps have names with slashes."""
    name: str = ""
    """Unique id of the series; empty where it has none."""
    image: int = 0
    """Number of the image in its series, from 0."""
    arrays: Mapping[str, PackedArray] = field(default_factory=dict)
    """Images, or in a start message pixel masks, by channel."""
    channels: tuple[str, ...] = ()
    spots: Sequence[Any] | None = None
    """Peaks as Jungfraujoch sends them."""


def kind_of(payload: memoryview | bytes) -> Kind | OtherKind | None:
    """Tell what a message of a series is, by its first bytes; None where it is no such message."""
    try:
        if is_joined(payload):
            return _HTYPES.get(str(_json(split_parts(payload)[0], 4096).get("htype", "")).partition("-")[0])
        if bytes(payload[:3]) == SELF_DESCRIBED or (len(payload) and 0xA1 <= payload[0] <= 0xBF):
            reader = CborReader(payload)
            if reader.map_start() != 0 and reader.item() == "type":
                kind = reader.item()
                return kind if kind in (*_HTYPES.values(), *OTHER_KINDS) else None
        if bytes(payload[:1]) == b"{":
            return _HTYPES.get(str(_json(payload, 4096).get("htype", "")).partition("-")[0])
    except DecodeError:
        return None
    return None


def read_series_message(payload: memoryview | bytes) -> SeriesMessage:
    """Understand a message; arrays stay compressed.  Raises `DecodeError` or `MismatchError`."""
    if is_joined(payload):
        return _version_1(split_parts(payload))
    if bytes(payload[:1]) == b"{":
        return _version_1([memoryview(payload)])
    return _version_2(payload)


def _version_2(payload: memoryview | bytes) -> SeriesMessage:
    found = untagged(decode_cbor(payload))
    if not isinstance(found, dict):
        raise DecodeError("the CBOR message is no map")
    kind = found.get("type")
    if kind not in ("start", "image", "end"):
        raise MismatchError(f"the CBOR message is of type {str(kind)[:40]!r}, expected start, image or end")
    arrays: dict[str, PackedArray] = {}
    source = {"start": "pixel_mask", "image": "data"}.get(kind)
    if source is not None:
        arrays = _packed_arrays(found.pop(source, {}), f"{source} of the {kind} message")
    spots = found.pop("spots", None)
    channels = found.get("channels")
    values = _values(found)
    return SeriesMessage(
        kind=kind,
        series=_number(found, "series_id"),
        name=str(values.get("series_unique_id", "")),
        image=_number(found, "image_id") if kind == "image" else 0,
        values=_with_aliases(values),
        arrays=arrays,
        channels=tuple(str(name) for name in channels[:MAX_CHANNELS]) if isinstance(channels, list) else (),
        spots=spots if isinstance(spots, list) else None,
    )


def _packed_arrays(found: Any, what: str) -> dict[str, PackedArray]:
    found = untagged(found) if not isinstance(found, Tagged) or found.tag != ARRAY else {"default": found}
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > MAX_CHANNELS:
        raise DecodeError(f"{what} is no map of at most {MAX_CHANNELS} channels")
    return {name: _packed_array(item, f"channel {name[:40]!r} in {what}") for name, item in found.items()}


def _packed_array(item: Any, what: str) -> PackedArray:
    is_array = isinstance(item, Tagged) and item.tag == ARRAY and isinstance(item.value, list)
    if not is_array or len(item.value) != 2:
        raise DecodeError(f"{what} is no array with a shape (tag {ARRAY})")
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
    shape = _shape(lengths, what)
    return PackedArray(shape=shape, dtype=TYPES[typed.tag], algorithm=algorithm, data=data)


def _version_1(parts: Sequence[memoryview]) -> SeriesMessage:
    head = _json(parts[0], MAX_JSON)
    kind = _HTYPES.get(str(head.get("htype", "")).partition("-")[0])
    if kind is None:
        raise MismatchError(f"the message's htype {str(head.get('htype'))[:40]!r} is none of stream version 1")
    series = _number(head, "series")
    values: dict[str, Any] = dict(head)
    arrays: dict[str, PackedArray] = {}
    if kind == "start" and len(parts) > 1:
        values |= _json(parts[1], MAX_JSON)
        arrays = _masks_1(parts[2:])
    elif kind == "image":
        if len(parts) < 3:
            raise DecodeError(f"the image message has {len(parts)} parts, expected four")
        values |= _json(parts[1], MAX_JSON)
        arrays = {ONLY_CHANNEL: _array_1(values, parts[2], "the image")}
        if len(parts) > 3:
            values |= _json(parts[3], MAX_JSON)
        if len(parts) > 4:
            values["user_data"] = _appendix(parts[4])
    return SeriesMessage(
        kind=kind,
        series=series,
        image=_number(head, "frame") if kind == "image" else 0,
        values=_with_aliases(_values(values)),
        arrays=arrays,
        channels=(ONLY_CHANNEL,) if kind == "start" else (),
    )


def _masks_1(parts: Sequence[memoryview]) -> dict[str, PackedArray]:
    """Find the pixel mask among the parts that follow the configuration."""
    for head, data in pairwise(parts):
        if bytes(head[:1]) == b"{" and b"dpixelmask" in bytes(head[:4096]):
            return {ONLY_CHANNEL: _array_1(_json(head, MAX_JSON), data, "the pixel mask")}
    return {}


def _array_1(told: Mapping[str, Any], data: memoryview, what: str) -> PackedArray:
    encoding = str(told.get("encoding", ""))
    match = _V1_ENCODING.fullmatch(encoding)
    kind = _V1_TYPES.get(str(told.get("type")))
    if match is None or kind is None:
        raise MismatchError(
            f"{what} has the type {str(told.get('type'))[:20]!r} and the encoding {encoding[:20]!r}, expected "
            "unsigned integers and bs32-lz4<, lz4< or <"
        )
    order = match[3] or "<"
    dtype = np.dtype(order + kind)
    if match[1] is not None and int(match[1]) != 8 * dtype.itemsize:
        raise MismatchError(f"{what} is of type {told.get('type')} and shuffled for items of {match[1]} bits")
    shape = _shape(told.get("shape"), what)[::-1]  # Fast scan comes first here.
    if match[2] is None:
        return PackedArray(shape=shape, dtype=dtype.str, algorithm="none", data=data)
    if match[1] is not None:
        return PackedArray(shape=shape, dtype=dtype.str, algorithm="bslz4", data=data)
    return PackedArray(shape=shape, dtype=dtype.str, algorithm="lz4 block", data=data)


def _appendix(data: memoryview) -> Any:
    try:
        return _json(data, MAX_JSON)
    except DecodeError:
        return str(data[:MAX_TEXT_HEADER], "utf-8", "replace")


def _json(data: memoryview | bytes, most: int) -> dict[str, Any]:
    if len(data) > most:
        raise DecodeError(f"a part of the message has {len(data)} bytes, expected at most {most} of JSON")
    try:
        found: dict[str, Any] = _JSON.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as error:
        raise DecodeError(f"a part of the message is no JSON object: {str(error)[:200]}") from None
    return found


def _shape(lengths: Any, what: str) -> tuple[int, ...]:
    if not isinstance(lengths, list) or not 1 <= len(lengths) <= 4:
        raise DecodeError(f"{what} has no shape of two numbers")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1 << 31 for n in lengths):
        raise DecodeError(f"{what} has the shape {str(lengths)[:80]}, expected lengths above zero")
    if prod(lengths) >= 1 << 40:
        raise DecodeError(f"{what} has the shape {str(lengths)[:80]}, which is too large")
    return tuple(lengths)


def _number(found: Mapping[str, Any], name: str) -> int:
    number = found.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 62:
        raise DecodeError(f"the message has no {name}, or one that is no whole number")
    return number


def _values(found: Any, prefix: str = "", depth: int = 0) -> dict[str, HeaderValue]:
    """All numbers and texts, those of maps and lists under names with slashes, ratios as their quotient."""
    values: dict[str, HeaderValue] = {}
    for name, item in found.items():
        key, value = f"{prefix}{name}", untagged(item)
        if isinstance(value, bool):
            values[key] = int(value)
        elif isinstance(value, int | float):
            values[key] = value
        elif isinstance(value, str):
            values[key] = value[:MAX_TEXT_HEADER]
        elif isinstance(value, dict) and depth < 8:
            values |= _values(value, f"{key}/", depth + 1)
        elif isinstance(value, list) and len(value) <= 8 and depth < 8:
            if key.endswith("_time") and len(value) == 2 and all(type(part) is int for part in value) and value[1]:
                values[key] = value[0] / value[1]
            values |= _values({str(number): part for number, part in enumerate(value)}, f"{key}/", depth + 1)
    return values


def _with_aliases(values: dict[str, HeaderValue]) -> dict[str, HeaderValue]:
    for pair in ALIASES:
        for name, other in (pair, pair[::-1]):
            if name not in values and other in values:
                values[name] = values[other]
    for name, other in (("incident_energy", "incident_wavelength"), ("incident_wavelength", "incident_energy")):
        number = values.get(other)
        if not values.get(name) and isinstance(number, int | float) and number > 0:
            values[name] = HC_EV_ANGSTROM / number
    along_beam = values.get("detector_translation/2")
    if "detector_distance" not in values and isinstance(along_beam, int | float) and along_beam:
        values["detector_distance"] = abs(along_beam)
    for axis in "xy":
        centre, size = values.get(f"beam_center_{axis}"), values.get(f"pixel_size_{axis}")
        if isinstance(centre, int | float) and isinstance(size, int | float):
            values[f"beam_offset_{axis}"] = centre * size  # From the corner to the beam [m].
    return values
