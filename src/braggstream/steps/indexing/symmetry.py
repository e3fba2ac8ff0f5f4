"""Rotations that carry a lattice onto itself, from its metric alone."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SAME = 1e-3
"""Relative difference up to which scalar products count as equal."""


def lattice_rotations(basis: FloatArray) -> IntArray:
    """Proper rotations of a lattice whose reduced basis vectors are rows, int64[n, 3, 3].

    Each matrix takes Miller indices, as a row, to those of an equivalent point: hkl @ matrix.
    """
    gram = basis @ basis.T
    matrices = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    lengths = matrices @ gram @ matrices.transpose(0, 2, 1)
    scale = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    is_same = (np.abs(lengths - gram) < SAME * scale).all(axis=(1, 2))
    found = matrices[is_same]
    found = found[np.rint(np.linalg.det(found)) == 1.0]
    return np.asarray(found.transpose(0, 2, 1), np.int64)


def is_representative(hkl: IntArray, rotations: IntArray) -> NDArray[np.bool_]:
    """Tell which lattice points stand for all that rotations make of them: one of each orbit, bool[n]."""
    span = 2 * int(np.abs(hkl).max(initial=0)) * 3 + 1
    weights = np.array([span * span, span, 1])
    orbit = (hkl @ rotations) @ weights  # [rotations, n]
    return np.asarray(hkl @ weights >= orbit.max(axis=0))


def can_be_reversed(rotations: IntArray, axis: int) -> bool:
    """Whether a rotation takes a basis vector to its opposite."""
    return bool((rotations[:, :, axis] == -np.eye(3, dtype=np.int64)[axis]).all(axis=1).any())


def different_axes(rotations: IntArray) -> list[int]:
    """Numbers of the basis vectors without those that a rotation takes to an earlier one, or to its opposite."""
    unit = np.eye(3, dtype=np.int64)
    found: list[int] = []
    for axis in range(3):
        images = np.abs(rotations[:, :, axis])
        if not any((images == unit[earlier]).all(axis=1).any() for earlier in found):
            found.append(axis)
    return found
