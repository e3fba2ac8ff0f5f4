"""The search for cells by one of their axes on a CUDA device, from spots to refined cells in one turn of it."""

from math import cos, inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.cuda.ffbidx_turn import AxisPlan, AxisTurn
from braggstream.steps.indexing.evidence import REACHES
from braggstream.steps.indexing.search import (
    KEPT_QUALITY,
    REFINED_PER_CANDIDATE,
    SAME_LENGTH,
    SAME_VECTOR,
    SORTED_PER_REFINED,
    AxisSearch,
    Depth,
    Float32Array,
    FloatArray,
    neighbour_cosine,
)

MOST_TURNS = 24
"""Numbers of directions and angles follow the resolution of a frame's spots; for so many of their pairs there are
arrays and a record on the device at a time."""


class AxisSearchOnDevice:
    """Does what `AxisSearch` does, then refines and weighs the cells.

    The device is touched by the first call and not before.

    Parameters
    ----------
    search : AxisSearch
        What is looked for.
    depth : Depth
        How much of a search is made.
    schedule : float64[5]
        Of the refinement, see `kernels.ffbidx_cells.refine_cells`.
    """

    def __init__(self, search: AxisSearch, depth: Depth, schedule: NDArray[np.float64]) -> None:
        self._search = search
        self._depth = depth
        self._schedule = schedule
        self._turns: dict[tuple[int, int], AxisTurn] = {}

    def __call__(self, spots: FloatArray, n_first: int) -> tuple[FloatArray, FloatArray]:
        """Give refined cells, float64[n, 3, 3] [Å], and their weighings, float64[n, 3].

        Parameters
        ----------
        spots : float64[m, 3]
            Scattering vectors in order of resolution [Å⁻¹].
        n_first : int
            Spots with which the refinement starts.
        """
        depth = self._depth
        n_low = min(len(spots), depth.n_spots)
        directions, n_sampled = self._search.sampling(spots, depth.n_spots)
        angles = self._search.angles(float(np.linalg.norm(spots[n_low - 1])))
        min_spots = self._search.settings.min_spots or len(spots) + 1
        turn = self._turn(directions, angles)
        return turn(spots, n_sampled=n_sampled, n_low=n_low, n_first=n_first, min_spots=min_spots)

    def _turn(self, directions: Float32Array, angles: Float32Array) -> AxisTurn:
        """The record for these numbers of directions and angles; the one that was used longest ago makes room."""
        key = directions.shape[1], angles.shape[1]
        turn = self._turns.pop(key, None) or AxisTurn(self._plan(directions, angles))
        if len(self._turns) >= MOST_TURNS:
            self._turns.pop(next(iter(self._turns)))
        self._turns[key] = turn
        return turn

    def _plan(self, directions: Float32Array, angles: Float32Array) -> AxisPlan:
        search, depth, n_points = self._search, self._depth, directions.shape[1]
        n_refined = min(REFINED_PER_CANDIDATE * depth.n_vectors, n_points)
        return AxisPlan(
            directions=directions,
            turns=angles,
            sides=search.sides,
            seen=search.seen_along,
            order=search.order,
            vector_rule=search.vector_rule,
            cell_rule=search.cell_rule,
            schedule=self._schedule,
            reaches=REACHES,
            length=search.length,
            tolerance=search.tolerance,
            own_length=SAME_LENGTH if depth.has_own_lengths else inf,
            kept_quality=KEPT_QUALITY,
            neighbour_cosine=neighbour_cosine(n_points),
            same_cosine=cos(SAME_VECTOR),
            n_sorted=min(SORTED_PER_REFINED * n_refined, n_points),
            n_refined=n_refined,
            n_vectors=depth.n_vectors,
            n_cells=depth.n_cells,
            max_spots=search.settings.max_spots,
        )
