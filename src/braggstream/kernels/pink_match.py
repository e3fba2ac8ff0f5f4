"""Peaks of a wide spectrum against a lattice in a known rotation: which points explain them, and a better rotation.

A peak tells the direction of its scattering vector; how far out it lies is known within the bandwidth only.  So a
lattice point is compared with the piece of the line on which the scattering vector may end: across it exactly,
along it within bounds.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit

Q_X, Q_Y, Q_Z, LENGTH, ACROSS_X, ACROSS_Y, ACROSS_Z, N_STEPS, INFORMATION = range(9)
"""Columns of packed peaks: scattering vector at the mean wavelength and its length [Å⁻¹], unit vector across it and
the beam, number of places along the line at which lattice points are looked for, logarithm of one over the
probability of an explanation by chance."""
N_COLUMNS = 9
BANDWIDTH, RADIUS, ACROSS, MAX_ANGLE = range(4)
"""Elements of the tolerances: half width of the spectrum, relative; radius of a lattice point; largest distance
across the line [Å⁻¹], and where the rotation is only roughly known the largest angle in its place [rad]."""
N_TOLERANCES = 4


@inline_jit
def to_matrix(rotation: NDArray[np.float64], matrix: NDArray[np.float64]) -> None:
    """Write the matrix of a quaternion w, x, y, z."""
    w, x, y, z = rotation[0], rotation[1], rotation[2], rotation[3]
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@inline_jit
def turn(rotation: NDArray[np.float64], x: float, y: float, z: float) -> None:
    """Turn a quaternion further by a small rotation vector."""
    angle = sqrt(x * x + y * y + z * z)
    c, s = np.cos(0.5 * angle), (0.5 if angle < 1e-9 else np.sin(0.5 * angle) / angle)
    x, y, z = s * x, s * y, s * z
    w0, x0, y0, z0 = rotation[0], rotation[1], rotation[2], rotation[3]
    w1 = c * w0 - x * x0 - y * y0 - z * z0
    x1 = c * x0 + w0 * x + y * z0 - z * y0
    y1 = c * y0 + w0 * y + z * x0 - x * z0
    z1 = c * z0 + w0 * z + x * y0 - y * x0
    norm = 1.0 / sqrt(w1 * w1 + x1 * x1 + y1 * y1 + z1 * z1)
    rotation[0], rotation[1], rotation[2], rotation[3] = w1 * norm, x1 * norm, y1 * norm, z1 * norm


@inline_jit
def explain(
    peak: NDArray[np.float64],
    axes: NDArray[np.float64],
    direct: NDArray[np.float64],
    tolerances: NDArray[np.float64],
    hkl: NDArray[np.float64],
) -> float:
    """Find the lattice point that explains a peak best.

    Gives the squared distance across the line, with the part along the normal of the Ewald sphere reduced by the
    radius of a lattice point [Å⁻²]; infinite where no point is near enough along the line.  `hkl` is written.
    """
    best = np.inf
    n_steps = int(peak[N_STEPS])
    bound = tolerances[BANDWIDTH] * peak[LENGTH] + tolerances[RADIUS] + tolerances[ACROSS]
    ux, uy, uz = peak[Q_X] / peak[LENGTH], peak[Q_Y] / peak[LENGTH], peak[Q_Z] / peak[LENGTH]
    for step in range(n_steps):
        scale = 1.0 + tolerances[BANDWIDTH] * ((2.0 * step + 1.0) / n_steps - 1.0)
        x, y, z = scale * peak[Q_X], scale * peak[Q_Y], scale * peak[Q_Z]
        h = np.rint(direct[0, 0] * x + direct[0, 1] * y + direct[0, 2] * z)
        k = np.rint(direct[1, 0] * x + direct[1, 1] * y + direct[1, 2] * z)
        l = np.rint(direct[2, 0] * x + direct[2, 1] * y + direct[2, 2] * z)  # noqa: E741
        dx = h * axes[0, 0] + k * axes[1, 0] + l * axes[2, 0]
        dy = h * axes[0, 1] + k * axes[1, 1] + l * axes[2, 1]
        dz = h * axes[0, 2] + k * axes[1, 2] + l * axes[2, 2]
        along = dx * ux + dy * uy + dz * uz
        if abs(along - peak[LENGTH]) > bound:
            continue
        across = dx * peak[ACROSS_X] + dy * peak[ACROSS_Y] + dz * peak[ACROSS_Z]
        normal2 = dx * dx + dy * dy + dz * dz - along * along - across * across
        normal = max(sqrt(max(normal2, 0.0)) - tolerances[RADIUS], 0.0)
        distance2 = across * across + normal * normal
        if distance2 < best:
            best = distance2
            hkl[0], hkl[1], hkl[2] = h, k, l
    return best


@inline_jit
def _orient(
    rotation: NDArray[np.float64],
    cell: NDArray[np.float64],
    matrix: NDArray[np.float64],
    axes: NDArray[np.float64],
    direct: NDArray[np.float64],
) -> None:
    """Write the rotated reciprocal and direct axes of a cell, float64[2, 3, 3]."""
    to_matrix(rotation, matrix)
    for i in range(3):
        for j in range(3):
            axes[i, j] = matrix[j, 0] * cell[0, i, 0] + matrix[j, 1] * cell[0, i, 1] + matrix[j, 2] * cell[0, i, 2]
            direct[i, j] = (
                matrix[j, 0] * cell[1, i, 0] + matrix[j, 1] * cell[1, i, 1] + matrix[j, 2] * cell[1, i, 2]
            )


@fast_jit
def refine_rotations(
    rotations: NDArray[np.float64],
    peaks: NDArray[np.float64],
    cell: NDArray[np.float64],
    schedule: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> None:
    """Improve rotations step by step, with narrower and narrower limits, and score what they explain.

    Parameters
    ----------
    rotations : float64[n, 4], changed
        Quaternions.
    peaks : float64[n_peaks, 9]
        Packed peaks.
    cell : float64[2, 3, 3]
        Reciprocal and direct axes as rows, not rotated [Å⁻¹, Å].
    schedule : float64[n_rounds, 4]
        Tolerances of each round; the last round scores only.
    scores : float64[n, 2], written
        Information of the explained peaks, less where they are only nearly explained; and how many they are.
    """
    matrix, axes, direct, hkl = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.zeros(3)
    normal, right = np.empty((3, 3)), np.empty(3)
    for number in range(rotations.shape[0]):
        rotation = rotations[number]
        for turn_number in range(schedule.shape[0]):
            tolerances = schedule[turn_number]
            _orient(rotation, cell, matrix, axes, direct)
            normal[:] = 0.0
            right[:] = 0.0
            score, n_explained = 0.0, 0.0
            for p in range(peaks.shape[0]):
                peak = peaks[p]
                distance2 = explain(peak, axes, direct, tolerances, hkl)
                limit = max(tolerances[ACROSS], tolerances[MAX_ANGLE] * peak[LENGTH])
                weight = 1.0 - distance2 / (limit * limit)
                if not weight > 0.0:
                    continue
                score += weight * peak[INFORMATION]
                n_explained += 1.0
                _add(peak, hkl, axes, tolerances, weight, normal, right)
            if turn_number == schedule.shape[0] - 1:
                scores[number, 0], scores[number, 1] = score, n_explained
            elif n_explained >= 3.0:
                x, y, z = _solve(normal, right)
                turn(rotation, x, y, z)


@inline_jit
def _add(
    peak: NDArray[np.float64],
    hkl: NDArray[np.float64],
    axes: NDArray[np.float64],
    tolerances: NDArray[np.float64],
    weight: float,
    normal: NDArray[np.float64],
    right: NDArray[np.float64],
) -> None:
    """Add the two equations of a pair: a small rotation takes the lattice point onto the line."""
    gx = hkl[0] * axes[0, 0] + hkl[1] * axes[1, 0] + hkl[2] * axes[2, 0]
    gy = hkl[0] * axes[0, 1] + hkl[1] * axes[1, 1] + hkl[2] * axes[2, 1]
    gz = hkl[0] * axes[0, 2] + hkl[1] * axes[1, 2] + hkl[2] * axes[2, 2]
    ux, uy, uz = peak[Q_X] / peak[LENGTH], peak[Q_Y] / peak[LENGTH], peak[Q_Z] / peak[LENGTH]
    tx, ty, tz = peak[ACROSS_X], peak[ACROSS_Y], peak[ACROSS_Z]
    for part in range(2):
        if part == 1:
            # Along the normal of the sphere a lattice point's own radius counts as well.
            tx, ty, tz = uy * tz - uz * ty, uz * tx - ux * tz, ux * ty - uy * tx
            weight *= (tolerances[ACROSS] / (tolerances[ACROSS] + tolerances[RADIUS])) ** 2
        x, y, z = gy * tz - gz * ty, gz * tx - gx * tz, gx * ty - gy * tx
        residual = gx * tx + gy * ty + gz * tz
        right[0] -= weight * x * residual
        right[1] -= weight * y * residual
        right[2] -= weight * z * residual
        normal[0, 0] += weight * x * x
        normal[0, 1] += weight * x * y
        normal[0, 2] += weight * x * z
        normal[1, 1] += weight * y * y
        normal[1, 2] += weight * y * z
        normal[2, 2] += weight * z * z


@inline_jit
def _solve(m: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, float, float]:
    """Solve the symmetric equations, of which the upper triangle is given, with a little damping."""
    damping = 1e-6 * (m[0, 0] + m[1, 1] + m[2, 2])
    a, b, c = m[0, 0] + damping, m[0, 1], m[0, 2]
    d, e, f = m[1, 1] + damping, m[1, 2], m[2, 2] + damping
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    dd, ee, ff = a * f - c * c, b * c - a * e, a * d - b * b
    det = a * aa + b * bb + c * cc
    if not det > 0.0:
        return 0.0, 0.0, 0.0
    x = (aa * right[0] + bb * right[1] + cc * right[2]) / det
    y = (bb * right[0] + dd * right[1] + ee * right[2]) / det
    z = (cc * right[0] + ee * right[1] + ff * right[2]) / det
    return x, y, z


@fast_jit
def assign(
    axes: NDArray[np.float64],
    direct: NDArray[np.float64],
    peaks: NDArray[np.float64],
    tolerances: NDArray[np.float64],
    hkl: NDArray[np.float64],
    distances: NDArray[np.float64],
) -> None:
    """Find the lattice point of each peak, float64[n, 3], and its distance, float64[n] [Å⁻¹]; see `explain`."""
    for p in range(peaks.shape[0]):
        distances[p] = sqrt(explain(peaks[p], axes, direct, tolerances, hkl[p]))


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    peaks, cell = np.ones((1, N_COLUMNS)), np.stack([np.eye(3), np.eye(3)])
    schedule = np.ones((2, N_TOLERANCES))
    refine_rotations(np.array([[1.0, 0.0, 0.0, 0.0]]), peaks, cell, schedule, np.empty((1, 2)))
    assign(cell[0], cell[1], peaks, schedule[0], np.zeros((1, 3)), np.empty(1))
