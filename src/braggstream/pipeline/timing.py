"""Where the time goes, by worker and stage (`--profile`).

Workers time their stages anyway, and the parent knows when it handed a frame out and when its outcome came: adding
that up costs some microseconds a frame.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import process_time
from typing import Any, Protocol

HAND_OVER, IDLE = "hand-over", "idle"
"""Between parent and worker; and without a frame."""
MOST_SHOWN = 16
"""With more workers the table shows their sum only; the JSON has them all."""


class Lines(Protocol):
    """Where lines are written."""

    def write(self, text: str, /) -> int:
        """Write text; raises `OSError` where nobody reads any more."""
        ...


@dataclass(slots=True)
class WorkerTime:
    """What one place in the crew did, whoever held it."""

    n_frames: int = 0
    held_s: float = 0.0
    """Time with a frame in hand, as the parent saw it."""
    stages: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class StageTimes:
    """Adds up what workers and parent report."""

    workers: dict[int, WorkerTime] = field(default_factory=dict)
    parent: Counter[str] = field(default_factory=Counter)
    """Seconds of the parent: waiting, receiving, writing, and the rest."""
    since: float | None = None
    """When the first frame was handed out [s, monotonic]."""
    until: float = 0.0
    stream: Lines | None = None
    """Where a line is written for each frame."""

    def add(self, worker: int, timings: Mapping[str, float], *, since: float, until: float) -> None:
        """Count a frame that a worker was given at `since` and gave back at `until` [s, monotonic]."""
        self.since = since if self.since is None else min(self.since, since)
        self.until = max(self.until, until)
        found = self.workers.setdefault(worker, WorkerTime())
        found.n_frames += 1
        found.held_s += until - since
        for stage, seconds in timings.items():
            found.stages[stage] += seconds  # type: ignore[assignment]
        if self.stream is not None:
            try:
                self.stream.write(frame_line(worker, timings, until - since) + "\n")
            except OSError:  # Nobody reads any more, which is no reason to end.
                self.stream = None

    @property
    def span_s(self) -> float:
        """Time from the first frame handed out to the last outcome."""
        return 0.0 if self.since is None else self.until - self.since

    @property
    def stages(self) -> list[str]:
        """The stages that took place, in the order of the recipe."""
        names: dict[str, None] = {}
        for worker in self.workers.values():
            names.update(dict.fromkeys(worker.stages))
        order = ("load", "peaks", "indexing", "geometry", "prediction", "integration", "calibration", "format")
        return sorted(names, key=lambda name: (order.index(name) if name in order else len(order) - 1, name))

    def row(self, worker: int) -> dict[str, float]:
        """Give the seconds of a worker by stage; with hand-over and idleness they add up to the span."""
        found = self.workers[worker]
        stages = {stage: float(found.stages[stage]) for stage in self.stages}
        hand_over = max(0.0, found.held_s - sum(stages.values()))
        return stages | {HAND_OVER: hand_over, IDLE: max(0.0, self.span_s - found.held_s)}

    def table(self) -> list[str]:
        """Give the lines that are told at the end."""
        rows = {worker: self.row(worker) for worker in sorted(self.workers)}
        if not rows:
            return ["Where the time went: no frame was processed."]
        names = list(next(iter(rows.values())))
        n_frames = sum(worker.n_frames for worker in self.workers.values())
        total = {name: sum(row[name] for row in rows.values()) for name in names}
        lines = [f"Where the time went in {self.span_s:.1f} s [s]:", _line("worker", "frames", names)]
        if len(rows) <= MOST_SHOWN:
            lines += [_numbers(str(worker), self.workers[worker].n_frames, rows[worker]) for worker in rows]
        lines.append(_numbers("all", n_frames, total))
        per_frame = {name: 1e3 * seconds / n_frames for name, seconds in total.items() if name != IDLE}
        lines.append(_numbers("ms each", n_frames, per_frame))
        if self.parent:
            told = ", ".join(f"{seconds:.2f} s {what}" for what, seconds in self.parent.items())
            lines.append(f"The parent spent {told}; {process_time():.2f} s of processor time in all.")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        return {
            "span_s": round(self.span_s, 6),
            "workers": [
                {
                    "worker": worker,
                    "frames": self.workers[worker].n_frames,
                    "seconds": {name: round(seconds, 6) for name, seconds in self.row(worker).items()},
                }
                for worker in sorted(self.workers)
            ],
            "parent_seconds": {what: round(float(seconds), 6) for what, seconds in self.parent.items()},
            "parent_processor_s": round(process_time(), 6),
        }


def frame_line(worker: int, timings: Mapping[str, float], seconds: float) -> str:
    """Give the line of one frame, as the reference prints it: `worker (frame seconds (stage seconds) ...)`."""
    blocks = "".join(f" ({stage} {taken:.3f})" for stage, taken in timings.items())
    return f"{worker} (frame {seconds:.3f}{blocks})"


def _line(first: str, second: str, cells: list[str]) -> str:
    return f"{first:>8} {second:>8}" + "".join(f" {cell:>{_width(cell)}}" for cell in cells)


def _numbers(name: str, n_frames: int, row: Mapping[str, float]) -> str:
    return f"{name:>8} {n_frames:>8}" + "".join(f" {row[cell]:>{_width(cell)}.2f}" for cell in row)


def _width(name: str) -> int:
    return max(9, len(name))
