"""Watchers: what a session learns from its frames while it runs."""

from collections.abc import Callable
from typing import Any, Protocol

from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.settings import RunSettings


class Watcher(Protocol):
    """Learns from what becomes of frames, and has those that follow processed differently."""

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Learn from a frame; gives what the present adjustments are to be replaced by, None to leave them.

        Their number is given by the supervisor.  Frames that were handed out before come back with the old ones:
        `outcome.adjustment` tells.
        """
        ...

    def finish(self) -> dict[str, Any]:
        """Tell and write what was learned when the session ends; gives what goes into the JSON summary."""
        ...


def make_watchers(setup: Setup, run: RunSettings, say: Callable[[str], None]) -> list[Watcher]:
    """Make the watchers that the user chose; `say` writes a line to the log."""
    watchers: list[Watcher] = []
    if setup.settings.geometry.refine != "off":
        from braggstream.run.geometry_watcher import GeometryWatcher

        watchers.append(GeometryWatcher(setup, say))
    if setup.settings.indexing.find_cell:
        from braggstream.run.cell_watcher import CellWatcher

        watchers.append(CellWatcher(setup, say))
    return watchers
