"""MessagePack of old senders, whose texts need not be UTF-8: what the strict decoder refuses is read here.

Before 2013 there was one type for texts and bytes, and packers still write it (`use_bin_type=False`).  A text that
is not UTF-8 counts as bytes.  Like the strict one this takes no memory beyond what a message holds.
"""

import struct
from typing import Any

from braggstream.model.errors import DecodeError

MAX_DEPTH = 32
MAX_ITEMS = 200_000
MAX_SKIPPED = 4_000_000

_SIZES = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
"""Bytes in which the length of a text or of binary data is written."""
_TEXTS = (0xD9, 0xDA, 0xDB)
_LISTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Bytes of the number of entries, and items of an entry, of arrays and maps."""
_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
_NUMBERS |= {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_EXTENSIONS = {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
"""Bytes that follow, the kind included."""


def lenient_map(payload: memoryview | bytes) -> dict[Any, memoryview]:
    """Give the members of a map, their values not decoded; raises `DecodeError`."""
    reader = _Reader(payload)
    found = {}
    for _ in range(reader.map_length()):
        key = reader.item(1)
        start = reader.at
        reader.skip()
        if isinstance(key, str | bytes | int):
            found[key] = memoryview(payload)[start : reader.at]
    return found


def lenient_first(payload: memoryview | bytes) -> memoryview:
    """Give the first element of an array, not decoded; raises `DecodeError`."""
    reader = _Reader(payload)
    if not reader.array_length():
        raise DecodeError("the message is an empty array")
    start = reader.at
    reader.skip()
    return memoryview(payload)[start : reader.at]


def lenient_item(payload: memoryview | bytes) -> Any:
    """Decode one item; raises `DecodeError`."""
    return _Reader(payload).item(0)


def string_bytes(payload: memoryview | bytes) -> memoryview | None:
    """View the bytes of binary data or of a text, which old senders take for the same; None for anything else."""
    reader = _Reader(payload)
    return reader.string() if len(payload) else None


class _Reader:
    """Reads items one after the other."""

    def __init__(self, payload: memoryview | bytes) -> None:
        self._view = memoryview(payload)
        self.at = 0
        self._n_items = self._n_skipped = 0

    def map_length(self) -> int:
        """Read the head of a map."""
        first = self._head()
        if 0x80 <= first <= 0x8F:
            return first & 15
        if first not in (0xDE, 0xDF):
            raise DecodeError("the message is no MessagePack map")
        return self._number(_LISTS[first][0])

    def array_length(self) -> int:
        """Read the head of an array."""
        first = self._head()
        if 0x90 <= first <= 0x9F:
            return first & 15
        if first not in (0xDC, 0xDD):
            raise DecodeError("the message is no MessagePack array")
        return self._number(_LISTS[first][0])

    def string(self) -> memoryview | None:
        """Read binary data or a text as bytes; None where there is something else."""
        first = self._head()
        if 0xA0 <= first <= 0xBF:
            return self._take(first & 31)
        return self._take(self._number(_SIZES[first])) if first in _SIZES else None

    def item(self, depth: int) -> Any:
        """Decode an item."""
        if depth > MAX_DEPTH:
            raise DecodeError(f"the message is nested more than {MAX_DEPTH} deep")
        first = self._head()
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 256
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            code = _NUMBERS[first]
            return struct.unpack(code, self._take(struct.calcsize(code)))[0]
        n_items, is_map = self._extent(first)
        if n_items is not None:
            items = [self.item(depth + 1) for _ in range(n_items)]
            keys = [key if isinstance(key, str | bytes | int) else str(key) for key in items[::2]] if is_map else []
            return dict(zip(keys, items[1::2], strict=True)) if is_map else items
        self.at -= 1
        data = self.string()
        if data is None:
            raise DecodeError("the message holds an item of no known kind")
        return bytes(data) if first in _SIZES and first not in _TEXTS else _text(data)

    def skip(self) -> None:
        """Pass over an item."""
        n_left = 1
        while n_left:
            n_left, self._n_items = n_left - 1, 0
            self._n_skipped += 1
            if self._n_skipped > MAX_SKIPPED:
                raise DecodeError(f"the message has more than {MAX_SKIPPED} items")
            first = self._head()
            n_items, _ = self._extent(first)
            if n_items is not None:
                n_left += n_items
            elif first in _NUMBERS:
                self._take(struct.calcsize(_NUMBERS[first]))
            elif first in _EXTENSIONS:
                self._take(_EXTENSIONS[first])
            elif 0xC7 <= first <= 0xC9:
                self._take(self._number(1 << (first - 0xC7)) + 1)
            elif 0xA0 <= first <= 0xBF or first in _SIZES:
                self.at -= 1
                self.string()

    def _extent(self, first: int) -> tuple[int | None, bool]:
        """How many items an array or a map has, and whether it is a map; None for anything else."""
        if 0x80 <= first <= 0x9F:
            is_map = first <= 0x8F
            n_items = (first & 15) * (2 if is_map else 1)
        elif first in _LISTS:
            size, each = _LISTS[first]
            is_map, n_items = each == 2, self._number(size) * each
        else:
            return None, False
        if n_items > len(self._view) - self.at:
            raise DecodeError("the message states more items than it has bytes")
        return n_items, is_map

    def _head(self) -> int:
        self._n_items += 1
        if self._n_items > MAX_ITEMS:
            raise DecodeError(f"the message has more than {MAX_ITEMS} items")
        return self._take(1)[0]

    def _number(self, n_bytes: int) -> int:
        return int.from_bytes(self._take(n_bytes), "big")

    def _take(self, n_bytes: int) -> memoryview:
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self._view):
            raise DecodeError("the message ends too early")
        return self._view[start : self.at]


def _text(data: memoryview) -> str | bytes:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return bytes(data)
