"""Start messages of series: every worker has to see them, also those that are made later.

A start message lies in a slot of its own for as long as images refer to it; each task names that slot.  So nothing
has to be sent to workers beforehand, and a pixel mask of many megabytes is neither copied for each image nor
decoded by the parent.  An image refers to the start of its own series, whichever came last: series may take turns.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from braggstream.formats.dectris import identify, read_series_message
from braggstream.formats.series_message import SeriesIdentity, SeriesMessage
from braggstream.formats.wire import MessageTask
from braggstream.model.data_formats import OF_SERIES
from braggstream.model.errors import FrameError
from braggstream.run.slots import SlotMemory

START_SLOTS = 80
"""So many start messages may be referred to at the same time: each frame that waits may be of another series."""
MOST_BYTES = 1 << 31
"""No more start messages are taken while those that are kept have so many bytes."""
MOST_CURRENT = 4
"""So many series may take turns: the start messages that arrived last are kept, also where no image needs them."""
MAX_REFUSALS = 16


class ImageNumbers(Protocol):
    """Hears which images a series has, so that those that never come are counted."""

    def begin(self, series: int) -> None:
        """The series begins with image 0."""
        ...

    def end(self, series: int, n_images: int) -> None:
        """The series has ended, and so many images were announced."""
        ...


@dataclass(slots=True, eq=False)
class _Start:
    """A start message that is kept."""

    identity: SeriesIdentity
    slot: int
    n_bytes: int
    number: int
    n_images: int | None
    n_open: int = 0
    """Tasks that refer to it and are not settled."""
    is_ended: bool = False


class SeriesKeeper:
    """Keeps the start messages that arrived last, and those that images in work refer to."""

    def __init__(
        self,
        memory: SlotMemory,
        slots: Iterable[int],
        say: Callable[[str], None],
        numbers: ImageNumbers | None = None,
    ) -> None:
        self._memory = memory
        self._say = say
        self._numbers = numbers
        self._free = list(slots)
        self._number = 0
        self._starts: list[_Start] = []
        """The oldest first."""
        self._looked_at: tuple[memoryview | bytes, SeriesIdentity | None] = (b"", None)
        """The message that was looked at last, and what it is."""
        self._refused: dict[int | None, str] = {}
        """Why the start message of a series could not be understood."""

    @property
    def has_room(self) -> bool:
        """Whether another start message could be kept."""
        return bool(self._free) and sum(start.n_bytes for start in self._starts) < MOST_BYTES

    def take(self, payload: memoryview | bytes) -> bool:
        """Take a start or end message; gives False for all others, also for those that cannot be understood."""
        identity = self._identity_of(payload)
        if identity is None or identity.kind not in ("start", "end"):
            return False
        try:
            message = read_series_message(payload)
        except FrameError as error:
            if identity.kind == "start" and len(self._refused) < MAX_REFUSALS:
                self._refused[identity.series] = str(error)
            return False
        if identity.kind == "end":
            self._end(message.identity)
            self._say(f"Series {_name(message)} has ended.")
        else:
            self._begin(message, payload)
            self._say(f"Series {_name(message)} begins{_extent(message)}.")
        return True

    def is_image(self, payload: memoryview | bytes) -> bool:
        """Whether a message is an image of a series."""
        found = self._identity_of(payload)
        return found is not None and found.kind == "image"

    def referring(self, task: MessageTask, payload: memoryview | bytes) -> MessageTask:
        """Give a task that refers to the start message of its image's series, where there is one."""
        if not self._starts and not self._refused:
            return task
        image = self._identity_of(payload)
        if image is None:
            return task
        start = next((start for start in reversed(self._starts) if start.identity.is_of(image)), None)
        if start is None and image.series is None and self._starts:
            start = self._starts[-1]
        if start is None:
            return task.without_start(self._refused.get(image.series, self._refused.get(None, "")))
        start.n_open += 1
        return task.of_series(slot=start.slot, n_bytes=start.n_bytes, number=start.number)

    def release(self, task: MessageTask) -> None:
        """Take note that a task is settled."""
        start = next((start for start in self._starts if start.number == task.start_number), None)
        if start is not None:
            start.n_open -= 1
            self._conclude(start)
            self._free_unused()

    def _identity_of(self, payload: memoryview | bytes) -> SeriesIdentity | None:
        """Tell what a message is, looking at it once."""
        if payload is not self._looked_at[0]:
            self._looked_at = (payload, identify(payload))
        return self._looked_at[1]

    def _begin(self, message: SeriesMessage, payload: memoryview | bytes) -> None:
        slot = self._free.pop()
        self._number += 1
        self._refused.pop(message.series, None)
        n_bytes = self._memory.fill(slot, payload)
        self._starts.append(_Start(message.identity, slot, n_bytes, self._number, message.n_images))
        if self._numbers is not None:
            self._numbers.begin(message.series)
        self._free_unused()

    def _end(self, identity: SeriesIdentity) -> None:
        start = next((start for start in reversed(self._starts) if start.identity.is_of(identity)), None)
        if start is not None and not start.is_ended:
            start.is_ended = True
            self._conclude(start)

    def _conclude(self, start: _Start) -> None:
        """Count the images of a series that has ended, once none of them is in work."""
        if start.is_ended and not start.n_open and start.n_images is not None and self._numbers is not None:
            assert start.identity.series is not None
            self._numbers.end(start.identity.series, start.n_images)

    def _free_unused(self) -> None:
        """Give back the slots of start messages that no task refers to, but for those that came last."""
        unused = [start for start in self._starts[:-MOST_CURRENT] if not start.n_open]
        if not self.has_room:  # A new series is more than one that may still go on.
            unused = unused or [start for start in self._starts[:-1] if not start.n_open][:1]
        for start in unused:
            self._starts.remove(start)
            self._memory.release(start.slot)
            self._free.append(start.slot)


def may_be_series(data_format: str | None) -> bool:
    """Whether messages may be of formats that have a start message."""
    return data_format is None or data_format in OF_SERIES


def _name(message: SeriesMessage) -> str:
    name = "".join(character if character.isprintable() else "?" for character in message.name[:60])
    return f"{message.series} ({name})" if name else str(message.series)


def _extent(message: SeriesMessage) -> str:
    values = message.values
    wanted = [message.n_images, values.get("image_size_x"), values.get("image_size_y")]
    if not all(isinstance(value, int) for value in wanted):
        return ""
    return f": {wanted[0]} images of {wanted[1]} x {wanted[2]} pixels"
