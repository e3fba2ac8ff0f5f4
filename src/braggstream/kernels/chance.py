"""How likely chance alone puts so many peaks so near to the points of a lattice.

A peak that has nothing to do with a lattice lies anywhere between its points, so the probability of lying within a
small volume around the nearest one is that volume times the volume of the primitive direct cell.  The probability
of n or more such peaks among N is bounded by Chernoff's inequality, (p/f)^n ((1-p)/(1-f))^(N-n) with f = n / N > p.
Evidence is its negative decadic logarithm, the largest over a range of distances.
"""

from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

N_REACHES = 20
MOST_CHANCE = 0.3
"""Distances within which chance puts more of the peaks tell nothing."""
EVIDENCE, REACH, COUNT = range(3)
"""Columns of a weighing: evidence, the distance where it is largest [Å⁻¹], and the peaks within that."""


@inline_jit
def evidence_of(n: int, n_all: int, chance: float) -> float:
    """Evidence that n of n_all peaks lie where each would lie by `chance`."""
    part = n / n_all
    if not 0.0 < chance < part:
        return 0.0
    found = n * log(part / chance)
    if n < n_all:
        found += (n_all - n) * log((1.0 - part) / (1.0 - chance))
    return found / log(10.0)


@jit
def weigh_distances(distances: NDArray, n: int, reaches: NDArray, volume: float, weighing: NDArray) -> None:
    """Find the reach with the largest evidence.

    Parameters
    ----------
    distances : float64[n or more]
        Squared distances of peaks from lattice points [Å⁻²]; the first `n` count.
    reaches : float64[m]
        Distances to be tried, ascending [Å⁻¹].
    volume : float64
        The volume within a reach r is `volume` r³, in units of the reciprocal cell's [Å³].
    weighing : float64[3], written
        See the constants above.
    """
    counts = np.zeros(N_REACHES, np.int64)
    m = reaches.shape[0]
    for j in range(n):
        for k in range(m):
            if distances[j] < reaches[k] * reaches[k]:
                counts[k] += 1
                break
    weighing[:] = 0.0
    total = 0
    for k in range(m):
        total += counts[k]
        chance = volume * reaches[k] ** 3
        if chance > MOST_CHANCE:
            break
        found = evidence_of(total, n, chance)
        if found > weighing[EVIDENCE]:
            weighing[EVIDENCE], weighing[REACH], weighing[COUNT] = found, reaches[k], total


@jit
def distances_from_lattice(
    q: NDArray, direct: NDArray, reciprocal: NDArray, wavenumber: float, flatness: float, distances: NDArray
) -> None:
    """Squared distances of peaks from the nearest lattice points, where that along the Ewald sphere counts more.

    A spot is where the reflection's position on the sphere says, but a reflection is recorded over some width
    across the sphere: of the two components of the distance the one across is divided by `flatness`, and the larger
    counts.

    Parameters
    ----------
    q : float64[n, 3]
        Scattering vectors [Å⁻¹].
    direct, reciprocal : float64[3, 3]
        Rows of the primitive basis [Å] and of its reciprocal one [Å⁻¹].
    wavenumber : float64
        Radius of the Ewald sphere [Å⁻¹].
    flatness : float64
    distances : float64[n], written
        [Å⁻²]
    """
    for i in range(q.shape[0]):
        x, y, z = q[i, 0], q[i, 1], q[i, 2]
        h = np.rint(direct[0, 0] * x + direct[0, 1] * y + direct[0, 2] * z)
        k = np.rint(direct[1, 0] * x + direct[1, 1] * y + direct[1, 2] * z)
        l = np.rint(direct[2, 0] * x + direct[2, 1] * y + direct[2, 2] * z)  # noqa: E741
        dx = h * reciprocal[0, 0] + k * reciprocal[1, 0] + l * reciprocal[2, 0] - x
        dy = h * reciprocal[0, 1] + k * reciprocal[1, 1] + l * reciprocal[2, 1] - y
        dz = h * reciprocal[0, 2] + k * reciprocal[1, 2] + l * reciprocal[2, 2] - z
        nz = z + wavenumber
        across = (dx * x + dy * y + dz * nz) / sqrt(x * x + y * y + nz * nz)
        along = max(dx * dx + dy * dy + dz * dz - across * across, 0.0)
        distances[i] = max(along, (across / flatness) ** 2)


FLAT_VOLUME = 2.0 * pi
"""Volume of the cylinder within which such a distance is less than r, over `flatness` r³."""
BALL_VOLUME = 4.0 * pi / 3.0


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    evidence_of(1, 2, 0.1)
    distances = np.zeros(1)
    distances_from_lattice(np.ones((1, 3)), np.eye(3), np.eye(3), 1.0, 3.0, distances)
    weigh_distances(distances, 1, np.ones(1), 1.0, np.zeros(3))
