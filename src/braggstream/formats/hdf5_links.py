"""Walks along paths of HDF5 files link by link, to see where they leave the file before anything is opened."""

from collections import deque
from pathlib import Path
from typing import Any

import h5py

from braggstream.model.errors import MismatchError

MAX_LINKS = 32
MAX_STEPS = 256
"""A path may lead through so many links, and so many groups."""


def way_out(file: h5py.File, path: str) -> tuple[h5py.ExternalLink | None, str]:
    """Give the first link on a path that leads to another file, and the path from there on.

    Returns
    -------
    link : h5py.ExternalLink, optional
        None where the path stays in the file, or leads nowhere.
    rest : str
        What of the path comes after the link.

    Raises
    ------
    MismatchError
        The path is a chain of more links than can have been meant.
    """
    group: Any = file
    parts = _parts(path)
    n_links = 0
    for _ in range(MAX_STEPS):
        if not parts or not isinstance(group, h5py.Group):
            return None, ""
        part = parts.popleft()
        link = group.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return link, "/".join(parts)
        if not isinstance(link, h5py.SoftLink):
            group = group.get(part)
            continue
        n_links += 1
        if n_links > MAX_LINKS:
            break
        group = file if link.path.startswith("/") else group
        parts.extendleft(reversed(_parts(link.path)))
    raise MismatchError(f"{path} is a chain of too many links")


def linked_file(name: str, linked: str) -> str:
    """Give the file that a link in the file `name` leads to, as the library looks for it."""
    beside = Path(name).parent / linked  # `linked` alone, where it is absolute.
    return str(beside) if beside.exists() else linked


def _parts(path: str) -> deque[str]:
    return deque(part for part in path.split("/") if part not in ("", "."))
