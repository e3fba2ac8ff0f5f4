"""An outage of a service, as all threads that talk to it see it: told once, ridden out with growing pauses."""

import threading
from collections.abc import Callable
from time import monotonic

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
FIRST_NOTICE_S = 10.0


class Outage:
    """Counts how long a service has been away; thread-safe."""

    def __init__(self, who: str, say: Callable[[str], None]) -> None:
        self._who = who
        self._say = say
        self._lock = threading.Lock()
        self._since: float | None = None
        self._notice_s = 0.0
        self.n_outages = 0

    @property
    def is_on(self) -> bool:
        """Whether the last thing heard of the service was that it is away."""
        return self._since is not None

    def away(self, why: str, attempt: int, closing: threading.Event) -> None:
        """Tell that the service is away, where that is news, and pause; `attempt` counts from 0."""
        now = monotonic()
        with self._lock:
            if self._since is None:
                self._since, self._notice_s = now, FIRST_NOTICE_S
                self.n_outages += 1
                self._say(f"{self._who} is away ({why}); trying again.")
            elif now - self._since > self._notice_s:
                self._say(f"{self._who} has been away for {now - self._since:.0f} s ({why}); still trying.")
                self._notice_s *= 2
        closing.wait(min(FIRST_PAUSE_S * 2 ** min(attempt, 10), LONGEST_PAUSE_S))

    def back(self) -> None:
        """Tell that the service answers, where it was away."""
        with self._lock:
            if self._since is not None:
                self._say(f"{self._who} is back after {monotonic() - self._since:.1f} s.")
                self._since = None
