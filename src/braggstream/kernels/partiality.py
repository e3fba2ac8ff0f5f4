"""Which part of a reflection a still records: the models by which merging corrects.

`ggpm` is the overlap of Gaussians by which reflections are predicted (Brehm, White & Chapman 2023,
doi:10.1107/S2053273323000682), `xsphere` a sphere of uniform density that spectrum and Ewald sphere cut (Ginn et
al. 2015, doi:10.1107/S1399004715006902), `offset` a Gaussian of the excitation error alone.
"""

from math import exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.ewald import N_BEAM, RADIUS, WAVENUMBER, WAVENUMBER_SIGMA, place_lattice_point

UNITY, GGPM, OFFSET, XSPHERE = range(4)
"""The models; `unity` takes every reflection for full."""

N_SAMPLES = 50
SPECTRUM_REACH = 5.0
"""The spectrum is cut at so many standard deviations."""
NARROW = 1e-6
"""Below this relative bandwidth `xsphere` is the profile at one wavelength, which needs no sum."""


@inline_jit
def _xsphere_integral(q2: float, z: float, radius: float, beam: NDArray[np.float64]) -> float:
    """Integrate over the spectrum which part of a sphere around a lattice point each wavelength cuts."""
    k, spread = beam[WAVENUMBER], beam[WAVENUMBER_SIGMA]
    missing = radius * radius - q2
    low, high = missing / (2.0 * (z - radius)), missing / (2.0 * (z + radius))
    low = low if low >= 0.0 else np.inf
    high = high if high >= 0.0 else np.inf
    low, high = max(low, k - SPECTRUM_REACH * spread), min(high, k + SPECTRUM_REACH * spread)
    if not low < high:
        return 0.0
    step, total = (high - low) / N_SAMPLES, 0.0
    for sample in range(N_SAMPLES):
        here = low + sample * step
        x = (sqrt(q2 + here * here + 2.0 * z * here) - here) / (2.0 * radius) + 0.5
        off = (here - k) / spread
        total += exp(-0.5 * off * off) / (spread * sqrt(2.0 * pi)) * 4.0 * x * (1.0 - x)
    return total * step


@inline_jit
def recorded_part(
    qx: float, qy: float, qz: float, beam: NDArray[np.float64], mosaicity: float, model: int
) -> float:
    """Give the partiality of one lattice point; see `record_parts`."""
    if model == UNITY:
        return 1.0
    if model == GGPM:
        return place_lattice_point(qx, qy, qz, beam)[2]
    k, spread = beam[WAVENUMBER], beam[WAVENUMBER_SIGMA]
    q2 = qx * qx + qy * qy + qz * qz
    radius = beam[RADIUS] + mosaicity * sqrt(q2)
    error = k - sqrt(q2 + k * k + 2.0 * qz * k)
    if model == OFFSET:
        return exp(-(error * error) / (radius * radius)) if radius > 0.0 else 0.0
    if not 0.0 < radius * radius < q2:
        return 0.0
    if spread < NARROW * k:
        depth = error / radius
        return max(1.0 - depth * depth, 0.0)
    full = _xsphere_integral(q2, -q2 / (2.0 * k), radius, beam)
    return _xsphere_integral(q2, qz, radius, beam) / full if full > 0.0 else 0.0


@jit
def record_parts(
    q: NDArray[np.float64], beam: NDArray[np.float64], mosaicity: float, model: int, parts: NDArray[np.float64]
) -> None:
    """Give the partiality of lattice points.

    Parameters
    ----------
    q : float64[n, 3]
        Lattice points [Å⁻¹].
    beam : float64[3]
        Packed beam with the radius of a lattice point [Å⁻¹].
    mosaicity : float64
        Adds this times |q| to the radius in `offset` and `xsphere` [rad].
    model : int64
        `UNITY`, `GGPM`, `OFFSET` or `XSPHERE`.
    parts : float64[n], written
        Partialities; 0 where a model does not apply, as `xsphere` to points nearer to the origin than their radius.
    """
    for i in range(q.shape[0]):
        parts[i] = recorded_part(q[i, 0], q[i, 1], q[i, 2], beam, mosaicity, model)


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    record_parts(np.ones((1, 3)), np.ones(N_BEAM), 0.0, XSPHERE, np.empty(1))
