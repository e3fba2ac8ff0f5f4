"""Whether pixels of an HDF5 dataset were ever written: the library gives fill values for those that were not.

A frame of fill values looks like a blank one.  So a part is read only where all of it is there: chunks that were
written, storage that was allocated, files of external storage that are long enough, and the sources of virtual
datasets.  What a virtual dataset maps to no source at all is a gap between modules, and legitimate.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.formats.hdf5_chunks import (
    ChunkReader,
    Place,
    bounds_of,
    file_of,
    filters_of,
    is_filtered,
    is_read_here,
    touched,
)
from braggstream.formats.hdf5_files import find_dataset, open_hdf5
from braggstream.formats.hdf5_links import linked_file
from braggstream.formats.hdf5_virtual import Bounds, SourcePart, VirtualMap
from braggstream.model.errors import FileError, FrameError, MismatchError

MAX_SOURCES = 64
"""Files of sources that are kept open: a frame of many modules takes from as many."""
MAX_DEPTH = 8
"""A virtual dataset may take from others so often."""


def read_array(
    dataset: h5py.Dataset,
    place: tuple[int | slice, ...],
    presence: "Presence",
    reader: ChunkReader | None = None,
    *,
    only_inside: bool = False,
) -> NDArray[Any]:
    """Read a part of a dataset in its own type; booleans come as bool.  Raises `FrameError`.

    Chunks are decoded by `reader`, or into memory of their own.  `only_inside` refuses filters that would have to
    be left to HDF5, which takes as much memory for them as the file asks for.
    """
    stages = filters_of(dataset)
    if stages is not None and is_read_here(dataset, place, stages, leaves_small=not only_inside):
        return (reader or ChunkReader(Decompressor())).read(dataset, place, stages)
    if only_inside and is_filtered(dataset):
        raise MismatchError(f"{dataset.name} is compressed in a way that streamed files may not use")
    presence.require(dataset, place)
    found: NDArray[Any] = np.asarray(dataset[place])
    return found


class Presence:
    """Knows what was written of the datasets of a file; what is known of one is kept until it grows."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._whole: dict[tuple[object, ...], bool] = {}
        self._written: dict[tuple[object, ...], set[tuple[int, ...]]] = {}
        self._maps: dict[tuple[object, ...], VirtualMap] = {}
        self._opened: OrderedDict[str, _SourceFile] = OrderedDict()
        self._complete: dict[_SourceName, tuple[int, ...]] = {}
        """Shapes of the sources of which all is there; they are not opened any more."""

    def require(self, dataset: h5py.Dataset, place: Place) -> None:
        """Raise `FileError` where a part of a dataset was never written, or its source is missing."""
        bounds = bounds_of(place)
        if any(start >= stop for start, stop in bounds):
            return
        if dataset.is_virtual:
            self._require_sources(dataset, bounds)
        elif dataset.external:
            _require_external(dataset)
        elif not self._is_whole(dataset):
            if dataset.chunks is None:
                raise FileError(f"{file_of(dataset)}: {dataset.name} was never written")
            self._require_chunks(dataset, bounds)

    def is_complete(self, dataset: h5py.Dataset) -> bool:
        """Whether all of a dataset was written, and lies in its own file."""
        return not dataset.is_virtual and not dataset.external and self._is_whole(dataset)

    def close(self) -> None:
        """Close the files of sources."""
        while self._opened:
            self._opened.popitem()[1].close()

    def _is_whole(self, dataset: h5py.Dataset) -> bool:
        """Whether all of a dataset is there, asked once: what was written stays."""
        key = _key(dataset)
        if key not in self._whole:
            self._whole[key] = dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED
        return self._whole[key]

    def _require_chunks(self, dataset: h5py.Dataset, bounds: Bounds) -> None:
        key = _key(dataset)
        written = self._written.get(key)
        if written is None:
            written = self._written[key] = set()
            dataset.id.chunk_iter(lambda chunk: written.add(tuple(chunk.chunk_offset)))
        for origin in touched(bounds, dataset.chunks):
            if origin in written:
                continue
            if dataset.id.get_chunk_info_by_coord(origin).byte_offset is None:
                raise FileError(f"{file_of(dataset)}: chunk {origin} of {dataset.name} was never written")
            written.add(origin)

    def _require_sources(self, dataset: h5py.Dataset, bounds: Bounds) -> None:
        key = _key(dataset)
        if key not in self._maps:
            self._maps[key] = VirtualMap(dataset)
        for part in self._maps[key].parts(bounds):
            try:
                self._require_part(file_of(dataset), part)
            except FrameError as error:
                raise FileError(f"{file_of(dataset)}: {dataset.name} lacks its source: {error}") from None

    def _require_part(self, owner: str, part: SourcePart) -> None:
        name = owner if part.file == "." else linked_file(owner, part.file)
        source = _SourceName(name, part.path, _inode(name))
        if source in self._complete and _holds(self._complete[source], part):
            return
        is_fresh = name not in self._opened
        try:
            shape = self._source(name).require(part)
        except FrameError:
            if is_fresh:
                raise
            self._opened.pop(name).close()  # It may have grown since it was opened.
            shape = self._source(name).require(part)
        if shape is not None:
            self._complete[source] = shape

    def _source(self, name: str) -> "_SourceFile":
        if name not in self._opened:
            if self._depth >= MAX_DEPTH:
                raise FileError(f"{name}: virtual datasets take from one another without end")
            self._opened[name] = _SourceFile(name, self._depth + 1)
            if len(self._opened) > MAX_SOURCES:
                self._opened.popitem(last=False)[1].close()
        self._opened.move_to_end(name)
        return self._opened[name]


class _SourceFile:
    """An open file from which a virtual dataset takes."""

    def __init__(self, name: str, depth: int) -> None:
        self._name = name
        self._file = open_hdf5(name)
        self._presence = Presence(depth)

    def require(self, part: SourcePart) -> tuple[int, ...] | None:
        """Raise `FrameError` where a part of the source is not there; gives its shape where all of it is."""
        dataset = find_dataset(self._file, part.path, self._name)
        shape: tuple[int, ...] = dataset.shape
        if not _holds(shape, part):
            raise FileError(f"{self._name}: {part.path} has the shape {shape}, which is too small")
        bounds = part.bounds(shape)
        if bounds is not None:
            self._presence.require(dataset, [slice(start, stop) for start, stop in bounds])
        return shape if self._presence.is_complete(dataset) else None

    def close(self) -> None:
        """Close it, and what it takes from."""
        self._presence.close()
        self._file.close()


@dataclass(frozen=True, slots=True)
class _SourceName:
    """A source, and which file had its name."""

    file: str
    path: str
    inode: int


def _holds(shape: tuple[int, ...], part: SourcePart) -> bool:
    """Whether a source of this shape has a part, as far as that can be told."""
    bounds = part.bounds(shape)
    return bounds is None or (
        len(shape) == len(bounds) and all(stop <= length for (_, stop), length in zip(bounds, shape, strict=True))
    )


def _inode(name: str) -> int:
    try:
        return Path(name).stat().st_ino
    except OSError:
        return 0


def _require_external(dataset: h5py.Dataset) -> None:
    """Raise `FileError` where a file of external storage is missing or too short."""
    left = int(dataset.nbytes)
    for name, offset, size in dataset.external:
        file = Path(linked_file(file_of(dataset), name))
        n_bytes = file.stat().st_size if file.exists() else -1
        n_wanted = min(left, size)
        if n_bytes < offset + n_wanted:
            what = "is missing" if n_bytes < 0 else f"has {n_bytes} bytes only"
            raise FileError(f"{file_of(dataset)}: {dataset.name} takes its data from {file}, which {what}")
        left -= n_wanted


def _key(dataset: h5py.Dataset) -> tuple[object, ...]:
    return h5py.h5f.get_name(dataset.id), dataset.name, dataset.shape
