"""Frames in HDF5 files (CXI and NeXus are such), on disk or as a message."""

from collections.abc import Iterable, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.formats.events import Event
from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.hdf5_chunks import ChunkReader, is_filtered
from braggstream.formats.hdf5_contents import contents_of
from braggstream.formats.hdf5_files import find_dataset, open_hdf5, reading
from braggstream.formats.hdf5_guard import HeapGuard
from braggstream.formats.hdf5_maps import MapReader, read_masks, read_saturation
from braggstream.formats.hdf5_names import small_datasets
from braggstream.formats.hdf5_presence import Presence, read_array
from braggstream.formats.raw import MAX_TEXT_HEADER, lay_out, native_pixels, text_header, window_slices
from braggstream.formats.remarks import Remarks
from braggstream.model.errors import HeaderError, MismatchError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry, Panel
from braggstream.model.mask import MaskArray
from braggstream.model.peaks import SuppliedPeaks

MAX_PEAKS = 1 << 20
PEAK_COLUMNS = ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity")
WASTE = 4
"""Panels are read in one go where their common box holds at most so many times their pixels."""


class OpenFile:
    """An open file and what is kept of it between frames."""

    def __init__(
        self, file: h5py.File, name: str, guard: HeapGuard | None = None, decompressor: Decompressor | None = None
    ) -> None:
        self._chunks = ChunkReader(decompressor or Decompressor())
        self.file = file
        self.name = name
        self._guard = guard
        self._presence = Presence()
        self.maps = MapReader(file, name, guard, self._presence)
        self._others: dict[str, OpenFile] = {}
        self.remarks = Remarks()

    @classmethod
    def open(cls, name: str, decompressor: Decompressor | None = None) -> "OpenFile":
        """Open a file; raises `FileError`."""
        return cls(open_hdf5(name), name, HeapGuard(name), decompressor)

    @property
    def in_memory(self) -> bool:
        """Whether the file came as a message, which may use nothing but itself."""
        return self._guard is None

    def dataset(self, path: str) -> h5py.Dataset:
        """Find a dataset; raises `MismatchError`."""
        return find_dataset(self.file, path, self.name, guard=self._guard, only_inside=self.in_memory)

    def read(self, dataset: h5py.Dataset, place: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of one of its datasets; valid until the decompressor's next frame begins."""
        return read_array(dataset, place, self._presence, self._chunks, only_inside=self.in_memory)

    def text(self, dataset: h5py.Dataset, place: tuple[int, ...]) -> Any:
        """Read one text of a dataset, without the library's own way through a damaged heap."""
        is_short = h5py.check_string_dtype(dataset.dtype).length is not None
        if self._guard is None or is_short or dataset.is_virtual:
            return dataset[place]
        return self._guard.text(dataset, place)

    def contents(self) -> str:
        """Name its datasets with shapes and types."""
        return contents_of(self.file, self._guard)

    def other(self, name: str) -> "OpenFile":
        """Open a file that the geometry names, once."""
        if name not in self._others:
            self._others[name] = OpenFile.open(name)
        return self._others[name]

    def close(self) -> None:
        """Close it, and the files that belong to it."""
        for other in self._others.values():
            other.close()
        self._presence.close()
        if self._guard is not None:
            self._guard.close()
        self.file.close()


class Hdf5Frame:
    """One frame of an open file; implements `RawFrame`."""

    def __init__(self, opened: OpenFile, event: Event, identity: FrameIdentity, geometry: Geometry) -> None:
        self._opened = opened
        self._event = event
        self._identity = identity
        self._geometry = geometry

    @property
    def identity(self) -> FrameIdentity:
        """How the frame is called."""
        return self._identity

    def header(self, name: str) -> HeaderValue:
        """Give a header; arrays are walked with the numbers of the event, axes of length one use none up."""
        path = self._event.fill(name)
        try:
            dataset = self._opened.dataset(path)
        except MismatchError as error:
            raise HeaderError(f"header {name}: {error}") from None
        place: list[int] = []
        left = iter(self._event.indices)
        for length in dataset.shape:
            number = 0 if length == 1 else next(left, None)
            if number is None or number >= length:
                raise HeaderError(f"header {name} has the shape {dataset.shape}, event {self._event} is not in it")
            place.append(number)
        with reading(f"header {name}", HeaderError):
            return _header_value(self._opened, dataset, tuple(place), name)

    own_headers: tuple[str, ...] = ()

    def header_names(self) -> Iterable[str]:
        """Give the paths of small datasets."""
        return small_datasets(self._opened.file)

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels; panels that lie together are read together."""
        by_path: dict[str, list[int]] = {}
        for number, panel in enumerate(self._geometry.panels):
            by_path.setdefault(self._event.fill(panel.data, surplus_is_error=True), []).append(number)
        windows: list[Any] = [None] * len(self._geometry.panels)
        for path, numbers in by_path.items():
            dataset = self._opened.dataset(path)
            if dataset.dtype.kind not in "biuf":
                raise MismatchError(f"{self._opened.name}: {path} is of type {dataset.dtype}, expected numbers")
            panels = [self._geometry.panels[number] for number in numbers]
            with reading(f"{self._opened.name}: {path}"):
                found = _read_windows(self._opened, dataset, panels, self._event)
            for number, window in zip(numbers, found, strict=True):
                windows[number] = window
        return lay_out(windows)

    def masks(self) -> Sequence[MaskArray]:
        """Give the masks of the file, and of files that the geometry names."""
        return read_masks(self._geometry, self._event, self._reader_of, may_be_static=not self._opened.in_memory)

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation level of each pixel in detector order; None where no panel has a map."""
        return read_saturation(self._geometry, self._event, self._reader_of)

    def _reader_of(self, file: str | None) -> MapReader:
        return (self._opened if file is None else self._opened.other(file)).maps

    def peak_list(self) -> SuppliedPeaks:
        """Give the peak list, in CXI's layout or as three columns."""
        path = self._geometry.peak_list
        if path is None:
            raise HeaderError("the geometry names no peak list: add  peak_list = PATH  to it")
        layout = self._geometry.peak_list_type
        if layout == "auto":
            layout = self._layout_by_name()
        full = self._event.fill(path, surplus_is_error=True)
        with reading(f"peak list {full}"):
            return self._cxi_peaks(full.rstrip("/")) if layout == "cxi" else self._column_peaks(full)

    def contents(self) -> str:
        """Name the datasets of the file, the largest first."""
        name = "The message" if self._opened.in_memory else self._opened.name
        return f"{name} holds {self._opened.contents()}."

    def _layout_by_name(self) -> Any:
        if isinstance(self._opened.file.get(self._event.fill(self._geometry.peak_list or "")), h5py.Group):
            return "cxi"
        if self._opened.name.endswith(".cxi"):
            return "cxi"
        return "list3"

    def _cxi_peaks(self, group: str) -> SuppliedPeaks:
        counts = self._opened.dataset(f"{group}/nPeaks")
        row = self._row_of_peaks(counts)
        if counts.ndim != 1 or row >= counts.shape[0]:
            raise MismatchError(f"{group}/nPeaks has the shape {counts.shape}, frame {row} is not in it")
        n_peaks = int(self._opened.read(counts, (row,)))
        datasets = [self._peak_rows(f"{group}/{name}", row, n_peaks) for name in PEAK_COLUMNS]
        n_listed = min(n_peaks, *(dataset.shape[1] for dataset in datasets))
        if n_listed < n_peaks:
            line = f"{group}: some frames have more peaks than the list has columns; those listed are taken"
            self._opened.remarks.add(line)
        if n_listed > MAX_PEAKS:
            raise MismatchError(f"{group}: {n_listed} peaks, at most {MAX_PEAKS} are taken")
        fs, ss, intensity = (
            np.asarray(self._opened.read(dataset, (row, slice(0, n_listed))), np.float64) for dataset in datasets
        )
        return SuppliedPeaks(fs=fs, ss=ss, intensity=intensity)

    def _row_of_peaks(self, counts: h5py.Dataset) -> int:
        if not self._event.indices:
            raise MismatchError(f"event {self._event} has no number, which a CXI peak list needs")
        return self._event.indices[0]

    def _peak_rows(self, path: str, row: int, n_peaks: int) -> h5py.Dataset:
        """A dataset with a row of peaks for each frame."""
        dataset = self._opened.dataset(path)
        if dataset.ndim != 2 or row >= dataset.shape[0] or n_peaks < 0:
            raise MismatchError(f"{path} has the shape {dataset.shape}, frame {row} has {n_peaks} peaks")
        if dataset.dtype.kind not in "biuf":
            raise MismatchError(f"{path} is of type {dataset.dtype}, expected numbers")
        return dataset

    def _column_peaks(self, path: str) -> SuppliedPeaks:
        dataset = self._opened.dataset(path)
        if dataset.ndim != 2 or dataset.shape[1] not in (3, 4) or dataset.shape[0] > MAX_PEAKS:
            raise MismatchError(f"peak list {path} has the shape {dataset.shape}, expected (n, 3) or (n, 4)")
        rows = np.asarray(self._opened.read(dataset, (slice(0, dataset.shape[0]), slice(0, 3))), np.float64)
        return SuppliedPeaks(fs=rows[:, 0].copy(), ss=rows[:, 1].copy(), intensity=rows[:, 2].copy())


class StreamedHdf5Frame(Hdf5Frame):
    """A whole file that came as a message: the null event, and nothing outside it is opened by its own wish."""

    def __init__(self, opened: OpenFile, identity: FrameIdentity, geometry: Geometry, maps: ExternalMaps) -> None:
        super().__init__(opened, Event(), identity, geometry)
        self._external = maps

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels."""
        for panel in self._geometry.panels:
            if "%" in panel.dims or "%" in panel.data:
                raise MismatchError(
                    f"panel {panel.name} has a % placeholder, which a streamed file has not: use dim0 = 0"
                )
        return super().image()

    def _row_of_peaks(self, counts: h5py.Dataset) -> int:
        """A message holds one frame: its peaks are the only row there is."""
        if counts.shape != (1,):
            raise MismatchError(f"{counts.name} has the shape {counts.shape}, a message has peaks of one frame")
        return 0

    def masks(self) -> Sequence[MaskArray]:
        """Masks from files of their own are read once for all messages."""
        if all(mask.file is not None for panel in self._geometry.panels for mask in panel.masks):
            return self._external.masks()
        return super().masks()

    def saturation(self) -> NDArray[np.float32] | None:
        """A map from a file of its own is read once for all messages."""
        if all(panel.saturation_map_file for panel in self._geometry.panels if panel.saturation_map):
            return self._external.saturation()
        return super().saturation()


def _read_windows(
    opened: OpenFile, dataset: h5py.Dataset, panels: Sequence[Panel], event: Event
) -> Sequence[NDArray[Any]]:
    """Read panels of one dataset, in one go where little else lies between them."""
    name = f"{opened.name}: {dataset.name}"
    places = [window_slices(dataset.shape, panel, event.indices, name) for panel in panels]
    bounds = [
        (
            min(axis.start if isinstance(axis, slice) else axis for axis in axes),
            max(axis.stop if isinstance(axis, slice) else axis + 1 for axis in axes),
        )
        for axes in zip(*places, strict=True)
    ]
    n_box = int(np.prod([stop - start for start, stop in bounds]))
    n_pixels = sum(panel.width * panel.height for panel in panels)
    if len(panels) > 1 and n_box > WASTE * n_pixels:
        return [native_pixels(opened.read(dataset, place)) for place in places]
    box = native_pixels(opened.read(dataset, tuple(slice(start, stop) for start, stop in bounds)))
    return [
        box[
            tuple(
                slice(axis.start - start, axis.stop - start) if isinstance(axis, slice) else axis - start
                for axis, (start, _) in zip(place, bounds, strict=True)
            )
        ]
        for place in places
    ]


def _header_value(opened: OpenFile, dataset: h5py.Dataset, place: tuple[int, ...], name: str) -> HeaderValue:
    kind = dataset.dtype.kind
    if opened.in_memory and kind not in "biuf" and is_filtered(dataset):
        raise HeaderError(f"header {name} is compressed, which texts in streamed files may not be")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        if kind == "S" and dataset.dtype.itemsize > MAX_TEXT_HEADER:
            raise HeaderError(f"header {name} is a text of more than {MAX_TEXT_HEADER} characters")
        text = opened.text(dataset, place)
        raw = text if isinstance(text, bytes) else str(text).encode()
        return text_header(name, raw.split(b"\0", 1)[0].decode("utf-8", "replace"))
    if kind == "b":
        return bool(opened.read(dataset, place))
    if kind in "iu":
        return int(opened.read(dataset, place))
    if kind == "f":
        return float(opened.read(dataset, place))
    raise HeaderError(f"header {name} is of type {dataset.dtype}, expected a number or a text")
