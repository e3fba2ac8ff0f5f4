"""Checkpoints of a live merge: the sums, and how far into the stream file they have come."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from braggstream.formats.live_checkpoint import checkpoint_bytes, read_checkpoint
from braggstream.formats.replaced_file import replace_file
from braggstream.formats.stream_tail import witness
from braggstream.model.cell import UnitCell
from braggstream.model.errors import BraggstreamError
from braggstream.model.live_merge_settings import LiveMergeSettings
from braggstream.steps.merging.live_history import LiveHistory
from braggstream.steps.merging.live_merge import LiveMerge
from braggstream.steps.merging.live_state import state_of, take_state

DEPENDS_ON = ("symmetry", "scale", "polarisation", "ambiguity", "merge_by")
"""Settings that what is merged depends on."""
SAME_CELL = 0.02
"""Cells that differ by less are one [relative]."""
UNUSABLE = (OSError, ValueError, KeyError, TypeError, IndexError, BraggstreamError)
"""What reading a checkpoint can raise."""


@dataclass(slots=True)
class LiveCheckpoints:
    """Writes and reads the checkpoint of one session."""

    path: str
    stream: str
    chosen: LiveMergeSettings
    cell: UnitCell
    operators: tuple[NDArray, ...]

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return Path(self.path).exists()

    def write(self, merge: LiveMerge, history: LiveHistory, *, place: int, time_s: float) -> None:
        """Write the state of a merge whose beginning is over; raises `OSError`.

        Parameters
        ----------
        merge, history
            What is kept.
        place : int
            End of what is merged, in the stream file [bytes].
        time_s : float
            Time that the session has taken [s].
        """
        values, arrays = state_of(merge)
        values |= {
            "made_for": self._made_for(),
            "cell": list(self.cell.parameters),
            "place": place,
            "witness": witness(self.stream, place),
            "time_s": time_s,
            "history": history.overall.points,
            "shell_history": history.shells.points,
        }
        replace_file(self.path, checkpoint_bytes(values, arrays), keeps=False)

    def read(self, merge: LiveMerge, history: LiveHistory, size: int) -> tuple[int, float]:
        """Bring a new merge and its history to the state of the checkpoint; gives place and time.

        Raises one of `UNUSABLE` where it does not belong to this session, or to a stream file of this size [bytes];
        merge and history are not to be used then.
        """
        values, arrays = read_checkpoint(self.path)
        self._check(values, size)
        take_state(merge, values, arrays)
        history.overall.points = list(values["history"])
        history.shells.points = list(values["shell_history"])
        return int(values["place"]), float(values["time_s"])

    def _made_for(self) -> dict[str, Any]:
        chosen = {name: value for name, value in asdict(self.chosen).items() if name in DEPENDS_ON}
        return chosen | {"operators": [operator.tolist() for operator in self.operators]}

    def _check(self, values: dict[str, Any], size: int) -> None:
        if values["made_for"] != self._made_for():
            raise ValueError("it was made with other options")
        pairs = zip(values["cell"], self.cell.parameters, strict=True)
        if any(abs(one - other) > SAME_CELL * other for one, other in pairs):
            raise ValueError("it was made for another unit cell")
        place = int(values["place"])
        if not 0 <= place <= size or witness(self.stream, place) != values["witness"]:
            raise ValueError("the stream file is not the one it was made for")
