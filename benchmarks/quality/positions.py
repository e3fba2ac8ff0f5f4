"""How far peakfinder8's peaks lie from where the rays really went: `python -m benchmarks.quality.positions`.

Beside each figure stands what the peak lists of `stills` assume, sqrt(floor² + k² / photons) along each axis; below
the table are the floor and the k that these frames show.  Spots with a neighbour are left out.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.frames import PHOTONS, SEARCH, FrameMaker
from benchmarks.quality.sets import SETS
from benchmarks.quality.stills import BLUR_PER_ROOT_PHOTON_PX, BLUR_PX
from braggstream.model.peaks import PeakTable
from braggstream.simulate.diffraction import Spots
from braggstream.steps.peaks import PeakFinder, make_peak_finder

FloatArray = NDArray[np.float64]

NEAR_PX, NEIGHBOUR_PX = 2.0, 8.0
"""A peak belongs to a spot so near, unless there is another spot within the second distance."""
N_GROUPS = 8
SIGMA_OF_MEDIAN = 1.4826


def errors(peaks: PeakTable, spots: Spots) -> FloatArray:
    """Give photons and the errors in fs and ss of the peaks that belong to a spot, float64[n, 3]."""
    d_fs = peaks.fs[:, None] - spots.fs[None, :]
    d_ss = peaks.ss[:, None] - spots.ss[None, :]
    distance = np.where(peaks.panel[:, None] == spots.panel[None, :], np.hypot(d_fs, d_ss), np.inf)
    is_alone = ((distance < NEIGHBOUR_PX).sum(axis=1) == 1) & (distance.min(axis=1, initial=np.inf) < NEAR_PX)
    peak = np.flatnonzero(is_alone)
    if not len(peak):
        return np.zeros((0, 3))
    spot = distance[peak].argmin(axis=1)
    return np.column_stack([spots.photons[spot], d_fs[peak, spot], d_ss[peak, spot]])


def law(photons: FloatArray, scatter: FloatArray) -> tuple[float, float]:
    """Fit floor [px] and k [px] to groups of peaks; relative errors count."""
    best = (0.0, 0.0, np.inf)
    for floor in np.arange(0.0, 0.2, 0.002):
        for k in np.arange(0.5, 4.0, 0.02):
            misfit = float((np.log(np.hypot(floor, k / np.sqrt(photons)) / scatter) ** 2).sum())
            if misfit < best[2]:
                best = (float(floor), float(k), misfit)
    return best[:2]


def measure(maker: FrameMaker, find_peaks: PeakFinder, n_frames: int) -> FloatArray:
    """Photons, robust and plain scatter of groups of peaks, the weakest first, float64[n, 3]."""
    found = []
    for number in range(n_frames):
        frame, made = maker.frame(number)
        found.append(errors(find_peaks(frame), made.strong))
    table = np.concatenate(found)
    groups = np.array_split(table[np.argsort(table[:, 0])], N_GROUPS)
    return np.array(
        [
            (np.median(g[:, 0]), SIGMA_OF_MEDIAN * np.median(np.abs(g[:, 1:])), np.sqrt((g[:, 1:] ** 2).mean()))
            for g in groups
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.positions", description=__doc__)
    parser.add_argument("--frames", type=int, default=12, help="frames of each set")
    chosen = parser.parse_args()
    for frame_set in SETS:
        if frame_set.name not in PHOTONS or frame_set.n_lattices != 1:
            continue
        maker = FrameMaker(frame_set=frame_set, seed=1)
        groups = measure(maker, make_peak_finder(SEARCH), chosen.frames)
        print(f"{frame_set.name}\n   photons   scatter       rms   assumed [px]")
        for photons, scatter, rms in groups:
            assumed = np.hypot(BLUR_PX, BLUR_PER_ROOT_PHOTON_PX / np.sqrt(photons))
            print(f"{photons:10.0f} {scatter:9.3f} {rms:9.3f} {assumed:9.3f}")
        floor, k = law(groups[:, 0], groups[:, 1])
        print(f"  floor {floor:.3f} px, k {k:.2f} px; assumed {BLUR_PX}, {BLUR_PER_ROOT_PHOTON_PX:.2f}", flush=True)


if __name__ == "__main__":
    main()
