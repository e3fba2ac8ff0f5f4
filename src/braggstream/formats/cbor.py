"""CBOR (RFC 8949) as detectors send it, decoded without trust: bounded depth and count, byte strings not copied.

Tags are kept as they are, so nothing in a message refers to anything else in it, and nothing is made larger than it
came.  What nobody asks for is passed over (`skip`, `members`) and may be anything; limits are for what is decoded.
"""

import struct
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from braggstream.model.errors import DecodeError

MAX_DEPTH = 16
MAX_ITEMS = 200_000
"""Most items of one message."""
MAX_SKIPPED = 4_000_000
"""Most items of one message that are passed over: a few seconds."""
MAX_TEXT = 1 << 16
"""Longest text [bytes]."""

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
FALSE, TRUE, NULL, UNDEFINED, HALF, SINGLE, DOUBLE, BREAK = 20, 21, 22, 23, 25, 26, 27, 31
FLOATS = {HALF: ">e", SINGLE: ">f", DOUBLE: ">d"}
INDEFINITE = 31
LETTER = 0x61
"""Head of a text of one byte."""


def _leaf_bytes(first: int) -> int:
    """How long an item is that begins with this byte, if that tells it, and if nothing is in it; zero else."""
    major, detail = first >> 5, first & 31
    if major in (BYTES, TEXT):
        return 1 + detail if detail < 24 else 0
    if major in (UNSIGNED, NEGATIVE, SIMPLE):
        return 1 if detail < 24 else 1 + (1 << (detail - 24)) if detail <= 27 else 0
    return 0


LEAVES = tuple(map(_leaf_bytes, range(256)))


@dataclass(frozen=True, slots=True)
class Tagged:
    """An item with its tag."""

    tag: int
    value: Any


class CborReader:
    """Reads items from a message, one after the other."""

    def __init__(
        self, payload: memoryview | bytes, *, most_items: int = MAX_ITEMS, skips: int = MAX_SKIPPED
    ) -> None:
        """Read at most so many items, and pass over so many others."""
        self._view = memoryview(payload)
        self._at = 0
        self._n_items = 0
        self._skips = skips

    def item(self, depth: int = 0) -> Any:
        """Read the next item; raises `DecodeError`."""
        major, detail, number = self._head()
        if depth > MAX_DEPTH:
            raise self._error(f"is nested more than {MAX_DEPTH} deep")
        if major == UNSIGNED:
            return number
        if major == NEGATIVE:
            return -1 - number
        if major == SIMPLE:
            return self._simple(detail)
        if major == TAG:
            return Tagged(number, self.item(depth + 1))
        if major == ARRAY:
            if detail == INDEFINITE:
                return self._until_break(depth)
            self._expect(number)
            return [self.item(depth + 1) for _ in range(number)]
        if major == MAP:
            return dict(self._entries(detail, number, depth))
        data = self._pieces(major) if detail == INDEFINITE else self._take(number)
        return data if major == BYTES else self._text(data)

    def members(self) -> Iterator[tuple[str, memoryview]]:
        """Give the members of a map by their keys, not decoded; those without a name are passed over."""
        left = self.map_start()
        while left != 0 and not (left is None and self._is_break()):
            key = self.item()
            start = self._at
            self.skip()
            left = None if left is None else left - 1
            if isinstance(key, str | int):
                yield str(key), self._view[start : self._at]

    def simple_members(self, names: Container[Any]) -> Iterator[tuple[str, int | str]]:
        """Give those members of a map that have these names and are whole numbers or texts."""
        left = self.map_start()
        while left != 0 and not (left is None and self._is_break()):
            left = None if left is None else left - 1
            key = self.item()
            head = self._view[self._at : self._at + 1]
            if key in names and len(head) and head[0] >> 5 in (UNSIGNED, TEXT):
                yield key, self.item()
            else:
                self.skip()

    def maps_of_array(self, wanted: Mapping[int, str]) -> Iterator[dict[str, Any]]:
        """Give the maps of an array, of each only the members that are wanted, by the letter that is their key."""
        major, detail, left = self._head()
        if major != ARRAY:
            raise self._error("holds something else than an array")
        while (detail == INDEFINITE and not self._is_break()) or (detail != INDEFINITE and left > 0):
            left -= 1
            self._n_items = 0
            yield self._chosen_members(wanted)

    def _chosen_members(self, wanted: Mapping[int, str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left = self.map_start()
        while left != 0 and not (left is None and self._is_break()):
            left = None if left is None else left - 1
            head = self._view[self._at : self._at + 2]
            if len(head) == 2 and head[0] == LETTER and head[1] in wanted:
                self._at += 2
                found[wanted[head[1]]] = self.item()
            else:
                self.skip(2)
        return found

    def skip(self, n_items: int = 1) -> None:
        """Pass over the next items, whatever they are; raises `DecodeError` where they are not whole."""
        view, at, skips = self._view, self._at, self._skips
        outer: list[int] = []
        """Items still to come on the levels outside of one that a break ends; below zero where a break ends it."""
        try:
            while n_items or outer:
                if not n_items:
                    n_items = outer.pop()
                    continue
                first = view[at]
                if n_items < 0 and first == 0xFF:
                    at, n_items = at + 1, outer.pop()
                    continue
                n_items, skips = n_items - 1, skips - 1
                if skips < 0:
                    raise self._error("has too many items")
                if LEAVES[first]:
                    at += LEAVES[first]
                    continue
                self._at = at
                n_inside = self._inside()
                at = self._at
                if n_items >= 0 and n_inside >= 0:
                    n_items += n_inside
                elif n_inside:
                    outer.append(n_items)
                    n_items = n_inside
        except IndexError:
            raise self._error("ends too early") from None
        if at > len(view):
            raise self._error("ends too early, or states a length beyond its end")
        self._at, self._skips, self._n_items = at, skips, 0

    def _inside(self) -> int:
        """Read the head of an item; gives how many items are in it, below zero where a break ends them."""
        major, detail, number = self._head()
        self._n_items = 0
        if major == TAG:
            return 1
        if major in (BYTES, TEXT) and detail != INDEFINITE:
            self._take(number)
        if major in (BYTES, TEXT, ARRAY, MAP) and detail == INDEFINITE:
            return -1
        return {ARRAY: number, MAP: 2 * number}.get(major, 0)

    def map_start(self) -> int | None:
        """Read the head of a map, after tags that mean nothing here; gives the number of its entries, if stated."""
        for _ in range(MAX_DEPTH):
            major, detail, number = self._head()
            if major == MAP:
                return None if detail == INDEFINITE else number
            if major != TAG:
                break
        raise self._error("is no map")

    def _entries(self, detail: int, number: int, depth: int) -> list[tuple[str, Any]]:
        entries: list[tuple[str, Any]] = []
        if detail != INDEFINITE:
            self._expect(2 * number)
        while detail == INDEFINITE or len(entries) < number:
            if detail == INDEFINITE and self._is_break():
                break
            key = self.item(depth + 1)
            if not isinstance(key, str | int):
                raise self._error("has a key that is neither a text nor a whole number")
            entries.append((str(key), self.item(depth + 1)))
        return entries

    def _pieces(self, major: int) -> memoryview:
        """Join a string that came in pieces."""
        pieces: list[memoryview] = []
        while not self._is_break():
            kind, detail, number = self._head()
            if kind != major or detail == INDEFINITE:
                raise self._error("holds a string in pieces that are none")
            pieces.append(self._take(number))
        return memoryview(b"".join(pieces))

    def _until_break(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self._is_break():
            items.append(self.item(depth + 1))
        return items

    def _is_break(self) -> bool:
        if self._at < len(self._view) and self._view[self._at] == 0xFF:
            self._at += 1
            return True
        return False

    def _head(self) -> tuple[int, int, int]:
        """Read the head of an item: major type, additional information, and the number that it means."""
        self._n_items += 1
        if self._n_items > MAX_ITEMS:
            raise self._error(f"has more than {MAX_ITEMS} items")
        first = self._take(1)[0]
        major, detail = first >> 5, first & 31
        if detail < 24 or (major == SIMPLE and detail in FLOATS):
            return major, detail, detail
        if detail <= 27:
            return major, detail, int.from_bytes(self._take(1 << (detail - 24)), "big")
        if detail == INDEFINITE and major in (BYTES, TEXT, ARRAY, MAP):
            return major, detail, 0
        raise self._error("holds an item of no known kind")

    def _simple(self, detail: int) -> Any:
        if detail in FLOATS:
            return struct.unpack(FLOATS[detail], self._take(1 << (detail - 24)))[0]
        if detail in (FALSE, TRUE):
            return detail == TRUE
        if detail in (NULL, UNDEFINED):
            return None
        raise self._error("holds an item of no known kind")

    def _text(self, data: memoryview) -> str:
        if len(data) > MAX_TEXT:
            raise self._error(f"holds a text of {len(data)} bytes, at most {MAX_TEXT} are taken")
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:
            raise self._error("holds a text that is not UTF-8") from None

    def _take(self, n_bytes: int) -> memoryview:
        start, self._at = self._at, self._at + n_bytes
        if self._at > len(self._view):
            self._at = start
            raise self._error("ends too early, or states a length beyond its end")
        return self._view[start : self._at]

    def _expect(self, n_items: int) -> None:
        """Refuse a number of items for which there are not as many bytes left."""
        if n_items > len(self._view) - self._at:
            raise self._error("states more items than it has bytes")

    def _error(self, what: str) -> DecodeError:
        return DecodeError(f"the CBOR message {what} (byte {self._at})")


def decode_cbor(payload: memoryview | bytes) -> Any:
    """Decode the first item; what follows it is left alone.  Raises `DecodeError`."""
    return CborReader(payload).item()


def untagged(item: Any) -> Any:
    """The item within its tags."""
    while isinstance(item, Tagged):
        item = item.value
    return item
