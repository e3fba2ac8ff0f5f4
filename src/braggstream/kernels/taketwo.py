"""Orientations from pairs of vectors between spots: the seeds of TakeTwo, and how many vectors agree with each.

Ginn et al. (2016), Acta Cryst. D72, 956 (doi:10.1107/S2059798316010706).
"""

from math import acos, cos, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

ANGLE_TOLERANCE, POSITION_ERROR, SAME_ORIENTATION, ENOUGH, MAX_COMBINATIONS = range(5)
N_LIMITS = 5
"""Limits of the search: difference of an observed and an expected angle [rad], and what the ends of a vector may
add to it [Å⁻¹]; orientations with a larger trace of their relative rotation are one; a network of so many vectors
ends the search; as do so many combinations tried."""

N_FIRST = 48
"""Vectors with which a seed is judged before the others are looked at."""
MIN_ANGLE = 15.0 * pi / 180.0
"""Two vectors more nearly parallel than this fix no orientation [rad]."""


@jit
def collect_vectors(spots: NDArray, shortest: float, longest: float, vectors: NDArray, ends: NDArray) -> int:
    """Collect vectors between spots, those between the first ones first.

    Parameters
    ----------
    spots : float64[n, 3]
        The origin, then scattering vectors, strongest first [Å⁻¹].
    shortest, longest : float64
        Range of lengths [Å⁻¹].
    vectors : float64[m, 3], written
    ends : int64[m, 2], written
        Numbers of the spots that each one joins.

    Returns
    -------
    int
        How many there are, at most m.
    """
    n = 0
    for second in range(spots.shape[0]):
        for first in range(second):
            length2 = 0.0
            for i in range(3):
                length2 += (spots[second, i] - spots[first, i]) ** 2
            if not shortest * shortest < length2 < longest * longest:
                continue
            if n == vectors.shape[0]:
                return n
            for i in range(3):
                vectors[n, i] = spots[second, i] - spots[first, i]
            ends[n, 0], ends[n, 1] = first, second
            n += 1
    return n


@jit
def list_pairs(ends: NDArray, n_matches: NDArray, pairs: NDArray, n_combinations: NDArray) -> int:
    """List pairs of vectors that share a spot and match some lattice vectors.

    Parameters
    ----------
    ends : int64[n, 2]
        Spots that each vector joins.
    n_matches : int64[n]
        Lattice vectors that have its length.
    pairs : int64[m, 2], written
    n_combinations : int64[m], written
        Combinations of matches of each pair.

    Returns
    -------
    int
        How many pairs there are, at most m.
    """
    n = 0
    for second in range(ends.shape[0]):
        for first in range(second):
            is_shared = (
                ends[first, 0] == ends[second, 0]
                or ends[first, 0] == ends[second, 1]
                or ends[first, 1] == ends[second, 0]
                or ends[first, 1] == ends[second, 1]
            )
            if is_shared and n_matches[first] * n_matches[second] > 0 and n < pairs.shape[0]:
                pairs[n, 0], pairs[n, 1] = first, second
                n_combinations[n] = n_matches[first] * n_matches[second]
                n += 1
    return n


@inline_jit
def _frame(u: NDArray, v: NDArray, frame: NDArray) -> None:
    """Write orthonormal rows: the bisector of two directions, the other one in their plane, the normal."""
    u_length = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])
    v_length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    for i in range(3):
        frame[0, i] = u[i] / u_length + v[i] / v_length
        frame[1, i] = v[i] / v_length - u[i] / u_length
    for row in range(2):
        length = sqrt(frame[row, 0] ** 2 + frame[row, 1] ** 2 + frame[row, 2] ** 2)
        for i in range(3):
            frame[row, i] /= length
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        frame[2, i] = frame[0, j] * frame[1, k] - frame[0, k] * frame[1, j]


@jit
def count_members(
    vectors: NDArray, tolerance2: NDArray, direct: NDArray, metric: NDArray, start: int, end: int
) -> int:
    """Count vectors that end near a lattice point.

    Parameters
    ----------
    vectors : float64[n, 3]
        Vectors between spots [Å⁻¹].
    tolerance2 : float64[n]
        Squared distance that makes one a member [Å⁻²].
    direct : float64[3, 3]
        Rows a, b, c of a primitive cell, oriented [Å].
    metric : float64[6]
        Squares and doubled products of the reciprocal axes: aa, bb, cc, 2bc, 2ac, 2ab [Å⁻²].
    start, end : int64
        Range of vectors to look at.
    """
    n = 0
    for j in range(start, end):
        x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        h = direct[0, 0] * x + direct[0, 1] * y + direct[0, 2] * z
        k = direct[1, 0] * x + direct[1, 1] * y + direct[1, 2] * z
        m = direct[2, 0] * x + direct[2, 1] * y + direct[2, 2] * z
        h -= np.rint(h)
        k -= np.rint(k)
        m -= np.rint(m)
        squares = metric[0] * h * h + metric[1] * k * k + metric[2] * m * m
        if squares + metric[3] * k * m + metric[4] * h * m + metric[5] * h * k < tolerance2[j]:
            n += 1
    return n


@inline_jit
def _place_of(n: int, seed: NDArray, counts: NDArray, seeds: NDArray, n_kept: int, same: float) -> int:
    """Where a seed belongs in the list, best first; -1 where it is there already, or not good enough."""
    for i in range(n_kept):
        trace = 0.0
        for row in range(3):
            for column in range(3):
                trace += seeds[i, row, column] * seed[row, column]
        if trace > same:
            if counts[i] >= n:
                return -1
            for j in range(i, n_kept - 1):
                counts[j] = counts[j + 1]
                seeds[j] = seeds[j + 1]
            counts[n_kept - 1] = -1
            break
    place = 0
    while place < n_kept and counts[place] >= n:
        place += 1
    return place if place < counts.shape[0] else -1


@jit
def find_seeds(
    observed: tuple,
    pairs: NDArray,
    lattice: tuple,
    cell: tuple,
    limits: NDArray,
    seeds: NDArray,
    counts: NDArray,
) -> int:
    """Find orientations in which two vectors between spots are lattice vectors, and most of the others too.

    Parameters
    ----------
    observed : (float64[n, 3], float64[n], int64[n, 2])
        Vectors between spots [Å⁻¹]; squared distance that makes one a member [Å⁻²]; first and last + 1 of the
        lattice vectors that have its length.
    pairs : int64[m, 2]
        Pairs of vectors that share a spot, the most telling first.
    lattice : (float64[k, 3], float64[k], bool[k])
        Lattice vectors by length, their lengths [Å⁻¹], and which of them stand for all their equivalents.
    cell : (float64[3, 3], float64[6])
        Rows a, b, c of the primitive cell in the setting of `lattice` [Å]; reciprocal metric of `count_members`.
    limits : float64[5]
        See the constants above.
    seeds : float64[s, 3, 3], written
        Rotation matrices, from lattice to laboratory, those with most members first.
    counts : int64[s], written
        Members of each; 0 where there is no further seed.

    Returns
    -------
    int
        Combinations tried.
    """
    vectors, tolerance2, matches = observed
    points, lengths, is_unique = lattice
    basis, metric = cell
    n_vectors = vectors.shape[0]
    n_first = min(N_FIRST, n_vectors)
    seen, meant = np.empty((3, 3)), np.empty((3, 3))
    rotation, direct = np.empty((3, 3)), np.empty((3, 3))
    counts[:] = -1
    n_kept = 0
    n_tried = 0
    for number in range(pairs.shape[0]):
        first, second = pairs[number]
        if matches[first, 1] - matches[first, 0] > matches[second, 1] - matches[second, 0]:
            first, second = second, first
        u, v = vectors[first], vectors[second]
        product = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
        u2, v2 = u[0] ** 2 + u[1] ** 2 + u[2] ** 2, v[0] ** 2 + v[1] ** 2 + v[2] ** 2
        angle = acos(min(1.0, max(-1.0, product / sqrt(u2 * v2))))
        if angle < MIN_ANGLE or angle > pi - MIN_ANGLE:
            continue
        tolerance = sqrt(limits[ANGLE_TOLERANCE] ** 2 + limits[POSITION_ERROR] ** 2 * (1.0 / u2 + 1.0 / v2))
        most, least = cos(max(0.0, angle - tolerance)), cos(min(pi, angle + tolerance))
        _frame(u, v, seen)
        for i in range(matches[first, 0], matches[first, 1]):
            if not is_unique[i]:
                continue
            for j in range(matches[second, 0], matches[second, 1]):
                n_tried += 1
                cosine = points[i, 0] * points[j, 0] + points[i, 1] * points[j, 1] + points[i, 2] * points[j, 2]
                cosine /= lengths[i] * lengths[j]
                if not least < cosine < most:
                    continue
                _frame(points[i], points[j], meant)
                for row in range(3):
                    for column in range(3):
                        rotation[row, column] = (
                            seen[0, row] * meant[0, column]
                            + seen[1, row] * meant[1, column]
                            + seen[2, row] * meant[2, column]
                        )
                for row in range(3):
                    for column in range(3):
                        direct[row, column] = (
                            basis[row, 0] * rotation[column, 0]
                            + basis[row, 1] * rotation[column, 1]
                            + basis[row, 2] * rotation[column, 2]
                        )
                n = count_members(vectors, tolerance2, direct, metric, 0, n_first)
                # A seed that is to be kept has about as many members among the first vectors as among all.
                if 2 * n * n_vectors < n_first * counts[-1]:
                    continue
                n += count_members(vectors, tolerance2, direct, metric, n_first, n_vectors)
                if n <= counts[-1]:
                    continue
                place = _place_of(n, rotation, counts, seeds, n_kept, limits[SAME_ORIENTATION])
                if place >= 0:
                    if n_kept > 0 and counts[n_kept - 1] < 0:
                        n_kept -= 1
                    if n_kept < counts.shape[0]:
                        n_kept += 1
                    for k in range(n_kept - 1, place, -1):
                        counts[k] = counts[k - 1]
                        seeds[k] = seeds[k - 1]
                    counts[place] = n
                    seeds[place] = rotation
        if counts[0] >= limits[ENOUGH] or n_tried > limits[MAX_COMBINATIONS]:
            break
    for i in range(counts.shape[0]):
        counts[i] = max(counts[i], 0)
    return n_tried


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one = np.ones((1, 3))
    ends = np.zeros((1, 2), np.int64)
    collect_vectors(one, 0.0, 1.0, one.copy(), ends)
    list_pairs(ends, np.ones(1, np.int64), ends.copy(), np.ones(1, np.int64))
    observed = (one, np.ones(1), np.zeros((1, 2), np.int64))
    lattice = (one, np.ones(1), np.ones(1, np.bool_))
    limits = np.ones(N_LIMITS)
    seeds, counts = np.zeros((2, 3, 3)), np.zeros(2, np.int64)
    find_seeds(observed, np.zeros((1, 2), np.int64), lattice, (np.eye(3), np.ones(6)), limits, seeds, counts)
