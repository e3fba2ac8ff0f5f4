"""The unique reflections within a sphere of reciprocal space."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.equivalents import NON_NEGATIVE, asymmetric_key, pack

P, A, B, C, I, F, R, H = range(8)  # noqa: E741
"""Centrings, in the order of `model.cell.CENTRINGS`."""


@inline_jit
def _is_absent(h: int, k: int, l: int, centring: int) -> bool:  # noqa: E741
    if centring == A:
        return (k + l) % 2 != 0
    if centring == B:
        return (h + l) % 2 != 0
    if centring == C:
        return (h + k) % 2 != 0
    if centring == I:
        return (h + k + l) % 2 != 0
    if centring == F:
        return (h + k) % 2 != 0 or (k + l) % 2 != 0
    return centring == H and (k + l - h) % 3 != 0


@jit
def list_possible(
    operators: NDArray[np.int8],
    axes: NDArray[np.float64],
    most: NDArray[np.int64],
    reach: float,
    centring: int,
    found: NDArray[np.int32],
) -> int:
    """List the reflections that represent their equivalents, in ascending order of h, then k, then l.

    Parameters
    ----------
    operators : int8[n_operators, 3, 3]
        The point group.
    axes : float64[3, 3]
        Rows a*, b*, c* [Å⁻¹].
    most : int64[3]
        Largest index along each axis.
    reach : float
        Largest 1/d [Å⁻¹].
    centring : int
        Number of the centring.
    found : int32[n, 3], written
        As many as there is room for.

    Returns
    -------
    int
        How many there are.
    """
    n = 0
    for h in range(-most[0], most[0] + 1):
        for k in range(-most[1], most[1] + 1):
            x0 = h * axes[0, 0] + k * axes[1, 0]
            y0 = h * axes[0, 1] + k * axes[1, 1]
            z0 = h * axes[0, 2] + k * axes[1, 2]
            for l in range(-most[2], most[2] + 1):  # noqa: E741
                x, y, z = x0 + l * axes[2, 0], y0 + l * axes[2, 1], z0 + l * axes[2, 2]
                if x * x + y * y + z * z > reach * reach or (h == 0 and k == 0 and l == 0):
                    continue
                if _is_absent(h, k, l, centring):
                    continue
                if asymmetric_key(h, k, l, operators) != (pack(h, k, l) & (NON_NEGATIVE - 1)):
                    continue
                if n < found.shape[0]:
                    found[n, 0], found[n, 1], found[n, 2] = h, k, l
                n += 1
    return n


def warm_up() -> None:
    """Compile the kernel for the signatures that the steps use."""
    identity = np.eye(3, dtype=np.int8)[None]
    list_possible(identity, np.eye(3), np.ones(3, np.int64), 1.0, P, np.empty((0, 3), np.int32))
