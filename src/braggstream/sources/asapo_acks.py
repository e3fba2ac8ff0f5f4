"""Acknowledgements: sent by a thread of their own, and never before what they stand for has reached the disk."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from braggstream.model.errors import UserError
from braggstream.sources.asapo_client import AsapoClient, ServiceAway
from braggstream.sources.asapo_outage import Outage

Key = tuple[str, int]
Synced = Literal["done", "away", "lost"]
LOOK_AGAIN_S = 0.2
"""So soon it is looked again whether a file that was away is there."""


class Acknowledger:
    """Acknowledges messages in the order in which they were done; one flush of the disk covers many."""

    def __init__(self, client: AsapoClient, group: str, *, sync: Callable[[], Synced], outage: Outage) -> None:
        """Start the thread.

        `sync` waits until all that was written is on the disk, or raises `OSError`; where it answers `away`, it is
        asked again, and where `lost`, nothing that waits is acknowledged.
        """
        self._client = client
        self._group = group
        self._sync = sync
        self._keys: deque[Key] = deque()
        self._news = threading.Event()
        self._is_closing = False
        self._give_up = threading.Event()
        self._outage = outage
        self.withdrawn: Callable[[list[Key]], None] = lambda _keys: None
        """Is told, by the thread, of messages that are not acknowledged because their chunks may be gone."""
        self.n_done = 0
        """Messages that were acknowledged."""
        self.error: OSError | UserError | None = None
        """Why the disk could not be reached, or the service refuses; nothing is acknowledged after that."""
        self._thread = threading.Thread(target=self._run, name="asapo acknowledgements", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Messages that are not acknowledged yet."""
        return len(self._keys)

    def add(self, key: Key) -> None:
        """Have a message acknowledged."""
        self._keys.append(key)
        self._news.set()

    def close(self, patience_s: float) -> int:
        """Acknowledge what is left, for so long at most; gives how many could not be."""
        self._is_closing = True
        self._news.set()
        self._thread.join(patience_s)
        self._give_up.set()
        self._client.interrupt()
        self._thread.join(1.0)
        return len(self._keys)

    def _run(self) -> None:
        while not self._give_up.is_set():
            self._news.wait()
            self._news.clear()
            n_due = len(self._keys)
            synced = self._synced() if n_due else "done"
            if synced is None:
                return
            if synced == "lost":
                self.withdrawn([self._keys.popleft() for _ in range(n_due)])
                n_due = 0
            elif synced == "away":
                self._give_up.wait(LOOK_AGAIN_S)
                n_due = 0
            for _ in range(n_due):
                if not self._acknowledge(self._keys[0]):
                    return
                self._keys.popleft()
                self.n_done += 1
            if self._is_closing and not self._keys:
                return
            if self._keys:
                self._news.set()

    def _synced(self) -> Synced | None:
        """See whether all is on the disk; None where it cannot get there."""
        try:
            return self._sync()
        except OSError as error:
            self.error = error
            return None

    def _acknowledge(self, key: Key) -> bool:
        """Acknowledge one message, through outages; False when that was given up."""
        attempt = 0
        while not self._give_up.is_set():
            try:
                self._client.acknowledge(key[0], self._group, key[1])
            except UserError as error:
                self.error = error
                return False
            except ServiceAway as error:
                self._outage.away(str(error), attempt, self._give_up)
                attempt += 1
            else:
                self._outage.back()
                return True
        return False
