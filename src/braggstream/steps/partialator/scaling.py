"""Scale and B factor of each crystal: rounds of fits to a reference that is merged from the fitted crystals."""

from collections.abc import Callable
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_columns import B_FACTOR, REJECTED, RESIDUAL
from braggstream.kernels.crystal_scales import (
    FIT_G,
    FIT_G_AND_B,
    KEEP,
    LOG_COUNT,
    LOG_SUM,
    LOG_WEIGHT,
    N_LOG_SUMS,
    scale_by_logs,
)
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew

MAX_ROUNDS = 10
CONVERGED = 0.01
"""Rounds end when the residual changes by less than this part of itself."""
LEAST_MEASUREMENTS = 2

Say = Callable[[str], None]


def scale_crystals(
    crew: Crew, n_unique: int, *, with_b: bool, say: Say, fixed: NDArray[np.float64] | None = None
) -> None:
    """Scale all crystals to each other, or to fixed reference intensities float64[n_unique]."""
    fit = FIT_G_AND_B if with_b else FIT_G
    reference = _log_of(fixed) if fixed is not None else _round(crew, n_unique, KEEP, np.full(n_unique, np.nan))[0]
    before = inf
    for _ in range(MAX_ROUNDS):
        following, after, n_crystals, mean_b = _round(crew, n_unique, fit, reference)
        say(f"Log residual went from {before:e} to {after:e}, {n_crystals} crystals")
        say(f"Mean B = {mean_b * 1e-20:e}")
        if abs(after - before) < CONVERGED * before:
            break
        before = after
        if fixed is None:
            reference = following


def _round(
    crew: Crew, n_unique: int, fit: int, reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, int, float]:
    """Fit each crystal; give the next round's reference, the total residual, crystals in it, and the mean B."""
    sums = np.zeros((n_unique, N_LOG_SUMS))
    residual, b_sum, n_accepted, n_all = 0.0, 0.0, 0, 0
    for more, state in crew.work(_scale_block, n_unique, fit, reference):
        sums += more
        is_in = (state[:, REJECTED] == 0.0) & np.isfinite(state[:, RESIDUAL])
        residual += float(np.sum(state[is_in, RESIDUAL]))
        n_accepted += int(np.sum(is_in))
        b_sum += float(np.sum(state[:, B_FACTOR]))
        n_all += len(state)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = sums[:, LOG_SUM] / sums[:, LOG_WEIGHT]
    logs[sums[:, LOG_COUNT] < LEAST_MEASUREMENTS] = np.nan
    return logs, residual, n_accepted, b_sum / max(n_all, 1)


def _scale_block(
    block: CrystalBlock, n_unique: int, fit: int, reference: NDArray[np.float64]
) -> tuple[CrystalBlock, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    sums = np.zeros((n_unique, N_LOG_SUMS))
    scale_by_logs(
        block.start,
        block.uid,
        block.part,
        block.s2,
        block.log_full,
        block.flags,
        reference,
        fit,
        block.state,
        sums,
    )
    return block, (sums, block.state.copy())


def _log_of(intensity: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(intensity)
    logs[~np.isfinite(logs)] = np.nan
    return logs
