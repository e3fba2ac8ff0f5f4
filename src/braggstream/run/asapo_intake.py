"""Tasks from ASAP::O: received by threads, put into shared memory by the session, acknowledged when they are done.

A message is acknowledged once its chunk has reached the disk, and what goes to the output stream is out.  Messages
that are in hand when the session ends are handed back to the service: nobody has to wait for them.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from braggstream.formats.announced import encode_metadata
from braggstream.formats.stream_messages import messages_in
from braggstream.formats.wire import FrameOutcome, MessageTask, Task
from braggstream.model.errors import SourceError, UserError
from braggstream.model.frame import MessageOrigin
from braggstream.model.settings import AsapoSourceSettings, OutputSettings
from braggstream.run.intake import BURST
from braggstream.run.slots import SlotMemory
from braggstream.sinks.asapo import AsapoPublisher
from braggstream.sinks.durable import DurableFile
from braggstream.sources.asapo import AsapoSource
from braggstream.sources.asapo_acks import Acknowledger
from braggstream.sources.asapo_bytes import Key, Received
from braggstream.sources.asapo_client import AsapoClient
from braggstream.sources.asapo_journal import Journal
from braggstream.sources.seen_numbers import SeenNumbers

MOST_THREADS = 4
"""Consumers of one session: one of them keeps several workers busy."""
FAREWELL_S = 5.0
"""So long acknowledgements and output may take when the session ends."""
WIND_DOWN_S = 3.0
"""A session that is stopped waits so long for messages on their way, beyond the time limit of a question."""
PROBE_S = 5.0
"""So long the service may take for its first answer before the session goes on without it."""
JOURNAL_S = 5.0
"""The journal of the group is written so often."""
SILENCE_S = 10.0
"""The first notice that the service does not answer comes after so long."""


@dataclass(slots=True)
class _InHand:
    """A message between its arrival and its acknowledgement."""

    origin: MessageOrigin
    slot: int | None = None
    n_bytes: int = 0
    kept: bytes | None = None
    """Its bytes after it has lost its slot, where they are wanted still."""
    is_recorded: bool = False
    """Whether its chunk is written, or it has none."""
    is_handed_over: bool = False
    """Whether the publisher has it."""
    is_published: bool = False
    """Whether it is out, or nothing is to go out."""


class AsapoIntake:
    """What a session takes its tasks from, where they come from ASAP::O."""

    total: int | None = None
    keeps_newest = False

    def __init__(
        self,
        settings: AsapoSourceSettings,
        memory: SlotMemory,
        *,
        n_slots: int,
        n_workers: int,
        slot_bytes: int,
        output: OutputSettings,
        durable: DurableFile | None = None,
        say: Callable[[str], None],
    ) -> None:
        """Make consumers; raises `UserError`, also where the service refuses them."""
        self._settings = settings
        self._memory = memory
        self._free = list(range(n_slots))
        self._serial = 1
        self._output = output
        self._say_now = say
        self._lines: deque[str] = deque()
        """What threads have to say."""
        self._lock = threading.Lock()
        self._tasks: dict[int, _InHand] = {}
        """Messages in hand by the number of their task."""
        self._keys: dict[Key, int] = {}
        self._wake_lock = threading.Lock()
        self._wake, self._wake_up = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_closed = False
        self._journal_at = monotonic() + JOURNAL_S
        self._writing: threading.Thread | None = None
        self._silence_s = SILENCE_S + settings.timeout_s
        self._patient_until = inf
        self._acknowledger: Acknowledger | None = None
        self._publisher: AsapoPublisher | None = None
        self._durable = durable or DurableFile(output.stream_file)
        try:
            self._source = AsapoSource(
                settings,
                n_threads=min(MOST_THREADS, n_workers),
                max_message_bytes=slot_bytes,
                known=_known(output),
                say=self._say,
                wake=self._wake_session,
            )
            self._client = AsapoClient(settings.service, timeout_s=settings.timeout_s)
            self._probe()
            self._journal: Journal | None = Journal(settings.service, settings.group, output.stream_file)
            if settings.publish:
                self._publisher = AsapoPublisher(settings, say=self._say, done=self._published)
        except BaseException:
            self._close_pipe()
            raise

    def _probe(self) -> None:
        """Ask the service once; raises `UserError` where it refuses.  One that is away, or hangs, may come."""
        client = AsapoClient(self._settings.service, timeout_s=self._settings.timeout_s)
        refusals: list[UserError] = []

        def ask() -> None:
            try:
                client.size(self._settings.stream or "default")
            except UserError as refusal:
                refusals.append(refusal)
            except SourceError:
                return

        self._background(ask, PROBE_S)
        if refusals:
            raise refusals[0]

    def open(self) -> None:
        """Begin to ask for messages."""
        if self._settings.acks:
            self._acknowledger = Acknowledger(
                self._client, self._settings.group, sync=self._durable.sync, outage=self._source.outage
            )
            self._acknowledger.withdrawn = self._source.unsettled
        self._source.start()

    @property
    def is_ended(self) -> bool:
        """Whether all streams have ended and all their messages were taken."""
        return self._source.is_ended

    @property
    def error(self) -> BaseException | None:
        """What ended the source, or keeps chunks from the disk."""
        error = None if self._acknowledger is None else self._acknowledger.error
        if isinstance(error, OSError):
            return UserError(f"cannot reach the disk: {error.strerror}", path=self._output.stream_file)
        return error or self._source.error

    @property
    def n_undelivered(self) -> int:
        """Messages that the service should have and never gave."""
        return self._source.n_missing

    @property
    def n_known(self) -> int:
        """Messages that were left out because the stream file has their chunks already."""
        return self._source.n_known

    def pollables(self) -> list[Any]:
        """Give the descriptor that wakes the session, while there is room for a message."""
        return [self._wake] if self._free else []

    def deadline(self) -> float:
        """Threads wake the session; what else there is to do can wait for its next turn, a second at most."""
        return inf

    def take(self, n_wanted: int) -> list[Task]:
        """Put messages that have arrived into free slots."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        self._tell()
        self._acknowledge_again()
        if monotonic() >= self._journal_at:
            self._write_journal()
            self._tell_silence()
        tasks: list[Task] = []
        if self._publisher is not None:
            self._publisher.turn()
            if self._publisher.is_full:
                return tasks
        while self._free and len(tasks) < BURST:
            received = self._source.take()
            if received is None:
                break
            tasks.append(self._task(received))
        return tasks

    def sampled_out(self) -> int:
        """No message is left out: the service waits."""
        return 0

    def wind_down(self) -> None:
        """Ask for no more messages."""
        self._source.stop_asking()
        self._patient_until = min(self._patient_until, monotonic() + self._settings.timeout_s + WIND_DOWN_S)

    @property
    def is_winding_down(self) -> bool:
        """Whether messages that were asked for before are still to be taken."""
        return self._source.has_received or (self._source.is_asking and monotonic() < self._patient_until)

    def release(self, task: Task) -> None:
        """Free a task's slot."""
        assert isinstance(task, MessageTask)
        in_hand = self._tasks.get(task.serial)
        if in_hand is not None:
            if self._publisher is not None and not in_hand.is_handed_over:
                in_hand.kept = bytes(self._memory.view(task.slot, task.n_bytes))  # Its chunk waits for room.
            in_hand.slot = None
        self._memory.release(task.slot)
        self._free.append(task.slot)

    def copy(self, task: Task) -> bytes:
        """Copy the message of a task, a hit that is processed again later; it goes to the output stream now."""
        assert isinstance(task, MessageTask)
        payload = bytes(self._memory.view(task.slot, task.n_bytes))
        in_hand = self._tasks.get(task.serial)
        if in_hand is not None:
            self._publish(in_hand, payload)
        return payload

    def again(self, task: Task, payload: bytes) -> Task | None:
        """Put a message into a slot for a second time; None while all slots are taken."""
        assert isinstance(task, MessageTask)
        if not self._free:
            return None
        slot = self._free.pop()
        n_bytes = self._memory.fill(slot, payload)
        if task.serial in self._tasks:
            self._tasks[task.serial].slot = slot
        return MessageTask(serial=task.serial, slot=slot, n_bytes=n_bytes, origin=task.origin)

    def recorded(self, outcome: FrameOutcome) -> None:
        """Hear that a task's chunk is written, or that it has none; what could not be written is handed back."""
        in_hand = self._tasks.get(outcome.serial)
        if in_hand is None or outcome.reason == "output":
            return
        payload = in_hand.kept
        if self._publisher is not None and in_hand.slot is not None:
            payload = bytes(self._memory.view(in_hand.slot, in_hand.n_bytes))
        self._publish(in_hand, payload if outcome.is_hit else None)
        in_hand.is_recorded = True
        self._settle(in_hand, outcome.serial)

    def summary(self) -> dict[str, Any]:
        """Give what programs may want to know of it."""
        found: dict[str, Any] = {
            "group": self._settings.group,
            "streams": self._source.streams(),
            "again": self._source.n_again,
            "in_file_already": self._source.n_known,
            "undelivered": self._source.n_missing,
        }
        if self._acknowledger is not None:
            found["acknowledged"] = self._acknowledger.n_done
        if self._publisher is not None:
            found["published"] = dict(self._publisher.counts)
        return {"asapo": found}

    def close(self) -> None:
        """Stop, acknowledge what is done, hand the rest back."""
        if self._is_closed:
            return
        patience_s = FAREWELL_S if self._source.silent_s < FAREWELL_S else 0.5
        left = self._source.close()
        self._write_journal()
        if self._publisher is not None:
            n_unsent = self._publisher.close(self._source.finished(), patience_s)
            if n_unsent:
                self._say(f"{n_unsent} messages were not sent on to {self._publisher.source}.")
        self._acknowledge_again()
        n_unacknowledged = 0
        if self._acknowledger is not None:
            n_unacknowledged = self._acknowledger.close(patience_s)
        if n_unacknowledged:
            self._say(f"{n_unacknowledged} messages could not be acknowledged and will be handed out again.")
        self._background(lambda: self._hand_back([key for key in left if not self._is_done(key)]), patience_s)
        if self._writing is not None:
            self._writing.join(patience_s)
        if self._source.n_again:
            self._say(f"{self._source.n_again} messages came again and were not processed a second time.")
        if self._source.n_known:
            self._say(f"{self._source.n_known} messages were left out: the stream file has their chunks already.")
        self._tell()
        self._durable.close()
        self._close_pipe()

    # ---- one message ---------------------------------------------------------------------------------------

    def _task(self, received: Received) -> MessageTask:
        announcement = received.announcement
        origin = MessageOrigin(
            stream=announcement.stream,
            number=announcement.number,
            name=announcement.name,
            metadata=encode_metadata(announcement.metadata),
            time_s=announcement.time_s,
            fault=received.fault,
        )
        slot, serial = self._free.pop(), self._serial
        self._serial += 1
        n_bytes = self._memory.fill(slot, received.payload)
        self._tasks[serial] = _InHand(origin, slot, n_bytes)
        self._keys[received.key] = serial
        return MessageTask(serial=serial, slot=slot, n_bytes=n_bytes, origin=origin)

    def _publish(self, in_hand: _InHand, payload: bytes | None) -> None:
        """Send a message on, a hit with its bytes, where that is wanted."""
        if self._publisher is None:
            in_hand.is_published = True
        elif not in_hand.is_handed_over:
            in_hand.is_handed_over = True
            self._publisher.publish(in_hand.origin, payload)

    def _published(self, key: Key) -> None:
        """Hear, from a thread of the publisher's, that a message is out."""
        serial = self._keys.get(key)
        in_hand = None if serial is None else self._tasks.get(serial)
        if in_hand is not None and serial is not None:
            in_hand.is_published = True
            self._settle(in_hand, serial)
        self._wake_session()

    def _settle(self, in_hand: _InHand, serial: int) -> None:
        """Acknowledge a message that is done with in all respects."""
        key = (in_hand.origin.stream, in_hand.origin.number)
        with self._lock:
            if not (in_hand.is_recorded and in_hand.is_published) or self._tasks.pop(serial, None) is None:
                return
            self._keys.pop(key, None)
        self._source.settled(key)
        if self._acknowledger is not None:
            self._acknowledger.add(key)

    def _is_done(self, key: Key) -> bool:
        """Whether a message is not settled only because it did not get out to the output stream."""
        serial = self._keys.get(key)
        return serial is not None and self._tasks[serial].is_recorded

    def _acknowledge_again(self) -> None:
        """Acknowledge messages that came again, or that the stream file holds from an earlier session."""
        while self._source.to_acknowledge:
            key = self._source.to_acknowledge.popleft()
            if self._acknowledger is not None:
                self._acknowledger.add(key)

    def _hand_back(self, keys: list[Key]) -> None:
        """Have the service hand these messages out again, to this group, at once."""
        n_done = 0
        try:
            client = AsapoClient(self._settings.service, timeout_s=self._settings.timeout_s)
            for stream, number in keys:
                client.hand_back(stream, self._settings.group, number)
                n_done += 1
        except (SourceError, UserError) as error:
            self._say(f"{len(keys) - n_done} messages could not be handed back: {error}")
        if n_done:
            self._say(f"{n_done} messages were handed back to ASAP::O: the group will get them again.")

    # ---- what threads do -----------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        self._lines.append(line)
        self._wake_session()

    def _tell(self) -> None:
        while self._lines:
            self._say_now(self._lines.popleft())

    def _tell_silence(self) -> None:
        """Tell that the service does not answer, at growing intervals; the client itself waits for ever."""
        silent_s = self._source.silent_s
        if silent_s > self._silence_s:
            self._say_now(f"No answer from ASAP::O at {self._settings.service.endpoint} for {silent_s:.0f} s.")
            self._silence_s *= 2
        elif silent_s < SILENCE_S:
            self._silence_s = SILENCE_S + self._settings.timeout_s

    def _wake_session(self) -> None:
        with self._wake_lock:
            if not self._is_closed:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_up, b"a")

    def _close_pipe(self) -> None:
        with self._wake_lock:
            self._is_closed = True
            os.close(self._wake)
            os.close(self._wake_up)

    def _write_journal(self) -> None:
        """Have the journal written, by a thread: a home folder may be far away."""
        self._journal_at = monotonic() + JOURNAL_S
        if self._journal is not None and not (self._writing and self._writing.is_alive()):
            journal, streams = self._journal, self._source.streams()
            self._writing = self._background(lambda: self._keep_record(journal, streams))

    def _keep_record(self, journal: Journal, streams: dict[str, dict[str, int]]) -> None:
        try:
            journal.write(streams)
        except OSError as error:
            self._journal = None
            self._say(f"No record of the group is kept: {error.filename}: {error.strerror}")

    def _background(self, call: Callable[[], None], patience_s: float = 0.0) -> threading.Thread:
        """Call in a thread of its own, which is waited for so long."""
        thread = threading.Thread(target=call, name="asapo background", daemon=True)
        thread.start()
        thread.join(patience_s)
        return thread


def _known(output: OutputSettings) -> dict[str, SeenNumbers]:
    """Messages whose chunks are in the stream file that is gone on with."""
    known: dict[str, SeenNumbers] = {}
    if output.append:
        for stream, number in messages_in(output.stream_file):
            known.setdefault(stream, SeenNumbers()).add(number)
    return known
