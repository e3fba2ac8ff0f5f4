"""Frames from a running detector."""

from collections.abc import Iterator, Sequence
from math import inf

from braggstream.api.frame_files import OnError, independent
from braggstream.api.understood import GeometryLike, geometry_of
from braggstream.model.errors import FrameError, UserError
from braggstream.model.frame import Frame
from braggstream.model.settings import FrameSettings, ZmqSourceSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.sources.series import frames_of_messages
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
        for message in frames_of_messages(source.messages(patience)):
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
