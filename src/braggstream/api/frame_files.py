"""Frames of files, loaded when they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from braggstream.api.understood import GeometryLike, geometry_of, kind_of
from braggstream.formats.hdf5_places import FramelessPlace, expand_file
from braggstream.formats.recognize import recognize_file
from braggstream.model.errors import FrameError, UserError
from braggstream.model.frame import FileSlot, Frame
from braggstream.model.geometry import Geometry
from braggstream.model.lazy_sequence import LazySequence, Name
from braggstream.model.settings import FileSourceSettings, FrameSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.sources.files import FileSource

OnError = Callable[[FrameError], None]
Paths = str | Path | Sequence[str | Path]


def open_files(
    path: Paths,
    geometry: GeometryLike,
    *,
    settings: FrameSettings | None = None,
    on_error: OnError | None = None,
) -> "FrameFiles":
    """Open the frames of a file, or of all files of a list.

    Parameters
    ----------
    path
        An HDF5, CBF, TIFF or NPY file, a text file with one `FILENAME` or `FILENAME EVENT` a line, or several of
        these.
    geometry
        Where pixels, headers and masks lie in the files; or its file.
    settings
        What to load.
    on_error
        Called for a frame that cannot be loaded when its turn comes in a loop, and the next one follows; without
        it, the error is raised.

    Returns
    -------
    FrameFiles
        Loop over it, as often as wished, or take `frames[3]`, `frames[-1]`, `frames["//3"]`, `frames[10:20]`.

    Raises
    ------
    UserError
        A file or list cannot be read.
    """
    paths = _paths(path)  # Where the two were exchanged, this is said first.
    return FrameFiles(paths, geometry_of(geometry), settings or FrameSettings(), on_error)


class FrameFiles(LazySequence[Frame]):
    """Frames in files.

    A loop loads them one by one and looks into a file when its turn comes; a frame that cannot be loaded is raised
    as `FrameError`, or told to `on_error`.  `len()`, `.events` and `frames[3]` look into all files first, once.
    Frames are independent of each other and of the files.
    """

    def __init__(self, path: Paths, geometry: Geometry, settings: FrameSettings, on_error: OnError | None) -> None:
        """Take the files; raises `UserError` where one cannot be read.  See `open_files`."""
        self._paths = _paths(path)
        self._geometry = geometry
        self._settings = settings
        self._on_error = on_error
        self._known: tuple[FileSlot, ...] | None = None
        for each in self._paths:
            _check_readable(each, geometry)

    @property
    def slots(self) -> tuple[FileSlot, ...]:
        """File, event and serial number of each frame."""
        if self._known is None:
            self._known = tuple(self._found())
        return self._known

    def __iter__(self) -> Iterator[Frame]:
        return self._loaded(self._known or self._found())

    def _names(self) -> Sequence[Name]:
        return [(slot.filename, slot.event) for slot in self.slots]

    def __len__(self) -> int:
        return len(self.slots)

    def _made(self, places: Iterable[int]) -> Iterator[Frame]:
        return self._loaded(self.slots[place] for place in places)

    def _one(self, place: int) -> Frame:
        loader = FrameLoader(self._geometry, self._settings)
        try:
            return independent(loader.from_file(self.slots[place]))
        finally:
            loader.close()

    def _found(self) -> Iterator[FileSlot]:
        serial = 1
        for path in self._paths:
            for slot in _slots(path, self._geometry):
                yield replace(slot, serial=serial)
                serial += 1

    def _loaded(self, slots: Iterable[FileSlot]) -> Iterator[Frame]:
        loader = FrameLoader(self._geometry, self._settings)
        try:
            for slot in slots:
                try:
                    frame = independent(loader.from_file(slot))
                except FrameError as error:
                    if self._on_error is None:
                        raise
                    self._on_error(error)
                else:
                    yield frame
        finally:
            loader.close()

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"": " ".join(map(str, self._paths))}
        if self._known is not None:
            facts["frames"] = len(self._known)
        return facts | {"geometry": self._geometry.path or "without a file"}


def _paths(given: object) -> tuple[Path, ...]:
    if isinstance(given, str | PathLike):
        return (Path(given),)
    if isinstance(given, list | tuple) and given and all(isinstance(each, str | PathLike) for each in given):
        return tuple(map(Path, given))
    raise UserError(f"path: expected the path of a file or of a list of files, or several, not {kind_of(given)}")


def _is_image_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return recognize_file(file.read(16)) is not None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path=path) from None


def _check_readable(path: Path, geometry: Geometry) -> None:
    if not _is_image_file(path):
        FileSource(FileSourceSettings(list_file=str(path)), geometry)


def _slots(path: Path, geometry: Geometry) -> Iterable[FileSlot]:
    if not _is_image_file(path):
        return FileSource(FileSourceSettings(list_file=str(path)), geometry)
    return (
        FileSlot(filename=str(path), event=found.event, serial=1, fault=found.complaint)
        if isinstance(found, FramelessPlace)
        else FileSlot(filename=str(path), event=found, serial=1)
        for found in expand_file(str(path), geometry)
    )


def independent(frame: Frame) -> Frame:
    """Give a frame that does not share memory with its loader."""
    return replace(frame, pixels=frame.pixels.copy(), bad=frame.bad.copy())
