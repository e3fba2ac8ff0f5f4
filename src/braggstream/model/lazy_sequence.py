"""Sequences whose items are made when they are asked for, each time anew."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from operator import index as whole
from typing import TypeVar, overload

from braggstream.model.shown import Shown, counted

T = TypeVar("T")
Name = tuple[str, str]
"""File name and event."""


class LazySequence(Shown, Sequence[T]):
    """Frames, or what was found in them, by number, slice or event; nothing is kept of them.

    A slice is such a sequence too, and makes nothing.  An event is found by its name (`frames["//3"]`), or by
    `"FILENAME EVENT"` where several files have it.
    """

    @abstractmethod
    def _names(self) -> Sequence[Name]:
        """File name and event of each item."""

    @abstractmethod
    def _made(self, places: Iterable[int]) -> Iterator[T]:
        """Make the items at some places, one after the other, as iteration does."""

    @abstractmethod
    def _one(self, place: int) -> T:
        """Make one item; raises what makes that impossible."""

    @property
    def events(self) -> tuple[str, ...]:
        """CrystFEL's event id of each, such as `//3`; in files that were never looked into this takes a moment."""
        return tuple(event for _, event in self._names())

    @property
    def filenames(self) -> tuple[str, ...]:
        """Name of the file of each."""
        return tuple(filename for filename, _ in self._names())

    def __len__(self) -> int:
        return len(self._names())

    @overload
    def __getitem__(self, index: int | str) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "LazySequence[T]": ...
    def __getitem__(self, index: int | str | slice) -> "T | LazySequence[T]":
        if isinstance(index, slice):
            return Part(self, range(len(self))[index])
        if isinstance(index, str):
            return self._one(self._place_of(index))
        n_items = len(self)
        place = whole(index)
        if not -n_items <= place < n_items:
            raise IndexError(f"there is no number {place}: there are {n_items}, counted from 0")
        return self._one(place % n_items)

    def __iter__(self) -> Iterator[T]:
        return self._made(range(len(self)))

    def _place_of(self, name: str) -> int:
        names = self._names()
        found = [place for place, (file, event) in enumerate(names) if name in (event, f"{file} {event}")]
        if len(found) == 1:
            return found[0]
        if found:
            raise KeyError(f"{len(found)} files have an event {name}: give 'FILENAME EVENT', or a number")
        near = f" (they go from {names[0][1]} to {names[-1][1]})" if names else ""
        raise KeyError(f"there is no event {name}{near}")


class Part(LazySequence[T]):
    """A slice of another sequence."""

    def __init__(self, whole_sequence: LazySequence[T], places: range) -> None:
        self._whole = whole_sequence
        self._places = places

    def _names(self) -> Sequence[Name]:
        names = self._whole._names()
        return [names[place] for place in self._places]

    def _made(self, places: Iterable[int]) -> Iterator[T]:
        return self._whole._made(self._places[place] for place in places)

    def _one(self, place: int) -> T:
        return self._whole._one(self._places[place])

    def __len__(self) -> int:
        return len(self._places)

    def _facts(self) -> dict[str, object]:
        return {"": counted(len(self), "item"), "of": repr(self._whole)}
