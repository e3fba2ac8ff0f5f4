"""The bytes of messages that ASAP::O has handed out: asked for until they come, or are known not to."""

import threading
from dataclasses import dataclass
from time import monotonic

from braggstream.sources.asapo_client import Announcement, AsapoClient, NoBytes, ServiceAway
from braggstream.sources.asapo_outage import Outage

PATIENCE_S = 30.0
"""So long bytes are asked for while the service answers otherwise."""

Key = tuple[str, int]
"""Stream and number of a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """A message that was received, or whose bytes could not be had."""

    announcement: Announcement
    payload: memoryview
    fault: str = ""

    @property
    def key(self) -> Key:
        """Stream and number."""
        return self.announcement.stream, self.announcement.number


class BytesFetcher:
    """Fetches bytes for all threads of a source."""

    def __init__(self, outage: Outage, stopping: threading.Event, *, max_bytes: int) -> None:
        self._outage = outage
        self._stopping = stopping
        self._max_bytes = max_bytes
        self._dead: set[object] = set()
        """Data servers that gave nothing for so long that the next message does not wait for them."""

    def fetch(self, client: AsapoClient, announcement: Announcement) -> Received | None:
        """Fetch a message's bytes, through outages; a fault where they cannot be had, None where we stop."""
        fault = announcement.fault
        if announcement.n_bytes > self._max_bytes:
            fault = f"the message has {announcement.n_bytes} bytes, at most {self._max_bytes} are taken"
        if fault:
            return Received(announcement=announcement, payload=memoryview(b""), fault=fault)
        attempt, started = 0, monotonic()
        while True:
            try:
                payload = client.data(announcement)
                self._outage.back()
                self._dead.discard(announcement.data_server)
                fault = "" if len(payload) else "the message has no data"
                return Received(announcement=announcement, payload=payload, fault=fault)
            except NoBytes as error:
                fault = f"its data are not to be had: {error}"
            except ServiceAway as error:
                if self._stopping.is_set():
                    return None
                fault = f"its data could not be fetched: {error}"
                if not _answers(client, announcement.stream):
                    started = monotonic()
                    self._outage.away(str(error), attempt, self._stopping)
                    attempt += 1
                    continue
                if monotonic() - started <= self._patience(announcement):
                    self._stopping.wait(min(0.1 * 2 ** min(attempt, 10), 5.0))
                    attempt += 1
                    continue
                self._dead.add(announcement.data_server)
            return Received(announcement=announcement, payload=memoryview(b""), fault=fault)

    def _patience(self, announcement: Announcement) -> float:
        return 0.0 if announcement.data_server in self._dead else PATIENCE_S


def _answers(client: AsapoClient, stream: str) -> bool:
    """Whether the service answers at all."""
    try:
        client.size(stream)
    except ServiceAway:
        return False
    return True
