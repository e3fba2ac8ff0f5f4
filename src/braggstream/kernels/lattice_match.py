"""Which settings of a lattice look like the cell that is expected."""

from math import acos, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit

MAX_TIES = 24


@jit
def match_settings(gram: NDArray, settings: NDArray, target: NDArray, tolerance: NDArray, ties: NDArray) -> int:
    """Find the settings of a lattice that are nearest to a target cell and within the tolerance.

    Parameters
    ----------
    gram : float64[3, 3]
        Scalar products of the reduced basis vectors [Å²].
    settings : float64[n, 3, 3]
        Matrices that turn the reduced basis (columns) into a setting to be tried.
    target : float64[12]
        Cell lengths [Å], angles [deg], then the G6 vector [Å²].
    tolerance : float64[6]
        Allowed deviation of lengths, relative to the candidate's own, and of angles [deg].
    ties : int64[24], written
        Numbers of the settings whose distance in G6 is within 0.1 % of the best.

    Returns
    -------
    int
        Number of ties; 0 where no setting is within the tolerance.
    """
    n_ties = 0
    best = np.inf
    g = np.empty(6)
    for number in range(settings.shape[0]):
        matrix = settings[number]
        if not _within(gram, matrix, target, tolerance, g):
            continue
        distance = 0.0
        for i in range(6):
            distance += (g[i] - target[6 + i]) ** 2
        distance = sqrt(distance)
        if distance < 0.999 * best or n_ties == 0:
            best = distance
            ties[0] = number
            n_ties = 1
        elif distance < 1.001 * best and n_ties < MAX_TIES:
            ties[n_ties] = number
            n_ties += 1
    return n_ties


@jit
def _within(gram: NDArray, matrix: NDArray, target: NDArray, tolerance: NDArray, g: NDArray) -> bool:
    """Write the G6 vector of a setting; False as soon as a length or an angle is out of tolerance."""
    for i in range(3):
        g[i] = _product(gram, matrix, i, i)
        length = sqrt(g[i])
        if not abs(target[i] - length) < tolerance[i] * length:
            return False
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        product = _product(gram, matrix, j, k)
        cosine = product / sqrt(g[j] * g[k])
        angle = acos(min(1.0, max(-1.0, cosine))) * (180.0 / pi)
        if not abs(angle - target[3 + i]) <= tolerance[3 + i]:
            return False
        g[3 + i] = 2.0 * product
    return True


@jit
def _product(gram: NDArray, matrix: NDArray, j: int, k: int) -> float:
    """Scalar product of columns j and k of a setting."""
    total = 0.0
    for p in range(3):
        for r in range(3):
            total += matrix[p, j] * gram[p, r] * matrix[r, k]
    return total


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    match_settings(np.eye(3), np.eye(3)[None], np.ones(12), np.ones(6), np.zeros(MAX_TIES, np.int64))
