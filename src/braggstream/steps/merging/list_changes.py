"""What can be done to a list of merged reflections (`get_hkl`); each step gives a new list.

Spec: merging, 2.3.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.matching import index_keys, positions
from braggstream.steps.merging.shells import inverse_d_of

NOISE = 0.1
"""Largest relative error that `with_noise` makes."""


def with_counting_noise(
    reflections: ReflectionList, adu_per_photon: float, rng: np.random.Generator
) -> ReflectionList:
    """Replace each intensity by a Poisson variable of so many photons; negative ones become zero."""
    photons = np.maximum(reflections.intensity, 0.0) / adu_per_photon
    if not (photons < 2.0**62).all():
        raise UserError("--poisson: an intensity is not finite, or too large to be counted")
    counted = (adu_per_photon * rng.poisson(photons)).astype(np.float64)
    return replace(reflections, intensity=counted)


def with_noise(reflections: ReflectionList, rng: np.random.Generator) -> ReflectionList:
    """Multiply each intensity by 1 ± 0.1, evenly distributed."""
    error = rng.uniform(-NOISE, NOISE, len(reflections))
    return replace(reflections, intensity=reflections.intensity * (1.0 + error))


def twinned(
    reflections: ReflectionList, group: PointGroup, twin: PointGroup, *, needs_all_parts: bool = True
) -> ReflectionList:
    """Merge reflections that twinning lets coincide: means, weighted by the numbers of measurements.

    Parameters
    ----------
    reflections
        In point group `group`.
    twin
        The symmetry that twinning feigns.
    needs_all_parts
        Whether a reflection is left out when one of its parts is not in the list.
    """
    own = group.asymmetric(reflections.hkl)
    unique = _unique(twin.asymmetric(reflections.hkl))
    images = twin.images(unique)
    parts = positions(group.asymmetric(images.reshape(-1, 3)), own).reshape(images.shape[:2])
    parts.sort(axis=1)
    is_first = np.diff(parts, axis=1, prepend=-2) > 0
    is_there = is_first & (parts >= 0)
    kept = is_there.any(axis=1)
    if needs_all_parts:
        kept &= parts[:, 0] >= 0
    parts, is_there, unique = parts[kept], is_there[kept], unique[kept]
    n = np.where(is_there, reflections.n_measured[parts], 0)
    total = np.maximum(n.sum(axis=1), 1)
    return ReflectionList.of(
        unique,
        (n * reflections.intensity[parts]).sum(axis=1) / total,
        np.sqrt(((n * reflections.sigma[parts]) ** 2).sum(axis=1)) / total,
        n_measured=n.sum(axis=1),
        symmetry=twin.name,
    )


def expanded(reflections: ReflectionList, group: PointGroup, wanted: PointGroup) -> ReflectionList:
    """Write out what a lower symmetry tells apart; raises `UserError` where it is no subgroup."""
    if not wanted.is_subgroup_of(group):
        raise UserError(f"cannot expand from {group.name} to {wanted.name}, which is no subgroup of it")
    images = group.images(reflections.hkl)
    hkl = wanted.asymmetric(images.reshape(-1, 3))
    row = np.repeat(np.arange(len(reflections)), images.shape[1])
    _, first = np.unique(np.column_stack([row, index_keys(hkl)]), axis=0, return_index=True)
    found = reflections.take(row[first])
    return replace(found, hkl=hkl[first], symmetry=wanted.name).sorted()


def without_equivalents(reflections: ReflectionList, group: PointGroup) -> ReflectionList:
    """Keep the first of each set of equivalent reflections, as their representative."""
    hkl = group.asymmetric(reflections.hkl)
    _, first = np.unique(index_keys(hkl), return_index=True)
    return replace(reflections, hkl=hkl).take(first).sorted()


def times_multiplicity(reflections: ReflectionList, group: PointGroup) -> ReflectionList:
    """Multiply intensities, and their errors, by the numbers of equivalent reflections."""
    number = group.multiplicity(reflections.hkl)
    return replace(reflections, intensity=reflections.intensity * number, sigma=reflections.sigma * number)


def as_in(reflections: ReflectionList, template: ReflectionList) -> ReflectionList:
    """Keep reflections whose very indices are in another list."""
    return reflections.take(positions(reflections.hkl, template.hkl) >= 0)


def between(
    reflections: ReflectionList, cell: UnitCell, *, lowest: float | None = None, highest: float | None = None
) -> ReflectionList:
    """Keep reflections strictly between a lowest and a highest resolution [Å]."""
    inverse_d = inverse_d_of(reflections.hkl, cell)
    kept = np.ones(len(reflections), np.bool_)
    if lowest is not None:
        kept &= inverse_d > 1.0 / lowest
    if highest is not None:
        kept &= inverse_d < 1.0 / highest
    return reflections.take(kept)


def inside_ellipsoid(
    reflections: ReflectionList, cell: UnitCell, limits: tuple[float, float, float]
) -> ReflectionList:
    """Keep reflections inside an ellipsoid with a highest resolution along each reciprocal axis [Å]."""
    lengths = np.linalg.norm(cell.reciprocal_axes(), axis=1)
    parts = reflections.hkl * lengths * np.array(limits)
    return reflections.take((parts**2).sum(axis=1) < 1.0)


def reindexed(reflections: ReflectionList, operator: NDArray[np.integer]) -> ReflectionList:
    """Replace indices by hkl · operator, int[3, 3]; they are not brought to the asymmetric unit."""
    hkl = np.asarray(reflections.hkl @ np.asarray(operator, np.int32), np.int32)
    return replace(reflections, hkl=hkl).sorted()


def _unique(hkl: NDArray[np.int32]) -> NDArray[np.int32]:
    _, first = np.unique(index_keys(hkl), return_index=True)
    return hkl[first]
