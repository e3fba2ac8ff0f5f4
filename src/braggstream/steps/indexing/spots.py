"""Which scattering vectors a search uses, and in which order."""

from math import inf

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def by_resolution(q: FloatArray, most: int, *, limit: float = inf) -> FloatArray:
    """The strongest finite ones of scattering vectors, float64[n, 3], in order of resolution.

    They come strongest first; those with 1/d of zero, or of `limit` and more [Å⁻¹], are left out.
    """
    inverse_d = np.sqrt(np.einsum("ij,ij->i", q, q))
    usable = np.flatnonzero((inverse_d > 0.0) & (inverse_d < limit))[:most]
    return np.ascontiguousarray(q[usable[np.argsort(inverse_d[usable], kind="stable")]])
