"""Maps of HDF5 files, masks and levels of saturation, whose rank may lack the `%` axes of the image."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.events import Event
from braggstream.formats.hdf5_files import find_dataset, reading
from braggstream.formats.hdf5_guard import HeapGuard
from braggstream.formats.hdf5_presence import Presence, read_array
from braggstream.formats.raw import window_slices
from braggstream.model.errors import MismatchError
from braggstream.model.geometry import AxisRole, Geometry, Panel
from braggstream.model.mask import MaskArray


class MapReader:
    """Reads masks and saturation maps of one file; those that all frames share are read once."""

    def __init__(self, file: h5py.File, name: str, guard: HeapGuard | None, presence: Presence) -> None:
        """Take an open file, its name, what looks at it before, and what knows what was written of it.

        `guard` is None for a message, which may use nothing but itself.
        """
        self._file = file
        self._name = name
        self._guard = guard
        self._presence = presence
        self._shared: dict[tuple[str, str], NDArray[Any]] = {}

    def read(self, path: str, panel: Panel, event: Event, *, what: str) -> tuple[NDArray[Any], bool]:
        """Read one panel's map.

        The map has the axes of the image, or lacks the `%` axes, and then holds for all frames.  It may also lack
        axes with a fixed index, as a streamed file has in place of `%` and a file with several channels for the
        channel.  An axis of length one holds for all frames, or channels.

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
        dataset = find_dataset(self._file, full, self._name, guard=self._guard, only_inside=self._guard is None)
        dims = _map_axes(panel.dims, dataset.shape)
        place, is_shared = replace(panel, dims=dims), "%" not in dims and "%" not in path
        name = f"{what} {full} of {self._name}"
        if dataset.dtype.kind not in "biuf":
            raise MismatchError(f"{name} is of type {dataset.dtype}, expected numbers")
        slices = window_slices(dataset.shape, place, event.indices, name)
        with reading(name):
            values = read_array(dataset, slices, self._presence, only_inside=self._guard is None)
        if is_shared:
            self._shared[key] = values
        return values, is_shared


def _map_axes(dims: tuple[AxisRole, ...], shape: tuple[int, ...]) -> tuple[AxisRole, ...]:
    """Choose which axes of the image a map of this shape has; all of them where none of the choices fits."""
    without = tuple(role for role in dims if role != "%")
    n_fixed = next(number for number, role in enumerate(without) if not isinstance(role, int))
    plane = tuple(role for role in dims if role in ("ss", "fs"))
    n_more = max(0, len(shape) - len(dims))
    choices = (
        dims,
        without,
        *(without[number:] for number in range(1, n_fixed + 1)),
        plane,
        (*(0,) * n_more, *dims),
    )
    found = next((choice for choice in choices if len(choice) == len(shape)), dims)
    if len(found) != len(shape) or any(length != 1 for length in shape[:n_more]):
        return dims
    return tuple(
        0 if length == 1 and role not in ("ss", "fs") else role for role, length in zip(found, shape, strict=True)
    )


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
