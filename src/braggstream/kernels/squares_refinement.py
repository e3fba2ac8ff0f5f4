"""Post-refinement by least squares: orientation, radius and wavelength for which I = g p R, whatever the step.

Gauss-Newton with damping on Σ ln(1 + t²/9), t² = (I - g p R)²/variance, a sum that outliers do not rule.  The
variance is the error model's, and derivatives are central differences.  Small changes are expected beforehand.
"""

from math import exp, isnan, log, nan

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.crystal_columns import (
    B_FACTOR,
    FREE,
    LN_G,
    N_SHAPE,
    N_STATE,
    SHAPE_RADIUS,
    SHAPE_WAVELENGTH,
    lattice_point,
    pack_shape,
)
from braggstream.kernels.ewald import N_BEAM
from braggstream.kernels.partiality import XSPHERE, recorded_part
from braggstream.kernels.post_refinement import (
    D_RADIUS,
    D_WAVELENGTH,
    MAX_PATH,
    N_PATH,
    PATH_FREE,
    PATH_RESIDUAL,
    change_shape,
    linear_residual,
)

N_PARAMETERS = 4
N_ROUNDS = 6
DAMPING = 1e-2
ROTATION_SPREAD, RADIUS_SPREAD, WAVELENGTH_SPREAD = 5e-4, 0.3, 2e-4
"""Expected changes in a cycle: of rotations [rad]; of radius and wavelength, relative."""
MOST_ROTATION, MOST_RADIUS = 3e-4, 0.2
"""Largest change in a round [rad; relative]."""
LEAST_RADIUS = 0.3
"""Of the radius at the beginning of the cycle."""
LEAST_PART = 0.1
ROUGHNESS = 0.02
"""Least error of an observation, relative to a full one."""
CAUCHY2 = 9.0


@inline_jit
def _part(hkl: NDArray[np.int16], shape: NDArray[np.float64], beam: NDArray[np.float64], model: int) -> float:
    pack_shape(shape, beam)
    qx, qy, qz = lattice_point(hkl, shape)
    return recorded_part(qx, qy, qz, beam, 0.0, model)


@inline_jit
def _solve(matrix: NDArray[np.float64], solution: NDArray[np.float64]) -> None:
    """Solve a positive definite system float64[n, n + 1] by elimination."""
    n = solution.shape[0]
    for k in range(n):
        for row in range(k + 1, n):
            factor = matrix[row, k] / matrix[k, k]
            for column in range(k, n + 1):
                matrix[row, column] -= factor * matrix[k, column]
    for k in range(n - 1, -1, -1):
        total = matrix[k, n]
        for column in range(k + 1, n):
            total -= matrix[k, column] * solution[column]
        solution[k] = total / matrix[k, k]


@jit
def refine_by_squares(
    start: NDArray[np.int64],
    hkl: NDArray[np.int16],
    uid: NDArray[np.int32],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
    flags: NDArray[np.uint8],
    merged: NDArray[np.float64],
    state: NDArray[np.float64],
    model: int,
    squares: NDArray[np.float64],
    shape: NDArray[np.float64],
    paths: NDArray[np.float64],
) -> None:
    """Refine crystals one after the other against merged intensities; the free set is held out.

    Parameters
    ----------
    start, hkl, uid, s2, intensity, flags, merged, state, model
        As for `refine_crystals`.
    sigma : float64[m]
        Standard errors.
    squares : float64[2]
        a² and c² of the error model.
    shape : float64[n, N_SHAPE], changed
        Crystals.
    paths : float64[n_paths, MAX_PATH, N_PATH], written
        The way of the first crystals, as `refine_crystals` tells it.
    """
    probes, beam = np.empty((2 * N_PARAMETERS + 1, N_SHAPE)), np.empty(N_BEAM)
    step, best, trial = np.zeros(N_PARAMETERS), np.zeros(N_PARAMETERS), np.zeros(N_PARAMETERS)
    normal, system = np.empty((N_PARAMETERS, N_PARAMETERS)), np.empty((N_PARAMETERS, N_PARAMETERS + 1))
    gradient, slope, change = np.empty(N_PARAMETERS), np.empty(N_PARAMETERS), np.empty(N_PARAMETERS)
    for crystal in range(start.shape[0] - 1):
        first, last, before, own = start[crystal], start[crystal + 1], shape[crystal].copy(), state[crystal]
        radius, wavelength = before[SHAPE_RADIUS], before[SHAPE_WAVELENGTH]
        noise, n_noise = 0.0, 0.0
        for i in range(first, last):
            if sigma[i] > 0.0 and sigma[i] < np.inf:
                noise += sigma[i] * sigma[i]
                n_noise += 1.0
        noise /= max(n_noise, 1.0)
        spread = np.array(
            [ROTATION_SPREAD, ROTATION_SPREAD, RADIUS_SPREAD * radius, WAVELENGTH_SPREAD * wavelength]
        )
        probe = np.array([2e-5, 2e-5, 2e-3 * radius, 2e-5 * wavelength])
        step[:] = 0.0
        best[:] = 0.0
        least, n_used = np.inf, 0
        if crystal < paths.shape[0]:
            paths[crystal] = nan
        for turn in range(N_ROUNDS + 1):
            change_shape(before, step, probes[0])
            for k in range(N_PARAMETERS):
                for side in range(2):
                    trial[:] = step
                    trial[k] += probe[k] * (1.0 - 2.0 * side)
                    change_shape(before, trial, probes[1 + 2 * k + side])
            normal[:] = 0.0
            cost, n_used = 0.0, 0
            for k in range(N_PARAMETERS):
                normal[k, k] = 1.0 / spread[k] ** 2
                gradient[k] = -step[k] / spread[k] ** 2
                cost += (step[k] / spread[k]) ** 2
            for i in range(first, last):
                full = merged[uid[i]] * exp(own[LN_G] - own[B_FACTOR] * s2[i])
                if isnan(full) or full <= 0.0 or flags[i] & FREE:
                    continue
                part = _part(hkl[i], probes[0], beam, model)
                for k in range(N_PARAMETERS):
                    above = _part(hkl[i], probes[1 + 2 * k], beam, model)
                    below = _part(hkl[i], probes[2 + 2 * k], beam, model)
                    slope[k] = full * (above - below) / (2.0 * probe[k])
                steady = min(max(part, LEAST_PART), 1.0)
                relative = squares[0] * steady * steady + squares[1] * (1.0 - steady) + ROUGHNESS * ROUGHNESS
                variance = noise + full * full * relative
                off = intensity[i] - full * part
                t2 = off * off / variance
                weight = 1.0 / (variance * (1.0 + t2 / CAUCHY2))
                cost += CAUCHY2 * log(1.0 + t2 / CAUCHY2)
                n_used += 1
                for k in range(N_PARAMETERS):
                    gradient[k] += weight * slope[k] * off
                    for other in range(N_PARAMETERS):
                        normal[k, other] += weight * slope[k] * slope[other]
            if crystal < paths.shape[0]:
                way = paths[crystal, turn]
                way[:PATH_RESIDUAL] = step
                for which, is_free in ((PATH_RESIDUAL, 0), (PATH_FREE, FREE)):
                    way[which] = linear_residual(
                        first, last, hkl, uid, s2, intensity, flags, merged, own, probes[0], model, is_free
                    )
            if cost < least:
                least = cost
                best[:] = step
            for k in range(N_PARAMETERS):
                for other in range(N_PARAMETERS):
                    system[k, other] = normal[k, other]
                system[k, k] *= 1.0 + DAMPING
                system[k, N_PARAMETERS] = gradient[k]
            _solve(system, change)
            for k in range(D_RADIUS):
                step[k] += min(max(change[k], -MOST_ROTATION), MOST_ROTATION)
            step[D_RADIUS] += min(max(change[D_RADIUS], -MOST_RADIUS * radius), MOST_RADIUS * radius)
            step[D_RADIUS] = max(step[D_RADIUS], (LEAST_RADIUS - 1.0) * radius)
            step[D_WAVELENGTH] += change[D_WAVELENGTH]
        if n_used > N_PARAMETERS and least < np.inf:
            change_shape(before, best, shape[crystal])


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    ones, flags, start = np.ones(1), np.zeros(1, np.uint8), np.array([0, 1])
    hkl, uid, state = np.ones((1, 3), np.int16), np.zeros(1, np.int32), np.zeros((1, N_STATE))
    shape, paths = np.ones((1, N_SHAPE)), np.empty((1, MAX_PATH, N_PATH))
    columns = (start, hkl, uid, ones, ones, ones, flags, ones)
    refine_by_squares(*columns, state, XSPHERE, np.ones(2), shape, paths)
