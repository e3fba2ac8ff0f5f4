"""How much evidence for a lattice is enough: chance has many lattices to choose from.

The lattice that agrees best with some peaks is the best of all that can be told apart, and by chance one of so many
agrees as well as one in so many does.  Their number is that of the distinguishable orientations and cells: a
lattice is another one when the peaks move by the distance within which they count.
"""

from math import log10, pi, radians

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.chance import N_REACHES
from braggstream.steps.indexing.cell_check import Tolerance

MARGIN = 6.0
"""One frame in 10 to this power may give a lattice by chance."""
REACHES: NDArray[np.float64] = 1.5e-4 * np.power(1.22, np.arange(N_REACHES, dtype=np.float64))
"""Distances of peaks from lattice points that are tried [Å⁻¹]."""
ANY_CELL = (50.0, 50.0, 50.0, 30.0, 30.0, 30.0)
"""Tolerance where no cell is expected."""


def needed_evidence(inverse_d: float, reach: float, tolerance: Tolerance) -> float:
    """Evidence that a lattice needs, as a decadic exponent.

    Parameters
    ----------
    inverse_d : float
        Typical 1/d of the peaks [Å⁻¹].
    reach : float
        Distance within which the peaks agree [Å⁻¹].
    tolerance
        Allowed deviation of the cell: lengths [percent], angles [deg].
    """
    steps = inverse_d / reach
    n_lattices = log10(8.0 * pi**2) + 3.0 * log10(max(steps, 1.0))
    for percent in tolerance[:3]:
        n_lattices += log10(max(2.0 * percent / 100.0 * steps, 1.0))
    for degrees in tolerance[3:]:
        n_lattices += log10(max(2.0 * radians(degrees) * steps, 1.0))
    return n_lattices + MARGIN
