"""Sample directions, angles and the scoring rule of the sampling indexer."""

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_vectors import C0, C1, C2, CLOSE, N_RULE, TRIM_HIGH, TRIM_LOW
from braggstream.model.settings import FfbidxSettings

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]


def half_sphere(n: int) -> Float32Array:
    """Evenly spread directions on a spiral over the half sphere z >= 0, float32[3, n].

    González (2009), Math. Geosci. 42, 49 (doi:10.1007/s11004-009-9257-x).
    """
    i = np.arange(n, dtype=np.float64)
    z = 1.0 - i / max(n - 1, 1)
    r = np.sqrt(np.maximum(0.0, 1.0 - z * z))
    phi = i * (pi * (3.0 - sqrt(5.0)))
    return np.stack([r * np.cos(phi), r * np.sin(phi), z]).astype(np.float32)


def turns(n: int) -> Float32Array:
    """Cosine and sine of n angles all around, float32[2, n]."""
    angle = 2.0 * pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def orthogonal_frame(along: FloatArray) -> FloatArray:
    """Right-handed frame as rows x, y, z with z along a unit vector, float64[3, 3]."""
    helper = np.zeros(3)
    helper[np.argmin(np.abs(along))] = 1.0
    x = np.cross(helper, along)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(along, x), along])


def scoring_rule(chosen: FfbidxSettings, close: float) -> Float32Array:
    """Pack a scoring rule for the kernels.

    The published score orders ties of the number of close spots by the geometric mean of the trimmed distances;
    its logarithm is replaced by a quadratic fit, which needs no logarithm per spot.  It is scaled so that the parts
    of up to `max_spots` spots add up to less than one close spot.
    """
    low, high = chosen.triml, chosen.trimh
    grid = low + (high - low) * 0.5 * (1.0 - np.cos(np.linspace(0.0, pi, 101)))
    logarithm = np.log2(grid + chosen.delta)
    fall = (logarithm[-1] - logarithm) / (logarithm[-1] - logarithm[0])
    c2, c1, c0 = np.polyfit(grid, fall, 2) * (0.8 / chosen.max_spots)
    rule = np.empty(N_RULE, np.float32)
    rule[CLOSE], rule[TRIM_LOW], rule[TRIM_HIGH] = close, low, high
    rule[C0], rule[C1], rule[C2] = c0, c1, c2
    return rule
