"""`braggstream show FILE`: what is in a stream file."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from braggstream.cli.command_parser import CommandParser
from braggstream.cli.notices import say
from braggstream.formats.stream_read import StreamFile, read_stream
from braggstream.model.result import FrameResult

N_BARS = 20
BAR_WIDTH = 40
LARGEST_PART_LEFT_OUT = 0.01
"""Part of the values on each side that histograms leave out, so that a stray one does not set the scale."""


def run(words: Sequence[str]) -> int:
    """Run `braggstream show` with the words after its name; gives the exit status."""
    parser = CommandParser(prog="braggstream show", description="Summarise a stream file.")
    parser.add_argument("file", help="stream file, also .xz or .gz")
    parser.add_argument("--histograms", action="store_true", help="draw how cells, resolutions and radii spread")
    parser.add_argument("--no-histograms", dest="histograms", action="store_false", help="numbers only (default)")
    chosen = parser.parse_args(words)
    stream = read_stream(chosen.file)
    seen = Seen()
    for frame in stream:
        seen.add(frame)
    say(*stream.notices)
    print("\n".join(summary_lines(stream, seen)))
    if chosen.histograms:
        for name, unit, values in seen.columns():
            print("\n".join(histogram_lines(name, unit, values)))
    return 0


@dataclass(slots=True)
class Seen:
    """What was counted over the chunks of a stream file."""

    n_frames: int = 0
    n_hits: int = 0
    n_indexed: int = 0
    n_reflections: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    lattices: Counter[str] = field(default_factory=Counter)
    peaks: list[int] = field(default_factory=list)
    cells: list[tuple[float, ...]] = field(default_factory=list)
    resolutions: list[float] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)

    def add(self, frame: FrameResult) -> None:
        """Count one chunk."""
        self.n_frames += 1
        self.n_hits += frame.is_hit
        self.n_indexed += bool(frame.crystals)
        self.methods[frame.indexed_by] += bool(frame.crystals)
        if frame.is_hit:
            self.peaks.append(len(frame.peaks))
        for crystal in frame.crystals:
            self.lattices[f"{crystal.lattice_type} {crystal.centring}"] += 1
            self.cells.append(crystal.cell.parameters)
            self.radii.append(10.0 * crystal.profile_radius)
            if crystal.reflections is not None:
                self.n_reflections += len(crystal.reflections)
            if crystal.resolution_limit > 0:
                self.resolutions.append(1.0 / crystal.resolution_limit)

    def columns(self) -> Iterable[tuple[str, str, Sequence[float]]]:
        """Give name, unit and values of each histogram."""
        for number, (name, unit) in enumerate(
            zip(("a", "b", "c", "α", "β", "γ"), ("Å",) * 3 + ("°",) * 3, strict=True)
        ):
            yield name, unit, [cell[number] for cell in self.cells]
        yield "resolution limit", "Å", self.resolutions
        yield "profile radius", "nm⁻¹", self.radii


def summary_lines(stream: StreamFile, seen: Seen) -> list[str]:
    """Tell what was counted."""
    lines = [stream.command_line] if stream.command_line else []
    n_crystals = len(seen.cells)
    lines += [
        f"frames       {seen.n_frames}",
        f"hits         {seen.n_hits}{_percent(seen.n_hits, seen.n_frames)}",
        f"indexed      {seen.n_indexed}{_percent(seen.n_indexed, seen.n_hits, 'of the hits')}",
        f"crystals     {n_crystals}"
        + "".join(f", {n} by {method}" for method, n in seen.methods.most_common() if n),
    ]
    if seen.peaks:
        lines.append(f"peaks        {statistics.median(seen.peaks):g} in the median of the hits")
    if n_crystals:
        lines.append("lattices     " + ", ".join(f"{n} {name}" for name, n in seen.lattices.most_common()))
        lines.append(f"reflections  {seen.n_reflections}, {seen.n_reflections / n_crystals:.0f} a crystal")
    for name, unit, values in seen.columns():
        if values:
            middle, spread = np.median(values), np.std(values)
            lines.append(f"{name:<16} {middle:10.4f} ± {spread:.4f} {unit}  (median, standard deviation)")
    if stream.target_cell is not None:
        target = " ".join(f"{number:.2f}" for number in stream.target_cell.parameters)
        lines.append(f"expected     {target}  ({stream.target_cell.lattice_type} {stream.target_cell.centring})")
    if stream.is_torn:
        lines.append("the last chunk is not whole: the writer was cut off, or is writing just now")
    return lines


def histogram_lines(name: str, unit: str, values: Sequence[float]) -> list[str]:
    """Draw a histogram, without the outermost values."""
    if len(values) < 2:
        return []
    low, high = np.quantile(values, (LARGEST_PART_LEFT_OUT, 1.0 - LARGEST_PART_LEFT_OUT))
    if not high > low:
        return []
    counts, edges = np.histogram(values, bins=N_BARS, range=(float(low), float(high)))
    lines = ["", f"{name} [{unit}]"]
    for count, edge in zip(counts, edges[:-1], strict=True):
        bar = "█" * round(BAR_WIDTH * int(count) / max(1, int(counts.max())))
        lines.append(f"{edge:12.4f}  {bar}{' ' if bar else ''}{count}")
    return lines


def _percent(part: int, whole: int, of: str = "") -> str:
    return f"  ({100.0 * part / whole:.1f} %{' ' + of if of else ''})" if whole else ""
