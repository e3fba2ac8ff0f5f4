"""A beamline that sends simulated frames over ZeroMQ at a chosen rate.

Frames are made before the first one is sent, so that the rate is the sender's and not the simulation's; when there
are more frames to send than were made, they come round again.

The end.  PUSH and PUB: the last frame has been handed to the socket, which is then given time to deliver it.  REP:
after the last frame the sender waits for one more request, which proves that the last reply has arrived, and leaves
it unanswered.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from braggstream.model.errors import UserError
from braggstream.simulate.payloads import Payload
from braggstream.simulate.settings import BeamlineSettings

HIGH_WATER_MARK = 32
"""Frames that wait inside the socket for a slow receiver."""

LINGER_MS = 10_000
END_PATIENCE_S = 10.0
SERIES_END_PATIENCE_S = 60.0
"""So long the end of a series is offered: whoever has taken the last frame may be gone."""
LATE_LIMIT_S = 0.25
"""A sender that has fallen further behind its schedule starts a new schedule instead of catching up."""

POLL_MS = 100
NOTICE_S = 60.0
"""After so long without a receiver one line says so; ten times as long until the next one."""

Message = bytes | list[bytes]


class Series(Protocol):
    """What belongs to a series beside its images."""

    def start(self, n_frames: int) -> Message:
        """The message before the first image; 0 images are without end."""

    def end(self) -> Message:
        """The message after the last image."""


KINDS = {"rep": zmq.REP, "pub": zmq.XPUB, "push": zmq.PUSH}
"""Socket types; an XPUB is a PUB that hears of its subscribers, so that the first frame can wait for one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What a sender has done."""

    n_frames: int
    seconds: float
    """From the first frame to the last [s]."""
    is_complete: bool
    """Whether all frames that were asked for have been sent."""


class Beamline:
    """One sender; binds at once, so that an address in use is known before frames are made.

    Raises `UserError` for an address that cannot be bound.
    """

    def __init__(self, settings: BeamlineSettings) -> None:
        self.settings = settings
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._say: Callable[[str], None] = lambda _line: None
        self._socket: Any = self._context.socket(KINDS[settings.socket])
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        try:
            self._socket.bind(settings.endpoint)
        except zmq.ZMQError as error:
            self.close(wait=False)
            raise UserError(f"--serve={settings.endpoint}: cannot be bound: {error.strerror}") from None

    @property
    def endpoint(self) -> str:
        """The address that was bound, with the real port."""
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def close(self, *, wait: bool = True) -> None:
        """Close the socket; frames that it still holds are delivered first, for a limited time, where `wait`."""
        self._socket.close(linger=LINGER_MS if wait else 0)
        self._context.term()

    def send(
        self,
        payloads: Sequence[Payload],
        should_stop: Callable[[], bool] = lambda: False,
        *,
        series: Series | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> Sent:
        """Send the frames in turn; returns when all are sent, when nobody takes them, or when told to stop.

        A series has a message before the first frame and one after the last.  `say` hears that nobody takes frames.
        """
        self._say = say
        if series is not None:
            start = series.start(self.settings.n_frames)
            if not (self._wait_for_receiver(should_stop, is_first=True) and self._deliver(start, should_stop)):
                return Sent(n_frames=0, seconds=0.0, is_complete=False)
        wanted = self.settings.n_frames
        schedule = Schedule(self.settings.rate)
        first = last = 0.0
        number = 0
        while not wanted or number < wanted:
            payload = payloads[number % len(payloads)]
            message = _with_metadata(payload.message(number), payload.metadata)
            if not self._wait_for_receiver(should_stop, is_first=number == 0 and series is None):
                break
            schedule.wait(should_stop)
            if should_stop() or not self._deliver(message, should_stop):
                break
            last = time.monotonic()
            first = first or last
            number += 1
        is_complete = bool(wanted) and number == wanted
        if series is not None:
            patience = min(self.settings.patience_s, SERIES_END_PATIENCE_S)
            if self._wait_for_receiver(should_stop, is_first=False, patience_s=patience):
                self._deliver(series.end(), should_stop, patience_s=patience)
        if is_complete and self.settings.socket == "rep":
            self._wait(zmq.POLLIN, END_PATIENCE_S, should_stop)
        return Sent(n_frames=number, seconds=last - first, is_complete=is_complete)

    def _wait_for_receiver(
        self, should_stop: Callable[[], bool], *, is_first: bool, patience_s: float | None = None
    ) -> bool:
        """REP: take a request.  PUB: before the first frame, wait for a subscription."""
        if self.settings.socket == "rep" or (self.settings.socket == "pub" and is_first):
            patience = self.settings.patience_s if patience_s is None else patience_s
            if not self._wait(zmq.POLLIN, patience, should_stop):
                return False
            self._socket.recv_multipart()
        return True

    def _deliver(
        self, message: Message, should_stop: Callable[[], bool], *, patience_s: float | None = None
    ) -> bool:
        """Hand a message to the socket; False where nobody takes it in time."""
        parts = message if isinstance(message, list) else [message]
        if self.settings.socket == "pub":
            parts = [self.settings.tag.encode(), *parts]
        patience = self.settings.patience_s if patience_s is None else patience_s
        while self._wait(zmq.POLLOUT, patience, should_stop):
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
            except zmq.Again:
                continue  # The receiver has gone in between.
            return True
        return False

    def _wait(self, event: int, patience_s: float, should_stop: Callable[[], bool]) -> bool:
        began = time.monotonic()
        deadline, notice_due = began + patience_s, began + NOTICE_S
        while not should_stop() and time.monotonic() < deadline:
            if self._socket.poll(POLL_MS, event):
                return True
            if time.monotonic() > notice_due:
                self._say(f"nobody has taken a frame for {time.monotonic() - began:.0f} s; still waiting")
                notice_due += 10.0 * NOTICE_S
        return False


def _with_metadata(message: Message, metadata: Mapping[str, object]) -> Message:
    """Put metadata, where there are such, into a part before the frame."""
    if not metadata or isinstance(message, list):
        return message
    return [json.dumps(metadata).encode(), message]


class Schedule:
    """Times at which frames are due; short delays are caught up, so that the mean rate is kept."""

    def __init__(self, rate: float) -> None:
        self._period = 1.0 / rate if rate else 0.0
        self._due: float | None = None

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Sleep until the next frame is due."""
        now = time.monotonic()
        if self._due is None or now - self._due > LATE_LIMIT_S:
            self._due = now
        while now < self._due and not should_stop():
            time.sleep(min(self._due - now, POLL_MS / 1000))
            now = time.monotonic()
        self._due += self._period
