"""Frames from a ZeroMQ socket: asked for one by one, broadcast, or pushed.

The socket connects and never binds.  Nothing here waits: the caller polls `socket` and `monitor`, and then calls
`turn` and `receive`.

Asking speaks the protocol of a REQ socket through a DEALER socket, which on the wire is the same.  A REQ socket has
to be thrown away when a reply does not come, and the sender's late reply then goes nowhere: a frame lost after each
long silence.  Here the connection stays, every reply is taken, and a question is only repeated where its reply can
no longer be expected: at once when the connection broke, else after growing intervals.

Several questions may be under way, as many as workers (the reference's workers ask one each): the sender never
waits for us to ask, and the next frame travels while this one is processed.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from braggstream.formats.frame_parts import SHORT_BYTES, frames_in, is_frame
from braggstream.formats.parts import MAX_PARTS, refused_parts
from braggstream.model.errors import UserError
from braggstream.model.settings import ZmqSourceSettings

MAX_RETRY_S = 300.0
"""A question is repeated at least so often while nothing comes."""
SHORT_PAUSE_S = 0.1
"""After a short reply, which says that there is no frame, the next question waits so long."""
SILENCE_S = 10.0
"""The first notice that nothing arrives comes after so long; the following ones at growing intervals."""
PULL_AHEAD = 2
"""Messages that ZeroMQ may hold beyond those in slots: they are lost if the program is killed."""
MIN_BROADCAST_AHEAD = 16

KEEPALIVE = {"TCP_KEEPALIVE": 1, "TCP_KEEPALIVE_IDLE": 30, "TCP_KEEPALIVE_INTVL": 10, "TCP_KEEPALIVE_CNT": 3}
ENDED = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
TRYING = zmq.EVENT_CONNECT_DELAYED | zmq.EVENT_CONNECT_RETRIED
EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | ENDED | TRYING
GIVEN_UP_S = 0.5
"""ZeroMQ that does not try to connect again so long after a connection has ended never does [s]."""


class ZmqSource:
    """One socket, of the kind that the settings choose."""

    def __init__(
        self,
        settings: ZmqSourceSettings,
        *,
        max_message_bytes: int,
        n_slots: int,
        say: Callable[[str], None],
        n_questions: int = 1,
    ) -> None:
        self._settings = settings
        self._say = say
        self._n_questions = n_questions
        self._tags = sorted((tag.encode() for tag in settings.subscribe), key=len, reverse=True)
        self._ahead = PULL_AHEAD if settings.pull else max(MIN_BROADCAST_AHEAD, n_slots)
        self._max_message_bytes = max_message_bytes
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 16)
        self._socket: zmq.Socket[bytes] | None = None
        self._held: deque[memoryview] = deque()
        """Frames that are here already: other parts of a message, or what was given back."""
        self._n_ignored = 0
        self._is_stopping = False
        self._monitor: Any = None
        self._is_connected = False
        self._asked: list[float] = []
        """When each question whose reply is expected was sent [s, monotonic]."""
        self._retry_s = settings.reply_timeout_s
        self._pause_until = 0.0
        self._ended_at = inf
        """When a connection ended that ZeroMQ does not try to make again, as far as is known [s, monotonic]."""
        self._heard = monotonic()
        self._silence_s = SILENCE_S
        try:
            self._check_endpoint()
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> tuple[Any, ...]:
        """What to poll for reading: messages, and news of the connection."""
        return (self._socket, self._monitor) if self._socket is not None else ()

    @property
    def socket(self) -> Any:
        """The socket on which messages arrive; None before `open`."""
        return self._socket

    @property
    def is_asking(self) -> bool:
        """Whether each message has to be asked for."""
        return self._settings.request is not None

    @property
    def n_expected(self) -> int:
        """Replies that are under way, as far as is known."""
        return len(self._asked)

    def stop_asking(self) -> None:
        """Send no more questions; replies to those under way are still taken, and frames that are here already."""
        self._n_questions = 0
        self._is_stopping = True

    def open(self) -> None:
        """Connect; from now on the sender may send.  Nothing happens where that was done before."""
        if self._socket is not None:
            return
        chosen = self._settings
        kind = zmq.DEALER if self.is_asking else zmq.PULL if chosen.pull else zmq.SUB
        socket = self._context.socket(kind)
        self._socket = socket
        socket.linger = 0
        socket.set(zmq.MAXMSGSIZE, self._max_message_bytes)
        for name, value in KEEPALIVE.items():
            socket.set(getattr(zmq, name), value)
        if not self.is_asking:
            socket.set(zmq.RCVHWM, self._ahead)
        for tag in self._tags:
            socket.subscribe(tag)
        self._monitor = socket.get_monitor_socket(EVENTS)
        socket.connect(chosen.endpoint)
        self._heard = monotonic()
        self._say(f"Connecting to {chosen.endpoint} ({self._kind()}).")

    def close(self) -> None:
        """Disconnect; messages that were not received are gone."""
        if self._socket is not None:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._socket.close()
            self._socket = None
        self._context.term()

    def turn(self, *, n_room: int) -> None:
        """Hear about the connection; ask for as many messages as there is room for; tell of long silence."""
        now = monotonic()
        self._hear_connection()
        if now - self._ended_at > GIVEN_UP_S:
            self._connect_anew()
        if n_room and self.is_asking:
            self._ask(now, min(n_room, self._n_questions))
        if not n_room:
            self._heard = now  # It is we who let the sender wait.
        elif now - self._heard > self._silence_s:
            self._say(f"No frame from {self._settings.endpoint} for {now - self._heard:.0f} s; still waiting.")
            self._silence_s *= 2

    def deadline(self) -> float:
        """Give the time of the next `turn` that is not caused by a message [s, monotonic]."""
        if self._held:
            return 0.0
        silence = min(self._heard + self._silence_s, self._ended_at + GIVEN_UP_S)
        if not self.is_asking or not self._is_connected:
            return silence
        if not self._asked:
            return min(silence, self._pause_until)
        return min(silence, max(self._heard, self._asked[-1]) + self._retry_s)

    @property
    def n_held(self) -> int:
        """Frames that have arrived and can be received without the socket."""
        return len(self._held)

    def ignored_parts(self) -> int:
        """Count the parts behind frames that were none, since this was last asked."""
        n_ignored, self._n_ignored = self._n_ignored, 0
        return n_ignored

    def receive(self) -> memoryview | None:
        """Take a frame that has arrived, without its tag; None where there is none."""
        assert self._socket is not None
        if self._held:
            return self._held.popleft()
        if self._is_stopping and not self.is_asking:
            return None
        try:
            parts = self._receive_parts(self._socket)
        except zmq.Again:
            return None
        self._heard, self._silence_s = monotonic(), SILENCE_S
        frames, n_ignored = frames_in([self._untagged(part, is_alone=len(parts) == 1) for part in parts])
        self._n_ignored += n_ignored
        self._held.extend(frames[1:])
        if self.is_asking:
            if self._asked:
                self._asked.pop(0)
            self._retry_s = self._settings.reply_timeout_s
            if len(frames[0]) <= SHORT_BYTES:
                self._pause_until = self._heard + SHORT_PAUSE_S
        return frames[0]

    def _receive_parts(self, socket: "zmq.Socket[bytes]") -> list[memoryview]:
        """Receive a message whole; where it has too many parts or they are too large, it is refused."""
        parts: list[memoryview] = []
        n_bytes = 0
        is_refused = False
        while True:
            part = socket.recv(zmq.NOBLOCK, copy=False)
            n_bytes += len(part)
            is_refused = is_refused or len(parts) >= MAX_PARTS or n_bytes > self._max_message_bytes
            parts = [] if is_refused else [*parts, part.buffer]
            if not part.more:
                return [memoryview(refused_parts())] if is_refused else parts

    def give_back(self, payload: memoryview | bytes) -> None:
        """Give a message back: it is received again, before all others."""
        self._held.appendleft(memoryview(payload))

    def messages(self, patience: float = inf) -> Iterator[memoryview]:
        """Give messages as they arrive, until none came for so long [s]."""
        last = monotonic()
        while monotonic() - last < patience:
            self.turn(n_room=1)
            poller = zmq.Poller()
            for socket in self.sockets:
                poller.register(socket, zmq.POLLIN)
            due = min(self.deadline(), last + patience)
            poller.poll(None if due == inf else max(0, int(1000.0 * (due - monotonic())) + 1))
            self.turn(n_room=1)
            while (payload := self.receive()) is not None:
                yield payload
                last = monotonic()

    def _untagged(self, payload: memoryview, *, is_alone: bool) -> memoryview:
        """Cut off a tag that is glued to the front of a frame; what is a frame as it stands has none."""
        for tag in self._tags:
            if (
                tag
                and payload[: len(tag)].tobytes() == tag
                and not (bytes(payload[:1]) == b"{" or is_frame(payload))
            ):
                rest = payload[len(tag) :]
                return rest if is_alone or is_frame(rest) else payload
        return payload

    def _ask(self, now: float, n_wanted: int) -> None:
        assert self._socket is not None
        if not (n_wanted and self._is_connected) or now < self._pause_until:
            return
        if self._asked and now - max(self._heard, self._asked[-1]) >= self._retry_s:
            if self._socket.poll(0):
                return  # A late reply is here.
            self._say(f"No reply from {self._settings.endpoint} for {now - self._heard:.0f} s; asking again.")
            self._retry_s = min(2.0 * self._retry_s, MAX_RETRY_S)
            self._asked.clear()  # A late reply is still a frame, but none is counted on any more.
            n_wanted = 1
        request = self._settings.request
        assert request is not None
        with contextlib.suppress(zmq.Again):
            while len(self._asked) < n_wanted:
                self._socket.send_multipart([b"", request.encode()], zmq.NOBLOCK)
                self._asked.append(now)

    def _hear_connection(self) -> None:
        """Take note of connections made and lost; the replies to earlier questions do not survive a loss."""
        while self._monitor is not None and self._monitor.get(zmq.EVENTS) & zmq.POLLIN:
            event = recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
            self._ended_at = monotonic() if event & ENDED else inf
            if event & TRYING:
                continue
            was_connected, self._is_connected = self._is_connected, event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if self._is_connected:
                self._say(f"Connected to {self._settings.endpoint}.")
            elif was_connected:
                self._say(f"Lost the connection to {self._settings.endpoint}; connecting again.")
                self._asked.clear()
                self._retry_s = self._settings.reply_timeout_s

    def _connect_anew(self) -> None:
        """Connect where ZeroMQ has given up, as it does for good when what comes breaks its protocol."""
        assert self._socket is not None
        endpoint = self._settings.endpoint
        self._say(f"What came from {endpoint} is no ZeroMQ, or larger than a frame may be; connecting again.")
        self._ended_at = inf
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(endpoint)
        self._socket.connect(endpoint)

    def _kind(self) -> str:
        if self.is_asking:
            return f"REQ, asking with {self._settings.request!r}"
        if self._settings.pull:
            return "PULL"
        return "SUB, subscribed to " + ", ".join(repr(tag) for tag in self._settings.subscribe)

    def _check_endpoint(self) -> None:
        """Let ZeroMQ judge the address, with a kind of socket to which no sender gives a frame."""
        with self._context.socket(zmq.PAIR) as socket:
            socket.linger = 0
            try:
                socket.connect(self._settings.endpoint)
            except zmq.ZMQError as error:
                raise UserError(
                    f"--zmq-input={self._settings.endpoint}: {error.strerror}: "
                    "expected an address such as tcp://127.0.0.1:5002"
                ) from error
