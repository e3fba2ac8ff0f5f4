"""Which crystals agree with the others: residuals, and leaving out those that make the merge worse."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_residuals import N_RESIDUALS, crystal_residuals, half_set_deltas
from braggstream.steps.partialator.block import GOOD, LARGE_B, WORSENS, CrystalBlock
from braggstream.steps.partialator.crew import Crew

TAIL = 2.0
"""Crystals whose ΔCC1/2 is so many standard deviations below the mean are left out."""
NORMAL_MEDIAN = 1.4826
"""Standard deviation of a normal variable in units of the median distance from its median."""
ROBUST_TAIL = 5.0
"""The same for standard deviations that a few bad crystals do not widen: of good ones hardly any is beyond."""


def residuals_of(crew: Crew, merged: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the residuals of every crystal against merged intensities, float64[n_crystals, N_RESIDUALS]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(merged)
    logs[~np.isfinite(logs)] = np.nan
    return np.concatenate(list(crew.work(_residuals, merged, logs)))


def half_set_deltas_of(
    crew: Crew, means: NDArray[np.float64], *, also_rejected: bool = False
) -> NDArray[np.float64]:
    """Give what each crystal adds, or would add, to CC1/2 over its own reflections, float64[n_crystals]."""
    return np.concatenate(list(crew.work(_deltas, means, also_rejected)))


def far_below_the_middle(deltas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which crystals worsen CC1/2 far more than the middle half's spread lets expect."""
    middle = float(np.median(deltas))
    spread = NORMAL_MEDIAN * float(np.median(np.abs(deltas - middle)))
    return (deltas < 0.0) & (deltas < middle - ROBUST_TAIL * spread)


def worse_than_most(deltas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which crystals worsen CC1/2 by far more than most do, as the reference does."""
    if len(deltas) < 2:
        return np.zeros(len(deltas), np.bool_)
    return (deltas < 0.0) & (deltas < deltas.mean() - TAIL * deltas.std(ddof=1))


def newly_rejected(
    status: NDArray[np.uint8],
    deltas: NDArray[np.float64] | None,
    b_factors: NDArray[np.float64],
    max_b: float,
    *,
    is_revisable: bool = False,
) -> NDArray[np.uint8]:
    """Give the status of each crystal with those that are now left out.

    As with the reference a crystal that is left out stays so, and ΔCC1/2 is compared with mean and standard
    deviation; or, where that is revisable, every crystal is judged anew, by robust measures.
    """
    status = np.full_like(status, GOOD) if is_revisable else status.copy()
    if deltas is not None:
        status[far_below_the_middle(deltas) if is_revisable else worse_than_most(deltas)] = WORSENS
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


def _deltas(
    block: CrystalBlock, means: NDArray[np.float64], also_rejected: bool
) -> tuple[CrystalBlock, NDArray[np.float64]]:
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
        also_rejected,
        found,
    )
    return block, found
