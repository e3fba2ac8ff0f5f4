"""What the indexer for wide spectra needs to know of each peak, packed for its kernels."""

from math import ceil, pi

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.pink_match import ACROSS_X, ACROSS_Z, INFORMATION, LENGTH, N_COLUMNS, N_STEPS, Q_X, Q_Z

FloatArray = NDArray[np.float64]

MIN_CHANCE = 1e-6
"""No explanation counts for more than one with this probability by chance."""


def pack_peaks(
    q: FloatArray,
    *,
    bandwidth: float,
    radius: float,
    across: float,
    spacing: float,
    volume: float,
    in_order: bool = False,
) -> FloatArray:
    """Pack peaks, those of lowest resolution first, float64[n, 9]; see `kernels.pink_match`.

    Parameters
    ----------
    q
        Scattering vectors at the mean wavelength, float64[n, 3] [Å⁻¹].
    bandwidth
        Half width of the spectrum, relative.
    radius, across, spacing
        Radius of a lattice point, allowed distance, shortest reciprocal axis [Å⁻¹].
    volume
        Volume of the primitive cell: lattice points per volume of reciprocal space [Å³].
    in_order
        Pack all peaks as they come; those that lie nowhere are explained by nothing.
    """
    length = np.sqrt(np.einsum("ij,ij->i", q, q))
    usable = np.flatnonzero(np.isfinite(length) & (length > 0.3 * spacing))
    order = np.arange(len(q)) if in_order else usable[np.argsort(length[usable], kind="stable")]
    packed = np.empty((len(order), N_COLUMNS))
    packed[:, Q_X : Q_Z + 1], packed[:, LENGTH] = q[order], length[order]
    across_beam = np.stack([-q[order, 1], q[order, 0], np.zeros(len(order))], axis=1)
    size = np.linalg.norm(across_beam, axis=1, keepdims=True)
    packed[:, ACROSS_X : ACROSS_Z + 1] = np.where(
        size > 0.0, across_beam / np.maximum(size, 1e-300), (1.0, 0.0, 0.0)
    )
    half = bandwidth * length[order]
    packed[:, N_STEPS] = 1 + np.floor(2.0 * half / (0.5 * spacing))
    chance = volume * pi * across * (across + radius) * 2.0 * (half + radius + across)
    packed[:, INFORMATION] = -np.log(np.clip(chance, MIN_CHANCE, 1.0))
    return packed


def tilted_directions(
    peaks: FloatArray, *, radius: float, cell_angle: float
) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """Directions in which each peak's lattice point may lie, for a lattice point has a radius.

    Gives unit vectors, float64[n, 3], the number of each one's peak from 1 on, and the peak's length [Å⁻¹].
    `cell_angle` is the size of a cell of rotation space [rad].
    """
    directions, voters = [], []
    for number, peak in enumerate(peaks):
        along, across = peak[Q_X : Q_Z + 1] / peak[LENGTH], peak[ACROSS_X : ACROSS_Z + 1]
        normal = np.cross(along, across)
        half = radius / peak[LENGTH]
        n_side = min(ceil(max(half / cell_angle - 0.5, 0.0)), 8)
        for tilt in np.linspace(-half, half, 2 * n_side + 1) if n_side else (0.0,):
            directions.append(np.cos(tilt) * along + np.sin(tilt) * normal)
            voters.append(number + 1)
    voter = np.array(voters, np.int64)
    return np.array(directions).reshape(-1, 3), voter, peaks[voter - 1, LENGTH]
