"""Twins of `kernels.ffbidx_cells`: arrays of the host in, arrays of the host out."""

from math import sqrt

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels import chance
from braggstream.kernels import ffbidx_cells as on_host
from braggstream.kernels.chance import BALL_VOLUME, COUNT, EVIDENCE, MOST_CHANCE, N_REACHES, REACH
from braggstream.kernels.cuda.device import (
    FEW,
    DeviceArray,
    DeviceArrays,
    add_columns,
    blocks,
    device_function,
    kernel,
)
from braggstream.kernels.ffbidx_cells import (
    A_X,
    A_Y,
    ALONG_A,
    ALONG_B,
    B_X,
    B_Y,
    DISTANCE,
    ROUNDS_TO_JOIN,
)
from braggstream.kernels.ffbidx_vectors import C0, C1, C2, CLOSE, TRIM_HIGH, TRIM_LOW, solve_symmetric

RHS, N_NEAR, N_SUMS = 6, 15, 16
"""Sums of a thread: the matrix of the normal equations, three right-hand sides, and how many spots are in them."""
FAR_OFF = -1.0
"""Stands for the squared distance of a spot that is not near a plane of the axis."""

_arrays = DeviceArrays()
_solve_symmetric = device_function(solve_symmetric)
_invert = device_function(on_host._invert)
_frame_along = device_function(on_host._frame_along)
_evidence_of = device_function(chance.evidence_of)


@device_function
def project_each_axis(
    vectors: DeviceArray,
    sides: DeviceArray,
    spots: DeviceArray,
    seen: DeviceArray,
    rule: DeviceArray,
    frames: DeviceArray,
    projections: DeviceArray,
) -> None:
    """Look at the spots along an axis, a block an axis: what does not depend on the angle."""
    frame = cuda.local.array((3, 3), np.float64)
    for i in range(cuda.blockIdx.x, frames.shape[0], cuda.gridDim.x):
        _frame_along(vectors[i // sides.shape[0]], sides[i % sides.shape[0]], seen[2, 2], frame)
        if cuda.threadIdx.x == 0:
            _copy(frame, frames[i])
        rows = projections[i]
        for j in range(cuda.threadIdx.x, spots.shape[0], cuda.blockDim.x):
            x = frame[0, 0] * spots[j, 0] + frame[0, 1] * spots[j, 1] + frame[0, 2] * spots[j, 2]
            y = frame[1, 0] * spots[j, 0] + frame[1, 1] * spots[j, 1] + frame[1, 2] * spots[j, 2]
            z = frame[2, 0] * spots[j, 0] + frame[2, 1] * spots[j, 1] + frame[2, 2] * spots[j, 2]
            distance = z * seen[2, 2] - float(round(z * seen[2, 2]))
            rows[ALONG_A, j], rows[ALONG_B, j] = seen[0, 2] * z, seen[1, 2] * z
            rows[A_X, j], rows[A_Y, j] = seen[0, 0] * x + seen[0, 1] * y, seen[0, 0] * y - seen[0, 1] * x
            rows[B_X, j], rows[B_Y, j] = seen[1, 0] * x + seen[1, 1] * y, seen[1, 0] * y - seen[1, 1] * x
            rows[DISTANCE, j] = distance * distance if abs(distance) < rule[CLOSE] else FAR_OFF


@device_function
def score_each_turned(projections: DeviceArray, turns: DeviceArray, rule: DeviceArray, scores: DeviceArray) -> None:
    """Score one angle a thread; all threads of a block look at the same spot of the same axis at the same time."""
    close, low, high = rule[CLOSE], rule[TRIM_LOW], rule[TRIM_HIGH]
    c0, c1, c2 = rule[C0], rule[C1], rule[C2]
    one, zero = np.float32(1.0), np.float32(0.0)
    for axis in range(cuda.blockIdx.y, projections.shape[0], cuda.gridDim.y):
        rows = projections[axis]
        for i in range(
            cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x,
            turns.shape[1],
            cuda.gridDim.x * cuda.blockDim.x,
        ):
            cosine, sine = turns[0, i], turns[1, i]
            total = zero
            for j in range(rows.shape[1]):
                if rows[DISTANCE, j] < zero:
                    continue
                a = rows[ALONG_A, j] + cosine * rows[A_X, j] + sine * rows[A_Y, j]
                b = rows[ALONG_B, j] + cosine * rows[B_X, j] + sine * rows[B_Y, j]
                a -= np.float32(round(a))
                b -= np.float32(round(b))
                distance = np.float32(sqrt(rows[DISTANCE, j] + a * a + b * b))
                trimmed = min(max(distance, low), high)
                total += (c2 * trimmed + c1) * trimmed + c0 + (one if distance < close else zero)
            scores[axis, i] = total


def refine_cells_outwards(
    cells: NDArray, spots: NDArray, n_first: int, schedule: NDArray, distances: NDArray
) -> None:
    """Fit cells, first to spots of low resolution only, see `kernels.ffbidx_cells.refine_cells_outwards`.

    `distances` is there for the sake of the same arguments: each cell has its own on the device.
    """
    n, m = len(cells), len(spots)
    if not n:
        return
    fitted = _arrays.upload("cells", cells)
    scratch = _arrays.room("distances", n * m, np.float64).reshape(n, m)
    _refine_cells[blocks(n, per_block=1), FEW](
        fitted, _arrays.upload("spots", spots), n_first, _arrays.upload("schedule", schedule), scratch
    )
    fitted.copy_to_host(cells)


@device_function
def refine_each_cell(
    cells: DeviceArray, spots: DeviceArray, n_first: int, schedule: DeviceArray, distances: DeviceArray
) -> None:
    """Fit one cell a block; each thread sums over some of the spots, and all of them solve the same equations."""
    parts = cuda.shared.array((FEW, N_SUMS), np.float64)
    totals = cuda.shared.array(N_SUMS, np.float64)
    cell = cuda.local.array((3, 3), np.float64)
    inverse = cuda.local.array((3, 3), np.float64)
    for i in range(cuda.blockIdx.x, cells.shape[0], cuda.gridDim.x):
        _copy(cells[i], cell)
        _refine_cell(cell, inverse, spots, n_first, schedule, parts, totals, distances[i])
        if cuda.threadIdx.x == 0:
            _copy(cell, cells[i])
        cuda.syncthreads()


@kernel
def _refine_cells(
    cells: DeviceArray, spots: DeviceArray, n_first: int, schedule: DeviceArray, distances: DeviceArray
) -> None:
    refine_each_cell(cells, spots, n_first, schedule, distances)


@device_function
def _refine_cell(
    cell: DeviceArray,
    inverse: DeviceArray,
    spots: DeviceArray,
    n_first: int,
    schedule: DeviceArray,
    parts: DeviceArray,
    totals: DeviceArray,
    distances: DeviceArray,
) -> None:
    """Fit one cell, unless it is singular.  Every thread of the block has to call it."""
    rhs = cuda.local.array((3, 3), np.float64)
    trial = cuda.local.array((3, 3), np.float64)
    limit, end, contraction = schedule[0], schedule[1], schedule[2]
    max_rounds, min_spots = schedule[3], schedule[4]
    n_rounds, m = 0, spots.shape[0]
    if not _invert(cell, inverse):
        return
    while n_rounds < max_rounds and (limit > end or n_rounds <= ROUNDS_TO_JOIN):
        n_used = min(n_first + (m - n_first) * n_rounds // ROUNDS_TO_JOIN, m)
        _gather(cell, inverse, spots, n_used, limit, parts[cuda.threadIdx.x], distances)
        _add_up(parts, totals)
        for k in range(9):
            rhs[k // 3, k % 3] = totals[RHS + k]
        if totals[N_NEAR] < min_spots or not _solve_symmetric(totals, rhs, trial) or not _invert(trial, inverse):
            break
        _copy(trial, cell)
        if n_used == m:
            limit = max(limit * contraction, 0.999 * end)
        n_rounds += 1


def weigh_cells(cells: NDArray, spots: NDArray, reaches: NDArray, weighings: NDArray, distances: NDArray) -> None:
    """Tell how far the agreement of cells with spots is beyond chance, see `kernels.ffbidx_cells.weigh_cells`."""
    n, m = len(cells), len(spots)
    if not n:
        return
    found = _arrays.room("weighings", weighings.size, np.float64).reshape(weighings.shape)
    scratch = _arrays.room("distances", n * m, np.float64).reshape(n, m)
    _weigh_cells[blocks(n, per_block=1), FEW](
        _arrays.upload("cells", cells), _arrays.upload("spots", spots), _arrays.keep(reaches), found, scratch
    )
    found.copy_to_host(weighings)


@device_function
def weigh_each_cell(
    cells: DeviceArray, spots: DeviceArray, reaches: DeviceArray, weighings: DeviceArray, distances: DeviceArray
) -> None:
    """Weigh one cell a block: each thread looks at some of the spots, then counts them for some of the reaches."""
    parts = cuda.shared.array((FEW, N_SUMS), np.float64)
    counts = cuda.shared.array(N_REACHES, np.int64)
    inverse = cuda.local.array((3, 3), np.float64)
    thread, m = cuda.threadIdx.x, spots.shape[0]
    for i in range(cuda.blockIdx.x, cells.shape[0], cuda.gridDim.x):
        is_regular = m > 0 and _invert(cells[i], inverse)
        if is_regular:
            _gather(cells[i], inverse, spots, m, 0.0, parts[thread], distances[i])
        cuda.syncthreads()
        for k in range(thread, reaches.shape[0], FEW):
            counts[k] = 0
            for j in range(m):
                if is_regular and distances[i, j] < reaches[k] * reaches[k]:
                    counts[k] += 1
        cuda.syncthreads()
        if thread == 0:
            for k in range(3):
                weighings[i, k] = 0.0
            if is_regular:
                _weigh(counts, m, reaches, BALL_VOLUME / abs(_determinant(inverse)), weighings[i])
        cuda.syncthreads()


@kernel
def _weigh_cells(
    cells: DeviceArray, spots: DeviceArray, reaches: DeviceArray, weighings: DeviceArray, distances: DeviceArray
) -> None:
    weigh_each_cell(cells, spots, reaches, weighings, distances)


@device_function
def _determinant(matrix: DeviceArray) -> float:
    found = matrix[0, 0] * (matrix[1, 1] * matrix[2, 2] - matrix[1, 2] * matrix[2, 1])
    found -= matrix[0, 1] * (matrix[1, 0] * matrix[2, 2] - matrix[1, 2] * matrix[2, 0])
    found += matrix[0, 2] * (matrix[1, 0] * matrix[2, 1] - matrix[1, 1] * matrix[2, 0])
    return found


@device_function
def _weigh(counts: DeviceArray, n_all: int, reaches: DeviceArray, volume: float, weighing: DeviceArray) -> None:
    """Find the reach with the largest evidence, see `chance.weigh_distances`; `counts` are within reaches."""
    for k in range(reaches.shape[0]):
        by_chance = volume * reaches[k] ** 3
        if by_chance > MOST_CHANCE:
            break
        found = _evidence_of(counts[k], n_all, by_chance)
        if found > weighing[EVIDENCE]:
            weighing[EVIDENCE], weighing[REACH], weighing[COUNT] = found, reaches[k], counts[k]


@device_function
def _add_up(parts: DeviceArray, totals: DeviceArray) -> None:
    """Add up what the threads of a block hold, see `device.add_columns`; every thread has to call it."""
    cuda.syncthreads()
    add_columns(parts, cuda.threadIdx.x, totals)
    cuda.syncthreads()


@device_function
def _copy(source: DeviceArray, target: DeviceArray) -> None:
    """Copy a 3x3 matrix."""
    for k in range(9):
        target[k // 3, k % 3] = source[k // 3, k % 3]


@device_function
def _gather(
    cell: DeviceArray,
    inverse: DeviceArray,
    spots: DeviceArray,
    n_used: int,
    limit: float,
    sums: DeviceArray,
    distances: DeviceArray,
) -> None:
    """Sum the normal equations over this thread's part of the first spots; write its squared distances."""
    for column in range(N_SUMS):
        sums[column] = 0.0
    limit2 = limit * limit
    for j in range(cuda.threadIdx.x, n_used, FEW):
        x, y, z = spots[j, 0], spots[j, 1], spots[j, 2]
        h = float(round(cell[0, 0] * x + cell[0, 1] * y + cell[0, 2] * z))
        k = float(round(cell[1, 0] * x + cell[1, 1] * y + cell[1, 2] * z))
        m = float(round(cell[2, 0] * x + cell[2, 1] * y + cell[2, 2] * z))
        dx = inverse[0, 0] * h + inverse[0, 1] * k + inverse[0, 2] * m - x
        dy = inverse[1, 0] * h + inverse[1, 1] * k + inverse[1, 2] * m - y
        dz = inverse[2, 0] * h + inverse[2, 1] * k + inverse[2, 2] * m - z
        distances[j] = dx * dx + dy * dy + dz * dz
        if distances[j] < limit2:
            sums[0] += x * x
            sums[1] += x * y
            sums[2] += x * z
            sums[3] += y * y
            sums[4] += y * z
            sums[5] += z * z
            for axis in range(3):
                index = h if axis == 0 else (k if axis == 1 else m)
                sums[RHS + 3 * axis] += index * x
                sums[RHS + 3 * axis + 1] += index * y
                sums[RHS + 3 * axis + 2] += index * z
            sums[N_NEAR] += 1.0


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one, cells, schedule = np.ones((1, 3)), np.eye(3)[None].copy(), np.array([0.1, 0.01, 0.8, 2.0, 1.0])
    refine_cells_outwards(cells, one, 1, schedule, np.zeros(1))
    weigh_cells(cells, one, np.ones(1), np.zeros((1, 3)), np.zeros(1))
