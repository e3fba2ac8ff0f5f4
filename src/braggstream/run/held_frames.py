"""Results of hits that wait until the unit cell is known, when their frames are processed again.

No frame is lost by that: what was found without the cell is kept until something better has come, and is written
where nothing does, because no cell was found, the session is stopped, or the second time fails.
"""

from collections import deque
from collections.abc import Callable, Iterator

from braggstream.formats.wire import FrameOutcome, Task
from braggstream.run.cell_watcher import CellWatcher
from braggstream.run.intake import Intake
from braggstream.run.supervisor import Settled

MOST_BYTES = 1 << 30
"""Messages kept for a second time may take so much memory [bytes]."""


class HeldFrames:
    """Holds results back as long as a cell is looked for."""

    def __init__(self, intake: Intake, finder: CellWatcher | None, say: Callable[[str], None]) -> None:
        self._intake = intake
        self._finder = finder
        self._say = say
        self._first: dict[int, FrameOutcome] = {}
        """What was found without the cell, by serial number; kept until the second time is over."""
        self._waiting: deque[tuple[Task, bytes]] = deque()
        """Tasks to be handed out again, with the messages of those that are none of files."""
        self._n_bytes = 0
        self._known_since: int | None = None
        """Number of the adjustments with which the cell became known."""
        self._n_unheld = 0

    def __bool__(self) -> bool:
        return bool(self._first)

    @property
    def is_known(self) -> bool:
        """Whether the cell is known."""
        return self._known_since is not None

    @property
    def has_tasks(self) -> bool:
        """Whether tasks are to be handed out again."""
        return self._known_since is not None and bool(self._waiting)

    def sift(self, settled: Settled) -> FrameOutcome | None:
        """Hold a result back, or give what is to be written; the task's slot may be freed afterwards."""
        outcome = settled.outcome
        first = self._first.get(outcome.serial)
        if first is not None:
            del self._first[outcome.serial]
            return first if outcome.status == "failed" else outcome
        if self._finder is None or outcome.status != "written" or not outcome.is_hit:
            return outcome
        is_old = self._known_since is not None and outcome.adjustment < self._known_since
        if not self._finder.is_looking and not is_old:
            return outcome
        payload = self._intake.copy(settled.task)
        if self._n_bytes + len(payload) > MOST_BYTES and not is_old:
            self._n_unheld += 1
            return outcome
        self._n_bytes += len(payload)
        self._first[outcome.serial] = outcome
        self._waiting.append((settled.task, payload))
        return None

    def process_again(self, number: int) -> None:
        """Hand the frames out again: the cell is known in the adjustments of this number."""
        self._known_since = number
        self._say(f"{len(self._waiting)} hits are indexed again with the unit cell")
        if self._n_unheld:
            self._say(f"{self._n_unheld} hits keep what was found without it: there was no memory to hold them")

    def tasks(self) -> Iterator[Task]:
        """Give tasks that can be handed out now."""
        while self.has_tasks:
            task, payload = self._waiting[0]
            again = self._intake.again(task, payload)
            if again is None:
                return
            self._waiting.popleft()
            self._n_bytes -= len(payload)
            yield again

    def give_up(self) -> list[FrameOutcome]:
        """Give the results of the frames that are not handed out again; they are to be written as they are."""
        serials = [task.serial for task, _ in self._waiting]
        self._waiting.clear()
        self._n_bytes = 0
        return [self._first.pop(serial) for serial in serials]

    def abandon(self) -> list[FrameOutcome]:
        """Give all results that are left, those of frames that are being processed again too."""
        self._waiting.clear()
        left = list(self._first.values())
        self._first.clear()
        return left
