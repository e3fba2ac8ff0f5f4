"""Signals that end a session: they set a flag and wake the loop, and nothing else."""

import contextlib
import os
import signal
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Self

from braggstream.run.ties import STOP_SIGNALS

DONE, SHUT_DOWN, KILLED = 0, 1, 128
"""Exit statuses, as CrystFEL's; a second stop signal gives its number plus 128."""
STUCK_S = 20.0
"""A run that was to end at once and has not after so long is stuck: in a file system that does not answer, or in a
pipe that nobody reads."""
ECHO_S = 0.05
"""A signal so soon after the first is the same wish: `timeout` tells a process, and then its group with it [s]."""


class StopSignals:
    """Counts signals while it is entered; does nothing outside the main thread, where Python forbids it.

    The third signal, or a while after the second one, ends the process as if nobody listened: the way out where the
    loop itself is stuck.
    """

    def __init__(self) -> None:
        self.n_received = 0
        """Stop signals so far: one ends the session in good order, two at once."""
        self.last = 0
        """Number of the last one."""
        self.is_shutdown = False
        """Whether the first one was SIGUSR1, which ends with status 1."""
        self._first_at = 0.0
        self._before: dict[int, Any] = {}
        self._wake, self._wake_up = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def descriptor(self) -> int:
        """Becomes readable when a signal comes."""
        return self._wake

    @property
    def status(self) -> int:
        """Exit status of a session that was stopped."""
        if self.n_received > 1:
            return KILLED + self.last
        return SHUT_DOWN if self.is_shutdown else DONE

    def drain(self) -> None:
        """Make the descriptor unreadable again."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 64):
                pass

    def __enter__(self) -> Self:
        with contextlib.suppress(ValueError):  # Not the main thread.
            for number in (*STOP_SIGNALS, signal.SIGUSR1):
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # `nohup` means that the terminal may go.
                self._before[number] = signal.signal(number, self._note)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, lambda *_: self._end())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._wake)
        os.close(self._wake_up)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = monotonic()
        if self.n_received == 1 and now - self._first_at < ECHO_S:
            return
        self.n_received += 1
        self.last = number
        if self.n_received == 1:
            self._first_at = now
            self.is_shutdown = number == signal.SIGUSR1
        if self.n_received == 2:
            signal.setitimer(signal.ITIMER_REAL, STUCK_S)
        if self.n_received >= 3:
            self._end()
        with contextlib.suppress(BlockingIOError):  # It wakes the loop as it is.
            os.write(self._wake_up, b"s")

    def _end(self) -> None:
        """End the process as the last signal would have without us."""
        signal.signal(self.last, signal.SIG_DFL)
        os.kill(os.getpid(), self.last)
