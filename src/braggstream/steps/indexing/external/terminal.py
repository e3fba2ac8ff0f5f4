"""A conversation with a program that only talks to a terminal."""

import contextlib
import os
import re
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from braggstream.steps.indexing.external.program import MAX_OUTPUT_BYTES, ExternalProgram

QUIET_S = 0.05
"""A line that is not ended is a question when nothing has followed it for so long."""
_QUESTION = re.compile(r"[^\r\n]*[>:?]\s*\Z")


class Conversation:
    """Asks a program that runs in a terminal of its own."""

    def __init__(self, terminal: int, program: ExternalProgram) -> None:
        self._terminal = terminal
        self._program = program
        self._deadline = monotonic() + program.timeout_s
        self.is_over = False
        """Whether the program has ended, or its time is up."""

    def ask(self, line: str) -> str:
        """Type a line; gives what the program says until its next question."""
        try:
            os.write(self._terminal, (line + "\n").encode())
        except OSError:
            self.is_over = True
        return self.listen()

    def listen(self) -> str:
        """Give what the program says until its next question, or until it ends."""
        heard = b""
        while not self.is_over:
            left = self._deadline - monotonic()
            is_asking = bool(_QUESTION.search(heard[-200:].decode("latin-1")))
            ready, _, _ = select.select(
                [self._terminal], [], [], max(min(left, QUIET_S if is_asking else left), 0.0)
            )
            if not ready and is_asking and left > 0:
                break
            if not ready or len(heard) > MAX_OUTPUT_BYTES:
                self._program.time_is_up()
                self.is_over = True
                break
            try:
                more = os.read(self._terminal, 65536)
            except OSError:  # The other end is closed.
                more = b""
            self.is_over = not more
            heard += more
        return heard.decode("latin-1")


@contextmanager
def conversation(program: ExternalProgram, folder: Path) -> Iterator[Conversation]:
    """Start a program in a terminal without echo; it is ended afterwards."""
    ours, theirs = os.openpty()
    try:
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        with program.started(folder, [], theirs, theirs):
            os.close(theirs)
            theirs = -1
            yield Conversation(ours, program)
    finally:
        for descriptor in (ours, theirs):
            with contextlib.suppress(OSError):
                os.close(descriptor)
