"""Which other lattices do the peaks of a lattice speak for: sparser ones, denser ones, rods instead of points?

A lattice that has nothing to do with a crystal can still share a part of its points with the crystal's, and those
peaks agree with it better than chance can explain.  It is told by what is left when the shared part is taken away:
the points outside of some sublattice hold no peaks, or the peaks between its points lie on a lattice as well, or
its points agree no better than rods along one of its directions.

Sublattices of prime index are enough: each proper sublattice lies in one of them (Cassels 1971, I.2).  Those of
index p belong to the classes c of index triples modulo p, up to a factor: they hold the points with c·h = 0 mod p.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.chance import evidence_of

N_NEIGHBOURS = 3


@jit
def find_sparser(
    hkl: NDArray[np.int64], n_peaks: int, chance: float, least: float, classes: NDArray[np.int64]
) -> int:
    """Find a sublattice outside of which the peaks are no evidence for the lattice.

    Parameters
    ----------
    hkl : int64[n, 3]
        Indices of the peaks that the lattice explains.
    n_peaks : int
        All peaks, explained or not.
    chance : float64
        Probability that the lattice explains a peak by chance.
    least : float64
        Evidence, as a decadic exponent, that is enough.
    classes : int64[m, 4]
        Prime index and class of each sublattice; those of one prime stand together.

    Returns
    -------
    int
        Row of the first such sublattice, -1 where there is none.
    """
    n = hkl.shape[0]
    enough, of_prime = 0, 0
    for row in range(classes.shape[0]):
        p = classes[row, 0]
        if p != of_prime:
            # Enough among all peaks is enough among the fewer that are not inside.
            of_prime, enough = p, 1
            while enough <= n and evidence_of(enough, n_peaks, chance * (1.0 - 1.0 / p)) < least:
                enough += 1
        outside, i = 0, 0
        while i < n and outside < enough:
            if (classes[row, 1] * hkl[i, 0] + classes[row, 2] * hkl[i, 1] + classes[row, 3] * hkl[i, 2]) % p:
                outside += 1
            i += 1
        if outside >= enough:
            continue
        if evidence_of(outside, n_peaks - (n - outside), chance * (1.0 - 1.0 / p)) < least:
            return row
    return -1


@jit
def count_classes(
    steps: NDArray[np.float64], distances: NDArray[np.float64], reach: float, p: int, counts: NDArray[np.int64]
) -> int:
    """Count the peaks between the points of a lattice, by the denser lattice of p-fold volume that explains them.

    Parameters
    ----------
    steps : float64[n, 3]
        Fractional indices of the peaks, times p.
    distances : float64[n]
        Squared distances from the points at which all three are whole [Å⁻²].
    reach : float64
        Distance within which a peak lies at such a point [Å⁻¹].
    p : int
        A prime number.
    counts : int64[p * p * p], written
        Peaks of each denser lattice, at the class (x, y, z) of its points, of which the first number that is not 0
        is 1, as x p² + y p + z.

    Returns
    -------
    int
        The class with most peaks.
    """
    counts[:] = 0
    best = np.int64(0)
    for i in range(steps.shape[0]):
        if not distances[i] < reach * reach:
            continue
        x = np.int64(np.rint(steps[i, 0])) % p
        y = np.int64(np.rint(steps[i, 1])) % p
        z = np.int64(np.rint(steps[i, 2])) % p
        first = x if x else (y if y else z)
        if not first:
            continue
        factor = np.int64(1)
        while (first * factor) % p != 1:
            factor += 1
        key = ((x * factor) % p * p + (y * factor) % p) * p + (z * factor) % p
        counts[key] += 1
        if counts[key] > counts[best]:
            best = key
    return int(best)


@jit
def mark_neighbours(q: NDArray[np.float64], is_explained: NDArray[np.bool_], is_near: NDArray[np.bool_]) -> None:
    """Tell which peaks have an explained one among their nearest three.

    Parameters
    ----------
    q : float64[n, 3]
        Scattering vectors [Å⁻¹].
    is_explained : bool[n]
    is_near : bool[n], written
    """
    nearest = np.empty(N_NEIGHBOURS)
    number = np.empty(N_NEIGHBOURS, np.int64)
    for i in range(q.shape[0]):
        nearest[:] = np.inf
        number[:] = -1
        for j in range(q.shape[0]):
            dx, dy, dz = q[j, 0] - q[i, 0], q[j, 1] - q[i, 1], q[j, 2] - q[i, 2]
            distance = dx * dx + dy * dy + dz * dz
            if i == j or not distance < nearest[N_NEIGHBOURS - 1]:
                continue
            place = N_NEIGHBOURS - 1
            while place > 0 and nearest[place - 1] > distance:
                nearest[place], number[place] = nearest[place - 1], number[place - 1]
                place -= 1
            nearest[place], number[place] = distance, j
        is_near[i] = False
        for place in range(N_NEIGHBOURS):
            if number[place] >= 0 and is_explained[number[place]]:
                is_near[i] = True


@jit
def least_support_along(
    q: NDArray[np.float64],
    fractional: NDArray[np.float64],
    reciprocal: NDArray[np.float64],
    directions: NDArray[np.float64],
    beam: NDArray[np.float64],
) -> float:
    """Evidence for the points of a lattice where its rods along one direction are given, the least of all.

    Parameters
    ----------
    q : float64[n, 3]
        Scattering vectors of the peaks [Å⁻¹].
    fractional : float64[n, 3]
        Their fractional indices.
    reciprocal : float64[3, 3]
        Rows of the primitive reciprocal basis [Å⁻¹].
    directions : float64[m, 3]
        Indices of the lattice points along which rods are tried.
    beam : float64[3]
        Wavenumber [Å⁻¹], how many times further points may be from the Ewald sphere than peaks from where they are
        predicted, and the reach [Å⁻¹].

    Returns
    -------
    float
        A decadic exponent.
    """
    wavenumber, flatness, reach = beam[0], beam[1], beam[2]
    squash = 1.0 - 1.0 / flatness
    n_directions = directions.shape[0]
    units, spacings = np.empty((n_directions, 3)), np.empty(n_directions)
    n_on_rods, n_at_points = np.zeros(n_directions, np.int64), np.zeros(n_directions, np.int64)
    chances = np.zeros(n_directions)
    for row in range(n_directions):
        for axis in range(3):
            units[row, axis] = 0.0
            for i in range(3):
                units[row, axis] += directions[row, i] * reciprocal[i, axis]
        spacings[row] = sqrt(units[row, 0] ** 2 + units[row, 1] ** 2 + units[row, 2] ** 2)
        units[row] /= spacings[row]
    for i in range(q.shape[0]):
        d0 = fractional[i, 0] - np.rint(fractional[i, 0])
        d1 = fractional[i, 1] - np.rint(fractional[i, 1])
        d2 = fractional[i, 2] - np.rint(fractional[i, 2])
        x = d0 * reciprocal[0, 0] + d1 * reciprocal[1, 0] + d2 * reciprocal[2, 0]
        y = d0 * reciprocal[0, 1] + d1 * reciprocal[1, 1] + d2 * reciprocal[2, 1]
        z = d0 * reciprocal[0, 2] + d1 * reciprocal[1, 2] + d2 * reciprocal[2, 2]
        nx, ny, nz = q[i, 0], q[i, 1], q[i, 2] + wavenumber
        norm = sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx / norm, ny / norm, nz / norm
        # In a space that is squashed across the Ewald sphere, so that distances count alike everywhere.
        across = x * nx + y * ny + z * nz
        x, y, z = x - squash * across * nx, y - squash * across * ny, z - squash * across * nz
        size2, flat2 = x * x + y * y + z * z, (across / flatness) ** 2
        is_at_point = max(size2 - flat2, flat2) < reach * reach
        for row in range(n_directions):
            steep = units[row, 0] * nx + units[row, 1] * ny + units[row, 2] * nz
            ex = units[row, 0] - squash * steep * nx
            ey = units[row, 1] - squash * steep * ny
            ez = units[row, 2] - squash * steep * nz
            length2 = ex * ex + ey * ey + ez * ez
            along = x * ex + y * ey + z * ez
            if size2 - along * along / length2 >= reach * reach:
                continue
            n_on_rods[row] += 1
            n_at_points[row] += is_at_point
            chances[row] += min(2.0 * reach / (sqrt(length2) * spacings[row]), 1.0)
    least = np.inf
    for row in range(n_directions):
        n = n_on_rods[row]
        least = min(least, evidence_of(n_at_points[row], n, chances[row] / n) if n else 0.0)
    return least


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    vectors = np.ones((2, 3))
    find_sparser(np.ones((2, 3), np.int64), 2, 0.1, 1.0, np.array([[2, 1, 0, 0]]))
    count_classes(vectors, np.zeros(2), 1.0, 2, np.zeros(8, np.int64))
    mark_neighbours(vectors, np.ones(2, np.bool_), np.ones(2, np.bool_))
    least_support_along(vectors, vectors, np.eye(3), np.eye(3), np.array([1.0, 3.0, 0.1]))
