"""Where the frames of HDF5 files are: all events of a file, and the places in it that give none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braggstream.formats.events import NOT_A_FRAME, Event
from braggstream.formats.hdf5_contents import contents_of
from braggstream.formats.hdf5_files import open_hdf5, reading
from braggstream.formats.hdf5_guard import BROKEN, SIGNATURE, HeapGuard
from braggstream.model.errors import FileError
from braggstream.model.geometry import AxisRole, Geometry


@dataclass(frozen=True, slots=True)
class FramelessPlace:
    """A file, or a part of one, that gave no frames though the geometry says that it has some."""

    event: str
    """The event without the numbers of frames, for example `data_000003//`."""
    complaint: str
    """Why, in one line that names the file."""


@dataclass(frozen=True, slots=True)
class FramePlace:
    """A dataset with frames."""

    parts: tuple[str, ...]
    """Values for the `%` of the path, in order."""
    lengths: tuple[int, ...]
    """Lengths of the `%` axes, in order."""

    def events(self) -> Iterator[str]:
        """Give the event id of each frame, the first `%` axis slowest."""
        for indices in np.ndindex(*self.lengths):
            yield str(Event(self.parts, tuple(indices)))


def expand_file(name: str, geometry: Geometry) -> Iterator[str | FramelessPlace]:
    """Give the event ids of all frames of a file, in order; the geometry's first panel decides.

    A place that gives no frames does not end it: the places after it are looked at too.  A file that is missing or
    no HDF5 is one frame, so that its trouble is told where it is loaded.
    """
    if not has_places(name, geometry):
        yield NOT_A_FRAME
        return
    panel = geometry.panels[0]
    for place in places_of(name, panel.data, panel.dims):
        if isinstance(place, FramePlace):
            yield from place.events()
        else:
            yield place


def has_places(name: str, geometry: Geometry) -> bool:
    """Whether a file has to be looked into for its frames: it is HDF5, and the geometry names more than one."""
    panel = geometry.panels[0]
    return ("%" in panel.data or "%" in panel.dims) and _is_hdf5(name)


def places_of(name: str, data: str, dims: tuple[AxisRole, ...]) -> Iterator[FramePlace | FramelessPlace]:
    """Give the places of a file that have frames, and those that should have and have not.

    Parameters
    ----------
    name
        The file.
    data, dims
        Path of the data with its `%`, and the roles of the axes.
    """
    guard = HeapGuard(name)
    try:
        with open_hdf5(name) as file:
            yield from _places(file, data, dims, _Search(name, guard))
    except FileError as error:
        yield FramelessPlace(NOT_A_FRAME, str(error))
    finally:
        guard.close()


def _places(
    file: h5py.File, data: str, dims: tuple[AxisRole, ...], search: "_Search"
) -> Iterator[FramePlace | FramelessPlace]:
    is_empty = True
    for found in search.matches(file, data.strip("/").split("/")):
        place = found if isinstance(found, FramelessPlace) else _place_of(found, dims, search.name)
        is_empty = is_empty and isinstance(place, FramePlace) and 0 in place.lengths
        yield place
    if is_empty:
        where = f"{data} (axes {' '.join(map(str, dims))})"
        held = contents_of(file, search.guard)
        yield FramelessPlace(NOT_A_FRAME, f"{search.name}: no frames at {where}; it holds {held}")


@dataclass(frozen=True, slots=True)
class _Match:
    """A dataset whose path is one of those that the geometry names."""

    parts: tuple[str, ...]
    dataset: h5py.Dataset


def _place_of(match: _Match, dims: tuple[AxisRole, ...], name: str) -> FramePlace | FramelessPlace:
    dataset = match.dataset
    if dataset.shape is None or dataset.ndim != len(dims):
        complaint = f"{name}: {dataset.name} has the shape {dataset.shape}, the geometry gives it {len(dims)} axes"
        return FramelessPlace(str(Event(match.parts)), complaint)
    lengths = tuple(length for length, role in zip(dataset.shape, dims, strict=True) if role == "%")
    return FramePlace(match.parts, lengths)


class _Search:
    """Looks for datasets whose path matches; an element that is exactly `%` matches every name, in byte order."""

    def __init__(self, name: str, guard: HeapGuard) -> None:
        self.name = name
        self.guard = guard

    def matches(
        self, group: Any, pattern: Sequence[str], parts: tuple[str, ...] = (), path: str = ""
    ) -> Iterator[_Match | FramelessPlace]:
        """Give what the rest of a pattern matches below a group."""
        head, rest = pattern[0], pattern[1:]
        try:
            with reading(f"{self.name}: {path or '/'}"):
                names = sorted(group, key=lambda text: text.encode()) if head == "%" else [head]
        except FileError as error:
            yield FramelessPlace(str(Event(parts)), str(error))
            return
        for link in names:
            more = (*parts, link) if head == "%" else parts
            found = self._found(group, link, f"{path}/{link}", is_last=not rest)
            if isinstance(found, str):
                yield FramelessPlace(str(Event(more)), f"{self.name}: {path}/{link} {found}")
            elif found is not None and rest:
                yield from self.matches(found, rest, more, f"{path}/{link}")
            elif found is not None:
                yield _Match(more, found)

    def _found(self, group: Any, link: str, path: str, *, is_last: bool) -> Any:
        """Open what has a name in a group; None where there is nothing, a text that says what is wrong with it."""
        try:
            self.guard.check(path)
            found = group.get(link)
            if found is None:
                way = group.get(link, getlink=True)
                return None if way is None else f"leads nowhere{_target(way)}"
        except BROKEN as error:
            return f"cannot be read: {(str(error).splitlines() or [''])[0][:200]}"
        if is_last and not isinstance(found, h5py.Dataset):
            return "is a group, the geometry expects a dataset there"
        if not is_last and not isinstance(found, h5py.Group):
            return "is a dataset, the geometry expects a group there"
        return found


def _target(link: Any) -> str:
    if isinstance(link, h5py.ExternalLink):
        return f" (it links to {link.path} of {link.filename})"
    return f" (it links to {link.path})" if isinstance(link, h5py.SoftLink) else ""


def _is_hdf5(name: str) -> bool:
    try:
        if not Path(name).is_file():  # To open a pipe is to wait for its other end.
            return False
        with Path(name).open("rb") as file:
            return file.read(8) == SIGNATURE
    except OSError:
        return False
