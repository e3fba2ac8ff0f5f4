"""Post-refinement of the blocks."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.post_refinement import N_REFINED, refine_crystals
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Crew
from braggstream.steps.partialator.loading import record


def refine_blocks(crew: Crew, merged: NDArray[np.float64], model: int) -> NDArray[np.float64]:
    """Refine every crystal against merged intensities; gives what was changed, float64[n_crystals, N_REFINED]."""
    return np.concatenate(list(crew.work(_refine, merged, model)))


def _refine(
    block: CrystalBlock, merged: NDArray[np.float64], model: int
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    refined = np.empty((len(block), N_REFINED))
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
    )
    record(block, model)
    return block, refined
