"""What is in an HDF5 file, in one line: for the message that says that nothing is where the geometry looks."""

from collections.abc import Iterator
from typing import Any

import h5py

from braggstream.formats.hdf5_guard import BROKEN, HeapGuard

MAX_OBJECTS = 300
"""So many objects of a file are looked at."""
MAX_NAMED = 8
"""So many are named, those that hold most first."""
MAX_NAME = 80


def contents_of(file: h5py.File, guard: HeapGuard | None = None) -> str:
    """Name the datasets of a file with their shapes and types; never raises for a damaged one."""
    found: list[tuple[int, str]] = []
    try:
        found.extend(_objects(file, guard))
    except BROKEN:
        found.append((0, "something that cannot be read"))
    if not found:
        return "no datasets"
    found.sort(key=lambda entry: -entry[0])
    named = ", ".join(text for _, text in found[:MAX_NAMED])
    return named if len(found) <= MAX_NAMED else f"{named} and {len(found) - MAX_NAMED} more"


def _objects(file: h5py.File, guard: HeapGuard | None) -> Iterator[tuple[int, str]]:
    """Give datasets and links to other files, with sizes [bytes]; links within the file lead to nothing new."""
    groups: list[Any] = [file]
    n_seen = 0
    while groups and n_seen < MAX_OBJECTS:
        group = groups.pop(0)
        for name in group:
            n_seen += 1
            if n_seen > MAX_OBJECTS:
                break
            path = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield 1, f"{_shown(path)} (a link to {_shown(link.filename)})"
            elif isinstance(link, h5py.HardLink):
                try:
                    if guard is not None:
                        guard.check(path)
                    found = group.get(name)
                except BROKEN:
                    yield 0, f"{_shown(path)} (damaged)"
                    continue
                if isinstance(found, h5py.Group):
                    groups.append(found)
                elif isinstance(found, h5py.Dataset):
                    yield _size(found), f"{_shown(path)} {found.shape} {found.dtype}"


def _size(dataset: h5py.Dataset) -> int:
    return 0 if dataset.shape is None or dataset.dtype.kind not in "biuf" else int(dataset.nbytes)


def _shown(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name[:MAX_NAME])
