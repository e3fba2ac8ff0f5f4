"""When the sender of a broadcast is faster than the workers: the newest frames are processed, the others counted.

A broadcast cannot be told to wait.  Left alone, ZeroMQ's queues fill up with frames that are old when they are
processed, and the sender drops others, which nobody counts.  Here every message is taken from the socket at once;
a worker that gets free is given the newest one, and what is pushed out at the old end is a row of the ledger.

Which frames are processed depends on when they came and on nothing that is in them.  A hit keeps its worker busy
for longer, though, which `pipeline.sampled_rates` makes up for.
"""

from collections import deque
from typing import Any

from braggstream.formats.wire import MessageTask, Task
from braggstream.run.intake import MessageIntake
from braggstream.run.series import SeriesKeeper
from braggstream.run.slots import SlotMemory
from braggstream.sources.zmq import ZmqSource

MIN_WAITING = 64
"""So many frames may wait, so that a short delay of the workers costs none."""
MOST_WAITING_BYTES = 1 << 30
"""Fewer wait where they are so large that they would take more memory."""
DRAINED_AT_ONCE = 64
"""So many messages are taken before workers are looked after again."""


class SampledIntake(MessageIntake):
    """Takes every message; hands out the newest ones, when workers are free."""

    keeps_newest = True

    def __init__(
        self,
        source: ZmqSource,
        memory: SlotMemory,
        *,
        n_slots: int,
        serial_start: int,
        series: SeriesKeeper | None = None,
    ) -> None:
        super().__init__(source, memory, n_slots=n_slots, serial_start=serial_start, series=series)
        self._waiting: deque[tuple[int, memoryview]] = deque()
        """Serial numbers and messages, the oldest first; they lie where ZeroMQ has put them."""
        self._n_bytes = 0
        self._most_waiting = max(MIN_WAITING, n_slots)

    def pollables(self) -> list[Any]:
        """Give the socket and the news of the connection: there is always room."""
        return list(self._source.sockets) if self._is_open else []

    def deadline(self) -> float:
        """Give the time at which silence has to be told."""
        return self._source.deadline() if self._is_open else float("inf")

    def take(self, n_wanted: int) -> list[Task]:
        """Take all messages that are here; give the newest ones, as many as there are free workers."""
        self._source.turn(n_room=1)
        self._drain()
        tasks: list[Task] = []
        while self._waiting and self._free and len(tasks) < n_wanted:
            serial, payload = self._waiting.pop()
            self._n_bytes -= len(payload)
            slot = self._free.pop()
            task = MessageTask(serial=serial, slot=slot, n_bytes=self._memory.fill(slot, payload))
            tasks.append(self._referring(task))
        return tasks

    def wind_down(self) -> None:
        """Leave out what waits: the run is about to end."""
        super().wind_down()
        while self._waiting:
            self._leave_oldest()

    def _drain(self) -> None:
        for _ in range(DRAINED_AT_ONCE):
            payload = self._source.receive()
            if payload is None:
                return
            if self._series is not None and self._series.has_room and self._series.take(payload):
                while self._waiting:  # They belong to the series before.
                    self._leave_oldest()
                continue
            self._waiting.append((self._serial, payload))
            self._serial += 1
            self._n_bytes += len(payload)
            while len(self._waiting) > self._most_waiting or (
                len(self._waiting) > 1 and self._n_bytes > MOST_WAITING_BYTES
            ):
                self._leave_oldest()

    def _leave_oldest(self) -> None:
        _, payload = self._waiting.popleft()
        self._n_bytes -= len(payload)
        self._n_sampled_out += 1
