"""A few frames of a source, one after the other in this process: for looking at them, not for a session."""

from collections.abc import Callable, Iterator
from itertools import islice

from braggstream.formats.dectris import OTHER_KINDS, kind_of
from braggstream.model.errors import UserError
from braggstream.model.frame import Message, SeriesStart
from braggstream.model.geometry import Geometry
from braggstream.model.settings import (
    FileSourceSettings,
    FrameSettings,
    RunSettings,
    SourceSettings,
    ZmqSourceSettings,
)
from braggstream.run.begun_source import BegunSource, open_socket
from braggstream.run.local import open_frames
from braggstream.run.processor import Work
from braggstream.sources.zmq import ZmqSource

MOST_FRAMES = 24
"""So many frames are looked at, where nobody else is to get them."""


def few_frames(
    source: SourceSettings | BegunSource,
    geometry: Geometry,
    frame: FrameSettings,
    run: RunSettings,
    say: Callable[[str], None],
) -> Iterator[Work]:
    """Give the first frames of files or of a broadcast; of a sender that hands frames out, one.

    Raises
    ------
    UserError
        For a source that frames are not taken from for a look: they would be missing elsewhere.
    """
    if isinstance(source, FileSourceSettings):
        yield from islice(open_frames(source, geometry, run.serial_start), MOST_FRAMES)
        return
    if isinstance(source, ZmqSourceSettings):
        source = BegunSource(source, open_socket(source, frame, run, say))
    if not isinstance(source, BegunSource):
        raise UserError("--asapo-endpoint: a frame that is looked at here would be missing in its group; use files")
    try:
        source.socket.open()
        most = MOST_FRAMES if source.settings.subscribe else 1
        yield from islice(_streamed(source.socket, run.serial_start), most)
    finally:
        source.socket.close()


def _streamed(socket: ZmqSource, serial: int) -> Iterator[Message]:
    """Give frames as they arrive, each with the start message of its series."""
    start: SeriesStart | None = None
    for payload in socket.messages():
        kind = kind_of(payload)
        if kind == "start":
            start = SeriesStart(payload=bytes(payload), number=1 if start is None else start.number + 1)
        elif kind != "end" and kind not in OTHER_KINDS:
            yield Message(payload=payload, serial=serial, start=start)
            serial += 1
