"""What the kernels of partial merging know of an observation, and of a crystal: bits and columns.

Observations of a crystal stand in the order of their unique reflections, so that those of one reflection are
neighbours.  Intensities are corrected for polarisation; I_full = I / (g p), g = G exp(-B s²), s = 1/(2d).
"""

from math import isnan, log

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.ewald import N_BEAM, RADIUS, WAVENUMBER, WAVENUMBER_SIGMA, place_lattice_point
from braggstream.kernels.partiality import UNITY, recorded_part

FREE, ABOVE, AT_LEAST, MEASURED, WITHIN = 1, 2, 4, 8, 16
"""Held out of refinement; I > 3σ; I >= 3σ; p >= 0.3 with a standard error; not beyond the crystal's resolution."""

LN_G, B_FACTOR, REJECTED, RESIDUAL, IS_FITTED = range(5)
"""Columns of a crystal's state: ln G, B [Å²], whether it is left out, log residual, whether its fit was good."""
N_STATE = 5

SHAPE_AXES, SHAPE_RADIUS, SHAPE_WAVELENGTH, SHAPE_BANDWIDTH = 0, 9, 10, 11
"""Columns of a crystal's shape: a*, b*, c* [Å⁻¹], profile radius [Å⁻¹], wavelength [Å], relative bandwidth."""
N_SHAPE = 12

LEAST_PART = 0.3
"""Observations with less are in no merge and no fit of scales."""
STRONG = 3.0 * (1.0 + 1e-9)
"""Logarithms are taken of observations with so many standard errors only.

Numbers of two decimals are often exactly three times others; those count as weak, whatever rounding makes of them.
"""


@inline_jit
def pack_shape(shape: NDArray[np.float64], beam: NDArray[np.float64]) -> None:
    """Pack a crystal's wavelength, bandwidth and radius as a beam."""
    beam[WAVENUMBER] = 1.0 / shape[SHAPE_WAVELENGTH]
    beam[WAVENUMBER_SIGMA] = shape[SHAPE_BANDWIDTH] / shape[SHAPE_WAVELENGTH]
    beam[RADIUS] = shape[SHAPE_RADIUS]


@inline_jit
def lattice_point(hkl: NDArray[np.int16], shape: NDArray[np.float64]) -> tuple[float, float, float]:
    """Give the lattice point with these indices [Å⁻¹]."""
    h, k, l = float(hkl[0]), float(hkl[1]), float(hkl[2])  # noqa: E741
    return (
        h * shape[0] + k * shape[3] + l * shape[6],
        h * shape[1] + k * shape[4] + l * shape[7],
        h * shape[2] + k * shape[5] + l * shape[8],
    )


@jit
def correct_polarisation(
    start: NDArray[np.int64],
    hkl: NDArray[np.int16],
    shape: NDArray[np.float64],
    polarisation: NDArray[np.float64],
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> None:
    """Divide intensities and standard errors by the polarisation factor at the predicted wavenumber.

    Parameters
    ----------
    start : int64[n + 1]
        Where the observations of each crystal start.
    hkl : int16[m, 3]
        Indices as they were measured.
    shape : float64[n, N_SHAPE]
        Crystals.
    polarisation : float64[3]
        Cosine and sine of the electric field's angle from horizontal, and the polarised fraction.
    intensity, sigma : float64[m], changed
        Intensities and their standard errors.
    """
    beam = np.empty(N_BEAM)
    cosine, sine, fraction = polarisation[0], polarisation[1], polarisation[2]
    for crystal in range(start.shape[0] - 1):
        pack_shape(shape[crystal], beam)
        for i in range(start[crystal], start[crystal + 1]):
            qx, qy, qz = lattice_point(hkl[i], shape[crystal])
            z = qz + place_lattice_point(qx, qy, qz, beam)[1]
            squared = qx * qx + qy * qy + z * z
            along = qx * cosine + qy * sine
            across = qy * cosine - qx * sine
            factor = 1.0 - (fraction * along * along + (1.0 - fraction) * across * across) / squared
            intensity[i] /= factor
            sigma[i] /= factor


@jit
def record_observations(
    start: NDArray[np.int64],
    hkl: NDArray[np.int16],
    shape: NDArray[np.float64],
    model: int,
    intensity: NDArray[np.float64],
    sigma: NDArray[np.float64],
    part: NDArray[np.float64],
    log_full: NDArray[np.float64],
    flags: NDArray[np.uint8],
) -> None:
    """Give partialities, the logarithms of full intensities, and the bits that depend on them.

    Parameters
    ----------
    start, hkl, shape
        As for `correct_polarisation`.
    model : int64
        Model of partiality; negative: keep `part`.
    intensity, sigma : float64[m]
        Corrected intensities and standard errors.
    part : float64[m], written
        Partialities.
    log_full : float64[m], written
        ln(I/p); NaN where I or p is not positive.
    flags : uint8[m], changed
        All bits but `FREE` and `WITHIN` are set anew.
    """
    beam = np.empty(N_BEAM)
    for crystal in range(start.shape[0] - 1):
        pack_shape(shape[crystal], beam)
        for i in range(start[crystal], start[crystal + 1]):
            if model == UNITY:
                part[i] = 1.0
            elif model > 0:
                qx, qy, qz = lattice_point(hkl[i], shape[crystal])
                part[i] = recorded_part(qx, qy, qz, beam, 0.0, model)
            bits = flags[i] & (FREE | WITHIN)
            if part[i] >= LEAST_PART and not isnan(sigma[i]):
                bits |= MEASURED
            log_full[i] = np.nan
            if intensity[i] > 0.0 and part[i] > 0.0:
                log_full[i] = log(intensity[i] / part[i])
                if intensity[i] > STRONG * sigma[i]:
                    bits |= ABOVE
                if intensity[i] >= STRONG * abs(sigma[i]):
                    bits |= AT_LEAST
            flags[i] = bits


@jit
def squared_s(
    start: NDArray[np.int64], hkl: NDArray[np.int32], shape: NDArray[np.float64], s2: NDArray[np.float64]
) -> None:
    """Give s² = 1/(4d²) [Å⁻²] of asymmetric indices int32[m, 3] in each crystal's own cell, float64[m]."""
    for crystal in range(start.shape[0] - 1):
        for i in range(start[crystal], start[crystal + 1]):
            qx, qy, qz = lattice_point(hkl[i], shape[crystal])
            s2[i] = 0.25 * (qx * qx + qy * qy + qz * qz)


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    start, hkl = np.array([0, 1]), np.ones((1, 3), np.int16)
    shape, ones, flags = np.ones((1, N_SHAPE)), np.ones(1), np.zeros(1, np.uint8)
    correct_polarisation(start, hkl, shape, np.array([1.0, 1.0, 0.0]), ones, ones.copy())
    record_observations(start, hkl, shape, UNITY, ones, ones, ones.copy(), ones.copy(), flags)
    squared_s(start, hkl.astype(np.int32), shape, ones.copy())
