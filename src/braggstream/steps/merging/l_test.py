"""The L-test for twinning (Padilla & Yeates (2003), Acta Cryst. D59, 1124; doi:10.1107/S0907444903007947)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.list_check import SelectedReflections
from braggstream.steps.merging.matching import positions

FloatArray = NDArray[np.float64]

_A, _B, _C = np.eye(3, dtype=np.int32)
_STEPS: dict[Centring, tuple[NDArray[np.int32], ...]] = {
    "P": (_A, _B, _C),
    "R": (_A, _B, _C),
    "A": (_A, 2 * _B, 2 * _C),
    "B": (2 * _A, _B, 2 * _C),
    "C": (2 * _A, 2 * _B, _C),
    "I": (2 * _A, 2 * _B, 2 * _C),
    "F": (2 * _A, 2 * _B, 2 * _C),
    "H": (3 * _A, 3 * _B, 3 * _C),
}
"""From a reflection to its neighbours that the centring leaves."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class LTest:
    """How the intensities of neighbours differ."""

    values: FloatArray
    """L = (I₁ - I₂)/(I₁ + I₂) of each pair, float64[n]."""

    @property
    def mean_abs(self) -> float:
        """⟨|L|⟩: 0.500 untwinned, 0.375 for a perfect twin."""
        return float(np.abs(self.values).mean())

    @property
    def mean_square(self) -> float:
        """⟨L²⟩: 0.333 untwinned, 0.200 for a perfect twin."""
        return float((self.values**2).mean())

    def cumulative(self, n_bins: int) -> tuple[FloatArray, FloatArray]:
        """Give |L|, float64[n_bins], and the part of the pairs with a smaller or equal one."""
        limits = np.arange(1, n_bins + 1) / n_bins
        ordered = np.sort(np.abs(self.values))
        return limits, np.searchsorted(ordered, limits, side="right") / len(ordered)


def l_test(chosen: SelectedReflections, centring: Centring, group: PointGroup) -> LTest:
    """Pair neighbouring reflections, each pair once; raises `UserError` where there is no pair."""
    here = np.arange(len(chosen))
    pairs = []
    for step in _STEPS[centring]:
        for direction in (step, -step):
            there = positions(group.asymmetric(chosen.hkl + direction), chosen.hkl)
            kept = (there >= 0) & (there != here)
            pairs.append(np.sort(np.column_stack([here[kept], there[kept]]), axis=1))
    first, second = np.unique(np.concatenate(pairs), axis=0).T
    one, other = chosen.intensity[first], chosen.intensity[second]
    usable = one + other > 0.0
    if not usable.any():
        raise UserError("no two neighbouring reflections with intensity: there is nothing for an L-test")
    return LTest(values=(one[usable] - other[usable]) / (one[usable] + other[usable]))
