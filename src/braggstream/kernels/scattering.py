"""Scattering vectors of peaks: from places on panels to reciprocal space."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.layout import CORNER, FS, SS


@jit
def scattering_vectors(
    poses: NDArray[np.float64],
    panels: NDArray[np.int32],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    wavelength: float,
    q: NDArray[np.float64],
) -> None:
    """Place peaks in reciprocal space; what `Detector.scattering_vectors` gives, to the last digit.

    Parameters
    ----------
    poses : float64[n_panels, 3, 3]
        Pose of each panel [m].
    panels : int32[n]
        Panel of each peak.
    fs, ss : float64[n]
        Where on it [px].
    wavelength : float64
        [Å]
    q : float64[n, 3], written
        Scattering vectors, no 2 pi [Å⁻¹].
    """
    for k in range(panels.shape[0]):
        panel, squares = panels[k], 0.0
        for i in range(3):
            place = poses[panel, CORNER, i] + fs[k] * poses[panel, FS, i] + ss[k] * poses[panel, SS, i]
            q[k, i] = place
            squares += place * place
        distance = sqrt(squares)
        q[k, 0], q[k, 1] = q[k, 0] / distance / wavelength, q[k, 1] / distance / wavelength
        q[k, 2] = (q[k, 2] / distance - 1.0) / wavelength


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    none = np.zeros(0)
    scattering_vectors(np.zeros((1, 3, 3)), np.zeros(0, np.int32), none, none, 1.0, np.zeros((0, 3)))
