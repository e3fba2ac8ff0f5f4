"""`python -m benchmarks.quality.wrong_cells`: hits that are indexed with a wrong cell, energy or camera length.

Every lattice that is accepted then is wrong, and their share of the hits is what is told.  No random cell is within
3 % of the true lattice or of one that it contains or lies in, with an index up to 4.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sets import SETS, FrameSet
from benchmarks.quality.stills import StillMaker
from braggstream.kernels.layout import CORNER
from braggstream.model.cell import LatticeType, UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.pipeline.recipe import LEAST_REFLECTIONS
from braggstream.simulate.lattices import compare
from braggstream.steps.indexing import LatticeFinder, make_lattice_finder
from braggstream.steps.indexing.cell_check import CellCheck, Tolerance
from braggstream.steps.indexing.centring import TO_PRIMITIVE
from braggstream.steps.indexing.sublattices import normal_forms
from braggstream.steps.prediction import predict_reflections
from braggstream.steps.profile_radius import measure_profile_radius
from braggstream.steps.resolution import resolution_limit
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

USUAL_SETS = "tetragonal P,monoclinic P,orthorhombic I"
SHORTEST, LONGEST = 30.0, 130.0
"""Lengths of the random cells [Å]."""
TYPES: tuple[LatticeType, ...] = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic")
WEIGHTS = (0.2, 0.2, 0.25, 0.15, 0.15, 0.05)
MOST_INDEX = 4
NEAR: Tolerance = (3.0, 3.0, 3.0, 1.7, 1.7, 1.7)
OFF = 0.03
"""One axis is off by this part of its length."""
ASKED_RANDOM = 0.5
"""Hits accepted with random cells, at most [%]; with wrong energies and lengths, none."""


def random_cell(rng: np.random.Generator) -> UnitCell:
    """Draw a primitive cell."""
    kind = TYPES[rng.choice(len(TYPES), p=WEIGHTS)]
    a, b, c = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), 3)).tolist()
    angles, unique_axis = (90.0, 90.0, 90.0), "*"
    match kind:
        case "triclinic":
            first, second, third = rng.uniform(75.0, 110.0, 3).tolist()
            angles = (first, second, third)
        case "monoclinic":
            angles, unique_axis = (90.0, float(rng.uniform(91.0, 118.0)), 90.0), "b"
        case "tetragonal":
            b, unique_axis = a, "c"
        case "hexagonal":
            b, angles, unique_axis = a, (90.0, 90.0, 120.0), "c"
        case "cubic":
            b = c = a
    return UnitCell.from_parameters((a, b, c, *angles), lattice_type=kind, unique_axis=unique_axis)


def relatives(cell: UnitCell) -> list[Crystal]:
    """The lattice, those of small index in it, and those that it lies in with a small index."""
    forms = [form for index in range(1, MOST_INDEX + 1) for form in normal_forms(index)]
    direct = TO_PRIMITIVE[cell.centring].T @ cell.direct_axes()
    axes = [form @ direct for form in forms] + [np.linalg.inv(form).T @ direct for form in forms]
    return [Crystal(reciprocal_axes=np.ascontiguousarray(np.linalg.inv(each).T)) for each in axes]


def unrelated_cells(cell: UnitCell, n: int, rng: np.random.Generator) -> Iterator[UnitCell]:
    """Draw cells that have nothing to do with one."""
    known = relatives(cell)
    while n:
        drawn = random_cell(rng)
        check = CellCheck(replace(drawn, lattice_type="triclinic", unique_axis="*"), NEAR)
        if all(check.reindexed(each) is None for each in known):
            n -= 1
            yield drawn


def seen_with(view: PeakView, *, wavelength: float = 1.0, length: float = 1.0) -> PeakView:
    """Give the same peaks where wavelength or camera length are so many times the true ones."""
    poses = view.detector.poses.copy()
    poses[:, CORNER, 2] *= length
    detector, wavelength = replace(view.detector, poses=poses), view.wavelength * wavelength
    q = detector.scattering_vectors(view.peaks.panel, view.peaks.fs, view.peaks.ss, wavelength)
    return replace(view, detector=detector, wavelength=wavelength, q=q)


WRONG_BEAMS: dict[str, Callable[[PeakView], PeakView]] = {
    "energy x 3": lambda view: seen_with(view, wavelength=1 / 3),
    "energy x 10": lambda view: seen_with(view, wavelength=0.1),
    "energy / 3": lambda view: seen_with(view, wavelength=3.0),
    "length x 0.5": lambda view: seen_with(view, length=0.5),
    "length x 2": lambda view: seen_with(view, length=2.0),
    "length negative": lambda view: seen_with(view, length=-1.0),
}


def accepted(find: LatticeFinder, view: PeakView) -> list[Crystal]:
    """Give the lattices of a hit that go into a stream file, as the recipe has it: those that predict something."""
    return [crystal for crystal in find(view).crystals if _n_reflections(crystal, view) >= LEAST_REFLECTIONS]


def _n_reflections(crystal: Crystal, view: PeakView) -> int:
    radius = measure_profile_radius(crystal, view)
    measured = crystal if radius is None else replace(crystal, profile_radius=radius)
    limit = resolution_limit(measured, view.q)
    found = predict_reflections(measured, view.detector, view.wavelength, view.bandwidth, max_inverse_d=limit)
    return len(found)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The hits of a set and a method."""

    frame_set: FrameSet
    method: str
    views: list[PeakView]
    lattices: list[FloatArray]

    @classmethod
    def of(cls, frame_set: FrameSet, method: str, *, n_frames: int, seed: int) -> "Bench":
        maker = StillMaker(frame_set, seed)
        stills = [maker.still(number) for number in range(n_frames)]
        return cls(
            frame_set=frame_set,
            method=method,
            views=[still.view for still in stills],
            lattices=[still.lattices[0] for still in stills],
        )

    def finder(self, cell: UnitCell) -> LatticeFinder:
        return make_lattice_finder(IndexingSettings(methods=(self.method,), target_cell=cell))

    def random_cells(self, n: int, rng: np.random.Generator) -> float:
        """Hits accepted with random cells [%]."""
        found = 0
        for cell in unrelated_cells(self.frame_set.cell, n, rng):
            find = self.finder(cell)
            found += sum(bool(accepted(find, view)) for view in self.views)
        return 100.0 * found / (n * len(self.views))

    def wrong_beams(self) -> dict[str, int]:
        """Hits accepted with each wrong energy and length."""
        find = self.finder(self.frame_set.cell)
        return {
            name: sum(bool(accepted(find, change(view))) for view in self.views)
            for name, change in WRONG_BEAMS.items()
        }

    def axes_off(self) -> tuple[int, int, int]:
        """Hits refined to the truth, refused, and wrong, with one axis after the other too long."""
        right, refused, wrong = 0, 0, 0
        for axis in "abc":
            find = self.finder(_free(self.frame_set.cell, axis, 1.0 + OFF))
            for view, true in zip(self.views, self.lattices, strict=True):
                crystals = accepted(find, view)
                refused += not crystals
                right += sum(self._is_true(crystal, true) for crystal in crystals)
                wrong += sum(not self._is_true(crystal, true) for crystal in crystals)
        return right, refused, wrong

    def axes_multiplied(self, factor: float) -> tuple[int, int]:
        """Hits that are told what is wrong, and hits accepted without a word, with each axis multiplied."""
        told, silent = 0, 0
        for axis in "abc":
            find = self.finder(_free(self.frame_set.cell, axis, factor))
            for view in self.views:
                outcome = find(view)
                is_told = any("explains" in warning for warning in outcome.warnings)
                told += is_told
                silent += bool(outcome.crystals) and not is_told
        return told, silent

    def _is_true(self, crystal: Crystal, true: FloatArray) -> bool:
        centring = self.frame_set.cell.centring
        compared = compare(true, crystal.reciprocal_axes, true_centring=centring, found_centring=crystal.centring)
        return compared is not None and compared.length_error < 0.01 and compared.misorientation < 0.5


def _free(cell: UnitCell, axis: str, factor: float) -> UnitCell:
    """The cell with one axis of another length, and a lattice type that allows it."""
    is_right_angled = (cell.alpha, cell.beta, cell.gamma) == (90.0, 90.0, 90.0)
    kind: LatticeType = "orthorhombic" if is_right_angled else cell.lattice_type
    unique_axis = "*" if is_right_angled else cell.unique_axis
    return replace(cell, lattice_type=kind, unique_axis=unique_axis, **{axis: factor * getattr(cell, axis)})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.wrong_cells", description=__doc__)
    parser.add_argument("--sets", default=USUAL_SETS, help="names of sets, with * and ?, separated by commas")
    parser.add_argument("--method", default="ffbidx", help="methods, separated by commas, each alone")
    parser.add_argument("--cells", type=int, default=200, help="random cells")
    parser.add_argument("--frames", type=int, default=8, help="hits for each of them")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other cells and hits")
    chosen = parser.parse_args()
    for frame_set in SETS:
        if not any(fnmatch(frame_set.name, pattern) for pattern in chosen.sets.split(",")):
            continue
        for method in chosen.method.split(","):
            bench = Bench.of(frame_set, method, n_frames=chosen.frames, seed=chosen.seed)
            share = bench.random_cells(chosen.cells, np.random.default_rng(chosen.seed))
            mark = "!" if share > ASKED_RANDOM else ""
            print(
                f"{frame_set.name}, {method}: {chosen.cells} random cells: {mark}{share:.2f} % of hits accepted ",
                end="",
            )
            print(
                f"(asked {ASKED_RANDOM}); {', '.join(f'{k}: {n}' for k, n in bench.wrong_beams().items())} (0)",
                flush=True,
            )
            right, refused, wrong = bench.axes_off()
            print(f"    an axis 3 % off: {right} right, {refused} refused, {wrong} wrong (0)", end="")
            for name, factor in (("doubled", 2.0), ("halved", 0.5)):
                told, silent = bench.axes_multiplied(factor)
                print(f"; {name}: {told} of {3 * len(bench.views)} told, {silent} accepted without a word", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
