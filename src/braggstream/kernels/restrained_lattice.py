"""A lattice as orientation and reciprocal cell parameters: its axes, how they change, and how it is moved.

The axes are those of the cell in a standard setting, a* along x and b* in the xy plane, turned by the orientation.
Cell parameters that a lattice type ties together move as one, so the lattice cannot leave its type.
"""

from math import cos, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit

N_CELL = 6
"""Reciprocal lengths [Å⁻¹] and the angles between b* and c*, a* and c*, a* and b* [rad]."""
STEP = 1e-6
"""Of numerical derivatives of the cell's axes: relative for lengths, in radians for angles."""


@jit
def write_axes(cell: NDArray[np.float64], orientation: NDArray[np.float64], axes: NDArray[np.float64]) -> None:
    """Give the axes of a lattice.

    Parameters
    ----------
    cell : float64[6]
        Reciprocal cell parameters.
    orientation : float64[3, 3]
        Turns the standard setting into the lab.
    axes : float64[3, 3], written
        Rows a*, b*, c* [Å⁻¹].
    """
    cos_alpha, cos_beta, cos_gamma, sin_gamma = cos(cell[3]), cos(cell[4]), cos(cell[5]), sin(cell[5])
    bx, by = cell[1] * cos_gamma, cell[1] * sin_gamma
    x = cos_beta
    y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    cx, cy, cz = cell[2] * x, cell[2] * y, cell[2] * sqrt(max(1e-12, 1.0 - x * x - y * y))
    for i in range(3):
        u = orientation[i]
        axes[0, i] = cell[0] * u[0]
        axes[1, i] = bx * u[0] + by * u[1]
        axes[2, i] = cx * u[0] + cy * u[1] + cz * u[2]


@jit
def write_derivatives(
    cell: NDArray[np.float64],
    orientation: NDArray[np.float64],
    ties: NDArray[np.float64],
    derivatives: NDArray[np.float64],
) -> None:
    """Give the change of the axes with each free cell parameter, then with rotations about x, y and z.

    Parameters
    ----------
    cell : float64[6], orientation : float64[3, 3]
        The lattice.
    ties : float64[n_free, 6]
        Which cell parameters move together.
    derivatives : float64[n_free + 3, 3, 3], written
        Of the rows a*, b*, c*.
    """
    n_free = ties.shape[0]
    above, below, moved = np.empty((3, 3)), np.empty((3, 3)), np.empty(N_CELL)
    for number in range(n_free):
        step, n_lengths = 0.0, 0
        for i in range(3):
            if ties[number, i] != 0.0:
                step += cell[i]
                n_lengths += 1
        step = STEP * (step / n_lengths if n_lengths else 1.0)
        for i in range(N_CELL):
            moved[i] = cell[i] + step * ties[number, i]
        write_axes(moved, orientation, above)
        for i in range(N_CELL):
            moved[i] = cell[i] - step * ties[number, i]
        write_axes(moved, orientation, below)
        for row in range(3):
            for i in range(3):
                derivatives[number, row, i] = (above[row, i] - below[row, i]) / (2.0 * step)
    write_axes(cell, orientation, above)
    for row in range(3):
        x, y, z = above[row, 0], above[row, 1], above[row, 2]
        about = derivatives[n_free:, row]
        about[0, 0], about[0, 1], about[0, 2] = 0.0, -z, y
        about[1, 0], about[1, 1], about[1, 2] = z, 0.0, -x
        about[2, 0], about[2, 1], about[2, 2] = -y, x, 0.0


@jit
def move_lattice(
    cell: NDArray[np.float64],
    orientation: NDArray[np.float64],
    ties: NDArray[np.float64],
    shifts: NDArray[np.float64],
) -> None:
    """Apply shifts, float64[n_free + 3 or more] in the order of the derivatives, to a lattice in place."""
    n_free = ties.shape[0]
    for number in range(n_free):
        for i in range(N_CELL):
            cell[i] += shifts[number] * ties[number, i]
    x, y, z = shifts[n_free], shifts[n_free + 1], shifts[n_free + 2]
    angle = sqrt(x * x + y * y + z * z)
    if angle == 0.0:
        return
    x, y, z = x / angle, y / angle, z / angle
    c, s = cos(angle), sin(angle)
    t = 1.0 - c
    for column in range(3):
        u, v, w = orientation[0, column], orientation[1, column], orientation[2, column]
        # Rodrigues' formula.
        along = t * (x * u + y * v + z * w)
        orientation[0, column] = c * u + s * (y * w - z * v) + along * x
        orientation[1, column] = c * v + s * (z * u - x * w) + along * y
        orientation[2, column] = c * w + s * (x * v - y * u) + along * z


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    cell, ties = np.array([1.0, 1.0, 1.0, 1.5, 1.5, 1.5]), np.zeros((1, N_CELL))
    write_axes(cell, np.eye(3), np.empty((3, 3)))
    write_derivatives(cell, np.eye(3), ties, np.empty((4, 3, 3)))
    move_lattice(cell, np.eye(3), ties, np.zeros(4))
