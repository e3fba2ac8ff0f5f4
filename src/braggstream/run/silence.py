"""How long the process that forks workers may keep silent where an answer is due, until it is given up."""

from pathlib import Path
from time import monotonic

STOPPED_S = 5.0
"""Where somebody has stopped it (SIGSTOP, a debugger)."""
SILENT_S = 30.0
"""Where it runs and does not answer."""


class Silence:
    """The silence of one process, of which nothing is told but its number."""

    def __init__(self) -> None:
        self._since: float | None = None

    def is_broken(self) -> None:
        """Take note that it has said something, or could not be heard for a while."""
        self._since = None

    def is_too_long(self, pid: int, *, is_awaited: bool, is_busy: bool) -> bool:
        """Whether it is to be given up; to be asked now and then.

        `is_awaited` tells whether an answer is due at all, and `is_busy` whether that may take minutes.
        """
        if not is_awaited:
            self._since = None
            return False
        now = monotonic()
        if self._since is None:
            self._since = now
        silent_s = now - self._since
        return (silent_s > STOPPED_S and is_stopped(pid)) or (silent_s > SILENT_S and not is_busy)


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal or a debugger."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return False
