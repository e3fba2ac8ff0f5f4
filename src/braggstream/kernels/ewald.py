"""One lattice point and the Ewald sphere: excitation error, wavenumber of the prediction, partiality.

The model is the Gaussian overlap of a lattice point of finite radius with the Ewald spheres of a Gaussian spectrum
(Brehm, White & Chapman 2023, Acta Cryst. A79, 145, doi:10.1107/S2053273323000682), in CrystFEL's form for one
Gaussian in the spectrum.  The beam runs along +z; reciprocal space has no 2 pi; all lengths are in Å⁻¹.
"""

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

WAVENUMBER, WAVENUMBER_SIGMA, RADIUS = range(3)
"""Elements of a packed beam, float64[3]: 1/wavelength, its standard deviation, radius of a lattice point [Å⁻¹]."""
N_BEAM = 3


@inline_jit
def place_lattice_point(qx: float, qy: float, qz: float, beam: NDArray[np.float64]) -> tuple[float, float, float]:
    """Give excitation error [Å⁻¹], wavenumber of the prediction [Å⁻¹] and partiality of the lattice point q.

    The excitation error is positive inside the sphere of the mean wavelength.  The partiality is that of the
    reference's overlap model: 1 on the sphere for a monochromatic beam.  A point of no radius has none.
    """
    k = beam[WAVENUMBER]
    spread = beam[WAVENUMBER_SIGMA]
    radius = beam[RADIUS]
    z = qz + k
    distance = sqrt(qx * qx + qy * qy + z * z)
    error = k - distance
    if radius <= 0.0 or distance <= 0.0:
        return error, k, 0.0
    ex = qx / distance
    ey = qy / distance
    ez = z / distance
    # Thickness of the stack of spheres in the direction of this point.
    thickness = (1.0 - ez) * spread
    radius2 = radius * radius
    thickness2 = thickness * thickness
    width2 = radius2 + thickness2
    exponent = error * error / (2.0 * width2)
    if exponent > 700.0:
        return error, k, 0.0
    partiality = exp(-exponent) * sqrt((radius2 + spread * spread) / width2)
    k_pred = k
    if thickness2 > 0.0 and width2 > radius2:
        # Mean of the lattice point and the nearest point of the sphere, each weighted by its sharpness.
        vx = (qx * thickness2 + k * ex * radius2) / width2
        vy = (qy * thickness2 + k * ey * radius2) / width2
        vz = (min(qz, 0.0) * thickness2 + k * (ez - 1.0) * radius2) / width2
        if vz < 0.0:
            k_pred = -(vx * vx + vy * vy + vz * vz) / (2.0 * vz)
    return error, k_pred, partiality


@jit
def place_lattice_points(q: NDArray[np.float64], beam: NDArray[np.float64], placed: NDArray[np.float64]) -> None:
    """Place many lattice points.

    Parameters
    ----------
    q : float64[n, 3]
        Lattice points [Å⁻¹].
    beam : float64[3]
        Packed beam [Å⁻¹].
    placed : float64[n, 3], written
        Excitation error [Å⁻¹], wavenumber of the prediction [Å⁻¹], partiality.
    """
    for i in range(q.shape[0]):
        placed[i, 0], placed[i, 1], placed[i, 2] = place_lattice_point(q[i, 0], q[i, 1], q[i, 2], beam)


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    place_lattice_points(np.zeros((1, 3)), np.ones(N_BEAM), np.zeros((1, 3)))
