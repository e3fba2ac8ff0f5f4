"""Run a set through the methods, as the recipe does, and judge what comes out."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import process_time

import numpy as np

from benchmarks.quality.sets import MANY_PEAKS, FrameSet
from benchmarks.quality.stills import Still, StillMaker, StillSource
from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.simulate.judge import FoundFrame, Judgement, Tolerance, judge_frames
from braggstream.simulate.truth import FrameTruth, Truth
from braggstream.steps.indexing import LatticeFinder, make_lattice_finder

NAME = "quality"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of one set with one list of methods."""

    set_name: str
    methods: str
    has_cell: bool
    n_frames: int
    n_lattices: int
    n_right: int
    n_wrong: int
    misorientation: float
    """Median over frames with many peaks [deg]; NaN where there is none."""
    cell_error: float
    """Median of the largest relative error of a length, over the same frames."""
    median_ms: float
    """Processor time from the peaks to refined lattices, so that other load on the machine does not count."""
    longest_ms: float

    @property
    def right(self) -> float:
        """Right lattices [% of all]; 100 where there is none to be found."""
        return 100.0 * self.n_right / self.n_lattices if self.n_lattices else 100.0

    @property
    def wrong(self) -> float:
        """Wrong lattices [% of the hits]."""
        return 100.0 * self.n_wrong / self.n_frames

    def as_record(self) -> dict[str, object]:
        """All of it, for a JSON file."""
        return asdict(self)


def measure(
    frame_set: FrameSet,
    *,
    methods: tuple[str, ...],
    has_cell: bool,
    n_frames: int,
    seed: int,
    maker: StillSource | None = None,
) -> Measured:
    """Index all hits of a set, peak lists unless `maker` makes others, and compare with the truth."""
    settings = IndexingSettings(
        methods=methods,
        target_cell=frame_set.expected_cell if has_cell else None,
        check_cell=has_cell,
        multi=frame_set.n_lattices > 1,
    )
    find = make_lattice_finder(settings)
    maker = maker or StillMaker(frame_set, seed)
    find(maker.still(n_frames).view)  # Compiles what is compiled late.
    found, truths, seconds = [], [], []
    for number, still in enumerate(_stills(maker, n_frames)):
        crystals, elapsed = _index(find, still)
        seconds.append(elapsed)
        is_sought = frame_set.is_indexable or not has_cell
        truths.append(FrameTruth(lattices=still.lattices if is_sought else still.lattices[:0]))
        found.append((number, len(still.view), crystals))
    judged = _judge(found, truths, frame_set)
    precise = _judge([one for one in found if one[1] >= MANY_PEAKS], truths, frame_set)
    return Measured(
        set_name=frame_set.name,
        methods=",".join(methods),
        has_cell=has_cell,
        n_frames=n_frames,
        n_lattices=judged.n_lattices,
        n_right=judged.n_right,
        n_wrong=judged.n_wrong,
        misorientation=_median(precise.misorientations),
        cell_error=_median(precise.length_errors),
        median_ms=1e3 * statistics.median(seconds),
        longest_ms=1e3 * max(seconds),
    )


def _stills(maker: StillSource, n_frames: int) -> Iterator[Still]:
    for number in range(n_frames):
        yield maker.still(number)


def _index(find: LatticeFinder, still: Still) -> tuple[tuple[Crystal, ...], float]:
    start = process_time()
    outcome = find(still.view)
    return outcome.crystals, process_time() - start


def _judge(
    found: list[tuple[int, int, tuple[Crystal, ...]]], truths: list[FrameTruth], frame_set: FrameSet
) -> Judgement:
    frames = [
        FoundFrame(
            filename=NAME,
            event=f"//{number}",
            serial=number + 1,
            is_hit=True,
            crystals=tuple((crystal.reciprocal_axes, crystal.centring) for crystal in crystals),
        )
        for number, _, crystals in found
    ]
    truth = Truth(filename=NAME, event="//{n}", n_frames=len(truths), frames=tuple(truths), cell=frame_set.cell)
    return judge_frames(frames, truth, Tolerance())


def _median(errors: list[float]) -> float:
    return float(np.median(errors)) if errors else float("nan")
