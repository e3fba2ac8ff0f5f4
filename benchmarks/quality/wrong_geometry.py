"""`python -m benchmarks.quality.wrong_geometry`: hits whose geometry file is a little wrong.

The beam centre is off by 3.6 pixels and the camera length by 1 %.  Hits are indexed one after the other, as a
session with one worker does, without and with `--refine-geometry=live`.  Asked: 95 % of the hits after the first
100, the centre right to 0.2 pixel and the length to 0.1 %.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from math import cos, radians, sin

import numpy as np

from benchmarks.quality.sets import SETS, FrameSet
from benchmarks.quality.stills import BANDWIDTH, CAMERA_LENGTH_M, PIXEL_M, WAVELENGTH, StillMaker, geometry
from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.kernels.warm import warm_up
from braggstream.model.adjustments import Adjustments
from braggstream.model.crystal import Crystal
from braggstream.model.geometry import DetectorOffset, Geometry
from braggstream.model.moved_geometry import moved_geometry
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import GeometrySettings, IndexingSettings, OutputSettings, Settings
from braggstream.run.geometry_watcher import GeometryWatcher
from braggstream.simulate.judge import FoundFrame, Judgement, Tolerance, judge_frames
from braggstream.simulate.truth import FrameTruth, Truth
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.offset_finder import OffsetFinder
from braggstream.steps.view import PeakView

N_FIRST = 100
"""The hits from which the geometry is to be learned."""
CENTRE_PX, LENGTH = 3.6, 0.01
ASKED_RIGHT, ASKED_CENTRE_PX, ASKED_LENGTH = 95.0, 0.2, 0.1
NAME = "wrong geometry"
USUAL_SETS = "tetragonal P,monoclinic P,hexagonal P,triclinic,large,two lattices,cell 2.5 % long"
HEAD = (
    f"{'set':>18} {'wrong by':>22} {'off %':>7} {'first %':>8} {'then %':>7} {'asked':>6} "
    f"{'centre px':>10} {'asked':>6} {'length %':>9} {'asked':>6} {'moves':>6}"
)


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a run came to."""

    first: Judgement
    """Of the first hits."""
    then: Judgement
    """Of those that follow."""
    summary: dict
    """As it goes into the JSON summary; empty without refinement."""


def run(frame_set: FrameSet, wrong: DetectorOffset, mode: str, *, n_frames: int, seed: int) -> Learned:
    """Index the hits of a set one by one with a geometry that is moved from the true one."""
    settings = Settings(
        indexing=IndexingSettings(target_cell=frame_set.expected_cell, multi=frame_set.n_lattices > 1),
        geometry=GeometrySettings(refine=mode),
    )
    given = replace(moved_geometry(geometry(), wrong), offset=DetectorOffset())
    setup = Setup(processor="", geometry=given, settings=settings, output=OutputSettings(stream_file=""))
    watcher, adjustments = GeometryWatcher(setup, lambda _: None), Adjustments()
    find_offsets = OffsetFinder(settings.indexing)
    find, maker = make_lattice_finder(settings.indexing), StillMaker(frame_set, seed)
    found, truths = [], []
    for number in range(n_frames):
        still = maker.still(number)
        now = moved_geometry(given, adjustments.offset)
        view = seen(still.view.peaks, now)
        crystals = find(view).crystals
        found.append(crystals)
        truths.append(FrameTruth(lattices=still.lattices))
        if mode == "off" or number % adjustments.ask_every:
            continue
        offsets = tuple(one.seen_from(now.offset).numbers for one in find_offsets(crystals, view))
        outcome = FrameOutcome(serial=number, status="written", offsets=offsets)
        adjustments = watcher.see(outcome, adjustments) or adjustments
    summary = {} if mode == "off" else watcher.finish()["geometry_refinement"]
    first, then = (_judged(found[part], truths[part], frame_set) for part in (slice(N_FIRST), slice(N_FIRST, None)))
    return Learned(first=first, then=then, summary=summary)


def seen(peaks: PeakTable, now: Geometry) -> PeakView:
    """See peaks on a detector that stands where the geometry says."""
    detector = now.detector({}.__getitem__, WAVELENGTH)
    q = detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
    return PeakView(peaks=peaks, q=q, detector=detector, wavelength=WAVELENGTH, bandwidth=BANDWIDTH)


def _judged(found: list[tuple[Crystal, ...]], truths: list[FrameTruth], frame_set: FrameSet) -> Judgement:
    frames = [
        FoundFrame(
            filename=NAME,
            event=f"//{number}",
            serial=number + 1,
            is_hit=True,
            crystals=tuple((crystal.reciprocal_axes, crystal.centring) for crystal in crystals),
        )
        for number, crystals in enumerate(found)
    ]
    truth = Truth(filename=NAME, event="//{n}", n_frames=len(truths), frames=tuple(truths), cell=frame_set.cell)
    return judge_frames(frames, truth, Tolerance(length=0.03))


def offsets() -> Iterator[DetectorOffset]:
    """The centre off in two directions, the camera too far away and too near."""
    for degrees, sign in ((0.0, 1.0), (130.0, -1.0)):
        reach = CENTRE_PX * PIXEL_M
        yield DetectorOffset(
            x=reach * cos(radians(degrees)), y=reach * sin(radians(degrees)), z=sign * LENGTH * CAMERA_LENGTH_M
        )


def _right(judged: Judgement) -> float:
    return 100.0 * judged.n_right / judged.n_lattices if judged.n_lattices else float("nan")


def _line(frame_set: FrameSet, wrong: DetectorOffset, off: Learned, live: Learned) -> str:
    x, y, z = wrong.x / PIXEL_M, wrong.y / PIXEL_M, 100 * wrong.z / CAMERA_LENGTH_M
    by = f"{x:+.1f} {y:+.1f} px {z:+.0f} %"
    line = f"{frame_set.name:>18} {by:>22} {_right(off.first):7.1f} {_right(live.first):8.1f} "
    line += f"{_marked(_right(live.then), ASKED_RIGHT, 7, 1, more=True)} {ASKED_RIGHT:6g} "
    moved = live.summary.get("offset_mm")
    if moved is None:
        return line + "no agreement"
    error = (np.array(moved) * 1e-3 + (wrong.x, wrong.y, wrong.z)) / (PIXEL_M, PIXEL_M, CAMERA_LENGTH_M / 100)
    centre = _marked(float(np.hypot(*error[:2])), ASKED_CENTRE_PX, 10, 3, more=False)
    length = _marked(abs(float(error[2])), ASKED_LENGTH, 9, 3, more=False)
    return line + f"{centre} {ASKED_CENTRE_PX:6g} {length} {ASKED_LENGTH:6g} {live.summary['moves']:6}"


def _marked(found: float, asked: float, width: int, digits: int, *, more: bool) -> str:
    short = found < asked if more else found > asked
    return f"{'!' * short + f'{found:.{digits}f}':>{width}}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.wrong_geometry", description=__doc__)
    parser.add_argument("--sets", default=USUAL_SETS, help="names of sets, with * and ?, separated by commas")
    parser.add_argument("--frames", type=int, default=300, help="hits of each set")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other hits")
    chosen = parser.parse_args()
    warm_up([])
    print(HEAD, flush=True)
    for frame_set in SETS:
        is_chosen = any(fnmatch(frame_set.name, pattern) for pattern in chosen.sets.split(","))
        if not is_chosen or not frame_set.n_lattices or not frame_set.is_indexable:
            continue
        for wrong in offsets():
            off = run(frame_set, wrong, "off", n_frames=N_FIRST, seed=chosen.seed)
            live = run(frame_set, wrong, "live", n_frames=chosen.frames, seed=chosen.seed)
            print(_line(frame_set, wrong, off, live), flush=True)
    print("!: short of what is asked.  off, first: right of the first 100, without and with it; then: after them")


if __name__ == "__main__":
    main()
