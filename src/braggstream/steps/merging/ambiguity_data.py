"""The observations that can decide an indexing ambiguity, on one scale for all crystals and resolutions."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.observations import Observations
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.matching import index_keys, indices_of
from braggstream.steps.merging.shells import Shells

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]

N_SHELLS = 20
LOWEST, HIGHEST = -1.0, 4.0
"""Normalised intensities beyond are cut off: single strong reflections would decide alone."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ComparableReflections:
    """What crystals have measured of reflections that can decide, as columns of equal length, by crystal."""

    start: NDArray[np.int64]
    """Where the observations of each crystal start, int64[n_crystals + 1]."""
    images: NDArray[np.int32]
    """Number of the unique reflection as it was indexed, and after reindexing, int32[2, n].

    Where no operator is known, crystals of either kind have reflections of their own: `len(hkl)` more.
    """
    observed: NDArray[np.float32]
    """Intensities in units of the mean at their resolution and in their crystal, less the crystal's mean; and their
    weights, float32[2, n]."""
    hkl: NDArray[np.int32]
    """Indices of the unique reflections, int32[n_members, 3]."""
    has_operator: bool
    is_involution: bool
    """Whether reindexing twice changes nothing."""

    @property
    def n_crystals(self) -> int:
        """Crystals, those included that have nothing to say."""
        return len(self.start) - 1

    @property
    def n_reflections(self) -> int:
        """Numbers that `images` may have."""
        return len(self.hkl) if self.has_operator else 2 * len(self.hkl)


def comparable_reflections(
    blocks: Iterable[Observations],
    group: PointGroup,
    operator: NDArray[np.integer] | None,
    *,
    low: float = 0.0,
    high: float = np.inf,
) -> ComparableReflections:
    """Take the observations that can decide, equivalent ones of a crystal averaged.

    Parameters
    ----------
    blocks
        The crystals, in blocks.
    group
        Their true symmetry.
    operator
        hkl · operator is the other way of indexing, int[3, 3]; None where it is not known.
    low, high
        Limits as 1/d [Å⁻¹].

    Raises
    ------
    UserError
        No observation can decide.
    """
    parts = [_averaged(block, group, low, high) for block in blocks]
    n_crystals = sum(part.n_crystals for part in parts)
    if not any(len(part.crystal) for part in parts):
        raise UserError("no reflections within the limits: nothing can be told")
    offsets = np.cumsum([0, *(part.n_crystals for part in parts[:-1])])
    crystal = np.concatenate([part.crystal + offset for part, offset in zip(parts, offsets, strict=True)])
    key = np.concatenate([part.key for part in parts])
    inverse_d = np.concatenate([part.inverse_d for part in parts])
    intensity = np.concatenate([part.intensity for part in parts])
    sigma = np.concatenate([part.sigma for part in parts])
    del parts
    value, weight = _normalised(crystal, inverse_d, intensity, sigma, n_crystals)
    members = _members(key, group, operator)
    place = np.searchsorted(members.seen, key)
    decides = members.decides[place]
    if not decides.any():
        raise UserError("the operator changes no reflection to one that is not equivalent: there is no ambiguity")
    place = place[decides]
    again = members.hkl if operator is None else members.hkl @ np.asarray(operator @ operator, np.int32)
    member, mate = members.member[place], members.mate[place]
    if operator is None:
        mate = member + np.int32(len(members.hkl))
    return ComparableReflections(
        start=np.searchsorted(crystal[decides], np.arange(n_crystals + 1)).astype(np.int64),
        images=np.array([member, mate], np.int32),
        observed=np.array([value[decides], weight[decides]], np.float32),
        hkl=members.hkl,
        has_operator=operator is not None,
        is_involution=bool(np.array_equal(group.asymmetric(again), members.hkl)),
    )


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Averages:
    """Equivalent observations of each crystal of a block, averaged."""

    n_crystals: int
    crystal: NDArray[np.int32]
    key: NDArray[np.int64]
    """Of `index_keys`, in the asymmetric unit."""
    inverse_d: NDArray[np.float32]
    """1/d by the crystal's own cell [Å⁻¹]."""
    intensity: NDArray[np.float32]
    sigma: NDArray[np.float32]


def _averaged(block: Observations, group: PointGroup, low: float, high: float) -> _Averages:
    """Average the equivalent observations of each crystal of a block."""
    crystal = block.crystal
    vectors = np.einsum("ni,nij->nj", block.hkl.astype(np.float64), block.crystals.reciprocal_axes[crystal])
    inverse_d = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    kept = (inverse_d >= low) & (inverse_d <= high) & block.is_usable & np.isfinite(block.sigma)
    crystal, key = crystal[kept], index_keys(group.asymmetric(block.hkl[kept]))
    order = np.lexsort((key, crystal))
    crystal, key = crystal[order], key[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (np.diff(crystal) != 0) | (np.diff(key) != 0)
    number = np.cumsum(is_new) - 1
    n = np.maximum(np.bincount(number), 1)
    variance = np.bincount(number, block.sigma[kept][order].astype(np.float64) ** 2)
    first = np.flatnonzero(is_new)
    return _Averages(
        n_crystals=block.n_crystals,
        crystal=crystal[first],
        key=key[first],
        inverse_d=inverse_d[kept][order][first].astype(np.float32),
        intensity=(np.bincount(number, block.intensity[kept][order]) / n).astype(np.float32),
        sigma=(np.sqrt(variance) / n).astype(np.float32),
    )


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Members:
    """The unique reflections that were seen, and what they become by reindexing."""

    seen: NDArray[np.int64]
    """Their keys, in ascending order, int64[n_seen]."""
    decides: NDArray[np.bool_]
    """Which of them reindexing changes, bool[n_seen]."""
    member: NDArray[np.int32]
    mate: NDArray[np.int32]
    """Their numbers, and those of what they become, in `hkl`, int32[n_seen]."""
    hkl: NDArray[np.int32]
    """Reflections that decide, seen or not, int32[n_members, 3]."""


def _members(key: NDArray[np.int64], group: PointGroup, operator: NDArray[np.integer] | None) -> _Members:
    seen = np.unique(key)
    mate = seen
    if operator is not None:
        mate = index_keys(group.asymmetric(indices_of(seen) @ np.asarray(operator, np.int32)))
    decides = np.ones(len(seen), np.bool_) if operator is None else seen != mate
    known = np.union1d(seen[decides], mate[decides])
    return _Members(
        seen=seen,
        decides=decides,
        member=np.searchsorted(known, seen).astype(np.int32),
        mate=np.searchsorted(known, mate).astype(np.int32),
        hkl=indices_of(known),
    )


def _normalised(
    crystal: IntArray, inverse_d: NDArray, intensity: NDArray, sigma: NDArray, n_crystals: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bring intensities of all resolutions and crystals to one scale; gives them and their weights."""
    shells = Shells.of_equal_volume(float(inverse_d.min()), float(inverse_d.max()), N_SHELLS)
    shell = shells.numbers(inverse_d)
    of_shell = _means(shell, intensity, N_SHELLS)[shell]
    value, error = intensity / of_shell, sigma / of_shell
    of_crystal = _means(crystal, value, n_crystals)[crystal]
    value, error = np.clip(value / of_crystal, LOWEST, HIGHEST), error / of_crystal
    centred = value - _means(crystal, value, n_crystals, least=-np.inf)[crystal]
    return centred.astype(np.float32), (1.0 / (error**2 + 1.0)).astype(np.float32)


def _means(number: NDArray, values: NDArray, n: int, least: float = 1e-6) -> FloatArray:
    """Mean of each group, float64[n]; what is not above `least` is no scale and becomes the smallest that is."""
    means = sums_of(number, values, n) / np.maximum(np.bincount(number, minlength=n), 1)
    usable = means[means > least]
    return np.maximum(means, usable.min() if len(usable) else 1.0)


def sums_of(number: NDArray, values: NDArray, n: int) -> NDArray[np.float64]:
    """Sum values by group number, float64[n]."""
    return np.asarray(np.bincount(number, weights=values, minlength=n), np.float64)
