"""Masks and saturation maps from HDF5 files of their own (`maskN_file`, `saturation_map_file`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.events import Event
from braggstream.formats.hdf5_maps import MapReader, open_hdf5
from braggstream.model.errors import FileError, MismatchError
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
            found = []
            with _Files() as files:
                for number, panel in enumerate(self._geometry.panels):
                    for mask in () if panel.no_index else panel.masks:
                        if mask.file is None:
                            raise MismatchError(
                                f"the mask of panel {panel.name} names no file; streamed frames need maskN_file"
                            )
                        values, _ = files.reader(mask.file).read(mask.data, panel, Event(), what="mask")
                        found.append(
                            MaskArray(
                                panel=number,
                                values=values,
                                good_bits=mask.good_bits,
                                bad_bits=mask.bad_bits,
                                is_static=True,
                            )
                        )
            self._masks = found
        return self._masks

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation level of each pixel in detector order; None where no panel has a map."""
        if not any(panel.saturation_map for panel in self._geometry.panels):
            return None
        if self._saturation is None:
            levels = []
            with _Files() as files:
                for panel in self._geometry.panels:
                    if panel.saturation_map is None:
                        levels.append(np.full(panel.height * panel.width, np.inf, np.float32))
                        continue
                    if panel.saturation_map_file is None:
                        raise MismatchError(
                            f"the saturation map of panel {panel.name} names no file, which streamed frames need: "
                            "saturation_map_file"
                        )
                    reader = files.reader(panel.saturation_map_file)
                    values, _ = reader.read(panel.saturation_map, panel, Event(), what="saturation map")
                    levels.append(np.asarray(values, np.float32).reshape(-1))
            self._saturation = np.concatenate(levels)
        return self._saturation


class _Files:
    """Open files, by name; closed together."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def reader(self, name: str) -> MapReader:
        """Give a reader of a file."""
        if name not in self._open:
            if not Path(name).is_file():
                raise FileError(f"{name}: no such file (named in the geometry)")
            self._open[name] = open_hdf5(name)
        return MapReader(self._open[name], name)
