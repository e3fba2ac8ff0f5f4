"""The reciprocal lattice points of a cell, by distance from the origin."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def points_within(basis: FloatArray, radius: float) -> tuple[IntArray, FloatArray]:
    """Give the lattice points within a distance from the origin, the nearest first, without the origin itself.

    Parameters
    ----------
    basis : float64[3, 3]
        Rows a, b, c of a primitive cell [Å].
    radius : float
        Largest distance [Å⁻¹].

    Returns
    -------
    int64[n, 3], float64[n, 3]
        Indices, and places [Å⁻¹].
    """
    most = np.floor(radius * np.linalg.norm(basis, axis=1)).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), -1).reshape(-1, 3)
    places = grid @ np.linalg.inv(basis).T
    length = np.linalg.norm(places, axis=1)
    inside = np.flatnonzero((length <= radius) & (length > 0.0))
    order = inside[np.argsort(length[inside], kind="stable")]
    return np.asarray(grid[order], np.int64), np.ascontiguousarray(places[order])
