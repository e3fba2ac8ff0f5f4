"""Search for the rotation about a known lattice vector, and refinement of cells: the second half of TORO.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit, jit
from braggstream.kernels.chance import BALL_VOLUME, weigh_distances
from braggstream.kernels.ffbidx_vectors import C0, C1, C2, CLOSE, N_RULE, TRIM_HIGH, TRIM_LOW, solve_symmetric

ALONG_A, ALONG_B, A_X, A_Y, B_X, B_Y, DISTANCE = range(7)
N_PROJECTIONS = 7
"""Rows of the projections of spots: what does not depend on the angle of s·a and s·b, cosine and sine parts of
both, and the squared distance of s·c from an integer."""
ROUNDS_TO_JOIN = 3
"""Rounds of the refinement of a cell after which all spots take part."""


@fast_jit
def score_rotations(projections: NDArray, n: int, turns: NDArray, rule: NDArray, scores: NDArray) -> None:
    """Score cells turned about one axis: spots whose three indices are near integers, ties by mean distance.

    Parameters
    ----------
    projections : float32[7, m]
        Spots seen along the axis, see the constants above; the first `n` count.
    turns : float32[2, l]
        Cosine and sine of the angles.
    rule : float32[6]
        Scoring rule of `ffbidx_vectors`.
    scores : float32[l], written
        Score of each angle; larger is better.
    """
    close, low, high = rule[CLOSE], rule[TRIM_LOW], rule[TRIM_HIGH]
    c0, c1, c2 = rule[C0], rule[C1], rule[C2]
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(turns.shape[1]):
        cosine, sine = turns[0, i], turns[1, i]
        total = zero
        for j in range(n):
            a = projections[ALONG_A, j] + cosine * projections[A_X, j] + sine * projections[A_Y, j]
            b = projections[ALONG_B, j] + cosine * projections[B_X, j] + sine * projections[B_Y, j]
            a -= np.rint(a)
            b -= np.rint(b)
            distance = np.sqrt(projections[DISTANCE, j] + a * a + b * b)
            trimmed = min(max(distance, low), high)
            total += (c2 * trimmed + c1) * trimmed + c0 + (one if distance < close else zero)
        scores[i] = total


@jit
def score_turned(
    vectors: NDArray,
    sides: NDArray,
    spots: NDArray,
    seen: NDArray,
    turns: NDArray,
    rule: NDArray,
    frames: NDArray,
    scores: NDArray,
) -> None:
    """Score the cells that have a vector as one of their axes, turned about it by all angles.

    Parameters
    ----------
    vectors : float64[n, 3]
        Lattice vectors [Å].
    sides : float64[k]
        1: the axis is the vector; -1: it is its opposite.
    spots : float64[m, 3]
        Scattering vectors [Å⁻¹].
    seen : float64[3, 3]
        Rows: the expected axes a, b, c with c along z [Å].
    turns : float32[2, l]
        Cosine and sine of the angles.
    rule : float32[6]
        Scoring rule of `ffbidx_vectors`.
    frames : float64[n, k, 3, 3], written
        Orthogonal frames with z along the axis, scaled by the vector's length over the expected one.
    scores : float32[n, k, l], written
        Score of each cell; larger is better.
    """
    projections = np.empty((N_PROJECTIONS, spots.shape[0]), np.float32)
    for i in range(vectors.shape[0]):
        for side in range(sides.shape[0]):
            frame = frames[i, side]
            _frame_along(vectors[i], sides[side], seen[2, 2], frame)
            n = 0
            for j in range(spots.shape[0]):
                x = frame[0, 0] * spots[j, 0] + frame[0, 1] * spots[j, 1] + frame[0, 2] * spots[j, 2]
                y = frame[1, 0] * spots[j, 0] + frame[1, 1] * spots[j, 1] + frame[1, 2] * spots[j, 2]
                z = frame[2, 0] * spots[j, 0] + frame[2, 1] * spots[j, 1] + frame[2, 2] * spots[j, 2]
                distance = z * seen[2, 2] - np.rint(z * seen[2, 2])
                # Whether a spot is near a plane of the axis does not depend on the angle.
                if abs(distance) < rule[CLOSE]:
                    projections[ALONG_A, n], projections[ALONG_B, n] = seen[0, 2] * z, seen[1, 2] * z
                    projections[A_X, n] = seen[0, 0] * x + seen[0, 1] * y
                    projections[A_Y, n] = seen[0, 0] * y - seen[0, 1] * x
                    projections[B_X, n] = seen[1, 0] * x + seen[1, 1] * y
                    projections[B_Y, n] = seen[1, 0] * y - seen[1, 1] * x
                    projections[DISTANCE, n] = distance * distance
                    n += 1
            score_rotations(projections, n, turns, rule, scores[i, side])


@inline_jit
def _frame_along(vector: NDArray, side: float, length: float, frame: NDArray) -> None:
    """Write a right-handed frame, rows x, y, z with z along a vector or against it, scaled by |vector| / length."""
    x, y, z = side * vector[0], side * vector[1], side * vector[2]
    norm = sqrt(x * x + y * y + z * z)
    scale = norm / length
    x, y, z = x / norm, y / norm, z / norm
    # The axis of the laboratory that is most nearly at right angles to the vector.
    least = 0 if abs(x) <= abs(y) and abs(x) <= abs(z) else (1 if abs(y) <= abs(z) else 2)
    px = 0.0 if least == 0 else (z if least == 1 else -y)
    py = -z if least == 0 else (0.0 if least == 1 else x)
    pz = y if least == 0 else (-x if least == 1 else 0.0)
    short = sqrt(px * px + py * py + pz * pz)
    px, py, pz = px / short, py / short, pz / short
    frame[0, 0], frame[0, 1], frame[0, 2] = px * scale, py * scale, pz * scale
    frame[1, 0] = (y * pz - z * py) * scale
    frame[1, 1] = (z * px - x * pz) * scale
    frame[1, 2] = (x * py - y * px) * scale
    frame[2, 0], frame[2, 1], frame[2, 2] = x * scale, y * scale, z * scale


@inline_jit
def _invert(cell: NDArray, inverse: NDArray) -> bool:
    """Invert a 3x3 matrix; False where it is singular."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        for m in range(3):
            p, q = (m + 1) % 3, (m + 2) % 3
            inverse[m, i] = cell[j, p] * cell[k, q] - cell[j, q] * cell[k, p]
    det = cell[0, 0] * inverse[0, 0] + cell[0, 1] * inverse[1, 0] + cell[0, 2] * inverse[2, 0]
    if not abs(det) > 1e-6:
        return False
    for i in range(3):
        for j in range(3):
            inverse[i, j] /= det
    return True


@jit
def refine_cells(cells: NDArray, spots: NDArray, schedule: NDArray, quality: NDArray, distances: NDArray) -> None:
    """Fit cells to the spots near their lattice points, with a shrinking distance (variant `ifssr` of TORO).

    Parameters
    ----------
    cells : float64[n, 3, 3], changed
        Rows a, b, c [Å].
    spots : float64[m, 3]
        Scattering vectors [Å⁻¹].
    schedule : float64[5]
        Distance at the start and at the end [Å⁻¹], contraction, largest number of rounds, fewest spots.
    quality : float64[n, 2], written
        Sum over spots of 1 - (distance / start)² without those beyond the start; and the distance within which
        the fewest spots lie [Å⁻¹], infinite where the cell is singular.
    distances : float64[m], scratch
    """
    start, end, min_spots = schedule[0], schedule[1], schedule[4]
    normal, rhs, inverse = np.empty(6), np.empty((3, 3)), np.empty((3, 3))
    for i in range(cells.shape[0]):
        is_regular = _refine_cell(cells[i], spots, spots.shape[0], schedule, distances)
        quality[i, 0], quality[i, 1] = 0.0, np.inf
        if is_regular and _invert(cells[i], inverse):
            _gather(cells[i], inverse, spots, end, normal, rhs, distances)
            for j in range(spots.shape[0]):
                quality[i, 0] += max(0.0, 1.0 - distances[j] / (start * start))
            if spots.shape[0] >= min_spots:
                quality[i, 1] = sqrt(np.partition(distances, int(min_spots) - 1)[int(min_spots) - 1])


@jit
def refine_cells_outwards(
    cells: NDArray, spots: NDArray, n_first: int, schedule: NDArray, distances: NDArray
) -> None:
    """Fit cells as `refine_cells` does, first to spots of low resolution only.

    Parameters
    ----------
    cells : float64[n, 3, 3], changed
        Rows a, b, c [Å].
    spots : float64[m, 3]
        Scattering vectors in order of resolution [Å⁻¹].
    n_first : int64
        Spots of lowest resolution that take part from the first round; the others join over three rounds, when the
        cell is precise enough to index them.
    schedule : float64[5]
        As for `refine_cells`.
    distances : float64[m], scratch
    """
    for i in range(cells.shape[0]):
        _refine_cell(cells[i], spots, n_first, schedule, distances)


@jit
def _refine_cell(cell: NDArray, spots: NDArray, n_first: int, schedule: NDArray, distances: NDArray) -> bool:
    """Fit one cell; False where it is singular."""
    start, end, contraction, max_rounds, min_spots = schedule
    normal, rhs, trial, inverse = np.empty(6), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    m = spots.shape[0]
    limit = start
    n_rounds = 0
    if not _invert(cell, inverse):
        return False
    while n_rounds < max_rounds and (limit > end or n_rounds <= ROUNDS_TO_JOIN):
        n_used = min(n_first + (m - n_first) * n_rounds // ROUNDS_TO_JOIN, m)
        n = _gather(cell, inverse, spots[:n_used], limit, normal, rhs, distances)
        if n < min_spots or not solve_symmetric(normal, rhs, trial) or not _invert(trial, inverse):
            break
        cell[:] = trial
        if n_used == m:
            limit = max(limit * contraction, 0.999 * end)
        n_rounds += 1
    return True


@jit
def weigh_cells(cells: NDArray, spots: NDArray, reaches: NDArray, weighings: NDArray, distances: NDArray) -> None:
    """Tell how far the agreement of cells with spots is beyond chance.

    Parameters
    ----------
    cells : float64[n, 3, 3]
        Rows a, b, c of primitive cells [Å].
    spots : float64[m, 3]
        Scattering vectors [Å⁻¹].
    reaches : float64[k]
        See `chance.weigh_distances`.
    weighings : float64[n, 3], written
        See the constants of `chance`; zeros for singular cells.
    distances : float64[m], scratch
    """
    normal = np.empty(6)
    rhs = np.empty((3, 3))
    inverse = np.empty((3, 3))
    for i in range(cells.shape[0]):
        weighings[i] = 0.0
        if spots.shape[0] and _invert(cells[i], inverse):
            _gather(cells[i], inverse, spots, 0.0, normal, rhs, distances)
            determinant = inverse[0, 0] * (inverse[1, 1] * inverse[2, 2] - inverse[1, 2] * inverse[2, 1])
            determinant -= inverse[0, 1] * (inverse[1, 0] * inverse[2, 2] - inverse[1, 2] * inverse[2, 0])
            determinant += inverse[0, 2] * (inverse[1, 0] * inverse[2, 1] - inverse[1, 1] * inverse[2, 0])
            volume = BALL_VOLUME / abs(determinant)
            weigh_distances(distances, spots.shape[0], reaches, volume, weighings[i])


@jit
def _gather(
    cell: NDArray, inverse: NDArray, spots: NDArray, limit: float, normal: NDArray, rhs: NDArray, distances: NDArray
) -> int:
    """Sum the normal equations over spots nearer than `limit` to a lattice point; write squared distances."""
    normal[:] = 0.0
    rhs[:] = 0.0
    n = 0
    limit2 = limit * limit
    for j in range(spots.shape[0]):
        x, y, z = spots[j, 0], spots[j, 1], spots[j, 2]
        h = np.rint(cell[0, 0] * x + cell[0, 1] * y + cell[0, 2] * z)
        k = np.rint(cell[1, 0] * x + cell[1, 1] * y + cell[1, 2] * z)
        m = np.rint(cell[2, 0] * x + cell[2, 1] * y + cell[2, 2] * z)
        dx = inverse[0, 0] * h + inverse[0, 1] * k + inverse[0, 2] * m - x
        dy = inverse[1, 0] * h + inverse[1, 1] * k + inverse[1, 2] * m - y
        dz = inverse[2, 0] * h + inverse[2, 1] * k + inverse[2, 2] * m - z
        distances[j] = dx * dx + dy * dy + dz * dz
        if distances[j] < limit2:
            n += 1
            normal[0] += x * x
            normal[1] += x * y
            normal[2] += x * z
            normal[3] += y * y
            normal[4] += y * z
            normal[5] += z * z
            for axis in range(3):
                index = h if axis == 0 else (k if axis == 1 else m)
                rhs[axis, 0] += index * x
                rhs[axis, 1] += index * y
                rhs[axis, 2] += index * z
    return n


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one, turns, rule = np.ones((1, 3)), np.ones((2, 1), np.float32), np.ones(N_RULE, np.float32)
    frames, scores = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 1), np.float32)
    score_turned(one, np.ones(1), one, np.eye(3), turns, rule, frames, scores)
    cells, schedule = np.eye(3)[None].copy(), np.array([0.1, 0.01, 0.8, 2.0, 1.0])
    refine_cells(cells, one, schedule, np.zeros((1, 2)), np.zeros(1))
    refine_cells_outwards(cells, one, 1, schedule, np.zeros(1))
    weigh_cells(cells, one, np.ones(1), np.zeros((1, 3)), np.zeros(1))
