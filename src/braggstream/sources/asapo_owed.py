"""What a session waits for before it leaves a stream: missing messages, and those that another session owes."""

import threading
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from math import inf
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
TELL_S = 1.0
"""Those of a session that lives are owed for a short time only, and are not told."""
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
    """Messages that another session of the group took and has not acknowledged: it may have been killed.

    Those of one that lives vanish when it has processed them; those of one that was killed come again after the
    delay, and are waited for until then.
    """

    def __init__(self, group: str, delay_s: float, say: Callable[[str], None]) -> None:
        self._group = group
        self._limit_s = delay_s + MARGIN_S
        self._say = say
        self._lock = threading.Lock()
        self._streams: dict[str, _Owed] = {}
        self._is_able = True

    def are_awaited(self, client: AsapoClient, stream: str, mine: Container[int]) -> bool:
        """Ask whether messages of a stream, besides `mine`, may come again; the answer is kept a while."""
        with self._lock:
            owed = self._streams.setdefault(stream, _Owed())
            now = monotonic()
            if self._is_able and now - owed.checked >= CHECK_S:
                owed.checked = now
                self._check(client, stream, owed, mine)
            return self._is_able and owed.n_awaited > 0

    def _check(self, client: AsapoClient, stream: str, owed: "_Owed", mine: Container[int]) -> None:
        try:
            numbers = client.unacknowledged(stream, self._group)
        except (SourceError, UserError) as error:
            self._is_able = False
            self._say(f"ASAP::O cannot tell which messages are unacknowledged ({error}): none is waited for.")
            return
        now = monotonic()
        before = owed.since
        owed.since = {number: before.get(number, now) for number in numbers if number not in mine}
        ages = [now - since for since in owed.since.values()]
        owed.n_awaited = sum(age < self._limit_s for age in ages)
        n_old = sum(age > TELL_S for age in ages)
        if n_old and owed.n_awaited and not owed.is_told:
            owed.is_told = True
            self._say(
                f"Stream {stream}: {n_old} messages were handed out to group {self._group} before and are not "
                f"acknowledged; waiting up to {self._limit_s:.0f} s for them to come again."
            )
        if owed.is_told and ages and not owed.n_awaited:
            owed.is_told = False
            self._say(f"Stream {stream}: {len(ages)} unacknowledged messages did not come again.")


@dataclass(slots=True)
class _Owed:
    """What is known of one stream."""

    checked: float = -inf
    since: dict[int, float] = field(default_factory=dict)
    """When each message was first found to be owed [s, monotonic]."""
    n_awaited: int = 0
    is_told: bool = False
