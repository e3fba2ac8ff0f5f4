"""A socket that is open before the session is: its first message tells the geometry."""

from collections.abc import Callable
from dataclasses import dataclass

from braggstream.formats.dectris import kind_of, read_series_message
from braggstream.formats.dectris_geometry import start_geometry
from braggstream.formats.series_message import SeriesMessage
from braggstream.model.errors import FrameError
from braggstream.model.geometry import Geometry
from braggstream.model.settings import FrameSettings, RunSettings, ZmqSourceSettings
from braggstream.sources.zmq import ZmqSource

SLOTS_A_WORKER = 2
"""One message is processed while the next one arrives."""
MIN_QUESTIONS = 2
"""So many questions may be under way even for one worker: a sender that is asked never waits for the next one."""


@dataclass(frozen=True, slots=True)
class BegunSource:
    """A socket and what it was made from."""

    settings: ZmqSourceSettings
    socket: ZmqSource


def n_slots_for(run: RunSettings) -> int:
    """How many messages a session holds at the same time."""
    return SLOTS_A_WORKER * run.n_workers + 1


def open_socket(
    settings: ZmqSourceSettings, frame: FrameSettings, run: RunSettings, say: Callable[[str], None]
) -> ZmqSource:
    """Make the socket of a session; it is not connected yet."""
    return ZmqSource(
        settings,
        max_message_bytes=frame.max_message_bytes,
        n_slots=n_slots_for(run),
        say=say,
        n_questions=max(MIN_QUESTIONS, run.n_workers),
    )


def begin_series(
    settings: ZmqSourceSettings, frame: FrameSettings, run: RunSettings, say: Callable[[str], None]
) -> tuple[Geometry, BegunSource]:
    """Connect and make a geometry of the first start message; raises `UserError` where it tells too little."""
    socket = open_socket(settings, frame, run, say)
    try:
        say("No geometry was given: waiting for a start message to make one from.")
        return start_geometry(wait_for_start(socket, say)), BegunSource(settings, socket)
    except BaseException:
        socket.close()
        raise


def wait_for_start(socket: ZmqSource, say: Callable[[str], None]) -> SeriesMessage:
    """Wait for a start message, and give it back to the socket.

    Messages that come before it cannot be processed without a geometry: they are left out, and told.
    """
    socket.open()
    n_left_out = 0
    for payload in socket.messages():
        if kind_of(payload) == "start":
            try:
                start = read_series_message(bytes(payload))
            except FrameError as error:
                say(f"A start message was left out: {error}")
                continue
            if n_left_out:
                say(f"{n_left_out} messages came before the first start message and were left out.")
            socket.give_back(bytes(payload))
            return start
        n_left_out += 1
        if n_left_out == 1:
            say("Messages come that are no start message: they are left out until the next series begins.")
    raise AssertionError("a socket without end has ended")
