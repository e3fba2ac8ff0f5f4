"""`--live-merge`: merged intensities and their figures of merit while the session runs.

What goes into the stream file is merged, and in the order in which it is written: so a checkpoint needs to know no
more than how far into the file it has come, and after a restart the rest is read from there.
"""

import contextlib
import json
import os
import signal
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import monotonic, thread_time
from types import FrameType
from typing import Any

from braggstream.formats.replaced_file import replace_file
from braggstream.formats.stream_tail import read_tail
from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.cell import UnitCell
from braggstream.model.errors import BraggstreamError
from braggstream.model.live_merge_settings import LiveMergeSettings
from braggstream.model.point_group import point_group
from braggstream.model.reflection_list import ReflectionList
from braggstream.run.live_checkpoints import UNUSABLE, LiveCheckpoints
from braggstream.run.watching import Watcher
from braggstream.sinks.live_lists import group_files, write_lists
from braggstream.sinks.stream_file import holds_chunks
from braggstream.steps.merging.live_figures import FigureLimits
from braggstream.steps.merging.live_goals import parse_goal
from braggstream.steps.merging.live_history import LiveHistory
from braggstream.steps.merging.live_input import LiveInput, split_chunks
from braggstream.steps.merging.live_merge import LiveMerge
from braggstream.steps.merging.live_operators import live_operators
from braggstream.steps.merging.live_summary import LiveSummary
from braggstream.steps.merging.live_warm import warm_up_live_kernels
from braggstream.steps.merging.polarisation import parse_polarisation

UPDATE_S, MOST_UPDATE_S = 1.2, 1.5
"""Figures are computed so often [s]; where that takes long, as many times less often: they are below 2 s old."""
UPDATE_SHARE = 0.03
"""What computing them may take of a processor, before they are computed less often."""
MOST_UNREAD = 1 << 20
"""Chunks are merged when they are so large together, and before figures are computed [bytes]."""
WAKE_S = 0.25
"""So soon a wish for a snapshot is seen."""
CHECKPOINT_S = 30.0


class LiveMergeWatcher(Watcher):
    """Merges the crystals that are written, and tells, writes and keeps what it has."""

    def __init__(self, setup: Setup, chosen: LiveMergeSettings, say: Callable[[str], None]) -> None:
        self._chosen = chosen
        self._stream = setup.output.stream_file
        self._say = say
        self._input = LiveInput(parse_polarisation(chosen.polarisation), chosen.merge_by)
        self._goals = tuple(parse_goal(text) for text in chosen.goals)
        self._started = monotonic()
        self._time_before = 0.0
        """Time that the session took before it was killed [s]."""
        self._merge: LiveMerge | None = None
        self._checkpoints: LiveCheckpoints | None = None
        self._is_reading_back = stat.S_ISREG(Path(self._stream).stat().st_mode)
        self._earlier = None if setup.output.append else _earlier_result(self._stream)
        self._own: set[str] = set()
        """Files that this run has written."""
        self._place = 0
        """End of what is merged, in the stream file [bytes]."""
        self._is_new = False
        """Whether something has been merged that the figures do not show yet."""
        self._is_kept = True
        """Whether the checkpoint has all of it."""
        self._updated = self._kept = self._listed = monotonic()
        self._wants_lists = False
        self._complaints: set[str] = set()
        self._seconds = 0.0
        self._signal_before = self._listen()
        self._is_restarted = setup.output.append
        self._target_cell = setup.settings.indexing.target_cell
        self._unread: list[bytes] = []
        """Chunks that were written and are not merged yet."""
        self._n_unread = 0
        self._is_warm = False
        self._interval_s = UPDATE_S

    # ---- what the session calls ----------------------------------------------------------------------------

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Begin when the unit cell becomes known."""
        if self._merge is None and adjustments.indexing is not None:
            cell = adjustments.indexing.target_cell
            if cell is not None:
                self._begin(cell)
        return None

    def recorded(self, outcome: FrameOutcome) -> None:
        """Merge the crystals of a frame whose chunk was written."""
        if self._merge is None or not outcome.chunk:
            return
        # An earlier stream file stays until there is a chunk: the first one tells how long the new header is.
        self._place = self._place + len(outcome.chunk) if self._place else self._size()
        if outcome.n_crystals:
            self._unread.append(outcome.chunk)
            self._n_unread += len(outcome.chunk)
            self._is_new, self._is_kept = True, False
        if self._n_unread > MOST_UNREAD:
            self._catch_up()

    def deadline(self) -> float:
        """Give the time of what is due next [s, monotonic]."""
        if not self._is_warm:
            return monotonic()
        if self._merge is None:
            return inf
        due = self._updated + self._interval_s if self._is_new else inf
        return min(due, monotonic() + WAKE_S)

    def turn(self) -> str:
        """Do what is due; tells why the session is to end, if it is.

        The first turn comes while the workers' kernels are made ready: ours are, too, and what is there is read.
        """
        if not self._is_warm:
            warm_up_live_kernels()
            self._is_warm = True
            if self._target_cell is not None:
                self._begin(self._target_cell)
        if self._merge is None:
            return ""
        now = monotonic()
        if self._is_new and now >= self._updated + self._interval_s:
            self._update()
        if self._wants_lists or now >= self._listed + self._chosen.snapshot_every_s:
            self._write_lists()
        if not self._is_kept and now >= self._kept + CHECKPOINT_S:
            self._keep()
        if self._chosen.stop_at_goal and self._summary.is_at_goal:
            return "All goals are reached"
        return ""

    def status_line(self) -> str:
        """Tell the figures."""
        return "" if self._merge is None else self._summary.line(self._merge)

    def finish(self) -> dict[str, Any]:
        """Write everything; gives what goes into the JSON summary."""
        self._unlisten()
        if self._merge is None:
            if self._target_cell is None:
                self._say("Live merge: there was no unit cell, so nothing was merged.")
            return {"live_merge": None}
        self._keep()
        self._catch_up()
        self._merge.conclude()
        self._update(is_last=True)
        names = self._write_lists()
        self._say(self._summary.line(self._merge) or "Live merge: no crystal came.")
        if self._merge.n_held:
            self._say(
                f"Live merge: {self._merge.n_held} crystals are not merged: how they are indexed is not clear."
            )
        if names:
            self._say(f"Live merge: lists are in {', '.join(names)}.")
        return {"live_merge": self._values()}

    # ---- merging -------------------------------------------------------------------------------------------

    def _begin(self, cell: UnitCell) -> None:
        """Begin with what a checkpoint and the stream file hold already."""
        chosen, group = self._chosen, point_group(self._chosen.symmetry)
        self._cell = cell
        self._operators = live_operators(cell, group, chosen.ambiguity)
        limits = FigureLimits(
            low=chosen.low, high=chosen.high, n_shells=chosen.n_shells, least=chosen.min_measurements
        )
        self._summary = LiveSummary.of(cell, group, limits, self._goals)
        self._merge = self._new_merge()
        if chosen.checkpoint is not None:
            self._checkpoints = LiveCheckpoints(chosen.checkpoint, self._stream, chosen, cell, self._operators)
        if self._is_reading_back:
            size = self._size()
            if self._is_restarted:
                self._resume(size)
            self._read_back(size)

    def _size(self) -> int:
        """Give the size of this run's stream file; where something else has taken it away, what was last seen."""
        try:
            found = Path(self._stream).stat()
        except OSError:
            return self._place
        return 0 if (found.st_dev, found.st_ino) == self._earlier else found.st_size

    def _new_merge(self) -> LiveMerge:
        group = point_group(self._chosen.symmetry)
        return LiveMerge(self._cell, group, is_scaled=self._chosen.scale, operators=self._operators)

    def _catch_up(self) -> None:
        """Merge the crystals of the chunks that were written meanwhile."""
        if not self._unread:
            return
        begun = thread_time()
        assert self._merge is not None
        chunks, self._unread, self._n_unread = self._unread, [], 0
        for crystal in self._input.crystals(chunks):
            self._merge.add(crystal)
        self._seconds += thread_time() - begun

    def _read_back(self, size: int) -> None:
        """Merge what the stream file holds beyond the checkpoint."""
        assert self._merge is not None
        self._catch_up()
        before = self._merge.n_crystals
        try:
            for piece in read_tail(self._stream, self._place, size):
                self._unread = list(split_chunks(piece))
                self._catch_up()
        except OSError as error:
            self._complain(f"cannot read {self._stream}: {error.strerror or error}")
        self._place = size
        if self._merge.n_crystals > before:
            self._is_new, self._is_kept = True, False
            self._say(f"Live merge: {self._merge.n_crystals - before} crystals are taken from {self._stream}.")

    # ---- figures and lists ---------------------------------------------------------------------------------

    def _update(self, *, is_last: bool = False) -> None:
        self._catch_up()
        begun = thread_time()
        assert self._merge is not None
        self._summary.update(self._merge, self._time, is_last=is_last)
        self._is_new, self._updated = False, monotonic()
        self._interval_s = min(max(UPDATE_S, (thread_time() - begun) / UPDATE_SHARE), MOST_UPDATE_S * UPDATE_S)
        path = f"{self._chosen.prefix}.json"
        if not self._merge.n_crystals and not self._own:
            return  # What an earlier run has left stays until there is something to put there.
        with self._complaining(path):
            text = json.dumps(self._values(), allow_nan=False)
            replace_file(path, text, keeps=path not in self._own, say=self._say)
            self._own.add(path)
        self._seconds += thread_time() - begun

    @property
    def _time(self) -> float:
        return self._time_before + monotonic() - self._started

    def _values(self) -> dict[str, Any]:
        chosen = self._chosen
        return {
            "updated": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "symmetry": chosen.symmetry,
            "scaled": chosen.scale,
            "min_measurements": chosen.min_measurements,
            "seconds_spent": round(self._seconds, 3),
            **self._summary.values,
            "history": self._summary.history.overall.points,
            "shell_history": self._summary.history.shells.points,
        }

    def _write_lists(self) -> list[str]:
        """Write lists of all crystals and of each group; gives the files' names."""
        assert self._merge is not None
        self._catch_up()
        self._wants_lists, self._listed = False, monotonic()
        if not self._merge.n_crystals and not self._own:
            return []
        merge, least, names = self._merge, self._chosen.min_measurements, []
        for group, prefix in group_files(self._chosen.prefix, list(merge.sums.of_group)).items():
            lists = {
                "hkl": merge.reflection_list(group, least=least),
                "hkl1": merge.reflection_list(group, 0, least=least),
                "hkl2": merge.reflection_list(group, 1, least=least),
            }
            notes = f"Merged by Braggstream while frames arrived: {merge.n_merged} crystals\n"
            with self._complaining(f"the lists {prefix}.*"):
                names += write_lists(
                    prefix, lists, notes=notes, write_mtz=self._write_mtz, own=self._own, say=self._say
                )
        self._own.update(names)
        return names

    def _write_mtz(self, path: str, reflections: ReflectionList) -> None:
        from braggstream.formats.mtz import write_mtz

        group = point_group(self._chosen.symmetry)
        write_mtz(path, reflections, self._cell, group, bijvoet=not group.is_centrosymmetric)

    # ---- checkpoints ---------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Write a checkpoint, unless the beginning is not over: then a restart reads the stream file."""
        assert self._merge is not None
        self._kept = monotonic()
        if not self._is_reading_back:
            return
        self._read_back(self._size())  # Mostly nothing: what was written has been seen.
        if self._checkpoints is None or self._is_kept or not self._merge.is_settled:
            return
        begun = thread_time()
        with self._complaining(self._checkpoints.path):
            history = self._summary.history
            self._checkpoints.write(self._merge, history, place=self._place, time_s=self._time)
            self._is_kept = True
        self._seconds += thread_time() - begun

    def _resume(self, size: int) -> None:
        """Go on from the checkpoint, if there is one that fits."""
        checkpoints = self._checkpoints
        if checkpoints is None or not checkpoints.exists:
            return
        merge, history = self._new_merge(), LiveHistory()
        try:
            self._place, self._time_before = checkpoints.read(merge, history, size)
        except UNUSABLE as error:
            self._say(
                f"Live merge: the checkpoint {checkpoints.path} is not used, "
                f"the stream file is read instead: {error}"
            )
            return
        self._merge, self._summary.history = merge, history
        self._say(f"Live merge: goes on from {checkpoints.path} with {merge.n_crystals} crystals.")

    # ---- signals and complaints ----------------------------------------------------------------------------

    def _listen(self) -> Any:
        """Have SIGUSR2 ask for lists; Python forbids it outside the main thread."""
        with contextlib.suppress(ValueError):
            return signal.signal(signal.SIGUSR2, self._note_wish)
        return None

    def _unlisten(self) -> None:
        if self._signal_before is not None:
            signal.signal(signal.SIGUSR2, self._signal_before)
            self._signal_before = None

    def _note_wish(self, number: int, frame: FrameType | None) -> None:
        self._wants_lists = True

    @contextlib.contextmanager
    def _complaining(self, what: str) -> Any:
        """Tell what cannot be written, each thing once; the session goes on."""
        try:
            yield
        except OSError as error:
            self._complain(f"cannot write {what}: {error.strerror or error}")
        except BraggstreamError as error:
            self._complain(str(error))

    def _complain(self, complaint: str) -> None:
        if complaint not in self._complaints:
            self._complaints.add(complaint)
            self._say(f"Live merge: {complaint}")


def _earlier_result(path: str) -> tuple[int, int] | None:
    """Tell which file an earlier run has left, that stands there until this one has a chunk."""
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode) and holds_chunks(file):
            found = os.fstat(file.fileno())
            return found.st_dev, found.st_ino
    return None
