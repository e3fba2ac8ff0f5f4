"""Post-refinement of the blocks."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.post_refinement import MAX_PATH, N_PATH, N_REFINED, refine_crystals
from braggstream.kernels.squares_refinement import refine_by_squares
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew
from braggstream.steps.partialator.loading import record

Ways = dict[int, NDArray[np.float64]]
"""The steps of some crystals by their number, float64[n_steps, N_PATH] each."""

LOGGED = 20
"""Every so many crystals the way is told."""


def refine_blocks(
    crew: Crew, merged: NDArray[np.float64], model: int, squares: NDArray[np.float64] | None = None
) -> Ways:
    """Refine every crystal against merged intensities; gives the ways of some.

    By least squares with the `squares` a² and c² of an error model, float64[2]; without, by the reference's steps.
    """
    ways: Ways = {}
    for more in crew.work(_refine, merged, model, squares):
        ways |= more
    return ways


def _refine(
    block: CrystalBlock, merged: NDArray[np.float64], model: int, squares: NDArray[np.float64] | None
) -> tuple[CrystalBlock, Ways]:
    paths = np.empty((len(block), MAX_PATH, N_PATH))
    where, measured = (block.start, block.hkl, block.uid, block.s2, block.intensity), (block.flags, merged)
    if squares is None:
        refined = np.empty((len(block), N_REFINED))
        refine_crystals(*where, *measured, block.state, model, block.shape, refined, paths)
    else:
        refine_by_squares(*where, block.sigma, *measured, block.state, model, squares, block.shape, paths)
    record(block, model)
    chosen = [n for n in range(len(block)) if (block.first + n) % LOGGED == 0]
    return block, {block.first + n: paths[n][~np.isnan(paths[n, :, 0])] for n in chosen}
