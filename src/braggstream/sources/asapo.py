"""Frames from ASAP::O: threads that ask for the group's next message, each a consumer of its own.

The official client waits inside its calls and lets other threads run meanwhile.  Each thread asks for a message,
fetches its bytes and leaves both in a short queue; nobody takes more than there is room for.  Nothing is taken
twice: a message that the service hands out again, because it was not acknowledged in time, is known by its stream
and its number.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from braggstream.model.settings import AsapoSourceSettings
from braggstream.sources.asapo_bytes import BytesFetcher, Key, Received
from braggstream.sources.asapo_client import (
    FINISH_MARK,
    Announcement,
    AsapoClient,
    EndOfStream,
    Hole,
    ServiceAway,
    StreamFinished,
    Unreadable,
)
from braggstream.sources.asapo_order import StreamOrder
from braggstream.sources.asapo_outage import Outage
from braggstream.sources.asapo_owed import MissingMessages, OwedMessages
from braggstream.sources.seen_numbers import SeenNumbers

RESEND_ATTEMPTS = 3
"""A message that is not acknowledged comes so many times again, as with CrystFEL."""
LIST_S, BUSY_LIST_S = 0.5, 5.0
"""The streams of the source are listed at most so often, at the end of a stream and while one is read."""
IDLE_S = 0.1
"""Pause where there is nothing to ask for, or another thread asks already."""
JOIN_S = 5.0
MAX_TOLD = 5
"""So many records that cannot be read are told one by one."""
STACK_BYTES = 1 << 28
"""The client walks through nested metadata on the stack, without a bound: there is room for a million levels."""


class AsapoSource:
    """All consumers of one session."""

    def __init__(
        self,
        settings: AsapoSourceSettings,
        *,
        n_threads: int,
        max_message_bytes: int,
        known: Mapping[str, SeenNumbers],
        say: Callable[[str], None],
        wake: Callable[[], None],
    ) -> None:
        """Make the consumers, which ask nobody yet; raises `UserError`.

        Parameters
        ----------
        known
            Messages by stream that are not to be taken: their chunks are in the stream file already.
        wake
            Called, from any thread, when there is something new.
        """
        self._settings = settings
        self._say = say
        self._wake = wake
        self._known = known
        self._stopping = threading.Event()
        """Set when no more is to be asked for."""
        self._lock = threading.RLock()
        """For all that the threads share, below."""
        self._room = threading.Semaphore(n_threads)
        self._listing = threading.Lock()
        self._polling = threading.Lock()
        """Held by the one thread that asks where nothing is to be expected."""
        self.outage = Outage(f"ASAP::O at {settings.service.endpoint}", say)
        """What acknowledgements share with it."""
        self._fetcher = BytesFetcher(self.outage, self._stopping, max_bytes=max_message_bytes)
        self._order = StreamOrder(settings.stream, follow=settings.follow)
        self._missing = MissingMessages()
        self._owed = OwedMessages(settings.group, settings.resend_delay_s, say)
        self._seen: dict[str, SeenNumbers] = {}
        self._left_out: dict[str, SeenNumbers] = {}
        self._in_hand: set[Key] = set()
        self._received: deque[Received] = deque()
        self._listed_at = 0.0
        self._end_since: float | None = None
        self._told = ""
        self._finished: dict[str, tuple[int, str]] = {}
        self._n_running = 0
        self._n_unreadable = 0
        self.to_acknowledge: deque[Key] = deque()
        """Messages that are done with although they were not taken now."""
        self.n_again = 0
        """Messages that came again and were not taken a second time."""
        self.error: BaseException | None = None
        """What ended a thread."""
        self._is_over = False
        self._clients = [self._client() for _ in range(n_threads)]

    @property
    def n_missing(self) -> int:
        """Messages that the service should have and has never given."""
        return len(self._missing) + self._n_unreadable

    @property
    def n_known(self) -> int:
        """Messages that were not taken because the stream file holds them."""
        with self._lock:
            return sum(map(len, self._left_out.values()))

    @property
    def is_ended(self) -> bool:
        """Whether there is nothing to take, and never will be."""
        return self._is_over and not self._n_running and not self._received

    def start(self) -> None:
        """Begin to ask."""
        self._n_running = len(self._clients)
        usual = threading.stack_size(STACK_BYTES)
        try:
            for number, client in enumerate(self._clients):
                name = f"asapo consumer {number}"
                thread = threading.Thread(target=self._run, args=(client,), name=name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # Where address space is rationed a usual stack has to do.
                    threading.stack_size(usual)
                    thread.start()
        finally:
            threading.stack_size(usual)

    def take(self) -> Received | None:
        """Take a message that has been received; None where there is none."""
        if not self._received:
            return None
        self._room.release()
        return self._received.popleft()

    def settled(self, key: Key) -> None:
        """Hear that a message is done with."""
        with self._lock:
            self._in_hand.discard(key)

    def unsettled(self, keys: Iterable[Key]) -> None:
        """Hear, from any thread, that messages are not done with after all: their chunks are gone."""
        with self._lock:
            self._in_hand.update(keys)

    def streams(self) -> dict[str, dict[str, int]]:
        """Give, for each stream that was read, how many messages were taken and the highest of them."""
        with self._lock:
            return {name: {"taken": len(seen), "highest": seen.highest} for name, seen in self._seen.items()}

    def finished(self) -> dict[str, tuple[int, str]]:
        """Give last message and successor of each stream that was finished."""
        with self._lock:
            return dict(self._finished)

    @property
    def silent_s(self) -> float:
        """How long the service has kept a thread waiting for an answer [s]."""
        asked = [client.asked_at for client in self._clients]
        return max((monotonic() - at for at in asked if at is not None), default=0.0)

    @property
    def is_asking(self) -> bool:
        """Whether a thread may still leave a message."""
        return bool(self._n_running)

    @property
    def has_received(self) -> bool:
        """Whether there is a message to take."""
        return bool(self._received)

    def stop_asking(self) -> None:
        """Ask for no more messages; those on their way are left to be taken."""
        self._stopping.set()

    def close(self) -> list[Key]:
        """Stop; gives all messages that were taken from the service and are not settled."""
        self._stopping.set()
        for client in self._clients:
            client.interrupt()
        deadline = monotonic() + JOIN_S + self._settings.timeout_s
        while self._n_running and monotonic() < deadline:
            threading.Event().wait(0.01)
        with self._lock:
            return sorted(self._in_hand)

    # ---- the threads ---------------------------------------------------------------------------------------

    def _client(self) -> AsapoClient:
        client = AsapoClient(self._settings.service, timeout_s=self._settings.timeout_s)
        if self._settings.acks:
            client.resend(self._settings.resend_delay_s, RESEND_ATTEMPTS)
        return client

    def _run(self, client: AsapoClient) -> None:
        attempt = 0
        try:
            while not self._stopping.is_set() and not self._is_over:
                if not self._room.acquire(timeout=IDLE_S):
                    continue
                is_kept = False
                try:
                    is_kept = self._turn(client)
                    attempt = 0
                except ServiceAway as error:
                    self._ride_out(error, attempt)
                    attempt += 1
                finally:
                    if not is_kept:
                        self._room.release()
        except BaseException as error:
            self.error = self.error or error
            self._stopping.set()
        finally:
            with self._lock:
                self._n_running -= 1
            self._wake()

    def _ride_out(self, error: ServiceAway, attempt: int) -> None:
        if not self._stopping.is_set():
            self._end_since = None  # Nobody knows whether this is the end.
            self.outage.away(str(error), attempt, self._stopping)

    def _turn(self, client: AsapoClient) -> bool:
        """Ask for a message; gives whether one was left in the queue."""
        self._list_streams(client)
        announcement = self._missing.found(client)
        if announcement is None:
            with self._lock:
                stream = self._order.current()
                is_flowing = stream is not None and self._order[stream].has_more
            if is_flowing:
                assert stream is not None
                announcement = self._ask(client, stream)
            else:
                announcement = self._poll(client, stream)
        return announcement is not None and self._keep(client, announcement)

    def _poll(self, client: AsapoClient, stream: str | None) -> Announcement | None:
        """Ask where nothing is expected; one thread is enough for that."""
        if not self._polling.acquire(blocking=False):
            self._stopping.wait(IDLE_S)
            return None
        try:
            started = monotonic()
            announcement = None if stream is None else self._ask(client, stream)
            if announcement is None:
                self._conclude(client)
                self._stopping.wait(max(0.0, IDLE_S - (monotonic() - started)))
            return announcement
        finally:
            self._polling.release()

    def _ask(self, client: AsapoClient, stream: str) -> Announcement | None:
        """Ask for a stream's next message; what is said in its place is taken note of."""
        self._tell_stream(stream)
        announcement = None
        try:
            announcement = client.next(stream, self._settings.group)
        except EndOfStream as end:
            self._heed_owed(client, stream)
            with self._lock:
                self._order.at_end(stream, end.id_max)
        except StreamFinished as end:
            self._finish(client, stream, end)
        except Hole as hole:
            self._missing.add(stream, hole.number)
        except Unreadable as error:
            self._count_unreadable(stream, error)
        self.outage.back()
        return announcement

    def _count_unreadable(self, stream: str, error: Unreadable) -> None:
        with self._lock:
            self._n_unreadable += 1
            is_told = self._n_unreadable <= MAX_TOLD
        if is_told:
            self._say(f"Stream {stream}: a message is lost, its record cannot be read: {error}")

    def _finish(self, client: AsapoClient, stream: str, end: StreamFinished) -> None:
        self._heed_owed(client, stream)
        with self._lock:
            self._order.at_end(stream, end.id_max)
            is_news = self._order.finish(stream, end.successor)
            self._finished[stream] = (end.id_max, end.successor)
        if is_news:
            after = f"; {end.successor} follows" if end.successor else ""
            self._say(f"Stream {stream} is finished, at message {end.id_max}{after}.")

    def _heed_owed(self, client: AsapoClient, stream: str) -> None:
        """See whether messages may come again that a session took which was killed."""
        if self._settings.acks:
            is_owed = self._owed.are_awaited(client, stream, _Mine(self, stream))
            with self._lock:
                self._order[stream].is_owed = is_owed

    def _list_streams(self, client: AsapoClient) -> None:
        """Look for new streams, where all of a source are read."""
        if not self._order.is_listing or not self._listing.acquire(blocking=False):
            return
        try:
            now = monotonic()
            if now - self._listed_at >= (BUSY_LIST_S if self._is_flowing() else LIST_S):
                infos = client.streams()
                self.outage.back()
                with self._lock:
                    self._order.listed(infos)
                    self._listed_at = now
        finally:
            self._listing.release()

    def _is_flowing(self) -> bool:
        with self._lock:
            return any(self._order[name].has_more for name in self._order.names)

    def _conclude(self, client: AsapoClient) -> None:
        """End the session where nothing more can come, or nothing has come for too long."""
        with self._lock:
            is_owed = any(self._order[name].is_owed for name in self._order.names)
            if is_owed or (self._settings.wait_for_stream and self._order.is_empty):
                self._end_since = None
                return
            now = monotonic()
            if self._end_since is None:
                self._end_since = now
            is_late = now - self._end_since >= self._settings.no_data_timeout_s
            is_listed = not self._order.is_listing or self._listed_at >= self._end_since
            if not self._order.is_over and not (is_late and is_listed):
                return
        if self._missing:
            self._missing.ask_now()
            return
        if not self._order.is_over:
            self._say(f"No message for {self._settings.no_data_timeout_s:g} s (--no-data-timeout): ending.")
        self._is_over = True

    def _tell_stream(self, stream: str) -> None:
        with self._lock:
            if stream == self._told:
                return
            self._told = stream
        self._say(f"Reading stream {stream}.")

    # ---- one message ---------------------------------------------------------------------------------------

    def _keep(self, client: AsapoClient, announcement: Announcement) -> bool:
        """Fetch a message and leave it in the queue, unless it was here before; gives whether it was left there."""
        with self._lock:
            self._end_since = None
            if not self._is_new(announcement):
                return False
        received = self._fetcher.fetch(client, announcement)
        if received is None:
            return False
        self._received.append(received)
        self._wake()
        return True

    def _is_new(self, announcement: Announcement) -> bool:
        """Whether a message is to be taken; one that came again is acknowledged where it is done with."""
        stream, number = key = (announcement.stream, announcement.number)
        self._order.received(stream, number)
        if announcement.name == FINISH_MARK:
            self.to_acknowledge.append(key)
            return False
        if number in self._known.get(stream, ()):
            self._acknowledge_known(stream, number)
            return False
        if not self._seen.setdefault(stream, SeenNumbers()).add(number):
            self.n_again += 1
            if key not in self._in_hand:
                self.to_acknowledge.append(key)
            return False
        self._in_hand.add(key)
        return True

    def _acknowledge_known(self, stream: str, number: int) -> None:
        """Have a message acknowledged whose chunk is in the stream file from an earlier session."""
        if self._left_out.setdefault(stream, SeenNumbers()).add(number):
            self.to_acknowledge.append((stream, number))

    def is_mine(self, stream: str, number: int) -> bool:
        """Whether a message was taken here, is in the stream file, or is missing; asks for its acknowledgement."""
        if number in self._known.get(stream, ()):
            with self._lock:
                self._acknowledge_known(stream, number)
            return True
        return number in self._seen.get(stream, ()) or (stream, number) in self._missing


class _Mine:
    """The messages of one stream that nobody else owes."""

    def __init__(self, source: AsapoSource, stream: str) -> None:
        self._source = source
        self._stream = stream

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self._source.is_mine(self._stream, number)
