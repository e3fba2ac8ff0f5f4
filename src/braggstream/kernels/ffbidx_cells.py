"""Search for the rotation about a known lattice vector, and refinement of cells: the second half of TORO.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit, jit
from braggstream.kernels.ffbidx_vectors import C0, C1, C2, CLOSE, N_RULE, TRIM_HIGH, TRIM_LOW, solve_symmetric

ALONG_A, ALONG_B, A_X, A_Y, B_X, B_Y, DISTANCE = range(7)
N_PROJECTIONS = 7
"""Rows of the projections of spots: what does not depend on the angle of s·a and s·b, cosine and sine parts of
both, and the squared distance of s·c from an integer."""


@fast_jit
def score_rotations(projections: NDArray, turns: NDArray, rule: NDArray, scores: NDArray) -> None:
    """Score cells turned about one axis: spots whose three indices are near integers, ties by mean distance.

    Parameters
    ----------
    projections : float32[7, n]
        Spots seen along the axis, see the constants above.
    turns : float32[2, m]
        Cosine and sine of the angles.
    rule : float32[6]
        Scoring rule of `ffbidx_vectors`.
    scores : float32[m], written
        Score of each angle; larger is better.
    """
    close, low, high = rule[CLOSE], rule[TRIM_LOW], rule[TRIM_HIGH]
    c0, c1, c2 = rule[C0], rule[C1], rule[C2]
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(turns.shape[1]):
        cosine, sine = turns[0, i], turns[1, i]
        total = zero
        for j in range(projections.shape[1]):
            a = projections[ALONG_A, j] + cosine * projections[A_X, j] + sine * projections[A_Y, j]
            b = projections[ALONG_B, j] + cosine * projections[B_X, j] + sine * projections[B_Y, j]
            a -= np.rint(a)
            b -= np.rint(b)
            distance = np.sqrt(projections[DISTANCE, j] + a * a + b * b)
            trimmed = min(max(distance, low), high)
            total += (c2 * trimmed + c1) * trimmed + c0 + (one if distance < close else zero)
        scores[i] = total


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
    start, end, contraction, max_rounds, min_spots = schedule
    normal = np.empty(6)
    rhs = np.empty((3, 3))
    trial = np.empty((3, 3))
    inverse = np.empty((3, 3))
    for i in range(cells.shape[0]):
        limit = start
        n_rounds = 0.0
        is_regular = _invert(cells[i], inverse)
        while is_regular and limit > end and n_rounds < max_rounds:
            n = _gather(cells[i], inverse, spots, limit, normal, rhs, distances)
            if n < min_spots or not solve_symmetric(normal, rhs, trial):
                break
            if not _invert(trial, inverse):
                is_regular = _invert(cells[i], inverse)
                break
            cells[i] = trial
            limit *= contraction
            n_rounds += 1.0
        quality[i, 0], quality[i, 1] = 0.0, np.inf
        if is_regular:
            _gather(cells[i], inverse, spots, end, normal, rhs, distances)
            for j in range(spots.shape[0]):
                quality[i, 0] += max(0.0, 1.0 - distances[j] / (start * start))
            if spots.shape[0] >= min_spots:
                quality[i, 1] = sqrt(np.partition(distances, int(min_spots) - 1)[int(min_spots) - 1])


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
    turns = np.ones((2, 1), np.float32)
    projections = np.ones((N_PROJECTIONS, 1), np.float32)
    score_rotations(projections, turns, np.ones(N_RULE, np.float32), np.zeros(1, np.float32))
    schedule = np.array([0.1, 0.01, 0.8, 2.0, 1.0])
    refine_cells(np.eye(3)[None].copy(), np.ones((1, 3)), schedule, np.zeros((1, 2)), np.zeros(1))
