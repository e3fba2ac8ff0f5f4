"""How far peaks and crystals reach in resolution."""

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal

MAX_FRACTION = 0.25
"""A peak belongs to the lattice where its fractional indices are nearer than this to whole numbers."""
MIN_PEAKS = 3
PART_LEFT_OUT = 50
"""One peak in so many is left out at the top."""


def peak_resolution(inverse_d: NDArray[np.float64]) -> float:
    """Resolution to which a frame has peaks, as 1/d [Å⁻¹], without the outermost 2 %; 0 without peaks."""
    n = len(inverse_d)
    if n == 0:
        return 0.0
    cut = n // PART_LEFT_OUT
    return float(np.sort(inverse_d)[n - 1 - (cut if cut >= 2 else 0)])


def resolution_limit(crystal: Crystal, peak_q: NDArray[np.float64]) -> float:
    """Apparent resolution of a crystal, as 1/d [Å⁻¹]; 0 with fewer than three peaks.

    Parameters
    ----------
    crystal
        The crystal.
    peak_q : float64[n, 3]
        Scattering vectors of all peaks of the frame [Å⁻¹].
    """
    fractional = peak_q @ crystal.direct_axes.T
    nearest = np.rint(fractional)
    belongs = (np.abs(fractional - nearest) < MAX_FRACTION).all(axis=1)
    n = int(belongs.sum())
    if n < MIN_PEAKS:
        return 0.0
    inverse_d = np.sort(np.linalg.norm(nearest[belongs] @ crystal.reciprocal_axes, axis=1))
    return float(inverse_d[n - 1 - max(2, n // PART_LEFT_OUT)])
