"""A search for cells by one of their axes in one turn of the device: spots go there, refined cells come back.

The kernels of `ffbidx_vectors` and `ffbidx_cells` do the work.  What the host decides between them in the search
step by step (`steps.indexing.search`) is decided on the device: which directions, vectors, angles are the best.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels.cuda.device import (
    FEW,
    TEAM,
    DeviceArray,
    blocks,
    bring,
    kernel,
)
from braggstream.kernels.cuda.ffbidx_cells import (
    project_each_axis,
    refine_each_cell,
    score_each_turned,
    weigh_each_cell,
)
from braggstream.kernels.cuda.ffbidx_choices import (
    CHOSEN,
    DIRECTIONS,
    MAXIMA,
    MIN_SPOTS,
    N_COUNTS,
    N_FIRST,
    N_HEAD,
    N_LOW,
    N_SAMPLED,
    N_SPOTS,
    NONE,
    VECTORS,
    begin,
    choose_directions,
    choose_vectors,
    list_maxima,
    make_cells,
    rank_best,
)
from braggstream.kernels.cuda.ffbidx_vectors import refine_each_vector, score_each_vector
from braggstream.kernels.cuda.turn import Stream, Turn
from braggstream.kernels.ffbidx_cells import N_PROJECTIONS

FloatArray = NDArray[np.float64]

CELL, WEIGHING, IS_FOUND, N_ANSWER = 0, 9, 12, 13
"""Columns of the answer: a cell, row by row, its weighing, and whether there is one."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class AxisPlan:
    """What does not change in a search, see `steps.indexing.search.AxisSearch`."""

    directions: NDArray[np.float32]
    """Unit vectors that are tried, float32[3, n]."""
    turns: NDArray[np.float32]
    """Cosine and sine of the angles that are tried, float32[2, k]."""
    sides: FloatArray
    """1: the axis is the vector; -1: it is its opposite."""
    seen: FloatArray
    """Rows: the expected axes, the one that is looked for last and along z, float64[3, 3] [Å]."""
    order: NDArray[np.int64]
    """Which axes of the cell these rows are, int64[3]."""
    vector_rule: NDArray[np.float32]
    cell_rule: NDArray[np.float32]
    schedule: FloatArray
    """Of the refinement of cells, see `kernels.ffbidx_cells`, float64[5]."""
    reaches: FloatArray
    """See `kernels.chance`."""
    length: float
    """Expected length of the axis [Å]."""
    tolerance: float
    """Relative deviation of the length that is allowed."""
    own_length: float
    """Vectors whose length deviates by more than this fraction are also tried as they are; infinite: none are."""
    kept_quality: float
    """Vectors whose quality is below this fraction of the best one's are dropped."""
    neighbour_cosine: float
    """Directions with a larger cosine between them are neighbours, of which the best is kept."""
    same_cosine: float
    """The same for refined vectors."""
    n_sorted: int
    """Best directions that are looked at."""
    n_refined: int
    """Directions that are refined."""
    n_vectors: int
    """Most vectors that are kept."""
    n_cells: int
    """Most cells that are refined."""
    max_spots: int


class AxisTurn:
    """Searches for cells by one axis, each in one turn of the device."""

    def __init__(self, plan: AxisPlan) -> None:
        self._plan = plan
        self._sent = cuda.pinned_array(N_HEAD + 3 * plan.max_spots, np.float64)
        self._answer = cuda.pinned_array((plan.n_cells, N_ANSWER), np.float64)
        self._constants = _Constants(plan)
        self._room = _Room(plan)
        self._turn = Turn(self._enqueue)

    def __call__(
        self, spots: FloatArray, *, n_sampled: int, n_low: int, n_first: int, min_spots: int
    ) -> tuple[FloatArray, FloatArray]:
        """Give refined cells, float64[n, 3, 3] [Å], and their weighings, float64[n, 3].

        Parameters
        ----------
        spots : float64[m, 3]
            Scattering vectors in order of resolution, at most `max_spots` [Å⁻¹].
        n_sampled, n_low, n_first, min_spots : int
            See the constants above.
        """
        self._sent[:N_HEAD] = len(spots), n_sampled, n_low, n_first, min_spots
        self._sent[N_HEAD : N_HEAD + spots.size] = spots.ravel()
        self._turn()
        found = self._answer[self._answer[:, IS_FOUND] > 0.0]
        return found[:, CELL:WEIGHING].reshape(-1, 3, 3).copy(), found[:, WEIGHING:IS_FOUND].copy()

    def _enqueue(self, stream: Stream) -> None:
        plan, on, room = self._plan, self._constants, self._room
        n_directions, n_angles, most_rows = plan.directions.shape[1], plan.turns.shape[1], len(room.frames)
        room.received.copy_to_device(self._sent, stream=stream)
        head, spots, counts = room.head, room.spots, room.counts
        begin[1, TEAM, stream](head, spots, n_directions, room.low, room.columns, counts, room.best_turned)
        grid = blocks(n_directions)
        _score[grid, TEAM, stream](
            on.directions, np.float32(plan.length), room.low, head, on.vector_rule, room.scores
        )
        rank_best[grid, TEAM, stream](room.scores, on.numbers, counts, DIRECTIONS, room.best)
        choose_directions[1, FEW, stream](
            on.directions, room.best, plan.neighbour_cosine, plan.length, room.chosen, room.vectors, counts
        )
        _refine_vectors[plan.n_refined, FEW, stream](room.vectors, room.columns, head, counts, room.quality)
        choose_vectors[1, FEW, stream](
            room.vectors,
            room.quality,
            (plan.length, plan.tolerance, plan.own_length, plan.kept_quality, plan.same_cosine),
            plan.n_vectors,
            room.order,
            room.units,
            room.chosen,
            room.axes,
            counts,
        )
        _project[most_rows, FEW, stream](
            room.axes, on.sides, spots, head, on.seen, on.cell_rule, counts, room.frames, room.projections
        )
        _score_turned[(blocks(n_angles), most_rows), TEAM, stream](
            room.projections, on.sides, on.turns, head, on.cell_rule, counts, room.turned_scores
        )
        grid = blocks(most_rows * n_angles)
        list_maxima[grid, TEAM, stream](room.turned_scores, on.sides, counts, room.maxima, room.places)
        rank_best[grid, TEAM, stream](room.maxima, room.places, counts, MAXIMA, room.best_turned)
        make_cells[blocks(plan.n_cells), TEAM, stream](
            room.best_turned, room.frames, on.seen, on.turns, on.order, room.cells
        )
        _refine_cells[plan.n_cells, FEW, stream](room.cells, spots, head, on.schedule, room.distances)
        _weigh_cells[plan.n_cells, FEW, stream](
            room.cells, spots, head, on.reaches, room.best_turned, room.weighings, room.distances, room.answer
        )
        room.answer.copy_to_host(self._answer, stream=stream)


class _Constants:
    """Arrays of a plan on the device."""

    def __init__(self, plan: AxisPlan) -> None:
        self.directions, self.turns, self.sides = bring(plan.directions), bring(plan.turns), bring(plan.sides)
        self.seen, self.order = bring(np.ascontiguousarray(plan.seen)), bring(plan.order)
        self.vector_rule, self.cell_rule = bring(plan.vector_rule), bring(plan.cell_rule)
        self.schedule, self.reaches = bring(plan.schedule), bring(plan.reaches)
        self.numbers = bring(np.arange(plan.directions.shape[1], dtype=np.int32))


class _Room:
    """Arrays on the device that a search fills."""

    def __init__(self, plan: AxisPlan) -> None:
        n_directions, n_angles = plan.directions.shape[1], plan.turns.shape[1]
        most_axes = plan.n_vectors * (1 if plan.own_length == np.inf else 2)
        most_rows = most_axes * len(plan.sides)
        self.received = cuda.device_array(N_HEAD + 3 * plan.max_spots, np.float64)
        self.head = self.received[:N_HEAD]
        self.spots = self.received[N_HEAD:].reshape(plan.max_spots, 3)
        self.low = cuda.device_array((3, plan.max_spots), np.float32)
        self.columns = cuda.device_array((3, plan.max_spots), np.float64)
        self.counts = cuda.device_array(N_COUNTS, np.int32)
        self.scores = cuda.device_array(n_directions, np.float32)
        self.best = cuda.device_array(plan.n_sorted, np.int32)
        self.chosen = cuda.device_array(max(plan.n_refined, plan.n_vectors), np.int32)
        self.vectors = cuda.device_array((plan.n_refined, 3), np.float64)
        self.quality = cuda.device_array(plan.n_refined, np.float64)
        self.order = cuda.device_array(plan.n_refined, np.int32)
        self.units = cuda.device_array((3, plan.n_refined), np.float32)
        self.axes = cuda.device_array((most_axes, 3), np.float64)
        self.frames = cuda.device_array((most_rows, 3, 3), np.float64)
        self.projections = cuda.device_array((most_rows, N_PROJECTIONS, plan.max_spots), np.float32)
        self.turned_scores = cuda.device_array((most_rows, n_angles), np.float32)
        self.maxima = cuda.device_array(most_rows * n_angles, np.float32)
        self.places = cuda.device_array(most_rows * n_angles, np.int32)
        self.best_turned = cuda.device_array(plan.n_cells, np.int32)
        self.cells = cuda.device_array((plan.n_cells, 3, 3), np.float64)
        self.weighings = cuda.device_array((plan.n_cells, 3), np.float64)
        self.distances = cuda.device_array((plan.n_cells, plan.max_spots), np.float64)
        self.answer = cuda.device_array((plan.n_cells, N_ANSWER), np.float64)


@kernel
def _score(
    directions: DeviceArray,
    length: np.float32,
    low: DeviceArray,
    head: DeviceArray,
    rule: DeviceArray,
    scores: DeviceArray,
) -> None:
    score_each_vector(directions, length, low[:, : int(head[N_SAMPLED])], rule, scores)


@kernel
def _refine_vectors(
    vectors: DeviceArray, columns: DeviceArray, head: DeviceArray, counts: DeviceArray, quality: DeviceArray
) -> None:
    spots = columns[:, : int(head[N_SPOTS])]
    refine_each_vector(vectors[: counts[CHOSEN]], spots, int(head[N_SAMPLED]), int(head[MIN_SPOTS]), quality)


@kernel
def _project(
    axes: DeviceArray,
    sides: DeviceArray,
    spots: DeviceArray,
    head: DeviceArray,
    seen: DeviceArray,
    rule: DeviceArray,
    counts: DeviceArray,
    frames: DeviceArray,
    projections: DeviceArray,
) -> None:
    n_rows = counts[VECTORS] * sides.shape[0]
    project_each_axis(axes, sides, spots[: int(head[N_LOW])], seen, rule, frames[:n_rows], projections)


@kernel
def _score_turned(
    projections: DeviceArray,
    sides: DeviceArray,
    turns: DeviceArray,
    head: DeviceArray,
    rule: DeviceArray,
    counts: DeviceArray,
    scores: DeviceArray,
) -> None:
    n_rows = counts[VECTORS] * sides.shape[0]
    score_each_turned(projections[:n_rows, :, : int(head[N_LOW])], turns, rule, scores)


@kernel
def _refine_cells(
    cells: DeviceArray, spots: DeviceArray, head: DeviceArray, schedule: DeviceArray, distances: DeviceArray
) -> None:
    refine_each_cell(cells, spots[: int(head[N_SPOTS])], int(head[N_FIRST]), schedule, distances)


@kernel
def _weigh_cells(
    cells: DeviceArray,
    spots: DeviceArray,
    head: DeviceArray,
    reaches: DeviceArray,
    best_turned: DeviceArray,
    weighings: DeviceArray,
    distances: DeviceArray,
    answer: DeviceArray,
) -> None:
    """Weigh the cells, and put together the answer, a block a cell."""
    weigh_each_cell(cells, spots[: int(head[N_SPOTS])], reaches, weighings, distances)
    for i in range(cuda.blockIdx.x, cells.shape[0], cuda.gridDim.x):
        for k in range(cuda.threadIdx.x, N_ANSWER, cuda.blockDim.x):
            if k < WEIGHING:
                answer[i, k] = cells[i, k // 3, k % 3]
            elif k < IS_FOUND:
                answer[i, k] = weighings[i, k - WEIGHING]
            else:
                answer[i, k] = 1.0 if best_turned[i] != NONE else 0.0


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one, rule = np.ones((3, 1), np.float32), np.ones(6, np.float32)
    plan: dict[str, Any] = dict.fromkeys(
        ("length", "tolerance", "kept_quality", "neighbour_cosine", "same_cosine"), 1.0
    )
    plan |= dict.fromkeys(("n_sorted", "n_refined", "n_vectors", "n_cells", "max_spots"), 1)
    plan |= {"own_length": np.inf, "vector_rule": rule, "cell_rule": rule, "reaches": np.ones(1)}
    plan |= {"sides": np.ones(1), "seen": np.eye(3), "order": np.arange(3)}
    schedule = np.array([0.1, 0.01, 0.8, 2.0, 1.0])
    search = AxisTurn(AxisPlan(directions=one, turns=one[:2], schedule=schedule, **plan))
    search(np.ones((1, 3)), n_sampled=1, n_low=1, n_first=1, min_spots=3)
