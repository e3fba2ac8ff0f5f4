"""The sets as pixels: `python -m benchmarks.quality.frames` simulates frames, searches peaks, indexes and refines.

The lists of `stills` give positions an error that is assumed; here it is what peakfinder8 makes of photons, spot
shapes, background and bad pixels.  Beside what is reached stands the bound for the same peaks.
"""

import argparse
from dataclasses import dataclass, field
from fnmatch import fnmatch

import numpy as np

from benchmarks.quality.bound import Precision, compare
from benchmarks.quality.measure import Measured, measure
from benchmarks.quality.sets import ASKED_CELL_ERROR, ASKED_MISORIENTATION, MANY_PEAKS, SETS, FrameSet
from benchmarks.quality.stills import (
    BANDWIDTH,
    CELL_SPREAD,
    MOSAICITY,
    PROFILE_RADIUS,
    Still,
    geometry,
)
from braggstream.formats.raw import lay_out
from braggstream.model.frame import Frame, FrameIdentity
from braggstream.model.settings import PeakSettings
from braggstream.simulate.frames import SimulatedFrame, Simulator
from braggstream.simulate.settings import BeamSettings, CrystalSettings, SampleSettings, SimulationSettings
from braggstream.steps.peaks import make_peak_finder
from braggstream.steps.spot_centres import at_spot_centres
from braggstream.steps.view import PeakView

PHOTONS = {
    "tetragonal P": 4000.0,
    "monoclinic P": 4000.0,
    "triclinic": 20000.0,
    "large": 60.0,
    "four lattices": 400.0,
}
"""Of a mean full reflection at low resolution: the simulator's usual 4000, or what gives 150 to 400 peaks."""
SEARCH = PeakSettings(method="peakfinder8", threshold=10, min_snr=5)
METHODS = {"with": "ffbidx", "without": "asdf"}


@dataclass(kw_only=True)
class FrameMaker:
    """Makes the frames of a set; frame n depends on the set, the seed, the strength and n alone."""

    frame_set: FrameSet
    seed: int
    strength: float = 1.0
    """Multiplies the set's photons."""
    at_centres: bool = True
    """Fit the centres of spots, as the recipe does; otherwise positions are those of the search."""
    simulator: Simulator = field(init=False)
    _stills: dict[int, Still] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        crystal = CrystalSettings(
            d_min=self.frame_set.d_min,
            photons=PHOTONS[self.frame_set.name] * self.strength,
            profile_radius=PROFILE_RADIUS,
            mosaicity=MOSAICITY,
            cell_spread=CELL_SPREAD,
        )
        n_lattices = self.frame_set.n_lattices
        settings = SimulationSettings(
            crystal=crystal,
            sample=SampleSettings(hit_fraction=1.0, lattices=(n_lattices, n_lattices)),
            beam=BeamSettings(bandwidth=BANDWIDTH),
            seed=self.seed,
        )
        self.simulator = Simulator(geometry(), self.frame_set.cell, settings)
        self._find_peaks = make_peak_finder(SEARCH)

    def frame(self, number: int) -> tuple[Frame, SimulatedFrame]:
        """Make frame `number`, counted from 0, and what is in it."""
        made, detector = self.simulator.frame(number), self.simulator.detector
        sizes = zip(detector.height, detector.width, strict=True)
        panels = np.split(made.values, detector.starts[1:-1])
        pixels, table = lay_out([panel.reshape(size) for panel, size in zip(panels, sizes, strict=True)])
        frame = Frame(
            identity=FrameIdentity(filename="quality", event=f"//{number}", serial=number + 1),
            detector=detector,
            wavelength=self.simulator.wavelength,
            pixels=pixels,
            panel_table=table,
            bad=(made.values < 0).astype(np.uint8),
        )
        return frame, made

    def still(self, number: int) -> Still:
        """Find the peaks of frame `number`, counted from 0; they are remembered, the frame is not."""
        if number not in self._stills:
            frame, made = self.frame(number)
            view = PeakView.of(frame, self._find_peaks(frame), BANDWIDTH)
            if self.at_centres:
                view = at_spot_centres(frame, view)
            self._stills[number] = Still(view=view, lattices=made.truth.lattices)
        return self._stills[number]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.frames", description=__doc__)
    parser.add_argument("--sets", default="*", help="names of sets, with * and ?, separated by commas")
    parser.add_argument("--frames", type=int, default=40, help="frames of each set")
    parser.add_argument("--strength", type=float, default=1.0, help="photons, in parts of the usual ones")
    parser.add_argument(
        "--listed", action="store_true", help="with the positions of the search, without fitted centres"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other frames")
    chosen = parser.parse_args()
    print(f"asked of frames with {MANY_PEAKS} peaks: {ASKED_MISORIENTATION} deg, length {ASKED_CELL_ERROR}")
    for frame_set in SETS:
        wanted = any(fnmatch(frame_set.name, pattern) for pattern in chosen.sets.split(","))
        if not wanted or frame_set.name not in PHOTONS:
            continue
        maker = FrameMaker(
            frame_set=frame_set, seed=chosen.seed, strength=chosen.strength, at_centres=not chosen.listed
        )
        n_peaks = np.array([len(maker.still(number).view) for number in range(chosen.frames)])
        print(f"{frame_set.name}: {np.median(n_peaks):.0f} peaks, {(n_peaks >= MANY_PEAKS).sum()} frames with many")
        for kind, method in METHODS.items():
            measured = measure(
                frame_set,
                methods=(method,),
                has_cell=kind == "with",
                n_frames=chosen.frames,
                seed=chosen.seed,
                maker=maker,
            )
            best = None
            if frame_set.n_lattices == 1 and (n_peaks >= MANY_PEAKS).any():
                best, _ = compare(frame_set, maker, has_cell=kind == "with", n_frames=chosen.frames)
            print(_line(measured, kind, best), flush=True)


def _line(measured: Measured, kind: str, best: Precision | None) -> str:
    right = f"{kind:>9} cell: right {measured.right:6.2f} %, wrong {measured.wrong:5.2f} %;"
    line = f"{right} {measured.misorientation:.4f} deg, length {measured.cell_error:.1e}"
    return line if best is None else f"{line}; bound {best.angle:.4f} deg, length {best.length:.1e}"


if __name__ == "__main__":
    main()
