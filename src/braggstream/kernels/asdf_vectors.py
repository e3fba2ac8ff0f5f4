"""Lattice vectors of an unknown lattice: maxima of a map of direct space, and how well they explain the spots."""

from math import exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit

SCORE, ROW, COLUMN, PLANE = range(4)
N_MAXIMUM = 4
"""Columns of a maximum: its value and its place in the map."""
LIKELIHOOD, PART, SPREAD = range(3)
N_EVIDENCE = 3
"""Columns of the evidence for a vector or a cell: logarithm of the likelihood ratio against spots that lie
anywhere; part of the spots that belongs to it; spread (sigma) of those about it."""
FIRST_PART = 0.6
FIRST_SPREAD = 0.08
LEAST_SPREAD, MOST_SPREAD = 0.004, 0.15
"""Spread of a vector's phases [cycles]."""
N_STEPS = 4


@jit
def collect_maxima(plane: NDArray, number: int, threshold: float, maxima: NDArray, n: int) -> int:
    """Append the local maxima of one plane of the map.

    Parameters
    ----------
    plane : float32[n, m]
        The map at one z.
    number : int64
        Number of the plane, to be noted.
    threshold : float64
        Maxima up to this value are left out.
    maxima : float32[k, 4], written
        Value, row, column and plane of each maximum.
    n : int64
        Maxima that are there already.

    Returns
    -------
    int
        Maxima that are there now; -1 where there is no room for all of them.
    """
    for i in range(1, plane.shape[0] - 1):
        for j in range(1, plane.shape[1] - 1):
            value = plane[i, j]
            if value <= threshold or value < plane[i, j - 1] or value <= plane[i, j + 1]:
                continue
            if value < plane[i - 1, j] or value <= plane[i + 1, j]:
                continue
            if n == maxima.shape[0]:
                return -1
            maxima[n, SCORE], maxima[n, ROW], maxima[n, COLUMN], maxima[n, PLANE] = value, i, j, number
            n += 1
    return n


@jit
def judge_vectors(vectors: NDArray, spots: NDArray, evidence: NDArray) -> None:
    """Judge lattice vectors by a mixture: phases spread about integers, and phases anywhere.

    Parameters
    ----------
    vectors : float64[n, 3]
        Direct lattice vectors [Å].
    spots : float64[m, 3]
        Scattering vectors [Å⁻¹].
    evidence : float64[n, 3], written
        Columns as above; part and spread are fitted by expectation maximisation, the spread in cycles.
    """
    for i in range(vectors.shape[0]):
        part, spread = FIRST_PART, FIRST_SPREAD
        total = 0.0
        for step in range(N_STEPS):
            height = part / (sqrt(2.0 * pi) * spread)
            weights, squares, total = 0.0, 0.0, 0.0
            for j in range(spots.shape[0]):
                phase = vectors[i, 0] * spots[j, 0] + vectors[i, 1] * spots[j, 1] + vectors[i, 2] * spots[j, 2]
                distance = (phase - np.rint(phase)) / spread
                lattice = height * exp(-0.5 * distance * distance) if abs(distance) < 6.0 else 0.0
                weight = lattice / (1.0 - part + lattice)
                weights += weight
                squares += weight * distance * distance
                if step == N_STEPS - 1:
                    total += log(1.0 - part + lattice)
            if step < N_STEPS - 1:
                part = min(max(weights / spots.shape[0], 0.05), 0.98)
                spread *= sqrt(squares / max(weights, 1e-9))
                spread = min(max(spread, LEAST_SPREAD), MOST_SPREAD)
        evidence[i, LIKELIHOOD], evidence[i, PART], evidence[i, SPREAD] = total, part, spread


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    collect_maxima(np.zeros((3, 3), np.float32), 0, 1.0, np.zeros((1, N_MAXIMUM), np.float32), 0)
    judge_vectors(np.ones((1, 3)), np.ones((1, 3)), np.zeros((1, N_EVIDENCE)))
