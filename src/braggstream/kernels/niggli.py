"""Niggli reduction of a lattice basis."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

MAX_STEPS = 1000


@inline_jit
def _apply(basis: NDArray, transform: NDArray, matrix: NDArray) -> None:
    """Multiply basis and transform by a step matrix from the right, in place."""
    for target in (basis, transform):
        for row in range(3):
            x, y, z = target[row, 0], target[row, 1], target[row, 2]
            for column in range(3):
                target[row, column] = x * matrix[0, column] + y * matrix[1, column] + z * matrix[2, column]


@inline_jit
def _g6(basis: NDArray, g: NDArray) -> None:
    """G6 vector (a², b², c², 2bc cos α, 2ac cos β, 2ab cos γ) of the columns of a basis."""
    for i in range(3):
        g[i] = basis[0, i] ** 2 + basis[1, i] ** 2 + basis[2, i] ** 2
        j, k = (i + 1) % 3, (i + 2) % 3
        g[3 + i] = 2.0 * (basis[0, j] * basis[0, k] + basis[1, j] * basis[1, k] + basis[2, j] * basis[2, k])


@inline_jit
def _set_signs(g: NDArray, eps: float, matrix: NDArray) -> bool:
    """Make all three products positive, or all non-positive; False where they are so already."""
    n_negative, n_zero = 0, 0
    zero_axis = -1
    for i in range(3):
        if g[3 + i] < -eps:
            n_negative += 1
        elif not g[3 + i] > eps:
            n_zero += 1
            zero_axis = i
    want_positive = n_zero == 0 and n_negative % 2 == 0
    product = 1
    changed = False
    for i in range(3):
        flip = g[3 + i] < -eps if want_positive else g[3 + i] > eps
        matrix[i, i] = -1.0 if flip else 1.0
        product = -product if flip else product
        changed = changed or flip
    if product < 0:
        matrix[zero_axis, zero_axis] = -matrix[zero_axis, zero_axis]
    return changed


@jit
def reduce_niggli(basis: NDArray, transform: NDArray) -> int:
    """Reduce a basis: Krivy & Gruber's steps with the tolerance of Grosse-Kunstleve et al. (2004).

    Acta Cryst. A32, 297 (doi:10.1107/S0567739476000636); A60, 1 (doi:10.1107/S010876730302186X).

    Parameters
    ----------
    basis : float64[3, 3], changed
        Columns a, b, c; on return the reduced basis, of the same hand.
    transform : float64[3, 3], written
        Integer matrix of determinant 1: reduced = original @ transform.

    Returns
    -------
    int
        1 when reduced, 0 when the steps do not end (which only a degenerate basis does).
    """
    g = np.zeros(6)
    step = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            transform[i, j] = 1.0 if i == j else 0.0
    volume = abs(
        basis[0, 0] * (basis[1, 1] * basis[2, 2] - basis[1, 2] * basis[2, 1])
        - basis[0, 1] * (basis[1, 0] * basis[2, 2] - basis[1, 2] * basis[2, 0])
        + basis[0, 2] * (basis[1, 0] * basis[2, 1] - basis[1, 1] * basis[2, 0])
    )
    if not volume > 0.0:
        return 0
    eps = (1e-5 * volume ** (1.0 / 3.0)) ** 2
    for _ in range(MAX_STEPS):
        _g6(basis, g)
        step[:] = 0.0
        if _swap(g, eps, step):
            _apply(basis, transform, step)
            continue
        if _set_signs(g, eps, step):
            _apply(basis, transform, step)
            _g6(basis, g)
        step[:] = 0.0
        if not _shorten(g, eps, step):
            return 1
        _apply(basis, transform, step)
    return 0


@inline_jit
def _swap(g: NDArray, eps: float, step: NDArray) -> bool:
    """Order the lengths (steps 1 and 2); False where they are in order."""
    a, b, c = g[0], g[1], g[2]
    xi, eta, zeta = abs(g[3]), abs(g[4]), abs(g[5])
    if a > b + eps or (abs(a - b) <= eps and xi > eta + eps):
        step[0, 1] = step[1, 0] = step[2, 2] = -1.0
        return True
    if b > c + eps or (abs(b - c) <= eps and eta > zeta + eps):
        step[0, 0] = step[1, 2] = step[2, 1] = -1.0
        return True
    return False


@inline_jit
def _shorten(g: NDArray, eps: float, step: NDArray) -> bool:
    """Replace an axis by a shorter or better one (steps 5 to 8); False where there is none."""
    a, b, xi, eta, zeta = g[0], g[1], g[3], g[4], g[5]
    for i in range(3):
        step[i, i] = 1.0
    if abs(xi) > b + eps or (abs(xi - b) <= eps and 2.0 * eta < zeta - eps) or (abs(xi + b) <= eps and zeta < -eps):
        step[1, 2] = -1.0 if xi > 0.0 else 1.0
        return True
    if (
        abs(eta) > a + eps
        or (abs(eta - a) <= eps and 2.0 * xi < zeta - eps)
        or (abs(eta + a) <= eps and zeta < -eps)
    ):
        step[0, 2] = -1.0 if eta > 0.0 else 1.0
        return True
    if (
        abs(zeta) > a + eps
        or (abs(zeta - a) <= eps and 2.0 * xi < eta - eps)
        or (abs(zeta + a) <= eps and eta < -eps)
    ):
        step[0, 1] = -1.0 if zeta > 0.0 else 1.0
        return True
    total = a + b + xi + eta + zeta
    if total < -eps or (abs(total) <= eps and 2.0 * (a + eta) + zeta > eps):
        step[0, 2] = step[1, 2] = 1.0
        return True
    return False


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    reduce_niggli(np.eye(3), np.zeros((3, 3)))
