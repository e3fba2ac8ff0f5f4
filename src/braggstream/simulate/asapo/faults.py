"""Faults on demand, for tests of what has to bear them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from braggstream.simulate.asapo.http import Refused


@dataclass(slots=True)
class Counts:
    """Requests that came in, by what became of them."""

    served: int = 0
    failed: int = 0


class Faults:
    """What goes wrong at present with each HTTP request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status: int | None = None
        self._until = 0.0
        self._n_left: int | None = None
        self._delay_s = 0.0
        self._services: frozenset[str] = frozenset()
        self.counts = Counts()
        self.expired_protocols: frozenset[int] = frozenset()
        """Protocols that discovery calls out of date: 7 is that of the releases 24.11 and 25.3."""
        self.has_no_broker = False
        """Discovery knows no broker."""

    def answer_with(
        self, status: int, *, seconds: float | None = None, times: int | None = None, services: tuple[str, ...] = ()
    ) -> None:
        """Answer requests with an error status: for some time, some number of times, or until `heal`.

        `services` limits it to some of `discovery`, `authoriser`, `broker`, `file_transfer`.
        """
        with self._lock:
            self._status, self._n_left = status, times
            self._until = float("inf") if seconds is None else time.monotonic() + seconds
            self._services = frozenset(services)

    def delay(self, seconds: float) -> None:
        """Answer every request so much later."""
        with self._lock:
            self._delay_s = seconds

    def heal(self) -> None:
        """End all of it."""
        with self._lock:
            self._status, self._delay_s = None, 0.0

    @contextmanager
    def during(self, status: int, *, services: tuple[str, ...] = ()) -> Iterator[None]:
        """Answer requests with an error status inside the block."""
        self.answer_with(status, services=services)
        try:
            yield
        finally:
            self.heal()

    def strike(self, service: str) -> None:
        """Delay or refuse a request that has just come, where a fault is on."""
        with self._lock:
            delay, status = self._delay_s, self._status
            if time.monotonic() >= self._until or self._n_left == 0:
                status = None
            if self._services and service not in self._services:
                status = None
            if status is not None and self._n_left is not None:
                self._n_left -= 1
            self.counts.failed += status is not None
            self.counts.served += status is None
        if delay:
            time.sleep(delay)
        if status is not None:
            raise Refused(status, "out of order")
