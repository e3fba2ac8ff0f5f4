"""HDF5 plumbing: opening files, finding datasets, and maps (masks, saturation) whose rank may lack the `%` axes."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  Registers compression filters.
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.formats.events import Event
from braggstream.formats.hdf5_chunks import ChunkReader, filters_of, is_filtered, is_read_here
from braggstream.formats.raw import window_slices
from braggstream.model.errors import DecodeError, FileError, FrameError, MismatchError
from braggstream.model.geometry import AxisRole, Geometry, Panel
from braggstream.model.mask import MaskArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"

MAX_LINKS = 32
MAX_STEPS = 256
"""A path in a message may lead through so many links, and so many groups."""

BROKEN = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    UnicodeError,
)
"""What h5py raises for damaged files."""


def open_hdf5(name: str) -> h5py.File:
    """Open a file for reading, whoever writes to it; raises `FileError`."""
    try:
        return _open_whoever_locks(name)
    except OSError as error:
        if not Path(name).exists():
            raise FileError(f"{name}: no such file") from None
        raise FileError(f"{name}: cannot be read as HDF5: {_first_line(error)}") from None


def _open_whoever_locks(name: str) -> h5py.File:
    """Open a file as others in this process do, for both ways cannot be mixed; where a writer locks it, without."""
    try:
        return h5py.File(name, "r")
    except OSError as error:
        if "lock" not in str(error):
            raise
        return h5py.File(name, "r", locking=False)


def open_hdf5_bytes(payload: memoryview | bytes) -> h5py.File:
    """Open a file that lies in memory; raises `DecodeError`."""
    if bytes(payload[:8]) != SIGNATURE:
        raise DecodeError("the message is no HDF5 file: it lacks the HDF5 signature")
    try:
        return h5py.File.in_memory(bytes(payload))
    except BROKEN as error:
        raise DecodeError(f"the message is no sound HDF5 file: {_first_line(error)}") from None


@contextmanager
def reading(what: str, error_type: type[FrameError] = FileError) -> Iterator[None]:
    """Turn what h5py raises into an error of the frame."""
    try:
        yield
    except FrameError:
        raise
    except BROKEN as error:
        raise error_type(f"{what} cannot be read: {_first_line(error)}") from None


def find_dataset(file: h5py.File, path: str, name: str, *, only_inside: bool = False) -> h5py.Dataset:
    """Find a dataset; raises `MismatchError`.

    `only_inside` refuses whatever leads out of the file: external links, virtual datasets, external storage.
    """
    with reading(f"{name}: {path}"):
        if only_inside:
            _refuse_ways_out(file, path)
        found = file.get(path) if path.strip("/") else None
        if found is None:
            raise MismatchError(f"{name} has no dataset {path}")
        if not isinstance(found, h5py.Dataset):
            raise MismatchError(f"{name}: {path} is a group, expected a dataset")
        if found.shape is None:
            raise MismatchError(f"{name}: {path} is empty")
        if only_inside and (found.is_virtual or found.external):
            raise MismatchError(f"{name}: {path} takes its data from other files, which streamed files may not")
        return found


def _refuse_ways_out(file: h5py.File, path: str) -> None:
    """Walk a path link by link; refuse links out of the file, and walks that are too long to have been meant."""
    group: Any = file
    parts = _parts(path)
    n_links = 0
    for _ in range(MAX_STEPS):
        if not parts or not isinstance(group, h5py.Group):
            return
        part = parts.popleft()
        link = group.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise MismatchError(f"{path}: {part} is a link to another file, which streamed files may not hold")
        if not isinstance(link, h5py.SoftLink):
            group = group.get(part)
            continue
        n_links += 1
        if n_links > MAX_LINKS:
            break
        group = file if link.path.startswith("/") else group
        parts.extendleft(reversed(_parts(link.path)))
    raise MismatchError(f"{path} is a chain of too many links")


def _parts(path: str) -> deque[str]:
    return deque(part for part in path.split("/") if part not in ("", "."))


def read_array(
    dataset: h5py.Dataset,
    place: tuple[int | slice, ...],
    reader: ChunkReader | None = None,
    *,
    only_inside: bool = False,
) -> NDArray[Any]:
    """Read a part of a dataset in its own type; booleans come as bool.

    Compressed chunks are decoded by `reader`, or into memory of their own.  `only_inside` refuses filters that
    would have to be left to HDF5, which takes as much memory for them as the file asks for.
    """
    stages = filters_of(dataset)
    if stages and is_read_here(dataset, place, stages, leaves_small=not only_inside):
        return (reader or ChunkReader(Decompressor())).read(dataset, place, stages)
    if only_inside and is_filtered(dataset):
        raise MismatchError(f"{dataset.name} is compressed in a way that streamed files may not use")
    found: NDArray[Any] = np.asarray(dataset[place])
    return found


class MapReader:
    """Reads masks and saturation maps of one file; those that all frames share are read once."""

    def __init__(self, file: h5py.File, name: str, *, only_inside: bool = False) -> None:
        self._file = file
        self._name = name
        self._only_inside = only_inside
        self._shared: dict[tuple[str, str], NDArray[Any]] = {}

    def read(self, path: str, panel: Panel, event: Event, *, what: str) -> tuple[NDArray[Any], bool]:
        """Read one panel's map.

        The map has the axes of the image, or lacks the `%` axes, and then holds for all frames; where the image has
        none, it may lack leading axes with a fixed index, as a streamed file has in place of `%`.

        Returns
        -------
        values : array[height, width]
        is_shared : bool
            Whether all frames of the file have it; then it is the same object each time.
        """
        full = event.fill(path)
        key = (full, panel.name)
        if key in self._shared:
            return self._shared[key], True
        dataset = find_dataset(self._file, full, self._name, only_inside=self._only_inside)
        dims = _map_axes(panel.dims, dataset.ndim)
        place, is_shared = replace(panel, dims=dims), "%" not in dims and "%" not in path
        name = f"{what} {full} of {self._name}"
        if dataset.dtype.kind not in "biuf":
            raise MismatchError(f"{name} is of type {dataset.dtype}, expected numbers")
        slices = window_slices(dataset.shape, place, event.indices, name)
        with reading(name):
            values = read_array(dataset, slices, only_inside=self._only_inside)
        if is_shared:
            self._shared[key] = values
        return values, is_shared


def _map_axes(dims: tuple[AxisRole, ...], n_axes: int) -> tuple[AxisRole, ...]:
    """Choose which axes of the image a map of so many axes has."""
    without = tuple(role for role in dims if role != "%")
    if n_axes == len(without):
        return without
    n_missing = len(dims) - n_axes
    if len(without) == len(dims) and n_missing > 0 and all(isinstance(role, int) for role in dims[:n_missing]):
        return dims[n_missing:]
    return dims


ReaderOf = Callable[[str | None], MapReader]
"""Gives the reader of a file that the geometry names, or for None of the frame's own file."""


def read_masks(geometry: Geometry, event: Event, reader_of: ReaderOf, *, may_be_static: bool) -> list[MaskArray]:
    """Read the masks of all panels that can have good pixels; those that frames share are the same objects."""
    found = []
    for number, panel in enumerate(geometry.panels):
        for mask in () if panel.no_index else panel.masks:
            values, is_shared = reader_of(mask.file).read(mask.data, panel, event, what="mask")
            found.append(
                MaskArray(
                    panel=number,
                    values=values,
                    good_bits=mask.good_bits,
                    bad_bits=mask.bad_bits,
                    is_static=is_shared and may_be_static,
                )
            )
    return found


def read_saturation(geometry: Geometry, event: Event, reader_of: ReaderOf) -> NDArray[np.float32] | None:
    """Read the saturation level of each pixel in detector order; None where no panel has a map."""
    if not any(panel.saturation_map for panel in geometry.panels):
        return None
    levels = []
    for panel in geometry.panels:
        if panel.saturation_map is None:
            levels.append(np.full(panel.height * panel.width, np.inf, np.float32))
        else:
            reader = reader_of(panel.saturation_map_file)
            values, _ = reader.read(panel.saturation_map, panel, event, what="saturation map")
            levels.append(np.asarray(values, np.float32).reshape(-1))
    return np.concatenate(levels)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
