"""How precise cell and orientation can be at all from the peaks of one still: `python -m benchmarks.quality.bound`.

The Cramér-Rao bound: with the scatter that the residuals have about the TRUE lattice, no unbiased estimate from
these peaks can be better than the inverse of the information matrix.  Beside it, what refinement reaches from the
true lattice.  Where there are several lattices, each has the peaks that really are its own.
"""

import argparse
from dataclasses import dataclass, replace
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sets import ASKED_CELL_ERROR, ASKED_MISORIENTATION, MANY_PEAKS, SETS, FrameSet
from benchmarks.quality.stills import PROFILE_RADIUS, StillMaker, StillSource
from braggstream.kernels.scatter import EXCITATION, FS, SS
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.refinement import PeakFit, refine_crystal
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MOST_BINS = 6
"""Peaks are sorted by strength into so many groups, each with a scatter of its own."""
LEAST_IN_BIN = 25
"""Fewer peaks would tell the scatter so badly that the bound came out too low."""
N_DRAWS = 400
SIGMA_OF_MEDIAN = 1.4826


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Largest relative error of a length, and misorientation [deg], of one hit."""

    length: float
    angle: float


def bound(true: FloatArray, view: PeakView, cell: UnitCell | None, radius: float) -> Precision | None:
    """Give the medians of the errors of the best estimate from a lattice's peaks; `cell` imposes its type."""
    lattice = RestrainedLattice.nearest(true, cell)
    fit = PeakFit.of(Crystal(reciprocal_axes=true, profile_radius=radius), view)
    if fit is None:
        return None
    residuals, gradients = fit.compare(lattice.axes, lattice.derivatives())
    n_bins = max(1, min(MOST_BINS, len(residuals) // LEAST_IN_BIN))
    weighted = [
        gradients[rows][:, columns, : len(lattice.ties) + 3].reshape(-1, len(lattice.ties) + 3)
        / _scatter(residuals[rows][:, columns])
        for rows in np.array_split(np.arange(len(residuals)), n_bins)
        for columns in ([EXCITATION], [FS, SS])
    ]
    information = np.concatenate(weighted)
    covariance = np.linalg.inv(information.T @ information)
    shifts = np.random.default_rng(1).multivariate_normal(np.zeros(len(covariance)), covariance, N_DRAWS)
    errors = [_precision(lattice.moved(shift).axes, true) for shift in shifts]
    return Precision(
        length=float(np.median([error.length for error in errors])),
        angle=float(np.median([error.angle for error in errors])),
    )


def _scatter(values: FloatArray) -> float:
    return SIGMA_OF_MEDIAN * float(np.median(np.abs(values)))


def _precision(axes: FloatArray, true: FloatArray) -> Precision:
    lengths, true_lengths = (np.linalg.norm(np.linalg.inv(each), axis=0) for each in (axes, true))
    u, _, vt = np.linalg.svd(np.linalg.inv(true) @ axes)
    cosine = (np.trace(u @ vt) - 1.0) / 2.0
    return Precision(
        length=float(np.abs(lengths / true_lengths - 1.0).max()),
        angle=float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))),
    )


def compare(
    frame_set: FrameSet, maker: StillSource, *, has_cell: bool, n_frames: int
) -> tuple[Precision, Precision]:
    """Medians over the hits with many peaks: the bound, and what refinement reaches from the true lattice."""
    cell = frame_set.expected_cell if has_cell else None
    best, reached = [], []
    for number in range(n_frames):
        still = maker.still(number)
        if len(still.view) < MANY_PEAKS:
            continue
        for lattice, true in enumerate(still.lattices):
            found = _compare(true, still.of_lattice(lattice), cell)
            if found is not None:
                best.append(found[0])
                reached.append(found[1])
    return _medians(best), _medians(reached)


def _compare(true: FloatArray, view: PeakView, cell: UnitCell | None) -> tuple[Precision, Precision] | None:
    refined = refine_crystal(Crystal(reciprocal_axes=true, profile_radius=PROFILE_RADIUS), view, cell)
    least = None if refined is None else bound(true, view, cell, refined.profile_radius)
    if refined is None or least is None:
        return None
    return least, _precision(refined.reciprocal_axes, true)


def _medians(found: list[Precision]) -> Precision:
    angles, lengths = [one.angle for one in found], [one.length for one in found]
    return replace(found[0], length=float(np.median(lengths)), angle=float(np.median(angles)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.bound", description=__doc__)
    parser.add_argument("--sets", default="*", help="names of sets, with * and ?, separated by commas")
    parser.add_argument("--frames", type=int, default=80, help="hits of each set")
    chosen = parser.parse_args()
    print(f"asked: {ASKED_MISORIENTATION} deg, length {ASKED_CELL_ERROR}")
    for frame_set in SETS:
        wanted = any(fnmatch(frame_set.name, pattern) for pattern in chosen.sets.split(","))
        is_plain = frame_set.is_indexable and not frame_set.n_random
        if not (wanted and is_plain and frame_set.n_lattices * frame_set.peaks[1] >= MANY_PEAKS):
            continue
        for has_cell in (True, False):
            best, reached = compare(frame_set, StillMaker(frame_set, 1), has_cell=has_cell, n_frames=chosen.frames)
            kind = "with" if has_cell else "without"
            line = f"{frame_set.name:>18} {kind:>7} cell: bound {best.angle:.4f} deg, length {best.length:.1e};"
            print(f"{line} reached {reached.angle:.4f} deg, length {reached.length:.1e}", flush=True)


if __name__ == "__main__":
    main()
