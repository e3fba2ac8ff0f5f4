"""Where tasks come from: a list of files, or messages that are put into shared memory as they arrive."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from math import ceil
from time import monotonic
from typing import Any, Protocol

from braggstream.formats.stream_continued import RecordedFrames
from braggstream.formats.wire import FileTask, FrameOutcome, MessageTask, Task
from braggstream.model.frame import FileSlot
from braggstream.run.left_out import PARTS, LeftOut
from braggstream.run.series import SeriesKeeper
from braggstream.run.slots import SlotMemory
from braggstream.sources.zmq import ZmqSource

BURST = 4
"""So many messages are taken before workers are looked after again."""
LOOKED_AT = 64
"""So many messages are looked at meanwhile, those included that are no frames."""
LAST_REPLIES_S = 0.3
"""A run that is about to end waits so long for replies to what it has asked."""
READ_AHEAD = 100_000
"""So many entries of a list are read ahead of their processing."""


class Intake(Protocol):
    """What a session takes its tasks from; it never waits."""

    keeps_newest: bool
    """Whether it takes all that comes and gives the newest, because its sender cannot wait."""

    def open(self) -> None:
        """Begin: tasks can be processed from now on."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether there will be no more tasks."""
        ...

    @property
    def error(self) -> BaseException | None:
        """Why it ended, if not in good order."""
        ...

    @property
    def total(self) -> int | None:
        """Number of frames, once that is known."""
        ...

    def pollables(self) -> list[Any]:
        """Descriptors and sockets on which something may arrive that can be taken now."""
        ...

    def deadline(self) -> float:
        """Time by which `take` has to be called even if nothing arrives [s, monotonic]."""
        ...

    def take(self, n_wanted: int) -> list[Task]:
        """Take tasks that are here now, about as many as are wanted."""
        ...

    def sampled_out(self) -> int:
        """Count the frames that were left out since this was last asked."""
        ...

    def wind_down(self) -> None:
        """Ask for nothing more: the run is about to end."""
        ...

    @property
    def is_winding_down(self) -> bool:
        """Whether what was asked for before is still to be taken."""
        ...

    def release(self, task: Task) -> None:
        """Take back what a settled task occupied."""
        ...

    def copy(self, task: Task) -> bytes:
        """Copy what is needed to process a task for a second time, before it is released."""
        ...

    def again(self, task: Task, payload: bytes) -> Task | None:
        """Give the task for a second time, with what was copied; None while there is no room for it."""
        ...

    def recorded(self, outcome: FrameOutcome) -> None:
        """Hear that a task's chunk is written, or that it has none; its slot is not free yet."""
        ...

    @property
    def n_known(self) -> int:
        """Frames that were left out because the stream file has their chunks already (`--append`)."""
        ...

    @property
    def n_undelivered(self) -> int:
        """Frames that the source should have given and has not, besides those that the numbers of senders tell."""
        ...

    def summary(self) -> dict[str, Any]:
        """Give what the summary of the session says of the source."""
        ...

    def close(self) -> None:
        """End."""
        ...


class FileIntake:
    """Tasks from a list of frames in files, read by a thread: a slow list holds nothing else up."""

    def __init__(
        self,
        frames: Iterable[FileSlot],
        recorded: RecordedFrames | None = None,
        say: Callable[[str], None] = lambda _line: None,
        *,
        give_up: Callable[[], None] | None = None,
    ) -> None:
        """Frames that are `recorded` are left out; `say` is told how many.

        `give_up` ends the search for the next frame from another thread.
        """
        self._frames = frames
        self._give_up = give_up
        self._recorded = recorded or RecordedFrames()
        self._say = say
        self.n_known = 0
        self._tasks: deque[Task] = deque()
        self._room = threading.Semaphore(READ_AHEAD)
        self._wake, self._wake_up = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._n_read = 0
        self._is_read = False
        self._is_closed = False
        self.error: BaseException | None = None

    def open(self) -> None:
        """Start to read the list."""
        threading.Thread(target=self._read, name="list of frames", daemon=True).start()

    @property
    def is_ended(self) -> bool:
        """Whether all of the list was read and taken."""
        return self._is_read and not self._tasks

    @property
    def total(self) -> int | None:
        """Number of frames, once the list has been read."""
        return self._n_read if self._is_read else None

    def pollables(self) -> list[Any]:
        """Give the descriptor that wakes the session."""
        return [self._wake]

    def deadline(self) -> float:
        """Nothing happens here without waking the session."""
        return float("inf")

    def take(self, n_wanted: int) -> list[Task]:
        """Take the next tasks of the list."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        tasks = [self._tasks.popleft() for _ in range(min(n_wanted, len(self._tasks)))]
        if tasks:
            self._room.release(len(tasks))
        return tasks

    is_winding_down = False
    keeps_newest = False

    def sampled_out(self) -> int:
        """No frame is left out: files wait."""
        return 0

    def wind_down(self) -> None:
        """Nothing was asked for."""

    def release(self, task: Task) -> None:
        """A frame in a file occupies nothing here."""

    def copy(self, task: Task) -> bytes:
        """A frame in a file can be read again: nothing is to be kept."""
        return b""

    n_undelivered = 0

    def recorded(self, outcome: FrameOutcome) -> None:
        """Nobody is to be told."""

    def summary(self) -> dict[str, Any]:
        """Give how many frames were left out."""
        return {"in_file_already": self.n_known} if self._recorded.n_frames else {}

    def again(self, task: Task, payload: bytes) -> Task | None:
        """Give the task for a second time."""
        return task

    def close(self) -> None:
        """Stop to read, with the next entry that the list gives; tell what was left out."""
        if self.n_known:
            self._say(f"{self.n_known} frames were left out: the stream file has their chunks already.")
        with self._lock:
            self._is_closed = True
            os.close(self._wake)
            os.close(self._wake_up)
        self._room.release()
        if self._give_up is not None:
            self._give_up()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                if (frame.filename, frame.event) in self._recorded:
                    self.n_known += 1
                    continue
                self._room.acquire()
                if self._is_closed:
                    return
                serial = frame.serial - self.n_known
                task = FileTask.of(serial=serial, filename=frame.filename, event=frame.event, fault=frame.fault)
                self._tasks.append(task)
                self._n_read += 1
                self._wake_session()
        except BaseException as error:
            self.error = error
        finally:
            self._is_read = True
            self._wake_session()

    def _wake_session(self) -> None:
        with self._lock:
            if not self._is_closed:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_up, b"f")


class MessageIntake:
    """Tasks from a socket; each message lies in a slot of shared memory until its task is settled."""

    error: BaseException | None = None
    total: int | None = None
    is_ended = False
    """A message stream never ends by itself."""
    keeps_newest = False

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
        """`series` takes start and end messages, where the format may have such; `left_out` what is no frame."""
        self._series = series
        self._left_out = left_out
        self._source = source
        self._memory = memory
        self._free = list(range(n_slots))
        self._serial = serial_start
        self._is_open = False
        self._end_of_winding_down = 0.0
        self._n_sampled_out = 0

    def open(self) -> None:
        """Connect."""
        self._source.open()
        self._is_open = True

    def pollables(self) -> list[Any]:
        """Give the socket while there is room for a message, and the news of the connection always."""
        if not self._is_open:
            return []
        message, news = self._source.sockets
        return [message, news] if self._has_room else [news]

    def deadline(self) -> float:
        """Give the time at which a question has to be repeated or silence to be told."""
        if self.is_winding_down and not self._source.n_held:
            return self._end_of_winding_down
        return self._source.deadline() if self._is_open and self._has_room else float("inf")

    def take(self, n_wanted: int) -> list[Task]:
        """Put messages that have arrived into free slots."""
        tasks: list[Task] = []
        self._source.turn(n_room=len(self._free))
        for _ in range(LOOKED_AT):
            if not self._has_room or len(tasks) == BURST:
                break
            payload = self._source.receive()
            if payload is None:
                break
            if self._is_no_frame(payload):
                continue
            slot = self._free.pop()
            if self._free:
                self._source.turn(n_room=len(self._free))  # The next one travels while this one is copied.
            n_bytes = self._memory.fill(slot, payload)
            tasks.append(self._referring(MessageTask(serial=self._serial, slot=slot, n_bytes=n_bytes), payload))
            self._serial += 1
        return tasks

    def _is_no_frame(self, payload: memoryview) -> bool:
        """Take what begins or ends a series, and leave out what is no frame."""
        if self._series is not None and self._series.take(payload):
            return True
        if self._left_out is None:
            return False
        n_ignored = self._source.ignored_parts()
        if n_ignored:
            self._left_out.count(PARTS, n_ignored)
        is_image = self._series is not None and self._series.is_image(payload)
        return not is_image and self._left_out.take(payload)

    @property
    def _has_room(self) -> bool:
        return bool(self._free) and (self._series is None or self._series.has_room)

    def _referring(self, task: MessageTask, payload: memoryview | bytes) -> MessageTask:
        """Give a task that names the start message of its series."""
        return task if self._series is None else self._series.referring(task, payload)

    def sampled_out(self) -> int:
        """Count the frames that were left out since this was last asked."""
        n_frames, self._n_sampled_out = self._n_sampled_out, 0
        return n_frames

    def wind_down(self) -> None:
        """Ask for no more; replies that are under way are frames that nobody else has."""
        if not self._is_open:
            return
        self._source.stop_asking()
        self._end_of_winding_down = monotonic() + LAST_REPLIES_S

    @property
    def is_winding_down(self) -> bool:
        """Whether a frame is here that was not taken, or a reply is still expected."""
        if not self._is_open:
            return False
        is_expecting = self._source.n_expected > 0 and monotonic() < self._end_of_winding_down
        return self._source.n_held > 0 or is_expecting

    def release(self, task: Task) -> None:
        """Free a task's slot."""
        assert isinstance(task, MessageTask)
        self._memory.release(task.slot)
        self._free.append(task.slot)
        if self._series is not None:
            self._series.release(task)

    def copy(self, task: Task) -> bytes:
        """Copy the message of a task, whose slot is not free yet."""
        assert isinstance(task, MessageTask)
        return bytes(self._memory.view(task.slot, task.n_bytes))

    n_undelivered = n_known = 0

    def recorded(self, outcome: FrameOutcome) -> None:
        """Nobody is to be told."""

    def summary(self) -> dict[str, Any]:
        """Tell how many messages were no frames."""
        return {} if self._left_out is None else {"no_frames": dict(self._left_out.counts)}

    def again(self, task: Task, payload: bytes) -> Task | None:
        """Put a message into a slot for a second time; None while all slots are taken."""
        if not self._free:
            return None
        slot = self._free.pop()
        again = MessageTask(serial=task.serial, slot=slot, n_bytes=self._memory.fill(slot, payload))
        return self._referring(again, payload)

    def close(self) -> None:
        """Disconnect."""
        self._source.close()
        if self._left_out is not None:
            self._left_out.finish()


def soonest(*deadlines: float) -> int:
    """Give the time until the first deadline [ms], at most a second."""
    return ceil(max(0.0, min(1.0, *(deadline - monotonic() for deadline in deadlines))) * 1e3)
