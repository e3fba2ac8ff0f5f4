"""The parent's view of its workers: hands out tasks, collects outcomes, replaces what crashed or hangs."""

import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from time import monotonic

from braggstream.formats.wire import (
    BrokenNote,
    CompilingNote,
    EndedNote,
    FileTask,
    ForkedNote,
    ForkOrder,
    FrameOutcome,
    Hello,
    Note,
    Setup,
    Task,
    WarmNote,
    WarmOrder,
    WireError,
    decode_outcome,
)
from braggstream.model.adjustments import Adjustments
from braggstream.model.errors import BraggstreamError
from braggstream.model.frame import FileSlot, Message
from braggstream.run.links import Inbox, LinkBroken
from braggstream.run.processor import Work, failure_of
from braggstream.run.server_link import ServerLink
from braggstream.run.silence import Silence
from braggstream.run.slots import SlotMemory
from braggstream.run.system_limits import SystemRefusal
from braggstream.run.worker_link import WorkerLink, ending_of
from braggstream.steps.indexing.external.descendants import end_marked

MAX_FRUITLESS = 5
"""So many workers in a row, or processes that fork them, may die before a worker is ready for a frame; then the run
is given up."""
FORK_AGAIN_S, MOST_FORK_AGAIN_S = 0.25, 30.0
"""The first of them is replaced after so long, further ones after growing times up to the second."""
ABSENT_S = 5.0
"""A parent that has not looked after its workers for so long was stopped itself: it does so every second."""


class WorkersBroken(BraggstreamError):
    """Workers cannot be started."""


@dataclass(slots=True)
class Settled:
    """A task and what became of it."""

    task: Task
    outcome: FrameOutcome
    worker: int | None = None
    """Place in the crew of the worker that processed it; None for a failure that no worker told."""
    since: float = 0.0
    """When the worker was given the task [s, monotonic]."""


@dataclass(slots=True)
class Supervisor:
    """Keeps `n_workers` workers busy and alive."""

    setup: Setup
    memory: SlotMemory
    n_workers: int
    frame_timeout_s: float
    say: Callable[[str], None]
    n_replaced: int = 0
    adjustments: Adjustments = field(default_factory=Adjustments)
    """What workers are told before their next frame, those that come later included."""
    is_warm: bool = False
    """Whether the kernels are compiled, so that frames may be taken."""
    _is_compiling: bool = False
    """Whether it was told that kernels are being compiled."""
    _server: ServerLink | None = None
    _workers: dict[int, WorkerLink] = field(default_factory=dict)
    """By token; also those that were told to end and have not yet."""
    _talkers: dict[int, WorkerLink] = field(default_factory=dict)
    """By descriptor; those that have not hung up."""
    _heard: select.epoll = field(default_factory=select.epoll)
    _n_forked: int = 0
    _queue: deque[Task] = field(default_factory=deque)
    _unwarmed: dict[str, list[Task]] = field(default_factory=dict)
    """Tasks that wait for the kernels of their pixel type."""
    _warmed: dict[str, str] = field(default_factory=dict)
    """What the warm-up for each pixel type had to complain about: nothing, mostly."""
    _generation: int = 0
    """Grows with each warm-up: older workers do not have its kernels."""
    _tried: set[int] = field(default_factory=set)
    """Serial numbers of the tasks that a worker has died with, and that are tried once again."""
    _n_fruitless: int = 0
    """Workers in a row that have ended before they were ready."""
    _forks_due: dict[float, int] = field(default_factory=dict)
    """Places in the crew that are to be filled later, by the time for that [s, monotonic]."""
    _n_lost_servers: int = 0
    """Fork servers in a row that have ended before one of their workers was ready."""
    _silence: Silence = field(default_factory=Silence)
    _turned_at: float = field(default_factory=monotonic)
    """When everybody was heard last [s, monotonic]."""
    _settled: list[Settled] = field(default_factory=list)

    def start(self) -> None:
        """Start the fork server; workers follow once it is warm."""
        with SystemRefusal.told("workers cannot start"):
            self._server = ServerLink(self.setup, self.memory)
        self._silence = Silence()
        self._heard.register(self._server.descriptor, select.EPOLLIN)

    @property
    def n_open(self) -> int:
        """Tasks that were submitted and are not settled."""
        n_busy = sum(worker.task is not None for worker in self._workers.values())
        return len(self._queue) + n_busy + sum(len(tasks) for tasks in self._unwarmed.values())

    @property
    def n_waiting(self) -> int:
        """Tasks that no worker has yet."""
        return len(self._queue) + sum(len(tasks) for tasks in self._unwarmed.values())

    @property
    def descriptor(self) -> int:
        """Readable when a worker or the fork server has something to say."""
        return self._heard.fileno()

    def deadline(self) -> float:
        """Give the time of the next thing to do without being woken [s, monotonic]; infinite for nothing."""
        started = [worker.since for worker in self._workers.values() if worker.is_timed]
        return min(min(started, default=inf) + self.frame_timeout_s, min(self._forks_due, default=inf))

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append(task)

    def adjust(self, adjustments: Adjustments) -> None:
        """Have all frames that are handed out from now on processed with these adjustments, which get a number."""
        self.adjustments = replace(adjustments, number=self.adjustments.number + 1)

    def turn(self) -> list[Settled]:
        """Hear everybody, replace the dead, kill the hung, hand out tasks; gives what was settled."""
        self._excuse_absence()
        self._hear_workers()
        self._hear_server()
        self._kill_hung()
        self._fork_due()
        self._hand_out()
        settled, self._settled = self._settled, []
        return settled

    def close(self, *, at_once: bool = False) -> None:
        """End all processes; tasks that are not settled are abandoned."""
        for worker in self._workers.values():
            worker.link.close()
        self._workers.clear()
        if self._server is not None:
            self._server.close(at_once=at_once)
            self._server = None
        self._heard.close()

    # ---- hearing -------------------------------------------------------------------------------------------

    def _hear_workers(self) -> None:
        for descriptor, _ in self._heard.poll(0):
            if descriptor in self._talkers:
                self._hear(self._talkers[descriptor])

    def _hear(self, worker: WorkerLink) -> None:
        """Take a worker's messages; one that sends nonsense is killed."""
        try:
            for data in worker.inbox.read():
                message = decode_outcome(data)
                if isinstance(message, Hello):
                    worker.pid, worker.is_ready = message.pid, True
                    self._n_lost_servers = 0
                else:
                    self._take(worker, message)
        except (LinkBroken, WireError):
            worker.kill("crash")
        if worker.inbox.is_ended:
            self._stop_hearing(worker)

    def _stop_hearing(self, worker: WorkerLink) -> None:
        if self._talkers.pop(worker.link.fileno(), None) is not None:
            self._heard.unregister(worker.link.fileno())

    def _take(self, worker: WorkerLink, outcome: FrameOutcome) -> None:
        task, worker.task = worker.task, None
        if task is None or task.serial != outcome.serial:
            worker.task = task
            raise LinkBroken("an outcome of a frame that was not handed over")
        self._n_fruitless = 0
        if outcome.status == "unwarmed":
            self._set_aside(worker, task, outcome.pixel_type)
        else:
            self._tried.discard(task.serial)
            self._settled.append(Settled(task, outcome, worker.number, worker.since))
        if (outcome.is_last or worker.generation != self._generation) and not worker.inbox.is_ended:
            self._renew(worker)

    def _set_aside(self, worker: WorkerLink, task: Task, pixel_type: str) -> None:
        """Keep a frame until the kernels for its pixel type are ready."""
        complaint = self._warmed.get(pixel_type)
        if complaint is None:
            if pixel_type not in self._unwarmed:
                assert self._server is not None
                self._server.order(WarmOrder(pixel_type=pixel_type))
            self._unwarmed.setdefault(pixel_type, []).append(task)
        elif worker.generation == self._generation or complaint:
            self._fail(task, "decode", complaint or f"no kernels for {pixel_type} pixels")
        else:
            self._queue.appendleft(task)  # Kernels are ready by now; this worker was forked before.

    def _hear_server(self) -> None:
        if self._server is None:
            return
        notes = self._server.notes()
        for note in notes:
            self._note(note)
        if notes:
            self._silence.is_broken()
        if self._server.is_ended:
            self._lose_server()
        elif self._silence.is_too_long(self._server.pid, is_awaited=self._awaits_server, is_busy=self._is_warming):
            self._lose_server("does not answer any more")
        else:
            self._server.flush()

    @property
    def _is_warming(self) -> bool:
        """Whether the fork server compiles, or may do so."""
        return not self.is_warm or bool(self._unwarmed)

    @property
    def _awaits_server(self) -> bool:
        """Whether the fork server is to do something: compile, fork a worker, or tell of the end of one."""
        return self._is_warming or any(not w.pid or w.inbox.is_ended for w in self._workers.values())

    def _note(self, note: Note) -> None:
        match note:
            case CompilingNote():
                if not self._is_compiling:
                    self.say("Kernels are not in the cache: compiling them, which takes up to some minutes, once.")
                else:
                    self.say(f"Compiling kernels: {note.n_ready} of {note.n_all} modules are ready.")
                self._is_compiling = True
            case WarmNote():
                self._use_warmth(note)
            case ForkedNote():
                if note.token in self._workers:
                    self._workers[note.token].pid = note.pid
            case EndedNote():
                self._bury(note)
            case BrokenNote():
                raise WorkersBroken(
                    note.complaint if note.is_user_error else f"workers cannot start: {note.complaint}"
                )

    def _use_warmth(self, note: WarmNote) -> None:
        """Go on with kernels that are ready: start the workers, or replace those that do not have them."""
        kind = f" for {note.pixel_type} pixels" if note.pixel_type else ""
        how = f"{note.n_compiled} compiled" if note.n_compiled else "all from the cache"
        self._is_compiling = False
        self.say(note.complaint or f"Kernels{kind} ready after {note.seconds:.1f} s ({how}).")
        self._generation += 1
        if not self.is_warm:
            self.is_warm = True
            for number in range(self.n_workers):
                self._fork(number)
            return
        self._warmed[note.pixel_type] = note.complaint
        waiting = self._unwarmed.pop(note.pixel_type, [])
        if note.complaint:
            for task in waiting:
                self._fail(task, "decode", note.complaint)
        else:
            self._queue.extendleft(reversed(waiting))
        for worker in list(self._workers.values()):
            if worker.task is None and not worker.fate:
                self._renew(worker)

    # ---- workers come and go -------------------------------------------------------------------------------

    def _fork(self, number: int) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self.say(f"Worker {number} cannot be started: {error.strerror}")
            return self._fork_later(number)
        token = self._n_forked
        self._n_forked += 1
        worker = WorkerLink(number, token, ours, Inbox(ours), self._generation)
        self._workers[token] = self._talkers[ours.fileno()] = worker
        self._heard.register(ours, select.EPOLLIN)
        assert self._server is not None
        self._server.order(ForkOrder(worker=number, token=token), theirs)

    def _renew(self, worker: WorkerLink) -> None:
        """Replace an idle worker by one that is forked now: with all kernels, and with little memory."""
        worker.retire()
        self._fork(worker.number)

    def _kill_hung(self) -> None:
        now = monotonic()
        for worker in self._workers.values():
            if worker.is_timed and now - worker.since > self.frame_timeout_s:
                worker.kill("timeout")

    def _excuse_absence(self) -> None:
        """Take it for nobody's fault where this process itself was stopped for a while, with the others perhaps."""
        now = monotonic()
        absent_s, self._turned_at = now - self._turned_at, now
        if absent_s > ABSENT_S:
            self._silence.is_broken()
            for worker in self._workers.values():
                worker.since += absent_s

    def _bury(self, note: EndedNote) -> None:
        """Settle what a dead worker had in hand, and replace it."""
        worker = self._workers[note.token]
        self._hear(worker)
        is_expected = worker.fate == "renewed"
        self._lose(worker, note.complaint or ending_of(note.exit_code))
        if is_expected:
            return
        self.n_replaced += 1
        if worker.is_ready:
            self._fork(worker.number)
        else:
            self._fork_later(worker.number)

    def _lose(self, worker: WorkerLink, ending: str) -> None:
        """Take a dead worker from the books.

        A frame that it had is tried once again: most workers that die were killed from outside.  One that took too
        long would only take too long again.
        """
        self._stop_hearing(worker)
        worker.link.close()
        del self._workers[worker.token]
        name = worker.name
        if worker.task is not None and worker.fate == "timeout":
            limit = f"longer than {self.frame_timeout_s:g} s"
            self._fail(worker.task, "timeout", f"{limit}: {name} was killed and is replaced")
        elif worker.task is not None and worker.task.serial not in self._tried:
            self.say(f"W{name[1:]} {ending} and is replaced; its frame is tried once again")
            self._tried.add(worker.task.serial)
            self._queue.appendleft(worker.task)
        elif worker.task is not None:
            self._fail(worker.task, "crash", f"{name} {ending} and is replaced; it was the frame's second time")
        elif worker.fate != "renewed":
            then = "while idle and is replaced" if worker.pid else "and is tried again"
            self.say(f"W{name[1:]} {ending} {then}")

    def _fork_later(self, number: int) -> None:
        """Replace a worker that has ended before it was ready (one that was, was killed from outside).

        Each one waits for longer than the one before; where there is no other worker, that has an end.
        """
        self._n_fruitless += 1
        if self._n_fruitless >= MAX_FRUITLESS and not any(worker.is_ready for worker in self._workers.values()):
            raise WorkersBroken(f"workers cannot start: {self._n_fruitless} in a row ended before they were ready")
        self._forks_due[monotonic() + min(FORK_AGAIN_S * self._n_fruitless**2, MOST_FORK_AGAIN_S)] = number

    def _fork_due(self) -> None:
        for when in [when for when in self._forks_due if when <= monotonic()]:
            self._fork(self._forks_due.pop(when))

    def _fail(self, task: Task, reason: str, complaint: str) -> None:
        self._tried.discard(task.serial)
        self._settled.append(Settled(task, failure_of(_work(task), reason=reason, complaint=complaint)))

    def _lose_server(self, complaint: str = "") -> None:
        """Start the fork server anew; its workers end with it.

        It may be killed again while it starts.  One that ends by itself would only do so again.
        """
        assert self._server is not None
        self._server.close(at_once=bool(complaint))  # Its descriptor leaves `_heard` with it.
        ending = complaint or ending_of(self._server.exit_code)
        self._n_lost_servers += 1
        is_hopeless = self._server.exit_code >= 0 and not self.is_warm
        if is_hopeless or self._n_lost_servers >= MAX_FRUITLESS:
            raise WorkersBroken(f"workers cannot start: the process that forks them {ending}")
        self.say(f"The process that forks workers {ending}: starting it anew.")
        for worker in list(self._workers.values()):
            self._hear(worker)
        for worker in list(self._workers.values()):
            worker.fate = "renewed"
            self._lose(worker, "ended with the process that forked it")
        if self.setup.settings.indexing.scratch is not None:
            end_marked(self.setup.settings.indexing.scratch)
        self._queue.extend(task for tasks in self._unwarmed.values() for task in tasks)
        self._unwarmed.clear()
        self._warmed.clear()
        self._forks_due.clear()
        self.is_warm = False
        self.start()

    # ---- work ----------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            if not self._queue:
                return
            if worker.is_free:
                task = self._queue.popleft()
                try:
                    worker.hand_over(task, self.adjustments)
                except LinkBroken:
                    self._queue.appendleft(task)  # It died idle; the note of that is on its way.
                    worker.fate = "crash"


def _work(task: Task) -> Work:
    """Give a task's frame a name; its bytes are not wanted any more."""
    if isinstance(task, FileTask):
        return FileSlot(filename=task.filename, event=task.event, serial=task.serial)
    return Message(payload=b"", serial=task.serial, origin=task.origin)
