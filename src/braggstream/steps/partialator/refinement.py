"""Post-refinement of the blocks."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.post_refinement import MAX_PATH, N_PATH, N_REFINED, refine_crystals
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew
from braggstream.steps.partialator.loading import record

Ways = dict[int, NDArray[np.float64]]
"""The steps of some crystals by their number, float64[n_steps, N_PATH] each."""

LOGGED = 20
"""Every so many crystals the way is told."""


def refine_blocks(crew: Crew, merged: NDArray[np.float64], model: int) -> Ways:
    """Refine every crystal against merged intensities; gives the ways of some."""
    ways: Ways = {}
    for more in crew.work(_refine, merged, model):
        ways |= more
    return ways


def _refine(block: CrystalBlock, merged: NDArray[np.float64], model: int) -> tuple[CrystalBlock, Ways]:
    refined, paths = np.empty((len(block), N_REFINED)), np.empty((len(block), MAX_PATH, N_PATH))
    refine_crystals(
        block.start,
        block.hkl,
        block.uid,
        block.s2,
        block.intensity,
        block.flags,
        merged,
        block.state,
        model,
        block.shape,
        refined,
        paths,
    )
    record(block, model)
    chosen = [n for n in range(len(block)) if (block.first + n) % LOGGED == 0]
    return block, {block.first + n: paths[n][~np.isnan(paths[n, :, 0])] for n in chosen}
