"""Equivalent reflections: the representative of each in the asymmetric unit, and how many there are."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

BITS = 20
"""Bits of one index in a key."""
OFFSET = 1 << (BITS - 1)
MASK = (1 << BITS) - 1
LARGEST_INDEX = OFFSET - 1
"""Largest index that a key can hold."""
NON_NEGATIVE = 1 << (3 * BITS)


@inline_jit
def pack(h: int, k: int, l: int) -> int:  # noqa: E741
    """Make a key of three indices; keys are in the order of h, then k, then l."""
    return ((h + OFFSET) << (2 * BITS)) | ((k + OFFSET) << BITS) | (l + OFFSET)


@inline_jit
def asymmetric_key(h: int, k: int, l: int, operators: NDArray[np.int8]) -> int:  # noqa: E741
    """Key of the representative: the largest image without a negative index, or else the largest of all."""
    best = -1
    for n in range(operators.shape[0]):
        x = h * operators[n, 0, 0] + k * operators[n, 1, 0] + l * operators[n, 2, 0]
        y = h * operators[n, 0, 1] + k * operators[n, 1, 1] + l * operators[n, 2, 1]
        z = h * operators[n, 0, 2] + k * operators[n, 1, 2] + l * operators[n, 2, 2]
        key = pack(x, y, z)
        if x >= 0 and y >= 0 and z >= 0:
            key |= NON_NEGATIVE
        best = max(best, key)
    return best & (NON_NEGATIVE - 1)


@jit
def asymmetric_indices(hkl: NDArray[np.int32], operators: NDArray[np.int8], out: NDArray[np.int32]) -> None:
    """Map indices to the asymmetric unit of CrystFEL's point groups.

    Parameters
    ----------
    hkl : int32[n, 3]
        At most a quarter of `LARGEST_INDEX`.
    operators : int8[n_operators, 3, 3]
        hkl' = hkl · operator.
    out : int32[n, 3], written
        The representatives.
    """
    for n in range(hkl.shape[0]):
        key = asymmetric_key(hkl[n, 0], hkl[n, 1], hkl[n, 2], operators)
        out[n, 0] = (key >> (2 * BITS)) - OFFSET
        out[n, 1] = ((key >> BITS) & MASK) - OFFSET
        out[n, 2] = (key & MASK) - OFFSET


@jit
def count_equivalents(hkl: NDArray[np.int32], operators: NDArray[np.int8], out: NDArray[np.int32]) -> None:
    """Count the distinct images of reflections: the operators, over those that leave hkl where it is."""
    for n in range(hkl.shape[0]):
        h, k, l = hkl[n, 0], hkl[n, 1], hkl[n, 2]  # noqa: E741
        n_fixed = 0
        for m in range(operators.shape[0]):
            x = h * operators[m, 0, 0] + k * operators[m, 1, 0] + l * operators[m, 2, 0]
            y = h * operators[m, 0, 1] + k * operators[m, 1, 1] + l * operators[m, 2, 1]
            z = h * operators[m, 0, 2] + k * operators[m, 1, 2] + l * operators[m, 2, 2]
            n_fixed += x == h and y == k and z == l
        out[n] = operators.shape[0] // max(n_fixed, 1)


def warm_up() -> None:
    """Compile the kernels for the signatures that point groups use."""
    hkl, identity = np.zeros((1, 3), np.int32), np.eye(3, dtype=np.int8)[None]
    asymmetric_indices(hkl, identity, np.zeros((1, 3), np.int32))
    count_equivalents(hkl, identity, np.zeros(1, np.int32))
