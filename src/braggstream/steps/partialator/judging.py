"""Which crystals agree with the others: residuals, and leaving out those that make the merge worse."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_residuals import N_RESIDUALS, crystal_residuals, half_set_deltas
from braggstream.steps.partialator.block import LARGE_B, WORSENS, CrystalBlock
from braggstream.steps.partialator.crew import Crew

TAIL = 2.0
"""Crystals whose ΔCC1/2 is so many standard deviations below the mean are left out."""


def residuals_of(crew: Crew, merged: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the residuals of every crystal against merged intensities, float64[n_crystals, N_RESIDUALS]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(merged)
    logs[~np.isfinite(logs)] = np.nan
    return np.concatenate(list(crew.work(_residuals, merged, logs)))


def half_set_deltas_of(crew: Crew, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what each crystal adds to CC1/2 over its own reflections, float64[n_crystals]."""
    return np.concatenate(list(crew.work(_deltas, means)))


def worse_than_most(deltas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which crystals worsen CC1/2 by far more than most do."""
    if len(deltas) < 2:
        return np.zeros(len(deltas), np.bool_)
    return (deltas < 0.0) & (deltas < deltas.mean() - TAIL * deltas.std(ddof=1))


def newly_rejected(
    status: NDArray[np.uint8], deltas: NDArray[np.float64] | None, b_factors: NDArray[np.float64], max_b: float
) -> NDArray[np.uint8]:
    """Give the status of each crystal with those that are now left out."""
    status = status.copy()
    if deltas is not None:
        status[worse_than_most(deltas)] = WORSENS
    status[np.abs(b_factors) > max_b] = LARGE_B
    return status


def _residuals(
    block: CrystalBlock, merged: NDArray[np.float64], logs: NDArray[np.float64]
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    found = np.empty((len(block), N_RESIDUALS))
    crystal_residuals(
        block.start,
        block.uid,
        block.part,
        block.s2,
        block.intensity,
        block.flags,
        block.state,
        block.log_full,
        merged,
        logs,
        found,
    )
    return block, found


def _deltas(block: CrystalBlock, means: NDArray[np.float64]) -> tuple[CrystalBlock, NDArray[np.float64]]:
    found = np.empty(len(block))
    half_set_deltas(
        block.start,
        block.uid,
        block.part,
        block.s2,
        block.intensity,
        block.flags,
        block.state,
        means,
        found,
    )
    return block, found
