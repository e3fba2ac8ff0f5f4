"""Frames among the messages of a socket, each with the start message of its series."""

from collections import deque
from collections.abc import Iterable, Iterator

from braggstream.formats.dectris import identify
from braggstream.formats.frame_parts import no_frame
from braggstream.formats.series_message import SeriesIdentity
from braggstream.model.frame import Message, SeriesStart

KEPT_STARTS = 4
"""So many series may take turns."""


def frames_of_messages(payloads: Iterable[memoryview]) -> Iterator[Message]:
    """Give the messages that are frames, numbered from 1; what ends a series and heartbeats are none."""
    starts: deque[tuple[SeriesIdentity, SeriesStart]] = deque(maxlen=KEPT_STARTS)
    """The latest first."""
    n_frames = n_starts = 0
    for payload in payloads:
        identity = identify(payload)
        if identity is not None and identity.kind == "start":
            n_starts += 1
            starts.appendleft((identity, SeriesStart(payload=bytes(payload), number=n_starts)))
        elif (identity is None or identity.kind == "image") and not no_frame(payload):
            n_frames += 1
            begun = (start for of, start in starts if identity is not None and of.is_of(identity))
            yield Message(payload=payload, serial=n_frames, start=next(begun, None))
