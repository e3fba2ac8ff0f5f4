"""The parent's view of its workers: hands out tasks, collects outcomes, replaces what crashed or hangs."""

import contextlib
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic

from braggstream.formats.wire import (
    AdjustOrder,
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
    encode,
)
from braggstream.model.adjustments import Adjustments
from braggstream.model.errors import BraggstreamError
from braggstream.model.frame import FileSlot, Message
from braggstream.run.links import Inbox, LinkBroken, send_message
from braggstream.run.processor import Work, failure_of
from braggstream.run.server_link import ServerLink
from braggstream.run.slots import SlotMemory

MAX_FRUITLESS = 5
"""So many workers in a row may die before they are ready for a frame; then the run is given up."""


class WorkersBroken(BraggstreamError):
    """Workers cannot be started."""


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    """Place in the crew: for its name, and the processor it is bound to."""
    token: int
    """Tells it from those that had its place before."""
    link: socket.socket
    inbox: Inbox
    generation: int
    pid: int = 0
    is_ready: bool = False
    task: Task | None = None
    since: float = 0.0
    """When the task was handed over [s, monotonic]."""
    adjustment: int = 0
    """Number of the adjustments that it has."""
    fate: str = ""
    """Why it was told to end; empty for one that ended by itself."""


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
    _workers: dict[int, _Worker] = field(default_factory=dict)
    """By token; also those that were told to end and have not yet."""
    _talkers: dict[int, _Worker] = field(default_factory=dict)
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
    _settled: list[Settled] = field(default_factory=list)

    def start(self) -> None:
        """Start the fork server; workers follow once it is warm."""
        self._server = ServerLink(self.setup, self.memory)
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
        started = [worker.since for worker in self._workers.values() if worker.task is not None]
        return min(started, default=float("inf")) + self.frame_timeout_s

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append(task)

    def adjust(self, adjustments: Adjustments) -> None:
        """Have all frames that are handed out from now on processed with these adjustments, which get a number."""
        self.adjustments = replace(adjustments, number=self.adjustments.number + 1)

    def turn(self) -> list[Settled]:
        """Hear everybody, replace the dead, kill the hung, hand out tasks; gives what was settled."""
        self._hear_workers()
        self._hear_server()
        self._kill_hung()
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

    def _hear(self, worker: _Worker) -> None:
        """Take a worker's messages; one that sends nonsense is killed."""
        try:
            for data in worker.inbox.read():
                message = decode_outcome(data)
                if isinstance(message, Hello):
                    worker.pid, worker.is_ready = message.pid, True
                else:
                    self._take(worker, message)
        except (LinkBroken, WireError):
            self._kill(worker, "crash")
        if worker.inbox.is_ended:
            self._stop_hearing(worker)

    def _stop_hearing(self, worker: _Worker) -> None:
        if self._talkers.pop(worker.link.fileno(), None) is not None:
            self._heard.unregister(worker.link.fileno())

    def _take(self, worker: _Worker, outcome: FrameOutcome) -> None:
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

    def _set_aside(self, worker: _Worker, task: Task, pixel_type: str) -> None:
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
        for note in self._server.notes():
            self._note(note)
        if self._server.is_ended:
            self._lose_server()
        else:
            self._server.flush()

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
        ours, theirs = socket.socketpair()
        token = self._n_forked
        self._n_forked += 1
        worker = _Worker(number, token, ours, Inbox(ours), self._generation)
        self._workers[token] = self._talkers[ours.fileno()] = worker
        self._heard.register(ours, select.EPOLLIN)
        assert self._server is not None
        self._server.order(ForkOrder(worker=number, token=token), theirs)

    def _renew(self, worker: _Worker) -> None:
        """Replace an idle worker by one that is forked now: with all kernels, and with little memory."""
        worker.fate = "renewed"
        worker.link.shutdown(socket.SHUT_WR)
        self._fork(worker.number)

    def _kill(self, worker: _Worker, fate: str) -> None:
        worker.fate = worker.fate or fate
        if worker.pid:
            with contextlib.suppress(ProcessLookupError):  # It has ended; the note of that is on its way.
                os.kill(worker.pid, signal.SIGKILL)

    def _kill_hung(self) -> None:
        now = monotonic()
        for worker in self._workers.values():
            if worker.task is not None and not worker.fate and now - worker.since > self.frame_timeout_s:
                self._kill(worker, "timeout")

    def _bury(self, note: EndedNote) -> None:
        """Settle what a dead worker had in hand, and replace it."""
        worker = self._workers[note.token]
        self._hear(worker)
        is_expected = worker.fate == "renewed"
        self._lose(worker, _ending(note.exit_code))
        if not is_expected:
            self.n_replaced += 1
            self._fork(worker.number)

    def _lose(self, worker: _Worker, ending: str) -> None:
        """Take a dead worker from the books.

        A frame that it had is tried once again: most workers that die were killed from outside.  One that took too
        long would only take too long again.
        """
        self._stop_hearing(worker)
        worker.link.close()
        del self._workers[worker.token]
        name = f"worker {worker.number} (process {worker.pid})"
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
            self.say(f"W{name[1:]} {ending} while idle and is replaced")
            self._n_fruitless += not worker.is_ready  # One that was ready was killed from outside.
            if self._n_fruitless >= MAX_FRUITLESS:
                raise WorkersBroken(
                    f"workers cannot start: {self._n_fruitless} in a row ended before they were ready"
                )

    def _fail(self, task: Task, reason: str, complaint: str) -> None:
        self._tried.discard(task.serial)
        self._settled.append(Settled(task, failure_of(_work(task), reason=reason, complaint=complaint)))

    def _lose_server(self) -> None:
        """Start the fork server anew; its workers have ended with it."""
        if not self.is_warm:
            raise WorkersBroken("workers cannot start: the process that forks them has ended")
        self.say("The process that forks workers has ended: starting it anew.")
        for worker in list(self._workers.values()):
            self._hear(worker)
        for worker in list(self._workers.values()):
            worker.fate = "renewed"
            self._lose(worker, "ended with the process that forked it")
        self._queue.extend(task for tasks in self._unwarmed.values() for task in tasks)
        self._unwarmed.clear()
        self._warmed.clear()
        assert self._server is not None
        self._server.close(at_once=True)  # Its descriptor leaves `_heard` with it.
        self.is_warm = False
        self.start()

    # ---- work ----------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            if not self._queue:
                return
            if worker.is_ready and worker.task is None and not worker.fate and not worker.inbox.is_ended:
                task = self._queue.popleft()
                try:
                    self._tell_adjustments(worker)
                    send_message(worker.link, encode(task))
                except LinkBroken:
                    self._queue.appendleft(task)  # It died idle; the note of that is on its way.
                    worker.fate = "crash"
                    continue
                worker.task, worker.since = task, monotonic()

    def _tell_adjustments(self, worker: _Worker) -> None:
        """Tell a worker what the session has learned since its last frame."""
        if worker.adjustment != self.adjustments.number:
            send_message(worker.link, encode(AdjustOrder(adjustments=self.adjustments)))
            worker.adjustment = self.adjustments.number


def _work(task: Task) -> Work:
    """Give a task's frame a name; its bytes are not wanted any more."""
    if isinstance(task, FileTask):
        return FileSlot(filename=task.filename, event=task.event, serial=task.serial)
    return Message(payload=b"", serial=task.serial, origin=task.origin)


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with status {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "unknown"
    return f"was killed by signal {-exit_code} ({name})"
