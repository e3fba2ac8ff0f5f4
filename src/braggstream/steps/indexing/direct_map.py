"""Lattice vectors of an unknown lattice: maxima of a map of direct space, refined.

The score of a vector t is the sum of cos 2π q·t over the spots of lowest resolution: as many as there are spots,
for a lattice vector.  Spots of a still lie on the Ewald sphere, flat where the resolution is low: along the beam
the score changes slowly, so that a few planes of constant z hold all of it.  A plane is one product of matrices:
cos(u + v) = cos u cos v - sin u sin v, with u from x and v from y and z.
"""

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.asdf_vectors import (
    COLUMN,
    LIKELIHOOD,
    N_EVIDENCE,
    N_MAXIMUM,
    PART,
    PLANE,
    ROW,
    SCORE,
    SPREAD,
    collect_maxima,
    judge_vectors,
)
from braggstream.kernels.ffbidx_vectors import refine_vectors

FloatArray = NDArray[np.float64]

STEP = 0.42
"""Between neighbouring points of the map the phase of the outermost spot changes by so much [cycles]."""
MOST_SPOTS = 100
"""Spots that make the map."""
FEWEST_SPOTS = 15
MOST_EXCESS = 2.0
"""With the fewest spots a map may cost more by this factor."""
LEAST_HEIGHT = 2.0
"""Least height of a maximum; spots that lie anywhere give a scatter of 0.7 [square roots of the spots]."""
MOST_MAXIMA = 4096
N_REFINED = 192
"""Maxima that are refined."""
SHORTEST = 3.0
"""Shortest lattice vector [Å]."""
SAME = 0.02
"""Vectors that differ by less than this part of their length are the same."""
MIN_SPOTS_TO_REFINE = 6
MIN_LIKELIHOOD = 6.0
KEPT_PART = 0.6
"""Vectors with less than this part of the spots that the best one has are dropped."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class LatticeVectors:
    """Vectors that are likely to belong to the lattice, the shortest first."""

    vectors: FloatArray
    """float64[n, 3] [Å]."""
    part: FloatArray
    """Part of the spots that each explains, float64[n]."""
    spread: FloatArray
    """Spread of the phases of these, float64[n] [cycles]."""

    def __len__(self) -> int:
        return len(self.vectors)


def find_vectors(spots: FloatArray, reach: float, most_operations: float) -> LatticeVectors:
    """Find lattice vectors up to a length of `reach` [Å].

    `spots` are scattering vectors in order of resolution, float64[n, 3] [Å⁻¹]; as many of them make the map as
    `most_operations` allow; where that are too few, vectors are looked for less far out.
    """
    n_used, reach = _affordable(spots, reach, most_operations)
    vectors = _maxima(spots[:n_used], reach)
    quality = np.empty(len(vectors))
    refine_vectors(vectors, np.ascontiguousarray(spots.T), n_used, MIN_SPOTS_TO_REFINE, quality)
    evidence = np.empty((len(vectors), N_EVIDENCE))
    judge_vectors(vectors, spots, evidence)
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    is_good = (evidence[:, LIKELIHOOD] > MIN_LIKELIHOOD) & (length > SHORTEST) & (length < 1.1 * reach)
    # A short vector along the beam gives all spots the phase zero, which tells nothing.
    is_good &= (np.rint(vectors @ spots.T) != 0.0).sum(axis=1) >= MIN_SPOTS_TO_REFINE
    if is_good.any():
        is_good &= evidence[:, PART] > KEPT_PART * evidence[is_good, PART].max()
    good = np.flatnonzero(is_good)
    good = good[np.argsort(length[good], kind="stable")]
    good = good[_distinct(vectors[good], length[good])]
    return LatticeVectors(vectors=vectors[good], part=evidence[good, PART], spread=evidence[good, SPREAD])


def _steps(spots: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Step of the map across and along the beam with the first 1, 2, ... spots, float64[n] each [Å]."""
    tiny = 1e-6
    across = np.maximum.accumulate(np.maximum(np.abs(spots[:, :2]).max(axis=1), tiny))
    along = np.maximum.accumulate(np.maximum(np.abs(spots[:, 2]), tiny))
    return STEP / across, STEP / along


def _affordable(spots: FloatArray, reach: float, most_operations: float) -> tuple[int, float]:
    """How many spots, and how far out: what the operations allow."""
    across, along = _steps(spots)
    n_spots = np.arange(1, len(spots) + 1)
    operations = 4.0 * n_spots * (reach / along + 1.0) * (0.7 * pi) * (reach / across + 1.0) ** 2
    n_affordable = int(np.searchsorted(operations, most_operations, side="right"))
    n_used = min(max(n_affordable, FEWEST_SPOTS), MOST_SPOTS, len(spots))
    excess = float(operations[n_used - 1]) / (MOST_EXCESS * most_operations)
    return n_used, reach / max(excess, 1.0) ** (1.0 / 3.0)


def _maxima(spots: FloatArray, reach: float) -> FloatArray:
    """The highest maxima of the map, float64[n, 3] [Å]."""
    steps_across, steps_along = _steps(spots)
    across, along = float(steps_across[-1]), min(float(steps_along[-1]), reach)
    n_side = int(reach / across) + 1
    places = np.arange(-n_side, n_side + 1) * across
    # Real and imaginary parts lie beside each other, so that one product of real matrices gives the real part.
    left = np.exp((-2j * pi) * np.outer(places, spots[:, 0])).astype(np.complex64).view(np.float32)
    right = np.exp((2j * pi) * np.outer(places, spots[:, 1])).astype(np.complex64)
    turn = np.exp((2j * pi) * spots[:, 2] * along).astype(np.complex64)
    maxima = np.empty((MOST_MAXIMA, N_MAXIMUM), np.float32)
    threshold, n = LEAST_HEIGHT * sqrt(len(spots)), 0
    origins = []
    for number in range(int(reach / along) + 1):
        z = number * along
        n_here = min(n_side, int(sqrt(max(reach * reach - z * z, 0.0)) / across) + 1)
        inside = slice(n_side - n_here, n_side + n_here + 1)
        plane = left[inside] @ right[inside].view(np.float32).T
        right *= turn
        origins.append(n_side - n_here)
        after = collect_maxima(plane, number, threshold, maxima, n)
        while after < 0:
            n = _keep_highest(maxima, n, MOST_MAXIMA // 4)
            threshold = max(threshold * 1.05, float(maxima[n - 1, SCORE]))
            after = collect_maxima(plane, number, threshold, maxima, n)
        n = after
    n = _keep_highest(maxima, n, N_REFINED)
    found = maxima[:n].astype(np.float64)
    shift = np.array(origins, np.float64)[found[:, PLANE].astype(np.int64)] - n_side
    return np.stack(
        [(found[:, ROW] + shift) * across, (found[:, COLUMN] + shift) * across, found[:, PLANE] * along], axis=1
    )


def _keep_highest(maxima: NDArray[np.float32], n: int, n_kept: int) -> int:
    """Move the highest of n maxima to the front; gives how many."""
    kept = maxima[np.argsort(-maxima[:n, SCORE], kind="stable")[:n_kept]]
    maxima[: len(kept)] = kept
    return len(kept)


def _distinct(vectors: FloatArray, length: FloatArray) -> NDArray[np.int64]:
    """Numbers of vectors without those that are, up to the sign, as one before them."""
    gram = vectors @ vectors.T
    squares = length * length
    distance = squares[:, None] + squares - 2.0 * np.abs(gram)
    same = distance < (SAME * length[:, None]) ** 2
    kept: list[int] = []
    for number in range(len(vectors)):
        if not same[number, kept].any():
            kept.append(number)
    return np.array(kept, np.int64)
