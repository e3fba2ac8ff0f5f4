"""Largest sets of peaks whose mutual distances are those of lattice points: the cliques of cctbx.small_cell.

Brewster et al. (2015), Acta Cryst. D71, 357 (doi:10.1107/S1399004714026145).
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.xgandalf import count_bits

MAX_NEIGHBOURS = 64
"""Nodes joined to one node that are followed, the best ones; a set of them is one word."""
MAX_STEPS = 20000
"""Most steps of the search around one node."""


@inline_jit
def _distance(points: NDArray, i: int, j: int) -> float:
    """Distance between two rows."""
    x, y, z = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1], points[i, 2] - points[j, 2]
    return sqrt(x * x + y * y + z * z)


@jit
def _gather(
    q: NDArray, matches: NDArray, points: NDArray, root: tuple, tolerance: float, nodes: NDArray, misfits: NDArray
) -> int:
    """Gather the nodes of later peaks that are as far from the root as they should be; of many, the best."""
    peak, point = root
    n = 0
    for other in range(peak + 1, q.shape[0]):
        seen = _distance(q, peak, other)
        for candidate in range(matches[other, 0], matches[other, 1]):
            misfit = abs(seen - _distance(points, point, candidate))
            if not misfit <= tolerance:
                continue
            place = n
            if n == MAX_NEIGHBOURS:
                place = int(np.argmax(misfits))
                if misfits[place] <= misfit:
                    continue
            else:
                n += 1
            nodes[place, 0], nodes[place, 1] = other, candidate
            misfits[place] = misfit
    return n


@jit
def _largest(joined: NDArray, n: int, smallest: int, left: NDArray, path: NDArray, best: NDArray) -> int:
    """Find the largest clique among n nodes, larger than `smallest`, for `best`; gives its size or 0."""
    one = np.uint64(1)
    size = 0
    depth = 0
    left[0] = ~np.uint64(0) if n == MAX_NEIGHBOURS else (one << np.uint64(n)) - one
    for _ in range(MAX_STEPS):
        if depth + int(count_bits(left[depth])) <= max(size, smallest):
            if depth == 0:
                break
            depth -= 1
            continue
        lowest = left[depth] & (~left[depth] + one)
        node = int(count_bits(lowest - one))
        left[depth] ^= lowest
        path[depth] = node
        left[depth + 1] = left[depth] & joined[node]
        depth += 1
        if depth > max(size, smallest):
            size = depth
            best[:size] = path[:size]
    return size


@jit
def find_cliques(
    q: NDArray,
    matches: NDArray,
    points: NDArray,
    is_unique: NDArray,
    tolerance: float,
    cliques: NDArray,
    sizes: NDArray,
) -> None:
    """Find large sets of peaks that can be lattice points at the same time, and which ones.

    A node is a peak together with one lattice point at its distance from the origin; two nodes are joined where the
    distance between the peaks is that between the points.

    Parameters
    ----------
    q : float64[n, 3]
        Scattering vectors; those with the fewest matches first [Å⁻¹].
    matches : int64[n, 2]
        First and last + 1 of the lattice points at the distance of each peak.
    points : float64[k, 3]
        Lattice points, in any orientation [Å⁻¹].
    is_unique : bool[k]
        Which of them stand for all their equivalents.
    tolerance : float64
        Difference of two distances [Å⁻¹].
    cliques : int64[m, n], written
        Lattice point of each peak, -1 where it has none; the largest set first.
    sizes : int64[m], written
        Peaks of each set; 0 where there is no further one.
    """
    nodes, misfits = np.empty((MAX_NEIGHBOURS, 2), np.int64), np.empty(MAX_NEIGHBOURS)
    joined = np.empty(MAX_NEIGHBOURS, np.uint64)
    left = np.empty(MAX_NEIGHBOURS + 1, np.uint64)
    path, best = np.empty(MAX_NEIGHBOURS, np.int64), np.empty(MAX_NEIGHBOURS, np.int64)
    sizes[:] = 0
    last = sizes.shape[0] - 1
    for peak in range(q.shape[0]):
        # With the peaks that remain no larger set is possible.
        if q.shape[0] - peak <= sizes[last]:
            break
        for point in range(matches[peak, 0], matches[peak, 1]):
            if not is_unique[point]:
                continue
            n = _gather(q, matches, points, (peak, point), tolerance, nodes, misfits)
            for i in range(n):
                joined[i] = np.uint64(0)
                for j in range(n):
                    if nodes[i, 0] == nodes[j, 0]:
                        continue
                    misfit = _distance(q, nodes[i, 0], nodes[j, 0]) - _distance(points, nodes[i, 1], nodes[j, 1])
                    if abs(misfit) <= tolerance:
                        joined[i] |= np.uint64(1) << np.uint64(j)
            size = 1 + _largest(joined, n, max(sizes[last] - 1, 1), left, path, best)
            if size <= max(sizes[last], 2):
                continue
            place = last
            while place > 0 and sizes[place - 1] < size:
                sizes[place] = sizes[place - 1]
                cliques[place] = cliques[place - 1]
                place -= 1
            sizes[place] = size
            cliques[place] = -1
            cliques[place, peak] = point
            for i in range(size - 1):
                cliques[place, nodes[best[i], 0]] = nodes[best[i], 1]


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    one, sizes = np.ones((1, 3)), np.zeros(1, np.int64)
    cliques = np.zeros((1, 1), np.int64)
    find_cliques(one, np.zeros((1, 2), np.int64), one, np.ones(1, np.bool_), 0.01, cliques, sizes)
