"""Where XGANDALF starts to look for lattice vectors: shells of known lengths, or the whole half ball."""

from math import ceil, pi

import numpy as np
from numpy.typing import NDArray

from braggstream.steps.indexing.sampling import half_sphere

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

UNIT_PITCH = (0.10, 0.075, 0.05, 0.025, 0.01, 0.05, 0.025, 0.01)
"""Distance between samples in parts of the longest vector, for each setting of the pitch."""
WITH_SUMS = range(5, 8)
"""Settings that also look for the sums of two axes."""
USUAL_SPACING = 2.0
"""Distance of samples without a known cell, at the default setting [Å]."""
MAX_SAMPLES = 300_000
"""Samples are as far apart as it takes for no more, whatever the setting."""
SAME_LENGTH = 1e-3
"""Lengths that differ by less, in parts, are searched once."""


def lengths_to_sample(basis: FloatArray, pitch: int) -> list[float]:
    """Lengths of the vectors to look for, shortest first; `basis` holds the reduced axes as rows [Å]."""
    vectors = list(basis)
    if pitch in WITH_SUMS:
        vectors += [basis[0] + basis[1], basis[1] + basis[2], basis[2] + basis[0]]
    distinct: list[float] = []
    for length in sorted(float(np.linalg.norm(vector)) for vector in vectors):
        if not distinct or length > distinct[-1] * (1.0 + SAME_LENGTH):
            distinct.append(length)
    return distinct


def shells(lengths: list[float], tolerance: float, pitch: int) -> tuple[Float32Array, float]:
    """Samples on half spheres of these radii and a little beside them; float32[3, n], and their distance [Å]."""
    spacing = min(UNIT_PITCH[pitch] * lengths[-1], 4.0)
    while sum(_n_points(radius, spacing) for radius in _radii(lengths, tolerance, spacing)) > MAX_SAMPLES:
        spacing *= 1.1
    parts = [half_sphere(_n_points(r, spacing)) * np.float32(r) for r in _radii(lengths, tolerance, spacing)]
    return np.ascontiguousarray(np.concatenate(parts, axis=1)), spacing


def half_ball(shortest: float, longest: float, pitch: int, most: int) -> tuple[Float32Array, float]:
    """Samples on a grid in a half ball; float32[3, n], and the step of the grid [Å]."""
    spacing = USUAL_SPACING * UNIT_PITCH[pitch] / UNIT_PITCH[6]
    spacing = max(spacing, (2.0 * pi / 3.0 * longest**3 / most) ** (1.0 / 3.0))
    n = ceil(longest / spacing)
    line = spacing * np.arange(-n, n + 1, dtype=np.float32)
    x, y, z = np.meshgrid(line, line, line[n:], indexing="ij")
    length2 = x * x + y * y + z * z
    inside = (length2 <= longest * longest) & (length2 >= (0.98 * shortest) ** 2)
    return np.stack([x[inside], y[inside], z[inside]]), spacing


def _radii(lengths: list[float], tolerance: float, spacing: float) -> list[float]:
    radii: list[float] = []
    for length in lengths:
        n_beside = ceil(tolerance * length / spacing) if tolerance > 0.0 else 0
        for number in range(-n_beside, n_beside + 1):
            radii.append(length * (1.0 + number * tolerance / max(n_beside, 1)))
    return radii


def _n_points(radius: float, spacing: float) -> int:
    return max(8, round(2.0 * pi * (radius / spacing) ** 2))
