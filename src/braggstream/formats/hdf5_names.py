"""What is in an HDF5 file that can be a header: looked for within bounds, since files may come from outside."""

from collections import deque
from collections.abc import Iterator

import h5py

from braggstream.formats.hdf5_guard import BROKEN

MAX_OBJECTS = 2000
"""So many objects of a file are looked at."""
MAX_DEPTH = 8
MAX_AXES = 2


def small_datasets(file: h5py.File) -> Iterator[str]:
    """Give the paths of datasets of numbers and texts of fixed length that have no more than two axes.

    Links to elsewhere are not followed, and texts of any length are left out: they are asked for by name.
    """
    groups: deque[tuple[h5py.Group, int]] = deque([(file, 0)])
    n_left = MAX_OBJECTS
    while groups:
        group, depth = groups.popleft()
        try:
            names = sorted(group)
        except BROKEN:
            continue
        for name in names:
            n_left -= 1
            if n_left < 0:
                return
            found = _object(group, name)
            if isinstance(found, h5py.Group) and depth < MAX_DEPTH:
                groups.append((found, depth + 1))
            elif isinstance(found, h5py.Dataset) and _is_header(found):
                yield str(found.name)


def _object(group: h5py.Group, name: str) -> object:
    """What a hard link leads to; None for all other links, and for what is broken."""
    try:
        return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    except BROKEN:
        return None


def _is_header(found: h5py.Dataset) -> bool:
    try:
        return found.shape is not None and found.ndim <= MAX_AXES and found.dtype.kind in "iufbS"
    except BROKEN:
        return False
