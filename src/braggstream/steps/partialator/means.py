"""Merging crystals that have their scales: weighted means, of all crystals, of half sets and of groups."""

from collections.abc import Sequence
from math import nan

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.weighted_means import COUNT, MEAN, N_MEAN, SQUARES, WEIGHT, add_crystals, join_means
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew

OUTSIDE = -1
"""Group of crystals that are not merged."""


def merge_groups(
    crew: Crew, n_unique: int, groups: Sequence[NDArray[np.int8]], *, n_groups: int, is_weighted: bool = True
) -> NDArray[np.float64]:
    """Merge crystals by group.

    Parameters
    ----------
    crew
        Has the blocks.
    n_unique
        Number of unique reflections.
    groups
        For each block the group of each crystal, int8[n], or `OUTSIDE`.
    n_groups
        Number of groups.
    is_weighted
        By p G exp(-B s²), or else not at all.

    Returns
    -------
    float64[n_groups, n_unique, N_MEAN]
        Running means.
    """
    means = np.zeros((n_groups, n_unique, N_MEAN))
    for more in crew.work(_merge_block, n_unique, n_groups, is_weighted, each=groups):
        join_means(means.reshape(-1, N_MEAN), more.reshape(-1, N_MEAN))
    return means


def joined(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Join the means of all groups to one, float64[n_unique, N_MEAN]."""
    whole = means[0].copy()
    for more in means[1:]:
        join_means(whole, more)
    return whole


def merged_intensities(means: NDArray[np.float64], least: int) -> NDArray[np.float64]:
    """Give intensities, NaN where there are fewer than so many measurements, float64[n_unique]."""
    return np.where(means[:, COUNT] >= least, means[:, MEAN], nan)


def merged_sigmas(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the errors of the means from the spread of the measurements, float64[n_unique]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(means[:, SQUARES] / means[:, WEIGHT] / means[:, COUNT])


def merged_list(
    means: NDArray[np.float64], unique: NDArray[np.int32], *, least: int, symmetry: str, notes: str = ""
) -> ReflectionList:
    """Give the reflections with enough measurements."""
    chosen = means[:, COUNT] >= max(least, 1)
    n = int(chosen.sum())
    return ReflectionList(
        hkl=unique[chosen],
        intensity=means[chosen, MEAN],
        sigma=merged_sigmas(means)[chosen],
        n_measured=means[chosen, COUNT].astype(np.int32),
        phase=np.full(n, nan),
        symmetry=symmetry,
        notes=notes,
    )


def _merge_block(
    block: CrystalBlock, n_unique: int, n_groups: int, is_weighted: bool, group: NDArray[np.int8]
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    means = np.zeros((n_groups, n_unique, N_MEAN))
    add_crystals(
        block.start,
        block.uid,
        block.part,
        block.s2,
        block.intensity,
        block.flags,
        block.state,
        group,
        is_weighted,
        means,
    )
    return block, means
