"""Prediction refinement: residuals of all pairs, their gradients, and the least-squares steps, in one piece."""

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.ewald import N_BEAM, RADIUS, WAVENUMBER, WAVENUMBER_SIGMA, place_lattice_point
from braggstream.kernels.restrained_lattice import N_CELL, move_lattice, write_axes, write_derivatives
from braggstream.kernels.scatter import EXCITATION, FS, SS, weigh

FS_FOUND, SS_FOUND, STRENGTH = range(3)
"""Columns of the peaks: position [px] and intensity."""

DAMPING = 1e-6
"""Added to the diagonal of the scaled normal equations: what the pairs do not determine stays as it is."""
SMALL_SHIFT = 1e-6
"""The refinement ends where no lattice point moves by more, relative to its distance from the origin."""
SMALL_DETECTOR_SHIFT = 1e-9
"""... and the detector by no more [m]."""
MOST_GROWTH = 1.0
"""Of the logarithm of the squared radius of a lattice point in a step."""
LEAST_RADIUS, MOST_RADIUS = 1e-6, 1e-2
"""[Å⁻¹]"""


@jit
def residuals_and_gradients(
    hkl: NDArray[np.float64],
    panels: NDArray[np.int32],
    peaks: NDArray[np.float64],
    axes: NDArray[np.float64],
    derivatives: NDArray[np.float64],
    inverses: NDArray[np.float64],
    shift: NDArray[np.float64],
    beam: NDArray[np.float64],
    residuals: NDArray[np.float64],
    gradients: NDArray[np.float64],
) -> None:
    """Compare predictions with peaks.

    Parameters
    ----------
    hkl : float64[n, 3]
        Miller indices of the pairs.
    panels : int32[n]
        Panel of the peaks.
    peaks : float64[n, 2 or more]
        Their fs and ss [px]; what follows is not looked at.
    axes : float64[3, 3]
        Rows a*, b*, c* [Å⁻¹].
    derivatives : float64[n_parameters, 3, 3]
        Change of the rows with each parameter.
    inverses : float64[n_panels, 3, 3]
        Inverse panel matrices, see `Detector.inverses`.
    shift : float64[2]
        Shift of the detector in x and y [m].
    beam : float64[3]
        Packed beam.
    residuals : float64[n, 3], written
        Excitation error, fs and ss residual of each pair.
    gradients : float64[n, 3, n_parameters + n_more], written
        Their change with each parameter; with 2 or 3 more, with the shift; with 1 or 3 more, with the logarithm of
        the squared radius of a lattice point.
    """
    n_parameters = derivatives.shape[0]
    n_more = gradients.shape[2] - n_parameters
    for i in range(hkl.shape[0]):
        h, k, l = hkl[i, 0], hkl[i, 1], hkl[i, 2]  # noqa: E741
        qx = h * axes[0, 0] + k * axes[1, 0] + l * axes[2, 0]
        qy = h * axes[0, 1] + k * axes[1, 1] + l * axes[2, 1]
        qz = h * axes[0, 2] + k * axes[1, 2] + l * axes[2, 2]
        error, k_pred, _ = place_lattice_point(qx, qy, qz, beam)
        k0 = beam[WAVENUMBER]
        m = inverses[panels[i]]
        tz = qz + k_pred
        v0 = m[0, 0] * qx + m[0, 1] * qy + m[0, 2] * tz
        fs = (m[1, 0] * qx + m[1, 1] * qy + m[1, 2] * tz) / v0
        ss = (m[2, 0] * qx + m[2, 1] * qy + m[2, 2] * tz) / v0
        # Exactly what the inverse of the shifted panel's matrix gives (Sherman and Morrison).
        w0 = m[0, 0] * shift[0] + m[0, 1] * shift[1]
        w1 = m[1, 0] * shift[0] + m[1, 1] * shift[1]
        w2 = m[2, 0] * shift[0] + m[2, 1] * shift[1]
        residuals[i, EXCITATION] = error
        residuals[i, FS] = fs * (1.0 + w0) - w1 - peaks[i, FS_FOUND]
        residuals[i, SS] = ss * (1.0 + w0) - w2 - peaks[i, SS_FOUND]
        distance = sqrt(qx * qx + qy * qy + (qz + k0) * (qz + k0))
        per_depth = (1.0 + w0) / v0
        # With a bandwidth, a point off the sphere takes the wavelength that comes nearest to its reflecting it.
        slope = 1.0 - (qz + k0) / distance
        spread2 = beam[WAVENUMBER_SIGMA] * beam[WAVENUMBER_SIGMA]
        radius2 = beam[RADIUS] * beam[RADIUS]
        width2 = radius2 + slope * slope * spread2
        following = slope * spread2 / width2
        for p in range(n_parameters):
            d = derivatives[p]
            dx = h * d[0, 0] + k * d[1, 0] + l * d[2, 0]
            dy = h * d[0, 1] + k * d[1, 1] + l * d[2, 1]
            dz = h * d[0, 2] + k * d[1, 2] + l * d[2, 2]
            change = -(qx * dx + qy * dy + (qz + k0) * dz) / distance
            dz -= following * change
            g0 = m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz
            g1 = m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz
            g2 = m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz
            gradients[i, EXCITATION, p] = change
            gradients[i, FS, p] = (g1 - fs * g0) * per_depth
            gradients[i, SS, p] = (g2 - ss * g0) * per_depth
        for p in range(n_parameters, n_parameters + n_more):
            gradients[i, EXCITATION, p] = 0.0
        if n_more >= 2:
            for axis in range(2):
                p = n_parameters + axis
                gradients[i, FS, p] = fs * m[0, axis] - m[1, axis]
                gradients[i, SS, p] = ss * m[0, axis] - m[2, axis]
        if n_more % 2 == 1:
            p = n_parameters + n_more - 1
            dz = error * following * radius2 / width2
            gradients[i, FS, p] = (m[1, 2] - fs * m[0, 2]) * dz * per_depth
            gradients[i, SS, p] = (m[2, 2] - ss * m[0, 2]) * dz * per_depth


@inline_jit
def normal_equations(
    residuals: NDArray[np.float64],
    gradients: NDArray[np.float64],
    weights: NDArray[np.float64],
    matrix: NDArray[np.float64],
    right_side: NDArray[np.float64],
) -> None:
    """Sum up the normal equations.

    Parameters
    ----------
    residuals : float64[n, 3], gradients : float64[n, 3, n_parameters]
        As above.
    weights : float64[n, 3]
        Weight of each squared residual.
    matrix : float64[n_parameters, n_parameters], right_side : float64[n_parameters], written
        The equations for the shifts; of the matrix only the lower half.
    """
    n_parameters = right_side.shape[0]
    matrix[:] = 0.0
    right_side[:] = 0.0
    for i in range(residuals.shape[0]):
        for kind in range(3):
            weight = weights[i, kind]
            if weight == 0.0:
                continue
            for p in range(n_parameters):
                weighted = weight * gradients[i, kind, p]
                right_side[p] -= weighted * residuals[i, kind]
                for r in range(p + 1):
                    matrix[p, r] += weighted * gradients[i, kind, r]


@inline_jit
def _solve(matrix: NDArray[np.float64], right_side: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
    """Solve damped normal equations by Cholesky's method; the shifts replace the right side, NaN on failure."""
    n = right_side.shape[0]
    for i in range(n):
        scale[i] = sqrt(matrix[i, i]) if matrix[i, i] > 0.0 else 1.0
    for i in range(n):
        right_side[i] /= scale[i]
        for j in range(i + 1):
            total = matrix[i, j] / (scale[i] * scale[j])
            if i == j:
                total += DAMPING
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                matrix[i, i] = sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(n):
        for k in range(i):
            right_side[i] -= matrix[i, k] * right_side[k]
        right_side[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right_side[i] -= matrix[k, i] * right_side[k]
        right_side[i] /= matrix[i, i]
    for i in range(n):
        right_side[i] /= scale[i]


@inline_jit
def _change(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Largest change of an axis' component, relative to the largest of them; NaN where anything is."""
    largest, change, total = 0.0, 0.0, 0.0
    for row in range(3):
        for i in range(3):
            largest = max(largest, abs(before[row, i]))
            change = max(change, abs(after[row, i] - before[row, i]))
            total += after[row, i]
    return change / largest + 0.0 * total


@jit
def refine(
    hkl: NDArray[np.float64],
    panels: NDArray[np.int32],
    peaks: NDArray[np.float64],
    inverses: NDArray[np.float64],
    beam: NDArray[np.float64],
    cell: NDArray[np.float64],
    orientation: NDArray[np.float64],
    ties: NDArray[np.float64],
    shift: NDArray[np.float64],
    n_more: int,
    n_cycles: int,
) -> int:
    """Take Gauss-Newton steps until nothing moves any more.

    Parameters
    ----------
    hkl : float64[n, 3]
        Miller indices of the pairs, strongest peak first.
    panels : int32[n], peaks : float64[n, 3]
        Panel, fs, ss and intensity of the peaks; intensities above zero.
    inverses : float64[n_panels, 3, 3]
        Inverse panel matrices.
    beam : float64[3]
        Packed beam; the radius of a lattice point is changed where it is refined.
    cell : float64[6], orientation : float64[3, 3], changed
        The lattice, see `restrained_lattice`; left as it was where a step leads nowhere.
    ties : float64[n_free, 6]
        Cell parameters that move together.
    shift : float64[2], changed where it is refined
        Shift of the detector in x and y [m].
    n_more : int64
        2 or 3 to refine the shift as well, 1 or 3 to refine the radius of a lattice point.
    n_cycles : int64
        Most steps.

    Returns
    -------
    int
        Number of steps taken.
    """
    n, n_lattice = hkl.shape[0], ties.shape[0] + 3
    n_all = n_lattice + n_more
    residuals, gradients, weights = np.empty((n, 3)), np.empty((n, 3, n_all)), np.empty((n, 3))
    work, matrix, shifts, scale = np.empty(2 * n), np.empty((n_all, n_all)), np.empty(n_all), np.empty(n_all)
    axes, moved, derivatives = np.empty((3, 3)), np.empty((3, 3)), np.empty((n_lattice, 3, 3))
    next_cell, next_orientation = np.empty(N_CELL), np.empty((3, 3))
    intensities = peaks[:, STRENGTH].copy()
    write_axes(cell, orientation, axes)
    for cycle in range(n_cycles):
        write_derivatives(cell, orientation, ties, derivatives)
        residuals_and_gradients(hkl, panels, peaks, axes, derivatives, inverses, shift, beam, residuals, gradients)
        weigh(residuals, intensities, n_all, work, weights)
        normal_equations(residuals, gradients, weights, matrix, shifts)
        _solve(matrix, shifts, scale)
        next_cell[:], next_orientation[:] = cell, orientation
        move_lattice(next_cell, next_orientation, ties, shifts)
        write_axes(next_cell, next_orientation, moved)
        change = _change(axes, moved)
        if not change < np.inf:
            return cycle
        cell[:], orientation[:], axes[:] = next_cell, next_orientation, moved
        step = 0.0
        if n_more >= 2:
            shift[0] += shifts[n_lattice]
            shift[1] += shifts[n_lattice + 1]
            step = max(abs(shifts[n_lattice]), abs(shifts[n_lattice + 1]))
        if n_more % 2 == 1:
            growth = min(max(shifts[n_all - 1], -MOST_GROWTH), MOST_GROWTH)
            beam[RADIUS] = min(max(beam[RADIUS] * exp(growth / 2.0), LEAST_RADIUS), MOST_RADIUS)
        if change < SMALL_SHIFT and step < SMALL_DETECTOR_SHIFT:
            return cycle + 1
    return n_cycles


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    hkl, panels, peaks = np.ones((1, 3)), np.zeros(1, np.int32), np.ones((1, 3))
    inverses, beam, shift = np.ones((1, 3, 3)), np.ones(N_BEAM), np.zeros(2)
    cell = np.array([1.0, 1.0, 1.0, 1.5, 1.5, 1.5])
    residuals_and_gradients(
        hkl,
        panels,
        peaks,
        np.eye(3),
        np.zeros((1, 3, 3)),
        inverses,
        shift,
        beam,
        np.zeros((1, 3)),
        np.zeros((1, 3, 1)),
    )
    refine(hkl, panels, peaks, inverses, beam, cell, np.eye(3), np.zeros((1, N_CELL)), shift, 0, 1)
