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
from braggstream.run.left_out import LeftOut
from braggstream.run.series import SeriesKeeper
from braggstream.run.slots import SlotMemory
from braggstream.sources.zmq import ZmqSource

NO_SLOT = -1
"""In tasks whose message is not in shared memory yet."""
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
        left_out: LeftOut | None = None,
    ) -> None:
        super().__init__(
            source, memory, n_slots=n_slots, serial_start=serial_start, series=series, left_out=left_out
        )
        self._waiting: deque[tuple[MessageTask, memoryview]] = deque()
        """Tasks without a slot and their messages, the oldest first; these lie where ZeroMQ has put them."""
        self._n_bytes = 0
        self._most_waiting = max(MIN_WAITING, n_slots)

    def pollables(self) -> list[Any]:
        """Give the socket and the news of the connection: there is room, but for more series than can be kept."""
        if not self._is_open:
            return []
        message, news = self._source.sockets
        return [message, news] if self._makes_room_for_start() else [news]

    def deadline(self) -> float:
        """Give the time at which silence has to be told."""
        return self._source.deadline() if self._is_open and self._makes_room_for_start() else float("inf")

    def take(self, n_wanted: int) -> list[Task]:
        """Take all messages that are here; give the newest ones, as many as there are free workers."""
        self._source.turn(n_room=1)
        self._drain()
        tasks: list[Task] = []
        while self._waiting and self._free and len(tasks) < n_wanted:
            task, payload = self._waiting.pop()
            self._n_bytes -= len(payload)
            slot = self._free.pop()
            self._memory.fill(slot, payload)
            tasks.append(task.in_slot(slot))
        return tasks

    def wind_down(self) -> None:
        """Leave out what waits: the run is about to end."""
        super().wind_down()
        while self._waiting:
            self._leave_oldest()

    def _drain(self) -> None:
        for _ in range(DRAINED_AT_ONCE):
            if not self._makes_room_for_start():
                return
            payload = self._source.receive()
            if payload is None:
                return
            if self._is_no_frame(payload):
                continue
            task = MessageTask(serial=self._serial, slot=NO_SLOT, n_bytes=len(payload))
            self._waiting.append((self._referring(task, payload), payload))
            self._serial += 1
            self._n_bytes += len(payload)
            while len(self._waiting) > self._most_waiting or (
                len(self._waiting) > 1 and self._n_bytes > MOST_WAITING_BYTES
            ):
                self._leave_oldest()

    def _makes_room_for_start(self) -> bool:
        """Leave waiting frames out while start messages of their series take all room; tells whether there is."""
        while self._series is not None and not self._series.has_room and self._waiting:
            self._leave_oldest()
        return self._series is None or self._series.has_room

    def _leave_oldest(self) -> None:
        task, payload = self._waiting.popleft()
        self._n_bytes -= len(payload)
        self._n_sampled_out += 1
        if self._series is not None:
            self._series.release(task)
