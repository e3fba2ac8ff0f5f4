"""Twins of `kernels.ffbidx_vectors`: arrays of the host in, arrays of the host out."""

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels import ffbidx_vectors as on_host
from braggstream.kernels.cuda.device import (
    FEW,
    TEAM,
    DeviceArray,
    DeviceArrays,
    add_columns,
    blocks,
    device_function,
    kernel,
)
from braggstream.kernels.ffbidx_vectors import C0, C1, C2, CLOSE, ROUNDS, TRIM_HIGH, TRIM_LOW

keep_distinct = on_host.keep_distinct
"""Each axis is compared with those kept before it, a few hundred in all: that is for one thread, on the host."""

N_ROUNDS = len(ROUNDS)
RHS, N_NEAR, N_SUMS = 6, 9, 10
"""Sums of a thread: the matrix of the normal equations, their right-hand side, and how many spots are in them."""

_arrays = DeviceArrays()
_solve_symmetric = device_function(on_host.solve_symmetric)


def score_vectors(directions: NDArray, length: np.float32, spots: NDArray, rule: NDArray, scores: NDArray) -> None:
    """Score lattice vectors, see `kernels.ffbidx_vectors.score_vectors`.

    `directions` and `rule` may never change.
    """
    n = directions.shape[1]
    found = _arrays.room("scores", n, np.float32)
    _score_vectors[blocks(n), TEAM](
        _arrays.keep(directions), length, _arrays.upload("low", spots), _arrays.keep(rule), found
    )
    found.copy_to_host(scores)


@device_function
def score_each_vector(
    directions: DeviceArray, length: np.float32, spots: DeviceArray, rule: DeviceArray, scores: DeviceArray
) -> None:
    """Score one vector a thread; all threads look at the same spot at the same time."""
    close, low, high = rule[CLOSE], rule[TRIM_LOW], rule[TRIM_HIGH]
    c0, c1, c2 = rule[C0], rule[C1], rule[C2]
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(cuda.grid(1), directions.shape[1], cuda.gridsize(1)):
        x, y, z = directions[0, i] * length, directions[1, i] * length, directions[2, i] * length
        total = zero
        for j in range(spots.shape[1]):
            phase = x * spots[0, j] + y * spots[1, j] + z * spots[2, j]
            distance = abs(phase - np.float32(round(phase)))
            trimmed = min(max(distance, low), high)
            total += (c2 * trimmed + c1) * trimmed + c0 + (one if distance < close else zero)
        scores[i] = total


@kernel
def _score_vectors(
    directions: DeviceArray, length: np.float32, spots: DeviceArray, rule: DeviceArray, scores: DeviceArray
) -> None:
    score_each_vector(directions, length, spots, rule, scores)


def refine_vectors(vectors: NDArray, spots: NDArray, n_first: int, min_spots: int, quality: NDArray) -> None:
    """Fit lattice vectors to the spots near their planes, see `kernels.ffbidx_vectors.refine_vectors`."""
    n = len(vectors)
    if not n:
        return
    fitted, found = _arrays.upload("vectors", vectors), _arrays.room("vector quality", n, np.float64)
    _refine_vectors[blocks(n, per_block=1), FEW](fitted, _arrays.upload("spots", spots), n_first, min_spots, found)
    fitted.copy_to_host(vectors)
    found.copy_to_host(quality)


@device_function
def refine_each_vector(
    vectors: DeviceArray, spots: DeviceArray, n_first: int, min_spots: int, quality: DeviceArray
) -> None:
    """Fit one vector a block; each thread sums over some of the spots, and all of them solve the same equations."""
    parts = cuda.shared.array((FEW, N_SUMS), np.float64)
    totals = cuda.shared.array(N_SUMS, np.float64)
    rhs, solution = cuda.local.array((1, 3), np.float64), cuda.local.array((1, 3), np.float64)
    vector, thread = cuda.local.array(3, np.float64), cuda.threadIdx.x
    for i in range(cuda.blockIdx.x, vectors.shape[0], cuda.gridDim.x):
        for k in range(3):
            vector[k] = vectors[i, k]
        for number in range(N_ROUNDS):
            n_used = min(n_first + (spots.shape[1] - n_first) * number // 2, spots.shape[1])
            _sum_near_planes(spots, n_used, vector, ROUNDS[number], parts[thread])
            _add_up(parts, totals)
            for k in range(3):
                rhs[0, k] = totals[RHS + k]
            if totals[N_NEAR] < min_spots or not _solve_symmetric(totals, rhs, solution):
                break
            for k in range(3):
                vector[k] = solution[0, k]
        total = 0.0
        for j in range(thread, spots.shape[1], FEW):
            phase = spots[0, j] * vector[0] + spots[1, j] * vector[1] + spots[2, j] * vector[2]
            distance = abs(phase - float(round(phase))) * 10.0
            total += max(0.0, 1.0 - distance * distance)
        parts[thread, 0] = total
        _add_up(parts, totals)
        if thread == 0:
            quality[i] = totals[0]
            for k in range(3):
                vectors[i, k] = vector[k]


@kernel
def _refine_vectors(
    vectors: DeviceArray, spots: DeviceArray, n_first: int, min_spots: int, quality: DeviceArray
) -> None:
    refine_each_vector(vectors, spots, n_first, min_spots, quality)


@device_function
def _sum_near_planes(spots: DeviceArray, n_used: int, vector: DeviceArray, limit: float, sums: DeviceArray) -> None:
    """Sum the normal equations over this thread's part of the spots nearer than `limit` to a plane."""
    for k in range(N_SUMS):
        sums[k] = 0.0
    for j in range(cuda.threadIdx.x, n_used, FEW):
        x, y, z = spots[0, j], spots[1, j], spots[2, j]
        phase = x * vector[0] + y * vector[1] + z * vector[2]
        index = float(round(phase))
        if abs(phase - index) < limit:
            sums[0] += x * x
            sums[1] += x * y
            sums[2] += x * z
            sums[3] += y * y
            sums[4] += y * z
            sums[5] += z * z
            sums[RHS] += index * x
            sums[RHS + 1] += index * y
            sums[RHS + 2] += index * z
            sums[N_NEAR] += 1.0


@device_function
def _add_up(parts: DeviceArray, totals: DeviceArray) -> None:
    """Add up what the threads of a block hold, see `device.add_columns`; every thread has to call it."""
    cuda.syncthreads()
    add_columns(parts, cuda.threadIdx.x, totals)
    cuda.syncthreads()


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one, rule = np.ones((3, 1), np.float32), np.ones(on_host.N_RULE, np.float32)
    score_vectors(one, np.float32(1.0), one, rule, np.zeros(1, np.float32))
    refine_vectors(np.ones((1, 3)), np.ones((3, 1)), 1, 3, np.zeros(1))
