"""Which peak belongs to which lattice point."""

from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.ewald import N_BEAM, WAVENUMBER, place_lattice_point

MAX_INDEX = 511
"""Largest Miller index that a stream file's reader must understand."""


@jit
def pair_peaks(
    q: NDArray[np.float64],
    reciprocal_axes: NDArray[np.float64],
    direct_axes: NDArray[np.float64],
    beam: NDArray[np.float64],
    max_distance: float,
    hkl: NDArray[np.int32],
    peak: NDArray[np.int64],
    excitation: NDArray[np.float64],
) -> int:
    """Pair each peak with the nearest lattice point, where the predicted spot is close enough to the peak.

    The spot of a lattice point lies on the ray through it from the centre of the Ewald sphere, so in reciprocal
    space its distance from the peak does not depend on the panel.

    Parameters
    ----------
    q : float64[n, 3]
        Scattering vectors of the peaks [Å⁻¹].
    reciprocal_axes : float64[3, 3]
        Rows a*, b*, c* [Å⁻¹].
    direct_axes : float64[3, 3]
        Rows a, b, c [Å].
    beam : float64[3]
        Packed beam, see `kernels.ewald` [Å⁻¹].
    max_distance : float64
        Largest distance between the spot and the peak [Å⁻¹].
    hkl : int32[n, 3], written
        Miller indices of the pairs.
    peak : int64[n], written
        Number of each pair's peak, ascending.
    excitation : float64[n], written
        Excitation error of each pair [Å⁻¹].

    Returns
    -------
    int
        Number of pairs.
    """
    wavenumber = beam[WAVENUMBER]
    limit2 = max_distance * max_distance
    n_pairs = 0
    for i in range(q.shape[0]):
        for axis in range(3):
            fraction = (
                q[i, 0] * direct_axes[axis, 0] + q[i, 1] * direct_axes[axis, 1] + q[i, 2] * direct_axes[axis, 2]
            )
            # Written so that NaN fails as well.
            if not abs(fraction) < MAX_INDEX + 0.5:
                break
            hkl[n_pairs, axis] = np.int32(floor(fraction + 0.5))
        else:
            h, k, l = hkl[n_pairs, 0], hkl[n_pairs, 1], hkl[n_pairs, 2]  # noqa: E741
            if h == 0 and k == 0 and l == 0:
                continue
            qx = h * reciprocal_axes[0, 0] + k * reciprocal_axes[1, 0] + l * reciprocal_axes[2, 0]
            qy = h * reciprocal_axes[0, 1] + k * reciprocal_axes[1, 1] + l * reciprocal_axes[2, 1]
            qz = h * reciprocal_axes[0, 2] + k * reciprocal_axes[1, 2] + l * reciprocal_axes[2, 2]
            error, k_pred, _ = place_lattice_point(qx, qy, qz, beam)
            z = qz + k_pred
            scale = wavenumber / sqrt(qx * qx + qy * qy + z * z)
            dx = qx * scale - q[i, 0]
            dy = qy * scale - q[i, 1]
            dz = z * scale - wavenumber - q[i, 2]
            if dx * dx + dy * dy + dz * dz <= limit2:
                peak[n_pairs] = i
                excitation[n_pairs] = error
                n_pairs += 1
    return n_pairs


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    pair_peaks(
        np.ones((1, 3)),
        np.eye(3),
        np.eye(3),
        np.ones(N_BEAM),
        1.0,
        np.zeros((1, 3), np.int32),
        np.zeros(1, np.int64),
        np.zeros(1),
    )
