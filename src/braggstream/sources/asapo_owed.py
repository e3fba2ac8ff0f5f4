"""What a session waits for before it leaves a stream: missing messages, and those that another session owes."""

import threading
from collections.abc import Callable, Container
from time import monotonic

from braggstream.model.errors import SourceError, UserError
from braggstream.sources.asapo_client import (
    Announcement,
    AsapoClient,
    EndOfStream,
    Hole,
    StreamFinished,
    Unreadable,
)

LOOK_AGAIN_S = (2.0, 10.0)
"""A missing message is asked for again so long after it was missed, and a last time before the session ends."""
CHECK_S = 2.0
"""Unacknowledged messages are asked for at most so often."""
MARGIN_S = 5.0
"""Beyond the delay after which they should come again, others' messages are waited for so long."""


class MissingMessages:
    """Numbers that were jumped over; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[tuple[str, int], list[float]] = {}
        """When each is asked for again [s, monotonic]."""
        self._asked: set[tuple[str, int]] = set()
        """Those that some thread asks for at present."""
        self._given_up: set[tuple[str, int]] = set()

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._due or key in self._asked or key in self._given_up

    def __bool__(self) -> bool:
        return bool(self._due or self._asked)

    def __len__(self) -> int:
        return len(self._due) + len(self._asked) + len(self._given_up)

    def add(self, stream: str, number: int) -> None:
        """Take note of a message that is missing."""
        now = monotonic()
        with self._lock:
            self._due.setdefault((stream, number), [now + pause for pause in LOOK_AGAIN_S])

    def ask_now(self) -> None:
        """Have all of them asked for at once, for the last time."""
        with self._lock:
            for times in self._due.values():
                times[:] = [0.0]

    def found(self, client: AsapoClient) -> Announcement | None:
        """Ask for one whose time has come; gives it if it is there by now."""
        now = monotonic()
        with self._lock:
            key = next((key for key, times in self._due.items() if times[0] <= now), None)
            if key is None:
                return None
            times = self._due.pop(key)
            self._asked.add(key)
        try:
            found = client.by_number(*key)
            times = []
            return found
        except (Hole, EndOfStream, StreamFinished, Unreadable):
            times = times[1:]
            if not times:
                self._given_up.add(key)
            return None
        finally:
            with self._lock:
                self._asked.discard(key)
                if times:
                    self._due[key] = times


class OwedMessages:
    """Messages that another session of the group took and has not acknowledged: it may have been killed."""

    def __init__(self, group: str, delay_s: float, say: Callable[[str], None]) -> None:
        self._group = group
        self._delay_s = delay_s
        self._say = say
        self._checked: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._is_able = True
        self._lock = threading.Lock()

    def are_awaited(self, client: AsapoClient, stream: str, mine: Container[int]) -> bool:
        """Ask whether messages of a stream, besides `mine`, may come again; the answer is kept a while."""
        with self._lock:
            return self._ask(client, stream, mine)

    def _ask(self, client: AsapoClient, stream: str, mine: Container[int]) -> bool:
        now = monotonic()
        if not self._is_able or stream in self._given_up:
            return False
        if now - self._checked.get(stream, -CHECK_S) < CHECK_S:
            return stream in self._since
        self._checked[stream] = now
        try:
            n_owed = sum(number not in mine for number in client.unacknowledged(stream, self._group))
        except (SourceError, UserError) as error:
            self._is_able = False
            self._say(f"ASAP::O cannot tell which messages are unacknowledged ({error}): none is waited for.")
            return False
        return self._judge(stream, n_owed, now)

    def _judge(self, stream: str, n_owed: int, now: float) -> bool:
        if not n_owed:
            self._since.pop(stream, None)
            return False
        if stream not in self._since:
            self._since[stream] = now
            self._say(
                f"Stream {stream}: {n_owed} messages were handed out to group {self._group} before and are not "
                f"acknowledged; waiting up to {self._delay_s + MARGIN_S:.0f} s for them to come again."
            )
        if now - self._since[stream] < self._delay_s + MARGIN_S:
            return True
        del self._since[stream]
        self._given_up.add(stream)
        self._say(f"Stream {stream}: {n_owed} unacknowledged messages did not come again.")
        return False
