"""What a session says of itself: its first frame, and why it goes badly, where it does.

Samples of frames come with their outcomes.  The diagnosis of them runs in a process of its own, so that the loop
never waits for it but at the very end, and then not for long.
"""

import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from time import monotonic
from typing import IO, Any

from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.pipeline.diagnosis import complaints
from braggstream.pipeline.first_frame import first_frame_lines
from braggstream.pipeline.session_samples import SampledFrame, SessionCounts
from braggstream.run.diagnosing import order_of
from braggstream.run.stopping import StopSignals
from braggstream.run.watching import Watcher

FIRST_AFTER = 500
"""After so many frames it is looked for the first time whether anything is wrong..."""
AGAIN_FACTOR = 4
"""...and again after so many times as many."""
MOST_KEPT = 40
"""Samples kept of hits, and of other frames: the last ones."""
MOST_S = 90.0
"""A diagnosis that takes longer is given up; kernels may have to be compiled for it [s]."""
AFTER_SIGNAL_S = 10.0
"""Where the user has ended the session it is waited for no longer than this [s]."""
LOOKED_AFTER_S = 0.5
"""While a diagnosis runs it is looked after so often [s]."""
PATIENCE_S = 2.0
"""At the end it is said what is waited for when that takes longer [s]."""


class DiagnosisWatcher(Watcher):
    """Keeps samples, and has them diagnosed when the session goes badly."""

    def __init__(self, setup: Setup, say: Callable[[str], None], stop: StopSignals) -> None:
        self._setup = setup
        self._say = say
        self._stop = stop
        self._hits: deque[SampledFrame] = deque(maxlen=MOST_KEPT)
        self._others: deque[SampledFrame] = deque(maxlen=MOST_KEPT)
        self._n_processed = self._n_hits = self._n_indexed = 0
        self._next_at = FIRST_AFTER
        self._has_first = False
        self._running: _Diagnosis | None = None
        self._told: tuple[tuple[str, ...], list[str]] = ((), [])
        """What was complained of last, and what was found out."""

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Nothing is changed because of a diagnosis."""
        return None

    def recorded(self, outcome: FrameOutcome) -> None:
        """Count a frame that is final, and keep its sample."""
        if outcome.status == "failed":
            return
        self._n_processed += 1
        self._n_hits += outcome.is_hit
        self._n_indexed += outcome.n_crystals > 0
        if outcome.sample is None:
            return
        if not self._has_first and outcome.sample.good is not None:
            self._has_first = True
            for line in first_frame_lines(self._setup.geometry, self._setup.settings, outcome.sample):
                self._say(line)
        kept = self._hits if outcome.is_hit else self._others
        kept.append(SampledFrame(sample=outcome.sample, is_hit=outcome.is_hit, is_indexed=outcome.n_crystals > 0))

    def deadline(self) -> float:
        """Look after a diagnosis that runs."""
        return inf if self._running is None else monotonic() + LOOKED_AFTER_S

    def turn(self) -> str:
        """Begin a diagnosis where one is due, and tell what one has found out."""
        if self._running is not None and self._running.is_over:
            self._tell()
        elif self._running is None and self._n_processed >= self._next_at:
            self._next_at *= AGAIN_FACTOR
            self._begin()
        return ""

    def finish(self) -> dict[str, Any]:
        """Tell what is wrong with the session as a whole; gives what goes into the JSON summary."""
        is_killed = self._stop.n_received > 1
        if self._running is None and not is_killed:
            self._begin()
        if self._running is not None:
            self._wait(self._running)
        return {"diagnosis": self._told[1]}

    @property
    def _counts(self) -> SessionCounts:
        return SessionCounts(n_processed=self._n_processed, n_hits=self._n_hits, n_indexed=self._n_indexed)

    def _begin(self) -> None:
        """Begin a diagnosis if anything is wrong; the same again is told again, and not looked for."""
        wrong = complaints(self._counts, self._setup.settings)
        samples = [*self._others, *self._hits]
        if not wrong or not samples:
            self._told = ((), [])
            return
        self._running = _Diagnosis(wrong, order_of(self._setup, self._counts, samples))

    def _wait(self, running: "_Diagnosis") -> None:
        """Wait for a diagnosis at the end of the session; a signal ends that."""
        n_signals, is_told = self._stop.n_received, False
        started = monotonic()
        until = started + (AFTER_SIGNAL_S if n_signals else MOST_S)
        while not running.is_over and self._stop.n_received == n_signals and monotonic() < until:
            select.select([], [], [], 0.02)
            if not is_told and monotonic() - started > PATIENCE_S:
                is_told = True
                self._say("Looking for the likely cause of what is wrong (Ctrl-C to leave it).")
        self._tell()

    def _tell(self) -> None:
        assert self._running is not None
        lines = self._running.lines()
        self._told = (self._running.complaints, lines)
        self._running = None
        for line in lines:
            self._say(line)


class _Diagnosis:
    """A diagnosis that runs."""

    def __init__(self, wrong: tuple[str, ...], order: bytes) -> None:
        self.complaints = wrong
        self._until = monotonic() + MOST_S
        self._files = ExitStack()
        given = self._files.enter_context(_memory_file())
        self._output = self._files.enter_context(_memory_file())
        self._errors = self._files.enter_context(_memory_file())
        given.write(order)
        given.seek(0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "braggstream.run.diagnosing", str(os.getpid())],
            stdin=given,
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or takes too long."""
        return self._process.poll() is not None or self._is_late

    @property
    def _is_late(self) -> bool:
        return monotonic() > self._until

    def lines(self) -> list[str]:
        """Give what it has found out, and end it."""
        with self._files:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
                return (
                    [f"The likely cause of what is wrong was not found in {MOST_S:g} s."] if self._is_late else []
                )
            if self._process.returncode:
                reason = (_read(self._errors) or ["it was killed"])[-1]
                return [f"The likely cause of what is wrong could not be looked for: {reason}"]
            return _read(self._output)


def _memory_file() -> IO[bytes]:
    return os.fdopen(os.memfd_create("diagnosis"), "w+b")


def _read(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()
