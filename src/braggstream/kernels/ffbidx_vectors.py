"""Search for one lattice vector of known length: the first half of the TORO algorithm.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit, jit

CLOSE, TRIM_LOW, TRIM_HIGH, C0, C1, C2 = range(6)
N_RULE = 6
"""Columns of a scoring rule: a spot is close within CLOSE; the rest of its score, (C2 d + C1) d + C0 of the
trimmed distance d, only orders ties and adds up to less than 1 over all spots."""

ROUNDS = np.array([0.25, 0.2, 0.15, 0.1, 0.1])
"""Largest distance of a spot that takes part in each round of the refinement of a vector."""


@fast_jit
def score_vectors(directions: NDArray, length: np.float32, spots: NDArray, rule: NDArray, scores: NDArray) -> None:
    """Score lattice vectors: number of spots that they put near an integer, ties by the mean distance.

    Parameters
    ----------
    directions : float32[3, n]
        Unit vectors, one a column.
    length : float32
        Length of the lattice vector [Å].
    spots : float32[3, m]
        Scattering vectors [Å⁻¹].
    rule : float32[6]
        Scoring rule, see the constants above.
    scores : float32[n], written
        Score of each vector; larger is better.
    """
    close, low, high = rule[CLOSE], rule[TRIM_LOW], rule[TRIM_HIGH]
    c0, c1, c2 = rule[C0], rule[C1], rule[C2]
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(directions.shape[1]):
        x, y, z = directions[0, i] * length, directions[1, i] * length, directions[2, i] * length
        total = zero
        for j in range(spots.shape[1]):
            phase = x * spots[0, j] + y * spots[1, j] + z * spots[2, j]
            distance = abs(phase - np.rint(phase))
            trimmed = min(max(distance, low), high)
            total += (c2 * trimmed + c1) * trimmed + c0 + (one if distance < close else zero)
        scores[i] = total


@jit
def keep_distinct(directions: NDArray, order: NDArray, max_cosine: float, chosen: NDArray) -> int:
    """Keep the first of each bundle of neighbouring axes.

    Parameters
    ----------
    directions : float32[3, n]
        Unit vectors, one a column.
    order : int64[m]
        Numbers of vectors, best first.
    max_cosine : float64
        Axes with a larger cosine between them, in either direction, are neighbours.
    chosen : int64[k], written
        Numbers of the kept vectors, best first.

    Returns
    -------
    int
        How many are kept.
    """
    n = 0
    for i in order:
        if n == chosen.shape[0]:
            break
        for j in range(n):
            k = chosen[j]
            cosine = (
                directions[0, i] * directions[0, k]
                + directions[1, i] * directions[1, k]
                + directions[2, i] * directions[2, k]
            )
            if abs(cosine) > max_cosine:
                break
        else:
            chosen[n] = i
            n += 1
    return n


@inline_jit
def solve_symmetric(n: NDArray, rhs: NDArray, solution: NDArray) -> bool:
    """Solve a symmetric 3x3 system, n = (xx, xy, xz, yy, yz, zz); False where it is nearly singular."""
    c00 = n[3] * n[5] - n[4] * n[4]
    c01 = n[2] * n[4] - n[1] * n[5]
    c02 = n[1] * n[4] - n[2] * n[3]
    det = n[0] * c00 + n[1] * c01 + n[2] * c02
    trace = n[0] + n[3] + n[5]
    if not det > 1e-9 * trace * trace * trace:
        return False
    c11 = n[0] * n[5] - n[2] * n[2]
    c12 = n[1] * n[2] - n[0] * n[4]
    c22 = n[0] * n[3] - n[1] * n[1]
    for k in range(rhs.shape[0]):
        x, y, z = rhs[k, 0], rhs[k, 1], rhs[k, 2]
        solution[k, 0] = (c00 * x + c01 * y + c02 * z) / det
        solution[k, 1] = (c01 * x + c11 * y + c12 * z) / det
        solution[k, 2] = (c02 * x + c12 * y + c22 * z) / det
    return True


@jit
def refine_vectors(vectors: NDArray, spots: NDArray, n_first: int, min_spots: int, quality: NDArray) -> None:
    """Fit lattice vectors to the spots near their planes by least squares, with a shrinking distance.

    Parameters
    ----------
    vectors : float64[n, 3], changed
        Lattice vectors [Å].
    spots : float64[3, m]
        Scattering vectors in order of resolution [Å⁻¹].
    n_first : int64
        Spots of lowest resolution that take part from the first round; the others join later, when the vector is
        precise enough to index them.
    min_spots : int64
        With fewer spots near the planes a vector is left as it is.
    quality : float64[n], written
        Sum over spots of 1 - (distance / 0.1)², without those beyond 0.1.
    """
    normal = np.empty(6)
    rhs = np.empty((1, 3))
    solution = np.empty((1, 3))
    m = spots.shape[1]
    for i in range(vectors.shape[0]):
        for number in range(ROUNDS.shape[0]):
            n_used = min(n_first + (m - n_first) * number // 2, m)
            n = _sum_near_planes(spots, n_used, vectors[i], ROUNDS[number], normal, rhs[0])
            if n < min_spots or not solve_symmetric(normal, rhs, solution):
                break
            vectors[i] = solution[0]
        quality[i] = _quality(spots, vectors[i])


@fast_jit
def _sum_near_planes(
    spots: NDArray, n_used: int, vector: NDArray, limit: float, normal: NDArray, rhs: NDArray
) -> float:
    """Sum the normal equations over the spots nearer than `limit` to a plane; gives their number."""
    a, b, c = vector[0], vector[1], vector[2]
    n = xx = xy = xz = yy = yz = zz = rx = ry = rz = 0.0
    for j in range(n_used):
        x, y, z = spots[0, j], spots[1, j], spots[2, j]
        phase = x * a + y * b + z * c
        index = np.rint(phase)
        near = 1.0 if abs(phase - index) < limit else 0.0
        n += near
        nx, ny, nz = near * x, near * y, near * z
        xx += nx * x
        xy += nx * y
        xz += nx * z
        yy += ny * y
        yz += ny * z
        zz += nz * z
        rx += nx * index
        ry += ny * index
        rz += nz * index
    normal[0], normal[1], normal[2], normal[3], normal[4], normal[5] = xx, xy, xz, yy, yz, zz
    rhs[0], rhs[1], rhs[2] = rx, ry, rz
    return n


@fast_jit
def _quality(spots: NDArray, vector: NDArray) -> float:
    a, b, c = vector[0], vector[1], vector[2]
    total = 0.0
    for j in range(spots.shape[1]):
        phase = spots[0, j] * a + spots[1, j] * b + spots[2, j] * c
        distance = (phase - np.rint(phase)) * 10.0
        total += max(0.0, 1.0 - distance * distance)
    return total


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one = np.ones((3, 1), np.float32)
    score_vectors(one, np.float32(1.0), one, np.ones(N_RULE, np.float32), np.zeros(1, np.float32))
    keep_distinct(one, np.zeros(1, np.int64), 0.5, np.zeros(1, np.int64))
    refine_vectors(np.ones((1, 3)), np.ones((3, 1)), 1, 3, np.zeros(1))
