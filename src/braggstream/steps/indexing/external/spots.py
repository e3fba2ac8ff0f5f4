"""Scattering vectors as the other programs want them: on a flat detector 100 mm behind the crystal."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DISTANCE_MM = 100.0


def on_detector(q: FloatArray, wavelength: float) -> FloatArray:
    """Where rays with scattering vectors q [Å⁻¹] meet the detector, x and y, float64[m, 2] [mm].

    Those that do not go forward are left out.
    """
    forward = 1.0 / wavelength + q[:, 2]
    usable = np.isfinite(q).all(axis=1) & (forward > 0.0)
    return np.asarray(DISTANCE_MM * q[usable, :2] / forward[usable, None])


def numbers_of(line: str, n: int) -> list[float] | None:
    """The last n words of a line as numbers; None where they are none."""
    words = line.split()[-n:]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None


def reciprocal_of(direct: FloatArray) -> FloatArray | None:
    """Reciprocal axes of direct ones (rows) [Å]; None where they span no volume."""
    if not np.isfinite(direct).all():
        return None
    volume = abs(np.linalg.det(direct))
    if not volume > 1e-6 * np.linalg.norm(direct, axis=1).prod() > 0.0:
        return None
    return np.ascontiguousarray(np.linalg.inv(direct).T)
