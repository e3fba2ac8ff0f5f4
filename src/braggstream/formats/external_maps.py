"""Masks and saturation maps from HDF5 files of their own (`maskN_file`, `saturation_map_file`)."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.events import Event
from braggstream.formats.hdf5_files import open_hdf5
from braggstream.formats.hdf5_guard import HeapGuard
from braggstream.formats.hdf5_maps import MapReader, ReaderOf, read_masks, read_saturation
from braggstream.formats.hdf5_presence import Presence
from braggstream.model.errors import MismatchError
from braggstream.model.geometry import Geometry
from braggstream.model.mask import MaskArray


class ExternalMaps:
    """Maps for frames that have no file of their own; they are read once."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._masks: list[MaskArray] | None = None
        self._saturation: NDArray[np.float32] | None = None

    def masks(self) -> Sequence[MaskArray]:
        """Give all masks; raises `MismatchError` for one that names no file."""
        if self._masks is None:
            with ExitStack() as files:
                readers = _readers(files, "the mask", "maskN_file")
                self._masks = read_masks(self._geometry, Event(), readers, may_be_static=True)
        return self._masks

    def masks_with_files(self) -> Sequence[MaskArray]:
        """Give those masks that name a file; for frames that bring the others."""
        panels = tuple(
            replace(panel, masks=tuple(mask for mask in panel.masks if mask.file is not None))
            for panel in self._geometry.panels
        )
        return ExternalMaps(replace(self._geometry, panels=panels, _cache={})).masks()

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation level of each pixel in detector order; None where no panel has a map."""
        if self._saturation is None:
            with ExitStack() as files:
                readers = _readers(files, "the saturation map", "saturation_map_file")
                self._saturation = read_saturation(self._geometry, Event(), readers)
        return self._saturation


def _readers(files: ExitStack, what: str, directive: str) -> ReaderOf:
    """Open files when they are asked for, each once; they are closed with the stack."""
    found: dict[str, MapReader] = {}

    def reader_of(name: str | None) -> MapReader:
        if name is None:
            raise MismatchError(f"{what} of a panel names no file, and such frames hold none: {directive}")
        if name not in found:
            guard, presence = HeapGuard(name), Presence()
            files.callback(guard.close)
            files.callback(presence.close)
            found[name] = MapReader(files.enter_context(open_hdf5(name)), name, guard, presence)
        return found[name]

    return reader_of
