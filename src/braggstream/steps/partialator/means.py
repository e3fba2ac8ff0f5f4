"""Merging crystals that have their scales: weighted means, of all crystals, of half sets and of groups."""

from collections.abc import Sequence
from math import nan

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.weighted_means import COUNT, MEAN, N_MEAN, SQUARES, WEIGHT, add_crystals, join_means
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew

Groups = Sequence[NDArray[np.int8]]
"""For each block the group of each crystal, int8[n], or `OUTSIDE`."""

OUTSIDE = -1
"""Group of crystals that are not merged."""
N_EXPECTED = 4.0
"""Measurements that the expected spread is worth beside the one that is seen."""


def merge_groups(
    crew: Crew, n_unique: int, groups: Groups, *, n_groups: int, is_weighted: bool = True
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


def merged_sigmas(means: NDArray[np.float64], *, by_errors: bool = False) -> NDArray[np.float64]:
    """Give the errors of the means, float64[n_unique].

    From the spread of the measurements, as the reference does; or `by_errors`, where weights are inverse variances,
    from their spread and what the model of errors expects of it, so that few measurements which happen to agree
    do not seem exact.
    """
    n, weight = means[:, COUNT], means[:, WEIGHT]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = means[:, SQUARES] / weight
        if by_errors:
            n_extra = np.maximum(n - 1.0, 0.0)
            seen = np.where(n > 1.0, variance * n / n_extra, 0.0)
            variance = (N_EXPECTED * n / weight + n_extra * seen) / (N_EXPECTED + n_extra)
        return np.sqrt(variance / n)


def merged_list(
    means: NDArray[np.float64], unique: NDArray[np.int32], *, least: int, symmetry: str, by_errors: bool = False
) -> ReflectionList:
    """Give the reflections with enough measurements."""
    chosen = means[:, COUNT] >= max(least, 1)
    n = int(chosen.sum())
    return ReflectionList(
        hkl=unique[chosen],
        intensity=means[chosen, MEAN],
        sigma=merged_sigmas(means, by_errors=by_errors)[chosen],
        n_measured=means[chosen, COUNT].astype(np.int32),
        phase=np.full(n, nan),
        symmetry=symmetry,
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
