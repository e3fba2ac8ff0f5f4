"""Put lattice vectors together that were found one by one, each with a length of its own, to cells."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_ANGLE_DEG = 3.0
"""An angle between axes may be off by so much: the cell file is wrong, and vectors are not yet precise."""
MOST_VECTORS = 24
"""Of each axis."""


class CellAssembly:
    """Assemble cells of a known primitive basis, float64[3, 3] (rows a, b, c) [Å]."""

    def __init__(self, basis: FloatArray) -> None:
        units = basis / np.linalg.norm(basis, axis=1, keepdims=True)
        self._angles = np.degrees(np.arccos(np.clip(units @ units.T, -1.0, 1.0)))
        self._handedness = np.sign(np.linalg.det(basis))
        self._lengths = np.linalg.norm(basis, axis=1)

    def cells(self, vectors: list[FloatArray], n_wanted: int) -> FloatArray:
        """Cells of vectors that enclose the right angles, the nearest to the expected cell first.

        `vectors` holds those found for a, b and c, the best first, each float64[n, 3] [Å]; a vector stands for its
        opposite, too.
        """
        a, b, c = (found[:MOST_VECTORS] for found in vectors)
        b, c = np.concatenate([b, -b]), np.concatenate([c, -c])
        ab, ac, bc = self._misfit(a, b, 0, 1), self._misfit(a, c, 0, 2), self._misfit(b, c, 1, 2)
        fits = (ab < 1.0)[:, :, None] & (ac < 1.0)[:, None, :] & (bc < 1.0)[None]
        i, j, k = np.nonzero(fits)
        cells = np.stack([a[i], b[j], c[k]], axis=1)
        misfit = ab[i, j] + ac[i, k] + bc[j, k]
        right = np.flatnonzero(np.sign(np.linalg.det(cells)) == self._handedness)
        best = right[np.argsort(misfit[right] + (i + j % len(b) + k)[right] / 100.0, kind="stable")][:n_wanted]
        return np.ascontiguousarray(cells[best])

    def _misfit(self, one: FloatArray, other: FloatArray, i: int, j: int) -> FloatArray:
        """Deviation of the angles between vectors, in units of what is allowed."""
        lengths = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
        angles = np.degrees(np.arccos(np.clip(one @ other.T / lengths, -1.0, 1.0)))
        return np.asarray(np.abs(angles - self._angles[i, j]) / MAX_ANGLE_DEG)
