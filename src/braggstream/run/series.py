"""Start messages of series: every worker has to see them, also those that are made later.

A start message lies in a slot of its own for as long as images refer to it; each task names that slot.  So nothing
has to be sent to workers beforehand, and a pixel mask of many megabytes is neither copied for each image nor
decoded by the parent.
"""

from collections.abc import Callable, Iterable

from braggstream.formats.dectris import OTHER_KINDS, SeriesMessage, kind_of, read_series_message
from braggstream.formats.wire import MessageTask
from braggstream.model.data_formats import OF_SERIES
from braggstream.model.errors import FrameError
from braggstream.run.slots import SlotMemory

START_SLOTS = 3
"""So many start messages may be referred to at the same time."""


class SeriesKeeper:
    """Keeps the start message that arrived last, and those that images in work refer to."""

    def __init__(self, memory: SlotMemory, slots: Iterable[int], say: Callable[[str], None]) -> None:
        self._memory = memory
        self._say = say
        self._free = list(slots)
        self._has_told_others = False
        self._number = 0
        self._current: tuple[int, int] | None = None
        """Slot and size of the start message that arrived last."""
        self._n_open: dict[int, int] = {}
        """Tasks that refer to each slot."""

    @property
    def has_room(self) -> bool:
        """Whether another start message could be kept."""
        return bool(self._free)

    def take(self, payload: memoryview | bytes) -> bool:
        """Take a start or end message; gives False for all others, also for those that cannot be understood."""
        kind = kind_of(payload)
        if kind in OTHER_KINDS:
            if not self._has_told_others:
                self._say(f"Messages of type {kind} are no frames: they are left out.")
            self._has_told_others = True
            return True
        if kind not in ("start", "end"):
            return False
        try:
            message = read_series_message(payload)
        except FrameError:
            return False
        if kind == "end":
            self._say(f"Series {_name(message)} has ended.")
            return True
        slot = self._free.pop()
        former, self._current = self._current, (slot, self._memory.fill(slot, payload))
        self._n_open[slot] = 0
        self._number += 1
        if former is not None:
            self._free_unused(former[0])
        self._say(f"Series {_name(message)} begins{_extent(message)}.")
        return True

    def referring(self, task: MessageTask) -> MessageTask:
        """Give a task that refers to the start message that arrived last, where there is one."""
        if self._current is None:
            return task
        slot, n_bytes = self._current
        self._n_open[slot] += 1
        return task.of_series(slot=slot, n_bytes=n_bytes, number=self._number)

    def release(self, task: MessageTask) -> None:
        """Take note that a task is settled."""
        if task.start_slot in self._n_open:
            self._n_open[task.start_slot] -= 1
            self._free_unused(task.start_slot)

    def _free_unused(self, slot: int) -> None:
        is_current = self._current is not None and self._current[0] == slot
        if not is_current and self._n_open.get(slot) == 0:
            del self._n_open[slot]
            self._memory.release(slot)
            self._free.append(slot)


def may_be_series(data_format: str | None) -> bool:
    """Whether messages may be of formats that have a start message."""
    return data_format is None or data_format in OF_SERIES


def _name(message: SeriesMessage) -> str:
    name = "".join(character if character.isprintable() else "?" for character in message.name[:60])
    return f"{message.series} ({name})" if name else str(message.series)


def _extent(message: SeriesMessage) -> str:
    values = message.values
    wanted = [values.get(name) for name in ("number_of_images", "image_size_x", "image_size_y")]
    if not all(isinstance(value, int) for value in wanted):
        return ""
    return f": {wanted[0]} images of {wanted[1]} x {wanted[2]} pixels"
