"""A log that outlives its reader: a run neither ends nor waits because nobody listens any more."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from braggstream.model.shown_text import shown

PATIENCE_S = 1.0
"""So long a log is waited for that takes no more; then lines are left out, and counted, until it does."""
LOOK_S = 0.1
PIECE_BYTES = select.PIPE_BUF
"""A pipe that has room at all takes so much at once."""


class LastingLog:
    """Writes whole lines to a text stream; goes on where the reader of a pipe is gone or does not read, or the disk
    is full.  What came from outside cannot steer the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pending = ""
        self._n_left_out = 0
        self._is_hurried: Callable[[], bool] | None = None
        """Asked whether the user wants to end; None where the log is not to be waited for in any case."""
        self._poller: select.poll | None = None
        try:
            self._descriptor = stream.fileno()
        except (OSError, ValueError):  # No file is behind it, as in a notebook.
            return
        self._poller = select.poll()
        self._poller.register(self._descriptor, select.POLLOUT)

    def write(self, text: str) -> int:
        """Write what can be written."""
        self._pending += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        text, self._pending = shown(self._pending, keep="\n\t\r"), ""
        if not text:
            return
        if self._n_left_out and self._has_room(0.0):
            text = f"... {self._n_left_out} lines were left out here: nobody read this log\n{text}"
        try:
            is_written = self._put(text)
        except OSError as error:
            return self._give_up(error)
        self._n_left_out = 0 if is_written else self._n_left_out + text.count("\n")

    @contextmanager
    def patience(self, is_hurried: Callable[[], bool]) -> Iterator[None]:
        """Wait inside for a reader as long as it takes, or until the user is in a hurry: for the last lines."""
        self._is_hurried = is_hurried
        try:
            yield
        finally:
            self._is_hurried = None

    def isatty(self) -> bool:
        """Whether a person may be watching."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._stream.fileno()

    def _put(self, text: str) -> bool:
        """Write a text; False where there was no room for all of it."""
        if self._poller is None:
            self._stream.write(text)
            self._stream.flush()
            return True
        data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        for start in range(0, len(data), PIECE_BYTES):
            if not self._has_room(0.0 if self._n_left_out else PATIENCE_S):
                return False
            try:
                os.write(self._descriptor, data[start : start + PIECE_BYTES])
            except BlockingIOError:
                return False
        return True

    def _has_room(self, patience_s: float) -> bool:
        """Wait for room, and tell whether there is some."""
        assert self._poller is not None
        until = monotonic() + patience_s
        while not self._poller.poll(min(patience_s, LOOK_S) * 1e3):
            is_waited_for = self._is_hurried is not None and not self._is_hurried()
            if monotonic() >= until and not is_waited_for:
                return False
            patience_s = LOOK_S
        return True

    def _give_up(self, error: OSError) -> None:
        """Throw away what comes from now on, where there is no reader; a full disk may get room again."""
        if isinstance(error, BrokenPipeError):
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def let_log_last() -> LastingLog:
    """From now on nothing fails because standard error cannot be written, nor waits for it; gives the log."""
    if not isinstance(sys.stderr, LastingLog):
        sys.stderr = LastingLog(sys.stderr)
    return sys.stderr
