"""What a search for cells by one axis chooses on the device between its sums: the best directions, vectors, angles.

The host chooses in the same way where it searches step by step, see `steps.indexing.search`.
"""

import numpy as np
from numba import cuda

from braggstream.kernels.cuda.device import FEW, IS_SIMULATED, DeviceArray, device_function, kernel

N_SPOTS, N_SAMPLED, N_LOW, N_FIRST, MIN_SPOTS, N_HEAD = range(6)
"""What the host sends before the spots: how many there are; of lowest resolution, how many are used to sample
directions, to sample angles, and in the first round of the refinement of cells; fewest spots of a vector."""
DIRECTIONS, CHOSEN, VECTORS, MAXIMA, N_COUNTS = range(5)
"""What the device counts: directions, those that are refined, vectors that are kept, local maxima of the score."""
TILE = 256 if IS_SIMULATED else 1024
"""Scores that a block compares with at a time."""
NONE = -1


@kernel
def begin(
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
def rank_best(
    values: DeviceArray, numbers: DeviceArray, counts: DeviceArray, which: int, best: DeviceArray
) -> None:
    """Write the numbers of the largest of the first `counts[which]` values, in order.

    Each thread counts how many come before one of them, its place; of equals, the smaller number comes first.
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


@kernel
def choose_directions(
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
def choose_vectors(
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


@device_function
def _length_of(vector: DeviceArray) -> float:
    return (vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]) ** 0.5


@kernel
def list_maxima(
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
def make_cells(
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
