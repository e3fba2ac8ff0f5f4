"""The process from which workers are forked: it imports and compiles everything once, and processes no frame.

    python -m braggstream.run.fork_server CONTROL SETUP SLOTS PARENT

The words are numbers: three inherited descriptors (socket of orders and notes, file with the set-up, shared memory
of the messages) and the parent's process id.  Signals that concern the parent alone are blocked from before the
start.  There are no threads here, which is what makes forking safe.
"""

import contextlib
import gc
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from math import inf
from time import monotonic, perf_counter, time
from typing import NoReturn

from braggstream.formats.wire import (
    BrokenNote,
    CompilingNote,
    EndedNote,
    ForkedNote,
    ForkOrder,
    Note,
    Setup,
    WarmNote,
    WarmOrder,
    decode_order,
    decode_setup,
    encode,
)
from braggstream.model.errors import BraggstreamError
from braggstream.run.lasting_log import let_log_last
from braggstream.run.processor import Processor, make_processor
from braggstream.run.slots import SlotMemory
from braggstream.run.standard_streams import open_standard_streams
from braggstream.run.system_limits import refusal_in
from braggstream.run.ties import PARENTS_SIGNALS, die_with_parent, name_process, outlive_parent
from braggstream.run.worker import run_worker
from braggstream.sinks.stream_file import mend_left_file
from braggstream.steps.indexing.external.descendants import adopt_orphans, end_children
from braggstream.steps.indexing.external.program import end_left_behind

ORDER_BYTES = 4096
PROGRESS_S = 10.0
"""While kernels are compiled it is told so often how many are ready."""
NOT_HEARD = PARENTS_SIGNALS | {signal.SIGTTOU}
"""Signals that concern the parent alone, and that a process which writes into a terminal behind it may be sent."""
FAREWELL_S = 2.0
"""So long workers may take to end by themselves after the parent has hung up."""


class ForkServer:
    """Forks workers on order and tells of their end."""

    def __init__(self, control: socket.socket, setup: Setup, *, slots: int, parent: int) -> None:
        self._control = control
        self._setup = setup
        self._scratch = setup.settings.indexing.scratch
        self._memory = SlotMemory(slots, setup.slot_bytes)
        self._workers: dict[int, int] = {}
        """Token of each worker by process id."""
        self._processor: Processor | None = None
        self._parent = parent
        self._began = time()
        self._is_farewell = False
        """Whether the parent has said that the session ends in good order."""
        self._wake, wake_up = socket.socketpair()
        wake_up.setblocking(False)
        self._wake_up = wake_up

    def prepare(self) -> bool:
        """Make the processor and warm it up; gives whether that went well."""
        started = perf_counter()
        try:
            self._processor = make_processor(self._setup)
            self._warm(self._processor.usual_pixel_types, "", started)
        except BraggstreamError as error:
            self._tell(BrokenNote(complaint=str(error), is_user_error=True))
            return False
        except Exception as error:
            refusal = refusal_in(error) if isinstance(error, OSError) else ""
            if not refusal:
                traceback.print_exc(file=sys.stderr)
            self._tell(BrokenNote(complaint=refusal or f"{type(error).__name__}: {error}", is_user_error=False))
            return False
        gc.collect()
        gc.freeze()  # Nothing made so far is touched again by the collector: it stays shared with workers.
        return True

    def serve(self) -> None:
        """Follow orders until the parent hangs up; then see every worker to its end.

        A parent that was killed may have torn the last chunk of the stream file, which is then cut off.
        """
        outlive_parent()
        if self._scratch is not None:
            adopt_orphans()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_up.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._control, self._wake], [], [])
            if self._wake in ready:
                self._wake.recv(ORDER_BYTES)
                self._reap()
            if self._control in ready and not self._follow_order():
                break
        self._see_workers_off(FAREWELL_S if self._is_farewell else 0.0)
        if not self._is_farewell:
            mend_left_file(self._setup.output.stream_file, self._began)
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)

    def _follow_order(self) -> bool:
        """Follow one order; False where the parent has hung up."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, ORDER_BYTES, 1)
        except ConnectionResetError:
            return False
        if not data:
            return False
        order = decode_order(data)
        if isinstance(order, ForkOrder):
            self._fork(order, descriptors[0])
        elif isinstance(order, WarmOrder):
            die_with_parent(self._parent)  # Nobody looks at the link while kernels are compiled.
            self._warm_later(order.pixel_type)
            outlive_parent()
        else:
            self._is_farewell = True
        return True

    def _warm_later(self, pixel_type: str) -> None:
        """Warm up for one more pixel type; one that no kernel can be compiled for costs its frames only."""
        started = perf_counter()
        try:
            self._warm((pixel_type,), pixel_type, started)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            complaint = f"no kernels for {pixel_type} pixels: {type(error).__name__}"
            seconds = perf_counter() - started
            self._tell(WarmNote(pixel_type=pixel_type, n_compiled=0, seconds=seconds, complaint=complaint))

    def _warm(self, pixel_types: Sequence[str], name: str, started: float) -> None:
        """Warm up; tells as soon as something turns out not to be in the cache, and then how far that is."""
        processor = self._processor
        assert processor is not None
        n_before = processor.n_compiled()
        told_at = -inf

        def tell_compiling(n_ready: int, n_all: int) -> None:
            nonlocal told_at
            if processor.n_compiled() > n_before and monotonic() - told_at > PROGRESS_S:
                told_at = monotonic()
                self._tell(CompilingNote(n_ready=n_ready, n_all=n_all))

        processor.warm_up(pixel_types, tell_compiling)
        self._tell(
            WarmNote(
                pixel_type=name,
                n_compiled=processor.n_compiled() - n_before,
                seconds=perf_counter() - started,
            )
        )

    def _fork(self, order: ForkOrder, descriptor: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptor)
            complaint = f"cannot be started: {error.strerror}"
            self._tell(EndedNote(token=order.token, pid=0, exit_code=1, complaint=complaint))
            return
        if pid == 0:
            self._become_worker(order.worker, descriptor, parent)
        os.close(descriptor)
        self._workers[pid] = order.token
        self._tell(ForkedNote(token=order.token, pid=pid))

    def _become_worker(self, number: int, descriptor: int, parent: int) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for link in (self._control, self._wake, self._wake_up):
                link.close()
            assert self._processor is not None
            run_worker(
                number,
                socket.socket(fileno=descriptor),
                setup=self._setup,
                memory=self._memory,
                processor=self._processor,
                parent=parent,
            )
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Tell of workers that have ended, and end what their programs have left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            token = self._workers.pop(pid, None)
            if token is None:  # An orphan that was adopted.
                continue
            if self._scratch is not None:
                end_left_behind(self._scratch, pid)
                end_children(spared=self._workers)
            self._tell(EndedNote(token=token, pid=pid, exit_code=os.waitstatus_to_exitcode(status)))

    def _see_workers_off(self, patience_s: float) -> None:
        deadline = monotonic() + patience_s
        while self._workers:
            left = deadline - monotonic()
            if left <= 0:
                for pid in self._workers:
                    os.kill(pid, signal.SIGKILL)
                deadline = monotonic() + FAREWELL_S
            select.select([self._wake], [], [], min(max(left, 0.0), 0.1))
            self._reap()

    def _tell(self, note: Note) -> None:
        with contextlib.suppress(OSError):  # The parent has hung up, which `serve` sees next.
            self._control.send(encode(note))


def main(words: Sequence[str]) -> int:
    """Run the fork server with the words after its name."""
    open_standard_streams()
    let_log_last()
    signal.pthread_sigmask(signal.SIG_SETMASK, NOT_HEARD)
    control, setup, slots, parent = (int(word) for word in words)
    die_with_parent(parent)
    name_process("braggstream-fork")
    with os.fdopen(setup, "rb") as file:
        decoded = decode_setup(file.read())
    server = ForkServer(socket.socket(fileno=control), decoded, slots=slots, parent=parent)
    if not server.prepare():
        return 1
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
