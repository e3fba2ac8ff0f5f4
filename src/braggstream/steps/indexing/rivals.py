"""Is it this lattice that the peaks speak for, or only a part that it shares with another one?

Evidence against chance does not tell: the peaks of a crystal are no random points, and a lattice of quite another
cell can be turned so that it shares a row, a net or every third point with the crystal's.  So a lattice has to be
more than what it may have in common with others (`kernels.rivals`):

- a sparser lattice: the points outside of each sublattice have to hold peaks;
- a denser lattice: peaks between the points must not lie on a lattice of which this one is an arbitrary part;
- rods: along each direction the points have to explain what rods do not.

A beam centre or camera length that is off makes a right lattice fail, too.  Then, and only then, its peaks agree
much better once the detector may move, so it is asked again with the detector moved.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.chance import FLAT_VOLUME, distances_from_lattice
from braggstream.kernels.rivals import least_support_along, mark_neighbours
from braggstream.model.crystal import Crystal
from braggstream.steps.indexing.cell_check import Tolerance
from braggstream.steps.indexing.centring import ReducedLattice, reduce_lattice
from braggstream.steps.indexing.peak_check import FLATNESS, PeakWeighing, weigh_peaks
from braggstream.steps.indexing.sharing import (
    MOST_BETWEEN,
    MOST_REPEATS,
    DenserClass,
    best_class,
    is_too_large,
    sparser_steps,
)
from braggstream.steps.pairing import shifted_q
from braggstream.steps.refinement import refine_crystal
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_ALONG = 5.0
"""Evidence for the points on the rods along each direction."""
CLEAR = 3.0
"""Peaks between the points are further from them than so many times the distance of best agreement."""
MOVED_GAIN = 2.5
"""Times as much evidence once the detector may move is no accident."""
N_MOVES = 2
"""Refinements with a detector that moves: the first brings more peaks to their lattice points."""


DIRECTIONS = np.array([d for d in product((-1.0, 0.0, 1.0), repeat=3) if d > (0.0, 0.0, 0.0)])
"""The 13 shortest ones of a reduced lattice, or so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a lattice stands against its rivals."""

    is_accepted: bool
    note: str = ""
    """What explains the peaks as well or better; empty where nothing is known."""


def judge(crystal: Crystal, view: PeakView, weighing: PeakWeighing, tolerance: Tolerance) -> Verdict:
    """Compare a lattice, of which its peaks are more than chance, with its rivals.

    Parameters
    ----------
    crystal
        The refined crystal.
    view
        The peaks among which it was found, at least those that it explains.
    weighing
        How it agrees with them.
    tolerance
        Allowed deviation of the cell, as for the weighing.
    """
    verdict = _Trial.of(crystal, view, weighing).verdict()
    if verdict.is_accepted:
        return verdict
    moved: Crystal | None = crystal
    for _ in range(N_MOVES):
        moved = None if moved is None else refine_crystal(moved, view, None, moves_detector=True)
    if moved is None:
        return verdict
    agreement = weigh_peaks(moved, view, tolerance)
    if agreement.evidence < MOVED_GAIN * weighing.evidence:
        return verdict
    again = _Trial.of(moved, view, agreement).verdict()
    return again if again.is_accepted else verdict


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Trial:
    """A lattice and the peaks, as the kernels want them."""

    lattice: ReducedLattice
    direct: FloatArray
    """Rows of the reduced basis, float64[3, 3] [Å]."""
    reciprocal: FloatArray
    q: FloatArray
    fractional: FloatArray
    distances: FloatArray
    """Squared, from the nearest lattice point [Å⁻²]."""
    reach: float
    chance: float
    wavenumber: float

    @classmethod
    def of(cls, crystal: Crystal, view: PeakView, weighing: PeakWeighing) -> "_Trial":
        lattice = reduce_lattice(crystal.direct_axes, crystal.centring)
        assert lattice is not None  # Degenerate lattices are no longer there when peaks are weighed.
        q, wavenumber = shifted_q(view, crystal.det_shift), 1.0 / view.wavelength
        direct = np.ascontiguousarray(lattice.basis.T)
        reciprocal = np.ascontiguousarray(np.linalg.inv(lattice.basis))
        return cls(
            lattice=lattice,
            direct=direct,
            reciprocal=reciprocal,
            q=q,
            fractional=q @ lattice.basis,
            distances=weighing.distances,
            reach=weighing.reach,
            chance=FLAT_VOLUME * FLATNESS * abs(float(np.linalg.det(direct))) * weighing.reach**3,
            wavenumber=wavenumber,
        )

    @property
    def is_explained(self) -> NDArray[np.bool_]:
        return np.asarray(self.distances < self.reach**2)

    def verdict(self) -> Verdict:
        hkl = np.rint(self.fractional[self.is_explained]).astype(np.int64)
        steps = list(sparser_steps(hkl, len(self.q), self.chance))
        note = self._sparser_note(steps)
        if is_too_large(hkl, steps):
            return Verdict(is_accepted=False, note=note)
        denser = self._denser()
        if denser is not None and not denser.is_special:
            return Verdict(is_accepted=False, note=denser.note)
        if self._support_along() < LEAST_ALONG:
            return Verdict(is_accepted=False)
        return Verdict(is_accepted=True, note=denser.note if denser else note)

    def _sparser_note(self, steps: list[tuple[int, FloatArray]]) -> str:
        if not steps or prod(p for p, _ in steps) > MOST_REPEATS:
            return ""  # What is no simple multiple is no advice.
        vectors = [self._in_cell(vector) for _, vector in steps]
        if len(vectors) == 1 and (single := np.flatnonzero(vectors[0])).size == 1:
            name = "abc"[int(single[0])]
            return f"{name}' = {_told(np.abs(vectors[0]))} explains the peaks as well"
        return f"a smaller cell with {' and '.join(_told(each) for each in vectors)} explains the peaks as well"

    def _in_cell(self, vector: FloatArray) -> FloatArray:
        """Coefficients of a vector of the reduced basis in terms of the cell's axes."""
        return np.asarray(vector @ np.linalg.inv(self.lattice.to_cell.T))

    def _denser(self) -> "_Denser | None":
        """The denser lattice that explains most of the peaks that this one leaves between its points."""
        is_explained = self.is_explained
        far = np.flatnonzero(self.distances > (CLEAR * self.reach) ** 2)
        best = self._best_class(far)
        if best.evidence < MOST_BETWEEN:
            return None
        # Where the geometry is off, a region's peaks lie between the points; those of a denser lattice are mixed.
        is_near = np.empty(len(self.q), np.bool_)
        mark_neighbours(self.q, is_explained, is_near)
        if self._best_class(far[is_near[far]]).evidence < MOST_BETWEEN:
            return None
        n_explained = int(is_explained.sum())
        n_all = n_explained + best.n_more
        note = f"{self._denser_name(best)} explains {n_all} of {len(self.q)} peaks, the cell only {n_explained}"
        return _Denser(
            is_special=not best.has_arbitrary_part(n_explained), note=note if best.p <= MOST_REPEATS else ""
        )

    def _best_class(self, chosen: IntArray) -> DenserClass:
        q, fractional = self.q[chosen], self.fractional[chosen]

        def looked_up(p: int) -> tuple[FloatArray, FloatArray]:
            return p * fractional, _distances(q, p * self.direct, self.reciprocal / p, self.wavenumber)

        return best_class(len(chosen), self.chance, self.reach, looked_up)

    def _denser_name(self, best: DenserClass) -> str:
        # Points at u / p: of the axes, those with u = 0 stay, and the only other one is p times as long.
        index = np.array(best.numbers) @ np.rint(self.lattice.to_cell) % best.p
        axes = np.flatnonzero(index)
        if len(axes) == 1:
            name = "abc"[int(axes[0])]
            return f"{name}' = {best.p}{name}"
        return f"a cell of {best.p} times the volume"

    def _support_along(self) -> float:
        beam = np.array([self.wavenumber, FLATNESS, self.reach])
        return float(least_support_along(self.q, self.fractional, self.reciprocal, DIRECTIONS, beam))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Denser:
    is_special: bool
    """Whether the lattice holds more of the denser one's peaks than any other part of it would."""
    note: str


def _distances(q: FloatArray, direct: FloatArray, reciprocal: FloatArray, wavenumber: float) -> FloatArray:
    distances = np.empty(len(q))
    distances_from_lattice(q, direct, reciprocal, wavenumber, FLATNESS, distances)
    return distances


def _told(vector: FloatArray) -> str:
    """Write a vector in terms of a, b, c: `a/2`, `(a + 2b)/3`."""
    parts = [Fraction(float(number)).limit_denominator(1000) for number in vector]
    divisor = int(np.lcm.reduce([part.denominator for part in parts]))
    terms = [(int(part * divisor), name) for part, name in zip(parts, "abc", strict=True) if part]
    words = [f"{'' if abs(number) == 1 else abs(number)}{name}" for number, name in terms]
    text = words[0] if terms[0][0] > 0 else f"-{words[0]}"
    for (number, _), word in zip(terms[1:], words[1:], strict=True):
        text += f" {'+' if number > 0 else '-'} {word}"
    if divisor == 1:
        return text
    return f"({text})/{divisor}" if len(terms) > 1 else f"{text}/{divisor}"
