"""Frames from a running detector."""

from collections.abc import Iterator, Sequence
from math import inf

from braggstream.api.frame_files import OnError, independent
from braggstream.api.understood import GeometryLike, geometry_of
from braggstream.formats.dectris import kind_of
from braggstream.model.errors import FrameError, UserError
from braggstream.model.frame import Frame, Message, SeriesStart
from braggstream.model.settings import FrameSettings, ZmqSourceSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.sources.zmq import ZmqSource


def open_zmq(
    endpoint: str,
    geometry: GeometryLike,
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
        Where pixels and headers lie in the messages; or its file.
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
    loader = FrameLoader(geometry_of(geometry), chosen)
    source = ZmqSource(
        ZmqSourceSettings(endpoint=endpoint, request=request, subscribe=tuple(subscribe), pull=pull),
        max_message_bytes=chosen.max_message_bytes,
        n_slots=1,
        say=lambda _line: None,
    )
    source.open()
    try:
        for message in _messages(source, patience):
            try:
                frame = independent(loader.from_message(message))
            except FrameError as error:
                if on_error is None:
                    raise
                on_error(error)
            else:
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
