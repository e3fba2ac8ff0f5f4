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
    IS_SIMULATED,
    TEAM,
    DeviceArray,
    blocks,
    bring,
    device_function,
    kernel,
)
from braggstream.kernels.cuda.ffbidx_cells import (
    project_each_axis,
    refine_each_cell,
    score_each_turned,
    weigh_each_cell,
)
from braggstream.kernels.cuda.ffbidx_vectors import refine_each_vector, score_each_vector
from braggstream.kernels.cuda.turn import Stream, Turn
from braggstream.kernels.ffbidx_cells import N_PROJECTIONS

FloatArray = NDArray[np.float64]

N_SPOTS, N_SAMPLED, N_LOW, N_FIRST, MIN_SPOTS, N_HEAD = range(6)
"""What the host sends before the spots: how many there are; of lowest resolution, how many are used to sample
directions, to sample angles, and in the first round of the refinement of cells; fewest spots of a vector."""
DIRECTIONS, CHOSEN, VECTORS, MAXIMA, N_COUNTS = range(5)
"""What the device counts: directions, those that are refined, vectors that are kept, local maxima of the score."""
CELL, WEIGHING, IS_FOUND, N_ANSWER = 0, 9, 12, 13
"""Columns of the answer: a cell, row by row, its weighing, and whether there is one."""
TILE = 256 if IS_SIMULATED else 1024
"""Scores that a block compares with at a time."""
NONE = -1


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
        _begin[1, TEAM, stream](head, spots, n_directions, room.low, room.columns, counts, room.best_turned)
        grid = blocks(n_directions)
        _score[grid, TEAM, stream](
            on.directions, np.float32(plan.length), room.low, head, on.vector_rule, room.scores
        )
        _rank_best[grid, TEAM, stream](room.scores, on.numbers, counts, DIRECTIONS, room.best)
        _choose_directions[1, FEW, stream](
            on.directions, room.best, plan.neighbour_cosine, plan.length, room.chosen, room.vectors, counts
        )
        _refine_vectors[plan.n_refined, FEW, stream](room.vectors, room.columns, head, counts, room.quality)
        _choose_vectors[1, FEW, stream](
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
        _list_maxima[grid, TEAM, stream](room.turned_scores, on.sides, counts, room.maxima, room.places)
        _rank_best[grid, TEAM, stream](room.maxima, room.places, counts, MAXIMA, room.best_turned)
        _make_cells[blocks(plan.n_cells), TEAM, stream](
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
def _begin(
    head: DeviceArray,
    spots: DeviceArray,
    n_directions: int,
    low: DeviceArray,
    columns: DeviceArray,
    counts: DeviceArray,
    best_turned: DeviceArray,
) -> None:
    """Turn the spots' rows into columns, and forget the last search; one block."""
    for j in range(cuda.threadIdx.x, int(head[N_SPOTS]), cuda.blockDim.x):
        for k in range(3):
            low[k, j] = columns[k, j] = spots[j, k]
    for i in range(cuda.threadIdx.x, best_turned.shape[0], cuda.blockDim.x):
        best_turned[i] = NONE
    if cuda.threadIdx.x == 0:
        counts[DIRECTIONS], counts[CHOSEN], counts[VECTORS], counts[MAXIMA] = n_directions, 0, 0, 0


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
def _rank_best(
    values: DeviceArray, numbers: DeviceArray, counts: DeviceArray, which: int, best: DeviceArray
) -> None:
    """Write the numbers of the largest of the first `counts[which]` values, in order.

    Each thread counts how many are before one of them, which tells its place; of equals, the smaller number is.
    """
    tile = cuda.shared.array(TILE, np.float32)
    tile_numbers = cuda.shared.array(TILE, np.int32)
    thread, n = cuda.threadIdx.x, counts[which]
    for first in range(cuda.blockIdx.x * cuda.blockDim.x, n, cuda.gridDim.x * cuda.blockDim.x):
        i = min(first + thread, n - 1)
        value, number, place = values[i], numbers[i], 0
        for start in range(0, n, TILE):
            size = min(TILE, n - start)
            cuda.syncthreads()
            for k in range(thread, size, cuda.blockDim.x):
                tile[k], tile_numbers[k] = values[start + k], numbers[start + k]
            cuda.syncthreads()
            for k in range(size):
                if tile[k] > value or (tile[k] == value and tile_numbers[k] < number):
                    place += 1
        if first + thread < n and place < best.shape[0]:
            best[place] = number


@device_function
def _keep_first(
    units: DeviceArray, order: DeviceArray, n_ordered: int, max_cosine: float, most: int, chosen: DeviceArray
) -> int:
    """Keep the first of each bundle of neighbouring axes, see `kernels.ffbidx_vectors.keep_distinct`; one block."""
    is_near = cuda.shared.array(1, np.int32)
    thread, n = cuda.threadIdx.x, 0
    for position in range(n_ordered):
        if n == most:
            break
        if thread == 0:
            is_near[0] = 0
        cuda.syncthreads()
        i = order[position]
        for j in range(thread, n, FEW):
            k = chosen[j]
            cosine = units[0, i] * units[0, k] + units[1, i] * units[1, k] + units[2, i] * units[2, k]
            if abs(cosine) > max_cosine:
                is_near[0] = 1
        cuda.syncthreads()
        if is_near[0] == 0:
            if thread == 0:
                chosen[n] = i
            n += 1
        cuda.syncthreads()
    return n


@kernel
def _choose_directions(
    directions: DeviceArray,
    best: DeviceArray,
    max_cosine: float,
    length: float,
    chosen: DeviceArray,
    vectors: DeviceArray,
    counts: DeviceArray,
) -> None:
    """Choose directions that are not neighbours, and make vectors of the expected length of them; one block."""
    n = _keep_first(directions, best, best.shape[0], max_cosine, vectors.shape[0], chosen)
    for i in range(cuda.threadIdx.x, n, FEW):
        for k in range(3):
            vectors[i, k] = np.float64(directions[k, chosen[i]]) * length
    if cuda.threadIdx.x == 0:
        counts[CHOSEN] = n


@kernel
def _refine_vectors(
    vectors: DeviceArray, columns: DeviceArray, head: DeviceArray, counts: DeviceArray, quality: DeviceArray
) -> None:
    spots = columns[:, : int(head[N_SPOTS])]
    refine_each_vector(vectors[: counts[CHOSEN]], spots, int(head[N_SAMPLED]), int(head[MIN_SPOTS]), quality)


@device_function
def _length_of(vector: DeviceArray) -> float:
    return (vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]) ** 0.5


@kernel
def _choose_vectors(
    vectors: DeviceArray,
    quality: DeviceArray,
    rule: tuple[float, float, float, float, float],
    most: int,
    order: DeviceArray,
    units: DeviceArray,
    chosen: DeviceArray,
    axes: DeviceArray,
    counts: DeviceArray,
) -> None:
    """Choose the best refined vectors that are not the same, and give them the expected length; one block."""
    length, tolerance, own_length, kept_quality, max_cosine = rule
    thread, n = cuda.threadIdx.x, counts[CHOSEN]
    for i in range(thread, n, FEW):
        found = _length_of(vectors[i])
        if not quality[i] > 0.0 or abs(found / length - 1.0) > tolerance:
            quality[i] = 0.0
        for k in range(3):
            units[k, i] = vectors[i, k] / found
    cuda.syncthreads()
    for i in range(thread, n, FEW):
        place = 0
        for j in range(n):
            if quality[j] > quality[i] or (quality[j] == quality[i] and j < i):
                place += 1
        order[place] = i
    cuda.syncthreads()
    n_good = 0
    while n_good < n and quality[order[n_good]] > kept_quality * quality[order[0]]:
        n_good += 1
    n_kept = _keep_first(
        units, order, n_good, max_cosine, axes.shape[0] // (1 if own_length == np.inf else 2), chosen
    )
    if thread == 0:
        counts[VECTORS] = _write_axes(vectors, chosen, n_kept, length, own_length, axes)


@device_function
def _write_axes(
    vectors: DeviceArray, chosen: DeviceArray, n_kept: int, length: float, own_length: float, axes: DeviceArray
) -> int:
    """Write vectors with the expected length, then those of another length as they are; gives how many."""
    n = n_kept
    for i in range(n_kept):
        vector = vectors[chosen[i]]
        found = _length_of(vector)
        for k in range(3):
            axes[i, k] = vector[k] * (length / found)
        if abs(found / length - 1.0) > own_length:
            for k in range(3):
                axes[n, k] = vector[k]
            n += 1
    return n


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
def _list_maxima(
    scores: DeviceArray, sides: DeviceArray, counts: DeviceArray, maxima: DeviceArray, places: DeviceArray
) -> None:
    """List the angles that score better than their neighbours; their order does not matter."""
    n_angles = scores.shape[1]
    for number in range(cuda.grid(1), counts[VECTORS] * sides.shape[0] * n_angles, cuda.gridsize(1)):
        row, turn = number // n_angles, number % n_angles
        score = scores[row, turn]
        before = scores[row, turn - 1 if turn else n_angles - 1]
        after = scores[row, turn + 1 if turn < n_angles - 1 else 0]
        if score >= before and score > after:
            slot = cuda.atomic.add(counts, MAXIMA, 1)
            maxima[slot], places[slot] = score, number


@kernel
def _make_cells(
    best_turned: DeviceArray,
    frames: DeviceArray,
    seen: DeviceArray,
    turns: DeviceArray,
    order: DeviceArray,
    cells: DeviceArray,
) -> None:
    """Make the cells of the best angles, a thread each; where there are fewer, singular ones."""
    n_angles = turns.shape[1]
    for i in range(cuda.grid(1), best_turned.shape[0], cuda.gridsize(1)):
        place = best_turned[i]
        for axis in range(3):
            for k in range(3):
                cells[i, order[axis], k] = 0.0
            if place != NONE:
                frame = frames[place // n_angles]
                cosine = np.float64(turns[0, place % n_angles])
                sine = np.float64(turns[1, place % n_angles])
                x = cosine * seen[axis, 0] - sine * seen[axis, 1]
                y = sine * seen[axis, 0] + cosine * seen[axis, 1]
                for k in range(3):
                    cells[i, order[axis], k] = x * frame[0, k] + y * frame[1, k] + seen[axis, 2] * frame[2, k]


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
