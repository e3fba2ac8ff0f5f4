"""Two merged lists beside each other: the reflections of both on one scale (`compare_hkl`).

Spec: merging, 5.4.
"""

from dataclasses import dataclass, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.matching import positions
from braggstream.steps.merging.selection import Selection
from braggstream.steps.merging.shells import inverse_d_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MatchedLists:
    """Reflections that are in both lists and count, as columns of equal length."""

    hkl: NDArray[np.int32]
    """Indices in the asymmetric unit, int32[n, 3]."""
    inverse_d: FloatArray
    """1/d, float64[n] [Å⁻¹]."""
    intensity_1: FloatArray
    sigma_1: FloatArray
    intensity_2: FloatArray
    sigma_2: FloatArray

    def __len__(self) -> int:
        return len(self.hkl)

    def take(self, index: NDArray) -> "MatchedLists":
        """Select reflections by index or by a boolean array."""
        return MatchedLists(**{name: getattr(self, name)[index] for name in self.__slots__})


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class BijvoetPairs:
    """Acentric reflections and their mates in both lists; the earlier in ascending order is the plus member."""

    plus: MatchedLists
    minus: MatchedLists

    def __len__(self) -> int:
        return len(self.plus)

    def take(self, index: NDArray) -> "BijvoetPairs":
        """Select pairs by index or by a boolean array."""
        return BijvoetPairs(plus=self.plus.take(index), minus=self.minus.take(index))

    @property
    def inverse_d(self) -> FloatArray:
        """1/d of the plus members, float64[n] [Å⁻¹]."""
        return self.plus.inverse_d


class NothingToCompareError(UserError):
    """Two lists have too few reflections in common to be compared."""


def match_lists(
    one: ReflectionList, other: ReflectionList, cell: UnitCell, group: PointGroup, selection: Selection
) -> tuple[MatchedLists, int]:
    """Bring two lists together in the asymmetric unit; a pair counts where both members do.

    Returns
    -------
    MatchedLists
        In ascending order of h, then k, then l.
    int
        Reflections in both lists that do not count.

    Raises
    ------
    NothingToCompareError
        Nothing is left to compare.
    """
    first, second = group.asymmetric(one.hkl), group.asymmetric(other.hkl)
    order = np.lexsort(first.T[::-1])
    found = positions(first[order], second)
    rows_1, rows_2 = order[found >= 0], found[found >= 0]
    hkl = first[rows_1]
    inverse_d = inverse_d_of(hkl, cell)
    accepted = selection.accepts(one.take(rows_1), inverse_d) & selection.accepts(other.take(rows_2), inverse_d)
    if not accepted.any():
        raise NothingToCompareError(
            f"nothing to compare: {len(hkl)} reflections are in both lists, none within the limits"
        )
    matched = MatchedLists(
        hkl=hkl,
        inverse_d=inverse_d,
        intensity_1=selection.intensities(one)[rows_1],
        sigma_1=one.sigma[rows_1],
        intensity_2=selection.intensities(other)[rows_2],
        sigma_2=other.sigma[rows_2],
    )
    return matched.take(accepted), int((~accepted).sum())


def fitted_scale(matched: MatchedLists) -> tuple[float, float]:
    """Fit the scale factor and the B factor [Å²] that bring the second list to the first.

    Straight line through ln(I₁/I₂) against s², s = 1/2d, over pairs that are both positive.
    """
    positive = (matched.intensity_1 > 0.0) & (matched.intensity_2 > 0.0)
    if positive.sum() < 2:
        raise NothingToCompareError(
            "too few positive intensities to scale the lists: compare them as they are, with -u"
        )
    y = np.log(matched.intensity_1[positive] / matched.intensity_2[positive])
    x = (0.5 * matched.inverse_d[positive]) ** 2
    deviation = x - x.mean()
    square = float(deviation @ deviation)
    slope = float(deviation @ y) / square if square > 0.0 else 0.0
    return exp(float(y.mean()) - slope * float(x.mean())), 0.5 * slope


def scaled(matched: MatchedLists, scale: float, b_factor: float) -> MatchedLists:
    """Bring the second list to the scale of the first."""
    factor = scale * np.exp(2.0 * b_factor * (0.5 * matched.inverse_d) ** 2)
    return replace(matched, intensity_2=matched.intensity_2 * factor, sigma_2=matched.sigma_2 * factor)


def bijvoet_pairs(matched: MatchedLists, group: PointGroup) -> BijvoetPairs:
    """Pair acentric reflections with their mates; raises `UserError` where there is none."""
    mate = positions(group.asymmetric(-matched.hkl), matched.hkl)
    plus = np.flatnonzero(mate > np.arange(len(mate)))
    if not len(plus):
        raise UserError("no acentric reflection has its Bijvoet mate in both lists: there is no anomalous figure")
    return BijvoetPairs(plus=matched.take(plus), minus=matched.take(mate[plus]))
