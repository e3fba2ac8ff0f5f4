"""Post-refinement: orientation, radius and wavelength that bring calculated partialities to observed ones.

Steps of fixed size along one parameter at a time, as the reference takes them; scales and merged intensities stand.
"""

from math import cos, exp, isnan, nan, sin

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
from braggstream.kernels.crystal_residuals import clipped_ratio
from braggstream.kernels.ewald import N_BEAM
from braggstream.kernels.partiality import XSPHERE, recorded_part

ROTATION_STEP = 1e-4
"""Of the rotations about the laboratory's x and y [rad]."""
RADIUS_STEP = 1e-5
"""Of the profile radius [Å⁻¹]."""
WAVELENGTH_STEP = 1e-3
"""Of the wavelength, relative to its first value."""
MAX_ROUNDS = 10
LEAST_RADIUS, MOST_RADIUS = 1e-8, 0.5
"""Limits of the profile radius [Å⁻¹]."""

ROT_X, ROT_Y, D_RADIUS, D_WAVELENGTH = range(4)
"""What is refined: rotations [rad], change of the radius [Å⁻¹], change of the wavelength [Å]."""
BEFORE, AFTER, BEFORE_FREE, AFTER_FREE = range(4, 8)
"""What else is told of a crystal: residuals of the working set and of the free set."""
N_REFINED = 8

PATH_STEP, PATH_RESIDUAL, PATH_FREE = 0, 4, 5
"""Columns of a path: what is refined, residual of the working set, and of the free set."""
N_PATH = 6
MAX_PATH = 3 * MAX_ROUNDS + 1


@inline_jit
def change_shape(shape: NDArray[np.float64], step: NDArray[np.float64], changed: NDArray[np.float64]) -> None:
    """Apply rotations about x and then about y, and changes of radius and wavelength, to a crystal."""
    cos_x, sin_x, cos_y, sin_y = cos(step[ROT_X]), sin(step[ROT_X]), cos(step[ROT_Y]), sin(step[ROT_Y])
    for axis in range(3):
        x, y, z = shape[3 * axis], shape[3 * axis + 1], shape[3 * axis + 2]
        y, z = y * cos_x + z * sin_x, z * cos_x - y * sin_x
        x, z = x * cos_y + z * sin_y, z * cos_y - x * sin_y
        changed[3 * axis], changed[3 * axis + 1], changed[3 * axis + 2] = x, y, z
    for column in range(9, N_SHAPE):
        changed[column] = shape[column]
    changed[SHAPE_RADIUS] += step[D_RADIUS]
    changed[SHAPE_WAVELENGTH] += step[D_WAVELENGTH]


@inline_jit
def linear_residual(
    first: int,
    last: int,
    hkl: NDArray[np.int16],
    uid: NDArray[np.int32],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    merged: NDArray[np.float64],
    state: NDArray[np.float64],
    shape: NDArray[np.float64],
    model: int,
    is_free: int,
) -> float:
    """Give the mean difference of observed and calculated partialities; NaN where a parameter is impossible."""
    radius, wavelength = shape[SHAPE_RADIUS], shape[SHAPE_WAVELENGTH]
    if not LEAST_RADIUS <= radius <= MOST_RADIUS or not wavelength > 0.0:
        return nan
    beam = np.empty(N_BEAM)
    pack_shape(shape, beam)
    ln_g, b = state[LN_G], state[B_FACTOR]
    off = weight = 0.0
    for i in range(first, last):
        full = merged[uid[i]]
        if not isnan(full) and flags[i] & FREE == is_free:
            g = exp(ln_g - b * s2[i])
            qx, qy, qz = lattice_point(hkl[i], shape)
            part = recorded_part(qx, qy, qz, beam, 0.0, model)
            off += g * abs(clipped_ratio(intensity[i], g * full) - part)
            weight += g
    return off / weight if weight > 0.0 else nan


@jit
def refine_crystals(
    start: NDArray[np.int64],
    hkl: NDArray[np.int16],
    uid: NDArray[np.int32],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    merged: NDArray[np.float64],
    state: NDArray[np.float64],
    model: int,
    shape: NDArray[np.float64],
    refined: NDArray[np.float64],
    paths: NDArray[np.float64],
) -> None:
    """Refine crystals one after the other against merged intensities.

    Parameters
    ----------
    start, hkl, uid, s2, intensity, flags, merged, state
        As for `crystal_residuals`.
    model : int64
        Model of partiality.
    shape : float64[n, N_SHAPE], changed
        Crystals.
    refined : float64[n, N_REFINED], written
        What was changed, and the residuals before and after.
    paths : float64[n_paths, MAX_PATH, N_PATH], written
        The way of the first crystals, step by step; NaN beyond its end.
    """
    stages = ((ROT_X, ROT_Y), (D_RADIUS, -1), (D_WAVELENGTH, -1))
    sizes = np.array([ROTATION_STEP, ROTATION_STEP, RADIUS_STEP, 0.0])
    step, trial, changed = np.zeros(N_REFINED), np.zeros(N_REFINED), np.empty(N_SHAPE)
    for crystal in range(start.shape[0] - 1):
        first, last, before, own = start[crystal], start[crystal + 1], shape[crystal], state[crystal]
        sizes[D_WAVELENGTH] = WAVELENGTH_STEP * before[SHAPE_WAVELENGTH]
        step[:] = 0.0
        best = linear_residual(first, last, hkl, uid, s2, intensity, flags, merged, own, before, model, 0)
        step[BEFORE] = best
        step[BEFORE_FREE] = linear_residual(
            first, last, hkl, uid, s2, intensity, flags, merged, own, before, model, FREE
        )
        if crystal < paths.shape[0]:
            paths[crystal] = nan
            paths[crystal, 0, :PATH_RESIDUAL] = 0.0
            paths[crystal, 0, PATH_RESIDUAL], paths[crystal, 0, PATH_FREE] = best, step[BEFORE_FREE]
        n_steps = 0
        for stage in stages:
            for _ in range(MAX_ROUNDS):
                at, towards = -1, 0.0
                for parameter in stage:
                    for sign in (-1.0, 1.0):
                        if parameter < 0:
                            continue
                        trial[:] = step
                        trial[parameter] += sign * sizes[parameter]
                        change_shape(before, trial, changed)
                        found = linear_residual(
                            first, last, hkl, uid, s2, intensity, flags, merged, own, changed, model, 0
                        )
                        if found < best:
                            best, at, towards = found, parameter, sign * sizes[parameter]
                if at < 0:
                    break
                step[at] += towards
                n_steps += 1
                if crystal < paths.shape[0]:
                    way = paths[crystal, n_steps]
                    way[:PATH_RESIDUAL] = step[:PATH_RESIDUAL]
                    change_shape(before, step, changed)
                    way[PATH_RESIDUAL] = best
                    way[PATH_FREE] = linear_residual(
                        first, last, hkl, uid, s2, intensity, flags, merged, own, changed, model, FREE
                    )
        change_shape(before, step, changed)
        step[AFTER] = best
        step[AFTER_FREE] = linear_residual(
            first, last, hkl, uid, s2, intensity, flags, merged, own, changed, model, FREE
        )
        refined[crystal] = step
        shape[crystal] = changed


@jit
def residual_grid(
    bounds: NDArray[np.int64],
    hkl: NDArray[np.int16],
    uid: NDArray[np.int32],
    s2: NDArray[np.float64],
    intensity: NDArray[np.float64],
    flags: NDArray[np.uint8],
    merged: NDArray[np.float64],
    state: NDArray[np.float64],
    model: int,
    shape: NDArray[np.float64],
    steps: NDArray[np.float64],
    residuals: NDArray[np.float64],
) -> None:
    """Give the residual of one crystal at many steps, float64[n_steps, 4], from where it is.

    `bounds` holds where its observations start and end; `state` and `shape` are float64[1, ...].
    """
    changed = np.empty(N_SHAPE)
    for i in range(steps.shape[0]):
        change_shape(shape[0], steps[i], changed)
        residuals[i] = linear_residual(
            bounds[0], bounds[1], hkl, uid, s2, intensity, flags, merged, state[0], changed, model, 0
        )


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    ones, flags, start = np.ones(1), np.zeros(1, np.uint8), np.array([0, 1])
    hkl, uid, state = np.ones((1, 3), np.int16), np.zeros(1, np.int32), np.zeros((1, N_STATE))
    shape, refined = np.ones((1, N_SHAPE)), np.empty((1, N_REFINED))
    paths = np.empty((1, MAX_PATH, N_PATH))
    refine_crystals(start, hkl, uid, ones, ones, flags, ones, state, XSPHERE, shape, refined, paths)
    residual_grid(start, hkl, uid, ones, ones, flags, ones, state, XSPHERE, shape, np.zeros((1, 4)), np.empty(1))
