"""Watchers: what a session learns from its frames while it runs."""

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.settings import ALL_HEADERS, RunSettings


class Watcher(Protocol):
    """Learns from what becomes of frames, and has those that follow processed differently."""

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Learn from a frame; gives what the present adjustments are to be replaced by, None to leave them.

        Their number is given by the supervisor.  Frames that were handed out before come back with the old ones:
        `outcome.adjustment` tells.
        """
        ...

    def recorded(self, outcome: FrameOutcome) -> None:
        """Learn from a frame that is final: its chunk is in the stream file, if it has one."""
        return

    def deadline(self) -> float:
        """Give the time of what is to be done without a frame [s, monotonic]; infinite for nothing."""
        return inf

    def turn(self) -> str:
        """Do what is due; tells why the session is to end in good order, and nothing where it is not."""
        return ""

    def status_line(self) -> str:
        """Tell what goes below the status line; nothing where there is nothing to tell."""
        return ""

    def finish(self) -> dict[str, Any]:
        """Tell and write what was learned when the session ends; gives what goes into the JSON summary."""
        ...


def make_watchers(setup: Setup, run: RunSettings, say: Callable[[str], None]) -> list[Watcher]:
    """Make the watchers that every session has, and those that the user chose; `say` writes a line to the log."""
    from braggstream.run.frame_remarks import FrameRemarks
    from braggstream.run.fruitless_watcher import FruitlessWatcher

    frame = setup.settings.frame
    watchers: list[Watcher] = [
        FruitlessWatcher(say, keeps_going=run.keep_going),
        FrameRemarks([name for name in frame.copy_headers if name != ALL_HEADERS], say),
    ]
    if setup.settings.geometry.refine != "off":
        from braggstream.run.geometry_watcher import GeometryWatcher

        watchers.append(GeometryWatcher(setup, say))
    if setup.settings.indexing.find_cell:
        from braggstream.run.cell_watcher import CellWatcher

        watchers.append(CellWatcher(setup, say))
    if run.live_merge is not None:
        from braggstream.run.live_merge_watcher import LiveMergeWatcher

        watchers.append(LiveMergeWatcher(setup, run.live_merge, say))
    return watchers
