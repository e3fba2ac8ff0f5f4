"""Lattices that contain another one, or are contained in it."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def normal_forms(index: int) -> list[FloatArray]:
    """Hermite normal forms of a determinant: each gives another sublattice (Cassels 1971, I.2)."""
    forms = []
    for a, b in product(range(1, index + 1), repeat=2):
        if index % (a * b) == 0:
            c = index // (a * b)
            for d, e, f in product(range(b), range(c), range(c)):
                forms.append(np.array([[a, d, e], [0, b, f], [0, 0, c]], np.float64))
    return forms


_LARGER = normal_forms(2) + normal_forms(3)
_SMALLER = [np.linalg.inv(form).T for form in _LARGER + normal_forms(5)]
LARGER_AND_SMALLER: FloatArray = np.array(_LARGER + _SMALLER)
"""Matrices that turn rows a, b, c into those of each larger and each smaller cell, float64[71, 3, 3]."""
MUCH_SMALLER: FloatArray = np.array([np.linalg.inv(form).T for n in (7, 11) for form in normal_forms(n)])
"""The same for cells of a seventh and an eleventh of the volume, float64[190, 3, 3]."""
