"""Notices that every frame of a session fails: says what there is instead of what was expected, and ends it."""

from collections.abc import Callable
from typing import Any

from braggstream.formats.wire import FrameOutcome
from braggstream.model.adjustments import Adjustments
from braggstream.run.watching import Watcher

MOST_FAILED = 100
"""So many frames may fail before the first one that does not; a wrong path or shape fails all that follow too."""
TELL_AFTER = 10
"""After so many it is told what there is: by then it is no single bad frame."""


class FruitlessWatcher(Watcher):
    """Counts failures until the first frame that can be processed."""

    def __init__(self, say: Callable[[str], None], *, keeps_going: bool) -> None:
        self._say = say
        self._keeps_going = keeps_going
        self._n_failed = 0
        self._is_fruitful = False
        self._contents = ""
        self._is_told = False

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Nothing is done differently."""
        return None

    def recorded(self, outcome: FrameOutcome) -> None:
        """Count a frame that is final."""
        if outcome.status != "failed":
            self._is_fruitful = True
            return
        self._n_failed += 1
        self._contents = self._contents or outcome.contents
        if self._n_failed >= TELL_AFTER:
            self._tell()

    def turn(self) -> str:
        """End the session where there is no hope for it."""
        if self._is_fruitful or self._keeps_going or self._n_failed < MOST_FAILED:
            return ""
        return f"All of the first {self._n_failed} frames failed (--keep-going goes on)"

    def finish(self) -> dict[str, Any]:
        """Tell what there is, where all frames failed and nobody was told yet."""
        if self._n_failed:
            self._tell()
        return {}

    def _tell(self) -> None:
        if self._contents and not self._is_told and not self._is_fruitful:
            self._is_told = True
            self._say(f"No frame could be processed so far. {self._contents}")
