"""Frames as MessagePack messages (`docs/reference/messages.md`).

Nothing is decoded before it is asked for, and images stay where they are in the message.  The decoder takes no
memory beyond what the message itself holds, whatever lengths it claims; nesting is bounded by the decoder.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.foreign import refuse_karabo_map
from braggstream.formats.msgpack_lenient import lenient_first, lenient_item, lenient_map, string_bytes
from braggstream.formats.raw import lay_out, native_pixels, panel_window, text_header
from braggstream.model.errors import DecodeError, FrameError, HeaderError, MismatchError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry
from braggstream.model.mask import MaskArray
from braggstream.model.peaks import SuppliedPeaks

MAX_PEAKS = 1 << 20
"""Longest peak list that is taken."""
MAX_NAMES = 40
"""So many keys are named where a frame fails."""

NAME_KEYS = ("filename", "file_name")
EVENT_KEYS = ("event", "event_id")
NUMBER_KEYS = ("serial", "frame_number", "image_number", "message_id")

_NAMED_TYPE = re.compile(r"(bool|uint|int|float)(8|16|32|64)?_?")
"""How NumPy calls types, beside their codes."""
_PLAIN_TYPE = re.compile(r"[<>|=]?([biuf])([0-9]{1,2})")
_PICKLE_PROTOCOLS = range(2, 6)
_RAW_MAP: Any = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_RAW_LIST: Any = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ANYTHING: Any = msgspec.msgpack.Decoder()
_ERRORS = (msgspec.DecodeError, RecursionError, TypeError, ValueError, OverflowError)


class MsgpackFrame:
    """One message; implements `RawFrame`."""

    def __init__(self, payload: memoryview | bytes, serial: int, geometry: Geometry, maps: ExternalMaps) -> None:
        """Take a message; raises `DecodeError` where it is no map, nor an array that starts with one."""
        self._geometry = geometry
        self._maps = maps
        self._map = _top_map(payload)
        self._serial = serial

    @property
    def identity(self) -> FrameIdentity:
        """The names that the message carries, else a running number."""
        number = self._first(NUMBER_KEYS)
        sender_number = number if isinstance(number, int) and 0 <= number < 1 << 62 else None
        filename, event = self._first(NAME_KEYS), self._first(EVENT_KEYS)
        serial = self._serial if sender_number is None else sender_number
        return FrameIdentity(
            filename=_one_line(filename) if isinstance(filename, str) and filename else "ZMQdata",
            event=_event_id(event, serial),
            serial=serial,
            sender_number=sender_number,
        )

    def header(self, name: str) -> HeaderValue:
        """Give a header: a number or a text, also a NumPy scalar as msgpack_numpy writes it."""
        value = self._map.get(name)
        if value is None:
            raise HeaderError(f"the message has no header {name}")
        found = _decoded(_scalar_source(value), f"header {name}")
        if isinstance(found, dict):
            found = _numpy_scalar(_decoded_map(value, f"header {name}"), name)
        if not isinstance(found, int | float | str) or found == "":
            raise HeaderError(f"header {name} is neither a number nor a text")
        return text_header(name, found) if isinstance(found, str) else found

    own_headers: tuple[str, ...] = ()

    def header_names(self) -> Iterable[str]:
        """Give the message's keys, but for those of the image and the peak list."""
        others = {panel.data for panel in self._geometry.panels} | {self._geometry.peak_list}
        return [key for key in self._map if key not in others]

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels."""
        arrays: dict[str, NDArray[Any]] = {}
        windows = []
        for panel in self._geometry.panels:
            if "%" in panel.dims:
                raise MismatchError(
                    f"panel {panel.name} has a % axis, which a streamed frame has not: use a number, as in dim0 = 0"
                )
            if panel.data not in arrays:
                arrays[panel.data] = native_pixels(self._array(panel.data))
            windows.append(panel_window(arrays[panel.data], panel, (), f"image {panel.data}"))
        return lay_out(windows)

    def masks(self) -> Sequence[MaskArray]:
        """Give the masks, which come from files of their own."""
        return self._maps.masks()

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation map, which comes from a file of its own."""
        return self._maps.saturation()

    def contents(self) -> str:
        """Name the keys of the message, those of images with shape and type."""
        keys = ", ".join(self._described(key) for key in sorted(self._map)[:MAX_NAMES])
        more = f" and {len(self._map) - MAX_NAMES} more" if len(self._map) > MAX_NAMES else ""
        return f"The message holds {keys or 'nothing'}{more}."

    def _described(self, key: str) -> str:
        name = _one_line(key)[:40]
        try:
            array = self._array(key)
        except FrameError:
            return name
        return f"{name} {array.shape} {array.dtype}"

    def peak_list(self) -> SuppliedPeaks:
        """Give the peak list."""
        key = self._geometry.peak_list
        if key is None:
            raise HeaderError("the geometry names no peak list: add  peak_list = KEY  to it")
        if key not in self._map:
            raise HeaderError(f"the message has no peak list {key}")
        lists = _string_keys(_decoded_map(self._map[key], f"peak list {key}"))
        columns = [_number_list(lists, name, key) for name in ("fs", "ss", "intensity")]
        if len({len(column) for column in columns}) != 1:
            lengths = ", ".join(str(len(column)) for column in columns)
            raise DecodeError(
                f"peak list {key}: fs, ss and intensity have the lengths {lengths}, expected the same"
            )
        panels = _panel_names(lists, key, len(columns[0]))
        if panels is None and len({panel.data for panel in self._geometry.panels}) > 1:
            raise MismatchError(
                "panels have different `data`, so a peak's position does not tell its panel: "
                f"peak list {key} needs an array `panel` with the panel's name of each peak"
            )
        return SuppliedPeaks(fs=columns[0], ss=columns[1], intensity=columns[2], panel=panels)

    def _array(self, key: str) -> NDArray[Any]:
        """View an image; its bytes stay in the message."""
        if key not in self._map:
            refuse_karabo_map(self._map)
            keys = ", ".join(_one_line(name)[:40] for name in sorted(self._map)[:12])
            raise MismatchError(f"the message has no image {key} (it has {keys})")
        parts = _string_keys(_decoded_map(self._map[key], f"image {key}"))
        missing = [name for name in ("type", "shape", "data") if name not in parts]
        if missing:
            raise DecodeError(f"image {key} has no {' and no '.join(missing)}")
        dtype = _dtype(_decoded(parts["type"], f"type of image {key}"), f"image {key}")
        shape = _shape(_decoded(parts["shape"], f"shape of image {key}"), f"image {key}")
        data = _bytes(parts["data"], f"data of image {key}")
        n_expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if n_expected != len(data):
            raise DecodeError(
                f"image {key} has {len(data)} bytes, shape {tuple(shape)} and type {dtype.str} need {n_expected}"
            )
        return np.frombuffer(data, dtype).reshape(shape)

    def _first(self, keys: Sequence[str]) -> object:
        """The value of the first of these keys that is a header; None where none is."""
        for key in keys:
            if key in self._map:
                try:
                    found = self.header(key)
                except (HeaderError, MismatchError, DecodeError):
                    continue
                if not isinstance(found, bool):
                    return found
        return None


def _top_map(payload: memoryview | bytes) -> dict[str, Any]:
    if len(payload) == 0:
        raise DecodeError("the message is empty")
    if len(payload) > 2 and payload[0] == 0x80 and payload[1] in _PICKLE_PROTOCOLS and payload[-1] == ord("."):
        raise DecodeError("the message is a Python pickle, which can run code and is refused: send MessagePack")
    first = payload[0]
    if 0x90 <= first <= 0x9F or first in {0xDC, 0xDD}:
        items = _decode_first(_RAW_LIST, payload)
        if not items:
            raise DecodeError("the message is an empty array, expected a map or an array of maps")
        payload = memoryview(items[0])
        first = payload[0] if payload else 0
    if not (0x80 <= first <= 0x8F or first in {0xDE, 0xDF}):
        raise DecodeError("the message is no MessagePack map, nor an array that starts with one")
    return _string_keys(_decode_first(_RAW_MAP, payload))


def _decode_first(decoder: Any, payload: memoryview | bytes) -> Any:
    """Decode the first object; what follows it is left alone."""
    try:
        return decoder.decode(payload)
    except msgspec.DecodeError as error:
        trailing = re.search(r"trailing characters \(byte ([0-9]+)\)", str(error))
        if trailing is None:
            raise DecodeError(f"the message is not sound MessagePack: {error}") from None
        return _decode_first(decoder, memoryview(payload)[: int(trailing[1])])
    except (UnicodeDecodeError, RecursionError):
        return lenient_map(payload) if decoder is _RAW_MAP else [lenient_first(payload)]
    except _ERRORS as error:
        raise DecodeError(f"the message is not sound MessagePack: {error}") from None


def _decoded(raw: Any, what: str) -> Any:
    try:
        return _ANYTHING.decode(raw)
    except UnicodeDecodeError:
        return lenient_item(memoryview(raw))
    except _ERRORS as error:
        raise DecodeError(f"{what} cannot be decoded: {error}") from None


def _decoded_map(raw: Any, what: str) -> dict[Any, Any]:
    try:
        found: dict[Any, Any] = _RAW_MAP.decode(raw)
    except UnicodeDecodeError:
        return lenient_map(memoryview(raw))
    except _ERRORS:
        raise DecodeError(f"{what} is no map, expected one") from None
    return found


def _string_keys(found: dict[Any, Any]) -> dict[str, Any]:
    """Text and binary keys alike as text; keys of other types are left out."""
    keys: dict[str, Any] = {}
    for key, value in found.items():
        name = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        if isinstance(name, str):
            keys.setdefault(name, value)
    return keys


def _scalar_source(raw: Any) -> Any:
    """Refuse to decode an array where a number is wanted."""
    size = len(memoryview(raw))
    if size > 1 << 16:
        raise HeaderError(f"a value of {size} bytes is no header")
    return raw


def _bytes(raw: Any, what: str) -> memoryview:
    """View binary data, or what an old sender packed as a text; they stay in the message."""
    found = string_bytes(memoryview(raw))
    if found is None:
        raise DecodeError(f"{what} is not binary, expected bytes")
    return found


def _dtype(name: object, what: str) -> np.dtype[Any]:
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    code = _code_of(name) if isinstance(name, str) else ""
    match = _PLAIN_TYPE.fullmatch(code)
    size = int(match[2]) if match else 0
    if match is None or size not in {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}[match[1]]:
        raise MismatchError(
            f"{what} has the type {str(name)[:40]!r}, expected an integer or float type such as '<i4'"
        )
    return np.dtype(code)


def _code_of(name: str) -> str:
    """The code of a type that is given by its name, such as uint16; all others are codes already."""
    named = _NAMED_TYPE.fullmatch(name)
    if named is None:
        return name
    return f"{named[1][0]}{int(named[2] or (8 if named[1] == 'bool' else 64)) // 8}"


def _shape(shape: object, what: str) -> list[int]:
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8:
        raise DecodeError(f"{what} has no shape of two or three numbers")
    if not all(
        isinstance(length, int) and not isinstance(length, bool) and 0 <= length < 1 << 40 for length in shape
    ):
        raise DecodeError(f"{what} has the shape {str(shape)[:80]}, expected whole numbers")
    return shape


def _number_list(lists: dict[str, Any], name: str, key: str) -> NDArray[np.float64]:
    if name not in lists:
        raise DecodeError(f"peak list {key} has no array {name}")
    found = _decoded(lists[name], f"{name} of peak list {key}")
    if isinstance(found, dict):
        parts = _string_keys(_decoded_map(lists[name], f"{name} of peak list {key}"))
        if not {"type", "data"} <= parts.keys():
            raise DecodeError(f"peak list {key}: {name} is no array of numbers")
        dtype = _dtype(_decoded(parts["type"], name), f"{name} of peak list {key}")
        data = _bytes(parts["data"], name)
        if len(data) % dtype.itemsize:
            raise DecodeError(f"peak list {key}: {name} has {len(data)} bytes, which are no numbers of {dtype.str}")
        found = np.frombuffer(data, dtype).tolist()
    if not isinstance(found, list) or len(found) > MAX_PEAKS:
        raise DecodeError(f"peak list {key}: {name} is no array of at most {MAX_PEAKS} numbers")
    if not all(isinstance(number, int | float) for number in found):
        raise DecodeError(f"peak list {key}: {name} holds something else than numbers")
    return np.array(found, np.float64)


def _panel_names(lists: dict[str, Any], key: str, n_peaks: int) -> tuple[str, ...] | None:
    if "panel" not in lists:
        return None
    found = _decoded(lists["panel"], f"panel of peak list {key}")
    if not isinstance(found, list) or len(found) != n_peaks or not all(isinstance(name, str) for name in found):
        raise DecodeError(f"peak list {key}: panel is no array of {n_peaks} names")
    return tuple(found)


def _numpy_scalar(found: dict[Any, Any], name: str) -> object:
    """Understand a NumPy scalar that msgpack_numpy wrapped into a map."""
    parts = _string_keys(found)
    is_scalar = {"nd", "type", "data"} <= parts.keys() and _decoded(parts["nd"], f"header {name}") is False
    data = string_bytes(memoryview(parts["data"])) if is_scalar else None
    if data is None:
        raise HeaderError(f"header {name} is neither a number nor a text")
    dtype = _dtype(_decoded(parts["type"], f"type of header {name}"), f"header {name}")
    if len(data) != dtype.itemsize:
        raise HeaderError(f"header {name} has {len(data)} bytes, its type {dtype.str} needs {dtype.itemsize}")
    return np.frombuffer(data, dtype)[0].item()


def _event_id(event: object, serial: int) -> str:
    if isinstance(event, str) and event:
        event = _one_line(event)
        return event if "//" in event else f"{event}//"
    return f"//{int(event) if isinstance(event, int) else serial}"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:1000])
