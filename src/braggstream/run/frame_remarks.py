"""What is told once of frames, and which headers that were to be copied no frame has."""

from collections.abc import Callable, Sequence
from typing import Any

from braggstream.formats.remarks import Remarks
from braggstream.formats.wire import FrameOutcome
from braggstream.model.adjustments import Adjustments
from braggstream.run.watching import Watcher

ENOUGH = 100
"""After so many frames it is told that a header is in none of them; else at the end."""


class FrameRemarks(Watcher):
    """Tells what workers find out about frames."""

    def __init__(self, headers: Sequence[str], say: Callable[[str], None]) -> None:
        self._say = say
        self._remarks = Remarks()
        self._unseen = list(headers)
        """Headers that no frame had so far, and of which that was not told."""
        self._n_frames = 0

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Nothing is to be processed differently."""
        return None

    def recorded(self, outcome: FrameOutcome) -> None:
        """Tell what is new."""
        for line in outcome.remarks:
            self._remarks.add(line)
        for line in self._remarks.take():
            self._say(line)
        if outcome.status in ("written", "skipped"):
            self._n_frames += 1
            self._unseen = [name for name in self._unseen if name in outcome.missing_headers]
            if self._n_frames == ENOUGH:
                self._tell_unseen()

    def finish(self) -> dict[str, Any]:
        """Tell which headers were in no frame."""
        if self._n_frames:
            self._tell_unseen()
        return {}

    def _tell_unseen(self) -> None:
        for name in self._unseen:
            self._say(f"--copy-header={name}: none of {self._n_frames} frames has this header")
        self._unseen = []
