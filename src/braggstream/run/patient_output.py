"""Results on their way into files: where a disk is full they wait for room, and the run with them."""

import errno
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from typing import Protocol

from braggstream.formats.wire import FrameOutcome
from braggstream.model.errors import BraggstreamError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where there is no room, now."""
LOOK_AGAIN_S = 1.0
REMIND_S = 60.0


class Sink(Protocol):
    """Where chunks go."""

    def write(self, chunk: bytes) -> None:
        """Write one chunk whole."""
        ...

    def close(self) -> None:
        """End."""
        ...


class HoldingSink(Sink, Protocol):
    """Where results go that are held until there are enough of them."""

    def deadline(self) -> float:
        """Give the time when what is held has to be written [s, monotonic]."""
        ...

    def turn(self) -> None:
        """Write what has been held for long."""
        ...


class WatchedFile(Protocol):
    """The stream file, which something else may remove, replace or cut short."""

    def look(self, *, at_name: bool = False) -> None:
        """See whether it is whole under its name, and make it so."""
        ...

    def take_lost(self) -> int:
        """Give the number of chunks that are gone, since this was last asked."""
        ...

    def conclude(self) -> None:
        """Look for the last time."""
        ...


class PatientOutput:
    """Writes chunks and records of frames in the order of their completion; none is written twice, or in part."""

    def __init__(
        self,
        sink: Sink,
        records: Sink | None,
        say: Callable[[str], None],
        *,
        reflections: HoldingSink | None = None,
        watched: WatchedFile | None = None,
    ) -> None:
        """`watched` is looked after also while nothing is written."""
        self._sink = sink
        self._records = records
        self._reflections = reflections
        self._watched = watched
        self._look_at = 0.0
        self._say = say
        self._waiting: deque[tuple[FrameOutcome, list[tuple[Sink, bytes]]]] = deque()
        """Results, each with what is still to be written of it."""
        self._full: OSError | None = None
        self._next_look = 0.0
        self._next_reminder = 0.0
        self.error: BaseException | None = None
        """Why a result could not be written, for another reason than a full disk."""

    @property
    def is_stuck(self) -> bool:
        """Whether results wait for room: nothing is to be taken from the source."""
        return self._full is not None

    @property
    def n_waiting(self) -> int:
        """Frames that wait for room."""
        return len(self._waiting)

    def deadline(self) -> float:
        """Give the time of the next look whether there is room, or of the next thing to write [s, monotonic]."""
        if self.is_stuck:
            return self._next_look
        return inf if self._reflections is None else self._reflections.deadline()

    def put(self, outcome: FrameOutcome) -> None:
        """Take a result, to be written by `settle`."""
        parts = [(self._sink, outcome.chunk)] if outcome.chunk else []
        if outcome.calibration and self._records is not None:
            parts.append((self._records, outcome.calibration))
        if outcome.observations and self._reflections is not None:
            parts.append((self._reflections, outcome.observations))
        self._waiting.append((outcome, parts))

    def settle(self) -> Iterator[FrameOutcome]:
        """Write what can be written; gives what became of each frame."""
        if (self.is_stuck and monotonic() < self._next_look) or not self._is_in_place():
            return
        while self._waiting:
            outcome, parts = self._waiting[0]
            try:
                while parts:
                    sink, data = parts[0]
                    sink.write(data)
                    del parts[0]
            except (OSError, BraggstreamError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    self._wait_for_room(error)
                    return
                self.error = self.error or _output_error(error)
                outcome = _unwritten(outcome, error)
            self._waiting.popleft()
            yield outcome
        self._write_held()
        if self._full is not None:
            self._full = None
            self._say("There is room again: going on.")

    def _is_in_place(self) -> bool:
        """Look after the stream file, now and then; False where it waits for room."""
        if self._watched is None or self.error is not None or monotonic() < self._look_at:
            return True
        self._look_at = monotonic() + LOOK_AGAIN_S
        try:
            self._watched.look()
        except (OSError, BraggstreamError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                self._wait_for_room(error)
                return False
            self.error = _output_error(error)
        return True

    def take_lost(self) -> int:
        """Give the number of chunks that are gone from the stream file, since this was last asked."""
        return 0 if self._watched is None else self._watched.take_lost()

    def conclude(self) -> None:
        """See for the last time that the stream file is whole under its name."""
        if self._watched is None:
            return
        try:
            self._watched.conclude()
        except (OSError, BraggstreamError) as error:
            self.error = self.error or _output_error(error)

    def _write_held(self) -> None:
        """Write reflections that have been held for long."""
        if self._reflections is None:
            return
        try:
            self._reflections.turn()
        except OSError as error:
            self.error = self.error or _output_error(error)

    def abandon(self) -> Iterator[FrameOutcome]:
        """Give up what waits; gives it as failed."""
        error = self._full or OSError(errno.ENOSPC, "No space left on device")
        while self._waiting:
            yield _unwritten(self._waiting.popleft()[0], error)

    def _wait_for_room(self, error: OSError) -> None:
        now = monotonic()
        if self._full is None or now >= self._next_reminder:
            self._say(
                f"{error.filename}: {error.strerror}: no frames are taken until there is room "
                f"({self.n_waiting} processed {'frame waits' if self.n_waiting == 1 else 'frames wait'})."
            )
            self._next_reminder = now + REMIND_S
        self._full = error
        self._next_look = now + LOOK_AGAIN_S


def _output_error(error: Exception) -> BaseException:
    if isinstance(error, OSError):
        return UserError(f"cannot write results: {error.strerror or error}", path=error.filename)
    return error


def _unwritten(outcome: FrameOutcome, error: Exception) -> FrameOutcome:
    return FrameOutcome(
        serial=outcome.serial,
        status="failed",
        filename=outcome.filename,
        event=outcome.event,
        sender_number=outcome.sender_number,
        reason="output",
        complaint=str(error),
    )
