"""Correlations of all pairs of crystals, as they are and with one of them reindexed (`ambigator --corr-matrix`)."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ambiguity import FEWEST
from braggstream.steps.merging.ambiguity_data import ComparableReflections

Matrix = NDArray[np.float32]

BLOCK = 256
"""Crystals that are compared with as many at once."""


def pair_correlations(data: ComparableReflections) -> tuple[Matrix, Matrix]:
    """Correlate each crystal with each other one over the reflections that both have.

    Returns
    -------
    float32[n_crystals, n_crystals]
        As they are; 0 where too few reflections are common.
    float32[n_crystals, n_crystals]
        With the crystal of the row reindexed.
    """
    n, member = data.n_crystals, data.images[0]
    mate = data.images[1] if data.has_operator else member
    found = (np.zeros((n, n), np.float32), np.zeros((n, n), np.float32))
    for first in range(0, n, BLOCK):
        columns = _dense(data, member, first)
        for row in range(0, n, BLOCK):
            for matrix, index in zip(found, (member, mate), strict=True):
                part = _correlated(_dense(data, index, row), columns)
                matrix[row : row + len(part), first : first + part.shape[1]] = part
    return found


def only_some(matrix: Matrix, n_partners: int, rng: np.random.Generator) -> Matrix:
    """Keep the correlations with so many random partners of each crystal; the others become 0."""
    if n_partners >= len(matrix) - 1:
        return matrix
    order = rng.random(matrix.shape).argsort(axis=1).argsort(axis=1)
    return np.where(order < n_partners, matrix, np.float32(0.0))


def _dense(data: ComparableReflections, index: NDArray[np.int32], first: int) -> tuple[Matrix, Matrix]:
    """Values of some crystals, and which of them are there, float32[n_crystals, n_members]."""
    last = min(first + BLOCK, data.n_crystals)
    some = slice(data.start[first], data.start[last])
    crystal = np.repeat(np.arange(last - first), np.diff(data.start[first : last + 1]))
    shape = (last - first, len(data.hkl))
    values, present = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    values[crystal, index[some]] = data.observed[0, some]
    present[crystal, index[some]] = 1.0
    return values, present


def _correlated(rows: tuple[Matrix, Matrix], columns: tuple[Matrix, Matrix]) -> Matrix:
    (x, in_x), (y, in_y) = rows, columns
    n = in_x @ in_y.T
    x_sum, y_sum = x @ in_y.T, in_x @ y.T
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = x @ y.T - x_sum * y_sum / n
        variances = ((x * x) @ in_y.T - x_sum**2 / n) * (in_x @ (y * y).T - y_sum**2 / n)
        found = covariance / np.sqrt(variances)
    return np.where((n >= FEWEST) & (variances > 0.0), found, 0.0).astype(np.float32)
