"""A log that outlives its reader: a run does not end because nobody listens any more."""

import os
import sys
from typing import TextIO


class LastingLog:
    """Writes to a text stream, and goes on where the reader of a pipe is gone or the disk is full."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def isatty(self) -> bool:
        """Whether a person may be watching."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._stream.fileno()

    def _give_up(self, error: OSError) -> None:
        """Throw away what comes from now on, where there is no reader; a full disk may get room again."""
        if isinstance(error, BrokenPipeError):
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def let_log_last() -> None:
    """From now on nothing fails because standard error cannot be written."""
    if not isinstance(sys.stderr, LastingLog):
        sys.stderr = LastingLog(sys.stderr)
