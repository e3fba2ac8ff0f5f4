"""The parent's end of the fork server: starts it, gives it orders, hears its notes, ends it."""

import os
import signal
import socket
import subprocess
import sys
from collections import deque

from braggstream.formats.wire import EndOrder, Note, Order, Setup, decode_note, encode, encode_setup
from braggstream.run.slots import SlotMemory
from braggstream.run.ties import PARENTS_SIGNALS

FORK_SERVER = "braggstream.run.fork_server"
NOTE_BYTES = 1 << 16
FAREWELL_S = 5.0
"""So long the fork server may take to see its workers off."""
SECRET_VARIABLES = frozenset({"BRAGGSTREAM_ASAPO_TOKEN"})
THREAD_LIMITS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Processes are the unit of parallelism: libraries start no threads of their own."""


class ServerLink:
    """A running fork server, as the parent sees it."""

    def __init__(self, setup: Setup, memory: SlotMemory) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._orders: deque[tuple[Order, socket.socket | None]] = deque()
        self.is_ended = False
        setup_file = _file_with(encode_setup(setup))
        try:
            self._process = _start((theirs.fileno(), setup_file, memory.descriptor))
        except BaseException:
            self._control.close()
            raise
        finally:
            os.close(setup_file)
            theirs.close()

    @property
    def descriptor(self) -> int:
        """To be polled for notes; -1 after the end."""
        return -1 if self.is_ended else self._control.fileno()

    @property
    def pid(self) -> int:
        """Process id of the fork server."""
        return self._process.pid

    @property
    def exit_code(self) -> int:
        """Exit status, or minus the number of the signal that ended it; to be asked after `close`."""
        return self._process.wait()

    def order(self, order: Order, passed: socket.socket | None = None) -> None:
        """Give an order, with a socket to pass on (closed here once it is on its way)."""
        self._orders.append((order, passed))
        self.flush()

    def flush(self) -> None:
        """Send orders that wait; never waits itself."""
        while self._orders and not self.is_ended:
            order, passed = self._orders[0]
            descriptors = [] if passed is None else [passed.fileno()]
            try:
                socket.send_fds(self._control, [encode(order)], descriptors)
            except BlockingIOError:
                return
            except OSError:
                self.is_ended = True
                return
            self._orders.popleft()
            if passed is not None:
                passed.close()

    def notes(self) -> list[Note]:
        """Take the notes that have arrived; sets `is_ended` where the fork server is gone."""
        notes: list[Note] = []
        while not self.is_ended:
            try:
                data = self._control.recv(NOTE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if data:
                notes.append(decode_note(data))
            else:
                self.is_ended = True
        return notes

    def close(self, *, at_once: bool = False) -> None:
        """End the fork server and with it all workers, whose sockets the caller has closed before."""
        for _, passed in self._orders:
            if passed is not None:
                passed.close()
        self._orders.clear()
        self.order(EndOrder())
        self._control.close()
        self.is_ended = True
        if at_once:
            self._process.kill()
        try:
            self._process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _file_with(content: bytes) -> int:
    descriptor = os.memfd_create("braggstream-setup")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _environment() -> dict[str, str]:
    """Variables for workers, which need no secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}


def _start(descriptors: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    """Start the process in a process group of its own, deaf to the signals that concern the parent alone."""
    words = [*map(str, descriptors), str(os.getpid())]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", FORK_SERVER, *words],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            process_group=0,
            env={**_environment(), **THREAD_LIMITS, "PYTHONPATH": path},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
