"""Cells of an unknown lattice: which three lattice vectors span it, and how well a cell explains the spots."""

from math import exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.asdf_vectors import LIKELIHOOD, N_EVIDENCE, PART, SPREAD

BITS = 63
"""Spots a word of a mask holds."""
FEWEST = 4
"""Spots that three vectors must explain together."""
FLATTEST = 0.12
"""Smallest volume of three vectors, relative to the product of their lengths."""
FIRST_PART = 0.7
N_STEPS = 6
LEAST_SPREAD, MOST_SPREAD = 4e-5, 2e-3
"""Spread of spots about lattice points [Å⁻¹]."""


@inline_jit
def _n_bits(word: np.int64) -> int:
    """Count the bits of a word (Kernighan's way would take as many steps as there are bits)."""
    word = word - ((word >> 1) & 0x5555555555555555)
    word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F0F0F0F0F
    return int((word * 0x0101010101010101) >> 56)


@jit
def mark_spots(vectors: NDArray, spots: NDArray, limits: NDArray, masks: NDArray) -> None:
    """Mark the spots whose phase is within a limit of an integer.

    Parameters
    ----------
    vectors : float64[n, 3]
        Direct lattice vectors [Å].
    spots : float64[m, 3]
        Scattering vectors [Å⁻¹].
    limits : float64[n]
        Limit for each vector [cycles].
    masks : int64[n, (m + 62) // 63], written
        One bit a spot.
    """
    masks[:] = 0
    for i in range(vectors.shape[0]):
        for j in range(spots.shape[0]):
            phase = vectors[i, 0] * spots[j, 0] + vectors[i, 1] * spots[j, 1] + vectors[i, 2] * spots[j, 2]
            if abs(phase - np.rint(phase)) < limits[i]:
                masks[i, j // BITS] |= np.int64(1) << (j % BITS)


@jit
def rank_triplets(vectors: NDArray, masks: NDArray, limits: NDArray, scores: NDArray, triplets: NDArray) -> int:
    """Find the triplets of vectors that explain most, in the smallest volume.

    The score is n log(V0 / V): n spots on points of a lattice of volume V are the less likely by chance, the
    smaller V is.

    Parameters
    ----------
    vectors : float64[n, 3]
        Direct lattice vectors, the shortest first [Å].
    masks : int64[n, k]
        Spots that each explains.
    limits : float64[3]
        Smallest and largest volume, and V0 [Å³].
    scores : float64[m], written
        Scores, the best first.
    triplets : int64[m, 3], written
        Numbers of the vectors.

    Returns
    -------
    int
        How many triplets there are; of those that explain as much in the same volume the first one only.
    """
    n = 0
    pair = np.empty(masks.shape[1], np.int64)
    lengths = np.sqrt((vectors**2).sum(axis=1))
    for i in range(vectors.shape[0]):
        for j in range(i):
            n_pair = 0
            for word in range(masks.shape[1]):
                pair[word] = masks[i, word] & masks[j, word]
                n_pair += _n_bits(pair[word])
            x = vectors[i, 1] * vectors[j, 2] - vectors[i, 2] * vectors[j, 1]
            y = vectors[i, 2] * vectors[j, 0] - vectors[i, 0] * vectors[j, 2]
            z = vectors[i, 0] * vectors[j, 1] - vectors[i, 1] * vectors[j, 0]
            if n_pair < FEWEST:
                continue
            for k in range(j):
                volume = abs(x * vectors[k, 0] + y * vectors[k, 1] + z * vectors[k, 2])
                if not volume > FLATTEST * lengths[i] * lengths[j] * lengths[k]:
                    continue
                if not limits[0] <= volume <= limits[1]:
                    continue
                gain = log(limits[2] / volume)
                if n == scores.shape[0] and n_pair * gain <= scores[n - 1]:
                    continue
                n_spots = 0
                for word in range(masks.shape[1]):
                    n_spots += _n_bits(pair[word] & masks[k, word])
                if n_spots >= FEWEST:
                    n = _insert(n_spots * gain, i, j, k, n, scores, triplets)
    return n


@inline_jit
def _insert(score: float, i: int, j: int, k: int, n: int, scores: NDArray, triplets: NDArray) -> int:
    """Insert a triplet into the sorted list, unless one of the same score is there; gives the new length."""
    place = n
    while place > 0 and scores[place - 1] < score:
        place -= 1
    if place > 0 and abs(scores[place - 1] - score) < 2e-3 * abs(score):
        return n
    if place == scores.shape[0]:
        return n
    last = min(n, scores.shape[0] - 1)
    for m in range(last, place, -1):
        scores[m] = scores[m - 1]
        triplets[m] = triplets[m - 1]
    scores[place] = score
    triplets[place, 0], triplets[place, 1], triplets[place, 2] = i, j, k
    return last + 1


@jit
def judge_cell(cell: NDArray, reciprocal: NDArray, spots: NDArray, evidence: NDArray, distances: NDArray) -> None:
    """Judge a cell by a mixture: spots spread about lattice points, and spots anywhere.

    A lattice that has points where no spot is explains as many spots with less: its likelihood is lower.  One that
    lacks points explains fewer spots.

    Parameters
    ----------
    cell : float64[3, 3]
        Rows a, b, c [Å].
    reciprocal : float64[3, 3]
        Rows a*, b*, c* [Å⁻¹].
    spots : float64[m, 3]
        Scattering vectors [Å⁻¹].
    evidence : float64[3], written
        Columns of `asdf_vectors`; part and spread are fitted by expectation maximisation, the spread in Å⁻¹.
    distances : float64[m], written
        Squared distance of each spot from the nearest lattice point [Å⁻²].
    """
    volume = abs(
        cell[0, 0] * (cell[1, 1] * cell[2, 2] - cell[1, 2] * cell[2, 1])
        - cell[0, 1] * (cell[1, 0] * cell[2, 2] - cell[1, 2] * cell[2, 0])
        + cell[0, 2] * (cell[1, 0] * cell[2, 1] - cell[1, 1] * cell[2, 0])
    )
    n = spots.shape[0]
    for j in range(n):
        distances[j] = 0.0
        d0, d1, d2 = 0.0, 0.0, 0.0
        for row in range(3):
            index = cell[row, 0] * spots[j, 0] + cell[row, 1] * spots[j, 1] + cell[row, 2] * spots[j, 2]
            index -= np.rint(index)
            d0 += index * reciprocal[row, 0]
            d1 += index * reciprocal[row, 1]
            d2 += index * reciprocal[row, 2]
        distances[j] = d0 * d0 + d1 * d1 + d2 * d2
    # Start from a ball about each lattice point that holds a fiftieth of reciprocal space.
    part, spread = FIRST_PART, 0.17 / volume ** (1.0 / 3.0)
    spread = min(spread, MOST_SPREAD)
    spread = min(spread, MOST_SPREAD)
    most = spread
    total = 0.0
    for step in range(N_STEPS + 1):
        height = part / ((2.0 * pi) ** 1.5 * spread**3 * volume)
        weights, squares, total = 0.0, 0.0, 0.0
        for j in range(n):
            distance = distances[j] / (spread * spread)
            lattice = height * exp(-0.5 * distance) if distance < 36.0 else 0.0
            weight = lattice / (1.0 - part + lattice)
            weights += weight
            squares += weight * distances[j]
            if step == N_STEPS:
                total += log(1.0 - part + lattice)
        if step < N_STEPS:
            part = min(max(weights / n, 0.05), 0.98)
            spread = min(max(sqrt(squares / (3.0 * max(weights, 1e-9))), LEAST_SPREAD), most)
    evidence[LIKELIHOOD], evidence[PART], evidence[SPREAD] = total, part, spread


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    masks = np.zeros((3, 1), np.int64)
    mark_spots(np.eye(3), np.ones((1, 3)), np.ones(3), masks)
    rank_triplets(np.eye(3), masks, np.ones(3), np.zeros(1), np.zeros((1, 3), np.int64))
    judge_cell(np.eye(3), np.eye(3), np.ones((1, 3)), np.zeros(N_EVIDENCE), np.zeros(1))
