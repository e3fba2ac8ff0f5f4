"""The notebook door: everything that `import braggstream as bs` offers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.cell import read_cell
from braggstream.formats.dectris import kind_of
from braggstream.formats.geom import read_geometry
from braggstream.formats.hdf5_maps import SIGNATURE
from braggstream.formats.observation_files import load_observations
from braggstream.formats.reflection_file import read_reflections
from braggstream.formats.replaced_file import replacing
from braggstream.formats.shell_table import ShellTable
from braggstream.formats.stream_header import stream_header
from braggstream.formats.stream_read import StreamFile, read_stream
from braggstream.formats.stream_write import format_chunk
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal, ReflectionTable
from braggstream.model.errors import BraggstreamError, FrameError, UserError
from braggstream.model.frame import FileSlot, Frame, Message, SeriesStart
from braggstream.model.geometry import Geometry
from braggstream.model.observations import Observations
from braggstream.model.peaks import PeakTable
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.result import FrameResult
from braggstream.model.settings import (
    FfbidxSettings,
    FileSourceSettings,
    FrameSettings,
    IndexingSettings,
    IntegrationSettings,
    OutputSettings,
    PeakSettings,
    Settings,
    ZmqSourceSettings,
)
from braggstream.pipeline.judged_lists import check, compare
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.merge_tables import merge
from braggstream.pipeline.recipe import Recipe
from braggstream.sources.files import FileSource
from braggstream.sources.zmq import ZmqSource
from braggstream.steps.indexing import index_q

__all__ = [
    "BraggstreamError",
    "Crystal",
    "FfbidxSettings",
    "Frame",
    "FrameError",
    "FrameResult",
    "FrameSettings",
    "Geometry",
    "IndexingSettings",
    "IntegrationSettings",
    "Observations",
    "PeakSettings",
    "PeakTable",
    "Processor",
    "ReflectionList",
    "ReflectionTable",
    "Settings",
    "ShellTable",
    "StreamFile",
    "UnitCell",
    "UserError",
    "check",
    "compare",
    "index_q",
    "load_cell",
    "load_geometry",
    "load_observations",
    "load_reflections",
    "merge",
    "open_files",
    "open_zmq",
    "read_stream",
    "write_stream",
]

load_geometry = read_geometry
load_cell = read_cell
load_reflections = read_reflections

OnError = Callable[[FrameError], None]


def open_files(
    path: str | Path,
    geometry: Geometry,
    *,
    settings: FrameSettings | None = None,
    on_error: OnError | None = None,
) -> Iterator[Frame]:
    """Load frames from an HDF5 file, or from all files of a list.

    Parameters
    ----------
    path
        An HDF5 file, or a text file with one `FILENAME` or `FILENAME EVENT` a line.
    geometry
        Where pixels, headers and masks lie in the files.
    settings
        What to load.
    on_error
        Called for a frame that cannot be loaded, and the next one follows; without it, the error is raised.

    Yields
    ------
    Frame
        Independent of the ones before it.

    Raises
    ------
    UserError
        The list cannot be read.
    FrameError
        A frame cannot be loaded.
    """
    loader = FrameLoader(geometry, settings or FrameSettings())
    try:
        for slot in _slots(Path(path), geometry):
            frame = _loaded(lambda slot=slot: loader.from_file(slot), on_error)  # type: ignore[misc]
            if frame is not None:
                yield frame
    finally:
        loader.close()


def open_zmq(
    endpoint: str,
    geometry: Geometry,
    *,
    request: str | None = None,
    subscribe: Sequence[str] = (),
    pull: bool = False,
    patience: float = inf,
    settings: FrameSettings | None = None,
    on_error: OnError | None = None,
) -> Iterator[Frame]:
    """Receive frames from a ZeroMQ socket.

    Parameters
    ----------
    endpoint
        Address to connect to.
    geometry
        Where pixels and headers lie in the messages.
    request, subscribe, pull
        The kind of socket: REQ and what it asks with, SUB and what it wants, or PULL.  Exactly one is given.
    patience
        The iteration ends after so long without a message [s].
    settings, on_error
        As for `open_files`.

    Yields
    ------
    Frame
        Independent of the ones before it.
    """
    if (request is not None) + bool(subscribe) + pull != 1:
        raise UserError("give exactly one of request=, subscribe= and pull=True")
    chosen = settings or FrameSettings()
    loader = FrameLoader(geometry, chosen)
    source = ZmqSource(
        ZmqSourceSettings(endpoint=endpoint, request=request, subscribe=tuple(subscribe), pull=pull),
        max_message_bytes=chosen.max_message_bytes,
        n_slots=1,
        say=lambda _line: None,
    )
    source.open()
    try:
        for message in _messages(source, patience):
            frame = _loaded(lambda message=message: loader.from_message(message), on_error)  # type: ignore[misc]
            if frame is not None:
                yield frame
    finally:
        source.close()


def _messages(source: ZmqSource, patience: float) -> Iterator[Message]:
    """Messages that are frames, each with the start message of its series where there was one."""
    start: SeriesStart | None = None
    n_frames = 0
    for payload in source.messages(patience):
        kind = kind_of(payload)
        if kind == "start":
            start = SeriesStart(payload=bytes(payload), number=1 if start is None else start.number + 1)
        elif kind in (None, "image"):
            n_frames += 1
            yield Message(payload=payload, serial=n_frames, start=start)


class Processor:
    """Takes frames from pixels to integrated reflections.

    Parameters
    ----------
    geometry
        The geometry of the frames.
    cell
        The cell that is expected; without it nothing is indexed.
    peaks
        Method of the peak search, as `--peaks` of indexamajig.
    integration
        `rings` or `none`.
    int_radius
        Radii of integration rings [px], also of those of the peak search where it has some.
    settings
        Everything at once; then nothing else may be given.
    **options
        Any field of `PeakSettings`, `IndexingSettings` or `IntegrationSettings`, such as `threshold=10`,
        `multi=True` or `overpredict=True`.

    Raises
    ------
    UserError
        For an option that is not there, or a method that is not known.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        cell: UnitCell | None = None,
        peaks: str = "peakfinder8",
        integration: str = "rings",
        int_radius: tuple[float, float, float] | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        if settings is None:
            radii: dict[str, Any] = {} if int_radius is None else {"radii": int_radius}
            methods = ("none",) if cell is None else ("ffbidx",)
            given = _sorted_options(options)
            settings = Settings(
                peaks=PeakSettings(method=peaks, **radii, **given[PeakSettings]),
                indexing=IndexingSettings(**{"methods": methods, "target_cell": cell, **given[IndexingSettings]}),
                integration=IntegrationSettings(method=integration, **radii, **given[IntegrationSettings]),
            )
        elif options:
            raise UserError("give either settings= or single options")
        self.geometry = geometry
        self.settings = settings
        self._recipe = Recipe(geometry, settings)

    def process(self, frame: Frame) -> FrameResult:
        """Process one frame."""
        return self._recipe.process(frame)


def write_stream(
    path: str | Path,
    geometry: Geometry,
    results: Iterable[FrameResult],
    *,
    cell: UnitCell | None = None,
) -> int:
    """Write a stream file from results; gives the number of chunks.

    Parameters
    ----------
    path
        The file; what it held is kept as `NAME.previous`, and stays where it is as long as this is not over.
    geometry, cell
        Written into its header.
    results
        What `Processor.process` or `read_stream` gave.
    """
    output = OutputSettings(stream_file=str(path), command_line=("braggstream.write_stream",), indexing_words="")
    n_chunks = 0
    with replacing(path) as part, part.open("wb") as file:
        file.write(stream_header(geometry.text, output, cell))
        for result in results:
            file.write(format_chunk(result, geometry, output))
            n_chunks += 1
    return n_chunks


def _slots(path: Path, geometry: Geometry) -> Iterable[FileSlot]:
    from braggstream.formats.hdf5 import expand_file

    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(len(SIGNATURE)) == SIGNATURE
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path=path) from None
    if not is_hdf5:
        return FileSource(FileSourceSettings(list_file=str(path)), geometry)
    events = expand_file(str(path), geometry)
    return (
        FileSlot(filename=str(path), event=event, serial=serial) for serial, event in enumerate(events, start=1)
    )


def _loaded(load: Callable[[], Frame], on_error: OnError | None) -> Frame | None:
    """Load a frame that does not share memory with the loader."""
    try:
        frame = load()
    except FrameError as error:
        if on_error is None:
            raise
        on_error(error)
        return None
    pixels: NDArray[Any] = frame.pixels.copy()
    bad: NDArray[np.uint8] = frame.bad.copy()
    return replace(frame, pixels=pixels, bad=bad)


def _sorted_options(options: dict[str, Any]) -> dict[type, dict[str, Any]]:
    """Give each option to the settings that have it."""
    given: dict[type, dict[str, Any]] = {PeakSettings: {}, IndexingSettings: {}, IntegrationSettings: {}}
    owners = {field.name: kind for kind in given for field in fields(kind) if field.name not in {"method", "radii"}}
    for name, value in options.items():
        if name not in owners:
            raise UserError(f"there is no option {name}; there are {', '.join(sorted(owners))}")
        given[owners[name]][name] = value
    return given
