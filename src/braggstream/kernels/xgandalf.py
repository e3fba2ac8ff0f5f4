"""Lattice vectors by search and refinement, and cells made of three of them: the loops of XGANDALF.

Gevorkov et al. (2019), Acta Cryst. A75, 694 (doi:10.1107/S2053273319010593).
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit, jit

CLOSE = 0.15
"""Distance of a phase from an integer up to which a spot is close to the planes of a vector."""

N_GLOBAL, N_SHRINKING, SHRINKING, N_LOCAL, N_LAST, LAST_SHRINKING, GAMMA, LONGEST, SHORTEST, TURNING = range(10)
N_PLAN = 10
"""Steps with all spots; more of them, and the factor by which they shrink; steps with close spots; more of them,
and their factor; where between the shortest and the longest step a step starts; both [Å]; what the direction counts
after it has turned back."""

_WEIGHT, _VALUE, _N_CLOSE, _X, _Y, _Z = range(6)


@inline_jit
def _cosine(z: np.float32) -> np.float32:
    """Cosine of 2 pi d, of z = d², |d| <= 1/2; to 1e-4."""
    value = np.float32(7.90354) * z - np.float32(26.42626)
    value = value * z + np.float32(60.24464)
    value = value * z - np.float32(85.45682)
    value = value * z + np.float32(64.93939)
    value = value * z - np.float32(19.73921)
    return value * z + np.float32(1.0)


@inline_jit
def _sine_part(z: np.float32) -> np.float32:
    """Sine of 2 pi d over d, of z = d², |d| <= 1/2; to 1e-4."""
    value = np.float32(3.81995) * z - np.float32(15.09464)
    value = value * z + np.float32(42.05869)
    value = value * z - np.float32(76.70586)
    value = value * z + np.float32(81.60525)
    value = value * z - np.float32(41.34170)
    return value * z + np.float32(6.283185)


@fast_jit
def score_samples(samples: NDArray, spots: NDArray, scores: NDArray) -> None:
    """Sum cos(2 pi q·t) over spots q for each vector t.

    Parameters
    ----------
    samples : float32[3, n]
        Vectors [Å].
    spots : float32[3, m]
        Scattering vectors [Å⁻¹].
    scores : float32[n], written
    """
    for i in range(samples.shape[1]):
        x, y, z = samples[0, i], samples[1, i], samples[2, i]
        total = np.float32(0.0)
        for j in range(spots.shape[1]):
            phase = x * spots[0, j] + y * spots[1, j] + z * spots[2, j]
            distance = phase - np.rint(phase)
            total += _cosine(distance * distance)
        scores[i] = total


@jit
def keep_apart(vectors: NDArray, order: NDArray, distance: float, chosen: NDArray) -> int:
    """Keep the first of vectors that are close to each other or to each other's opposite.

    Parameters
    ----------
    vectors : float32[3, n] or float64[3, n]
    order : int64[m]
        Numbers of vectors, best first.
    distance : float64
        Vectors closer than this are one [Å].
    chosen : int64[k], written
        Numbers of the kept ones, best first.

    Returns
    -------
    int
        How many are kept.
    """
    n = 0
    for i in order:
        if n == chosen.shape[0]:
            break
        is_new = True
        for j in range(n):
            plus, minus = 0.0, 0.0
            for axis in range(3):
                a, b = vectors[axis, i], vectors[axis, chosen[j]]
                plus += (a - b) * (a - b)
                minus += (a + b) * (a + b)
            if min(plus, minus) < distance * distance:
                is_new = False
                break
        if is_new:
            chosen[n] = i
            n += 1
    return n


@fast_jit
def _evaluate(vector: NDArray, spots: NDArray, weights: NDArray, most: np.float32, sums: NDArray) -> None:
    """Sum weights, weighted cosines, close spots and the gradient over spots nearer than `most` to an integer."""
    x, y, z = np.float32(vector[0]), np.float32(vector[1]), np.float32(vector[2])
    zero, one, close = np.float32(0.0), np.float32(1.0), np.float32(CLOSE)
    weight_sum, value, n_close = zero, zero, zero
    gx, gy, gz = zero, zero, zero
    for j in range(spots.shape[1]):
        phase = x * spots[0, j] + y * spots[1, j] + z * spots[2, j]
        distance = phase - np.rint(phase)
        square = distance * distance
        weight = weights[j]
        used = weight * (one if abs(distance) < most else zero)
        weight_sum += weight
        value += used * _cosine(square)
        n_close += one if abs(distance) < close else zero
        slope = -used * distance * _sine_part(square)
        gx += slope * spots[0, j]
        gy += slope * spots[1, j]
        gz += slope * spots[2, j]
    sums[_WEIGHT], sums[_VALUE], sums[_N_CLOSE] = weight_sum, value, n_close
    sums[_X], sums[_Y], sums[_Z] = gx, gy, gz


@inline_jit
def _step(
    vector: NDArray,
    spots: NDArray,
    weights: NDArray,
    is_local: bool,
    is_straight: bool,
    plan: NDArray,
    state: NDArray,
) -> None:
    """Make one step uphill; `state` is the direction and length of the last one, then six numbers of scratch."""
    sums = state[4:]
    _evaluate(vector, spots, weights, np.float32(CLOSE if is_local else 1.0), sums)
    if is_local and sums[_N_CLOSE] == 0.0:
        _evaluate(vector, spots, weights, np.float32(1.0), sums)
    size = sqrt(sums[_X] ** 2 + sums[_Y] ** 2 + sums[_Z] ** 2)
    if not size > 0.0:
        return
    dx, dy, dz = sums[_X] / size, sums[_Y] / size, sums[_Z] / size
    cosine = dx * state[0] + dy * state[1] + dz * state[2]
    turn = 0.5 + 1.5 * (0.5 * (cosine + 1.0)) ** 4
    if is_straight and cosine < -0.4:
        ex, ey, ez = dx + state[0], dy + state[1], dz + state[2]
        size = sqrt(ex * ex + ey * ey + ez * ez)
        if size > 1e-9:
            dx, dy, dz = ex / size, ey / size, ez / size
            turn = plan[TURNING]
    part = sums[_N_CLOSE] / spots.shape[1]
    value = sums[_VALUE] / sums[_WEIGHT]
    step = 0.5 * (plan[SHORTEST] + plan[GAMMA] * (plan[LONGEST] - plan[SHORTEST])) + 0.5 * state[3]
    step *= turn * (0.5 + 6.0 * (0.8 - part) ** 2) * (0.3 + 4.0 * (0.5 * (0.8 - value)) ** 3)
    step = min(max(step, plan[SHORTEST]), plan[LONGEST])
    vector[0] += step * dx
    vector[1] += step * dy
    vector[2] += step * dz
    state[0], state[1], state[2], state[3] = dx, dy, dz, step


@jit
def climb(vectors: NDArray, spots: NDArray, weights: NDArray, plan: NDArray) -> None:
    """Move vectors uphill on the mean cosine of their phases, with XGANDALF's schedule of steps.

    Parameters
    ----------
    vectors : float64[n, 3], changed
        Lattice vectors [Å].
    spots : float32[3, m]
        Scattering vectors [Å⁻¹].
    weights : float32[m]
        Weights of the spots.
    plan : float64[10]
        See the constants above.
    """
    state = np.empty(10)
    current = np.empty(N_PLAN)
    for i in range(vectors.shape[0]):
        current[:] = plan
        state[:] = 0.0
        state[3] = plan[SHORTEST] + 0.25 * (plan[LONGEST] - plan[SHORTEST])
        n_all = int(plan[N_GLOBAL] + plan[N_SHRINKING])
        for number in range(n_all):
            if number >= plan[N_GLOBAL]:
                for column in (GAMMA, LONGEST, SHORTEST):
                    current[column] *= plan[SHRINKING]
            _step(vectors[i], spots, weights, False, True, current, state)
        for number in range(int(plan[N_LOCAL] + plan[N_LAST])):
            is_last = number >= plan[N_LOCAL]
            if is_last:
                for column in (GAMMA, LONGEST, SHORTEST):
                    current[column] *= plan[LAST_SHRINKING]
            _step(vectors[i], spots, weights, True, not is_last, current, state)


@inline_jit
def count_bits(word: np.uint64) -> np.uint64:
    """Count the bits that are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@jit
def _count_common(close: NDArray, i: int, j: int, k: int) -> int:
    """Count the spots that are close to three vectors."""
    n = 0
    for word in range(close.shape[1]):
        n += int(count_bits(close[i, word] & close[j, word] & close[k, word]))
    return n


@jit
def assemble(
    vectors: NDArray, close: NDArray, volumes: NDArray, min_common: int, triples: NDArray, common: NDArray
) -> int:
    """Find the sets of three vectors that share most spots and span a cell of the right volume.

    Parameters
    ----------
    vectors : float64[n, 3]
        Lattice vectors, best first [Å].
    close : uint64[n, w]
        Bit sets of the spots that are close to each vector.
    volumes : float64[2]
        Smallest and largest volume [Å³].
    min_common : int64
        Fewest spots in common.
    triples : int64[m, 3], written
        Numbers of three vectors, the sets with most spots first.
    common : int64[m], written
        Spots of each.

    Returns
    -------
    int
        How many sets there are, at most m.
    """
    n_kept = 0
    most = triples.shape[0]
    for k in range(vectors.shape[0]):
        for j in range(k):
            x = vectors[j, 1] * vectors[k, 2] - vectors[j, 2] * vectors[k, 1]
            y = vectors[j, 2] * vectors[k, 0] - vectors[j, 0] * vectors[k, 2]
            z = vectors[j, 0] * vectors[k, 1] - vectors[j, 1] * vectors[k, 0]
            if _count_common(close, j, j, k) < min_common:
                continue
            for i in range(j):
                volume = abs(vectors[i, 0] * x + vectors[i, 1] * y + vectors[i, 2] * z)
                if not volumes[0] <= volume <= volumes[1]:
                    continue
                n = _count_common(close, i, j, k)
                if n < min_common or (n_kept == most and n <= common[most - 1]):
                    continue
                place = min(n_kept, most - 1)
                n_kept = min(n_kept + 1, most)
                while place > 0 and common[place - 1] < n:
                    common[place] = common[place - 1]
                    triples[place] = triples[place - 1]
                    place -= 1
                common[place] = n
                triples[place, 0], triples[place, 1], triples[place, 2] = i, j, k
    return n_kept


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    spots, order = np.ones((3, 1), np.float32), np.zeros(1, np.int64)
    score_samples(spots, spots, np.ones(1, np.float32))
    keep_apart(spots, order, 1.0, order.copy())
    keep_apart(np.ones((3, 1)), order, 1.0, order.copy())
    climb(np.ones((1, 3)), spots, np.ones(1, np.float32), np.ones(N_PLAN))
    assemble(np.ones((3, 3)), np.ones((3, 1), np.uint64), np.zeros(2), 1, np.zeros((1, 3), np.int64), order)
