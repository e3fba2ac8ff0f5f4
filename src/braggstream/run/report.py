"""Lines on stderr: totals every few seconds, failures and warnings of frames, a progress bar in a terminal."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TextIO

from braggstream.formats.wire import FrameOutcome
from braggstream.model.shown_text import shown
from braggstream.pipeline.totals import Ledger
from braggstream.run.lasting_log import LastingLog

MAX_LINES = 20
"""So many failures of one reason, and as many warnings, are told one by one between two status lines."""
NO_FAILURES = ("warnings", "notices")
BAR_WIDTH = 30
BAR_INTERVAL_S = 0.2


class Report:
    """What the user sees during a session."""

    def __init__(self, ledger: Ledger, interval_s: float, stream: TextIO | LastingLog | None = None) -> None:
        self._ledger = ledger
        self._interval_s = interval_s
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._told_at = monotonic()
        self._told_processed = 0
        self._n_lines: Counter[str] = Counter()
        self._bar_at = 0.0
        self._has_bar = False
        self._bar_width = 0
        self.total: int | None = None
        """Frames that there will be, where that is known."""
        self.more_lines: Sequence[Callable[[], str]] = ()
        """What else is told below each status line."""

    def say(self, line: str) -> None:
        """Write a line; what came from outside cannot steer the terminal."""
        self._clear_bar()
        print(shown(line, keep="\n"), file=self._stream, flush=True)

    def notice(self, line: str) -> None:
        """Tell what a sender says, which may be much."""
        self._say_limited("notices", shown(line))

    def outcome(self, outcome: FrameOutcome) -> None:
        """Tell what was wrong with a frame, and what the user should know of it."""
        name = shown(f"{outcome.filename} {outcome.event} (serial {outcome.serial})")
        if outcome.status == "failed":
            self._say_limited(outcome.reason, f"{name}: failed ({outcome.reason}): {shown(outcome.complaint)}")
        for warning in outcome.warnings:
            self._say_limited("warnings", f"{name}: {shown(warning)}")
        if outcome.n_compiled:
            self._say_limited("warnings", f"{name}: waited for {outcome.n_compiled} kernels to be compiled")

    def deadline(self) -> float:
        """Give the time of the next status line [s, monotonic]."""
        return self._told_at + self._interval_s

    def turn(self) -> None:
        """Write the status line if it is time."""
        now = monotonic()
        if now >= self.deadline():
            self._tell_status(now)
        elif self._is_terminal and self.total and now - self._bar_at > BAR_INTERVAL_S:
            self._draw_bar(now, self.total)

    def finish(self) -> None:
        """Write the totals of the session."""
        self._tell_suppressed()
        self.say(self._ledger.final_line())
        self.say(self._ledger.ledger_line())

    def _tell_status(self, now: float) -> None:
        processed = self._ledger.n_processed
        rate = (processed - self._told_processed) / max(now - self._told_at, 1e-9)
        self._told_at, self._told_processed = now, processed
        self._tell_suppressed()
        self.say(self._ledger.ledger_line(is_final=False))
        self.say(self._ledger.status_line(rate))
        for line in filter(None, (tell() for tell in self.more_lines)):
            self.say(line)

    def _say_limited(self, kind: str, line: str) -> None:
        self._n_lines[kind] += 1
        if self._n_lines[kind] <= MAX_LINES:
            self.say(line)

    def _tell_suppressed(self) -> None:
        """Tell how many lines were left out since the last time."""
        for kind, n in self._n_lines.items():
            if n > MAX_LINES:
                what = kind if kind in NO_FAILURES else f"failures ({kind})"
                self.say(f"... and {n - MAX_LINES} more {what}")
        self._n_lines.clear()

    def _draw_bar(self, now: float, total: int) -> None:
        done = self._ledger.n_processed + self._ledger.n_failed
        filled = BAR_WIDTH * min(done, total) // total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        text = f"[{bar}] {done}/{total}"
        print(f"\r{text}", end="", file=self._stream, flush=True)
        self._bar_at, self._has_bar, self._bar_width = now, True, len(text)

    def _clear_bar(self) -> None:
        if self._has_bar:
            print(f"\r{'':{self._bar_width}}\r", end="", file=self._stream)
            self._has_bar = False
