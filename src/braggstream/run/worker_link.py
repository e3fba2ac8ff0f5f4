"""The parent's end of one worker: what it is doing, and what it is told."""

import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from time import monotonic

from braggstream.formats.wire import AdjustOrder, Task, encode
from braggstream.model.adjustments import Adjustments
from braggstream.run.links import Inbox, send_message


@dataclass(slots=True, eq=False)
class WorkerLink:
    """A worker, as the parent sees it."""

    number: int
    """Place in the crew: for its name, and the processor it is bound to."""
    token: int
    """Tells it from those that had its place before."""
    link: socket.socket
    inbox: Inbox
    generation: int
    """Which kernels it was forked with."""
    pid: int = 0
    is_ready: bool = False
    task: Task | None = None
    since: float = 0.0
    """When the task was handed over [s, monotonic]."""
    adjustment: int = 0
    """Number of the adjustments that it has."""
    fate: str = ""
    """Why it was told to end; empty for one that ended by itself."""

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return f"worker {self.number} (process {self.pid})" if self.pid else f"worker {self.number}"

    @property
    def is_free(self) -> bool:
        """Whether it waits for a task."""
        return self.is_ready and self.task is None and not self.fate and not self.inbox.is_ended

    @property
    def is_timed(self) -> bool:
        """Whether it has a task that it may take too long for."""
        return self.task is not None and not self.fate

    def hand_over(self, task: Task, adjustments: Adjustments) -> None:
        """Give it a task, and before that what the session has learned since its last one; raises `LinkBroken`."""
        if self.adjustment != adjustments.number:
            send_message(self.link, encode(AdjustOrder(adjustments=adjustments)))
            self.adjustment = adjustments.number
        send_message(self.link, encode(task))
        self.task, self.since = task, monotonic()

    def retire(self) -> None:
        """Have it end by itself."""
        self.fate = "renewed"
        self.link.shutdown(socket.SHUT_WR)

    def kill(self, fate: str) -> None:
        """Kill it; `fate` tells why, where it was not to end before."""
        self.fate = self.fate or fate
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # It has ended; the note of that is on its way.
                os.kill(self.pid, signal.SIGKILL)


def ending_of(exit_code: int) -> str:
    """Tell how a process ended: its exit status, or minus the number of a signal."""
    if exit_code >= 0:
        return f"ended with status {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "unknown"
    return f"was killed by signal {-exit_code} ({name})"
