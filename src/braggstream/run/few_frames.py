"""A few frames of a source, one after the other in this process: for looking at them, not for a session."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from braggstream.model.errors import UserError
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
from braggstream.sources.series import frames_of_messages

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
        for message in islice(frames_of_messages(source.socket.messages()), most):
            yield replace(message, serial=message.serial + run.serial_start - 1)
    finally:
        source.socket.close()
