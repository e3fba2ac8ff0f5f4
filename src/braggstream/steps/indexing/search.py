"""Search for a known cell along one of its axes: sample the half sphere for it, then the rotation about it.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).
"""

from dataclasses import dataclass
from itertools import product
from math import ceil, cos, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_cells import score_turned
from braggstream.model.settings import FfbidxSettings
from braggstream.steps.device import CPU, kernels_on
from braggstream.steps.indexing.sampling import half_sphere, orthogonal_frame, scoring_rule, turns

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

FEWEST_POINTS = 2048
"""Of the half sphere, whatever the spots are."""
MIN_SPOTS_FOR_SAMPLING = 40
"""The half sphere is scored with at least so many spots of lowest resolution."""
MAX_PHASE_STEP = 0.7
"""Largest change of a spot's phase between neighbouring samples of the half sphere [cycles]."""
MAX_TURN_STEP = 0.35
"""Largest change of a spot's phase between neighbouring angles [cycles]."""
MAX_TURNS_FACTOR = 4
"""A cell with long axes may have so many times the published number of angles."""
MAX_LENGTH_STEP = 0.7
"""Largest change of a spot's phase between neighbouring lengths [cycles]."""
SAME_LENGTH = 0.005
"""A vector that is longer or shorter than expected by less than this fraction has the expected length."""
REFINED_PER_CANDIDATE = 4
"""Vectors refined for each candidate that is kept: a sample's score depends on where the grid happens to lie."""
SORTED_PER_REFINED = 4
"""Samples among which those are chosen that are not neighbours."""
KEPT_QUALITY = 0.6
"""Vectors whose quality is below this fraction of the best one's are dropped."""
SAME_VECTOR = 0.004
"""Refined vectors within this angle are one vector [rad]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How much of a search is made."""

    n_spots: int
    """Spots of lowest resolution that are used for the samples."""
    n_vectors: int
    """Most candidates for the axis."""
    n_cells: int
    """Cells passed on."""
    has_own_lengths: bool = False
    """Cells are also made with axes as long as they were found."""
    stretch: float = 0.0
    """The axis may be longer or shorter than expected by this fraction, which takes several lengths to sample."""


def neighbour_cosine(n_points: int) -> float:
    """Cosine between samples of the half sphere that are not quite neighbours."""
    return cos(1.5 * sqrt(2.0 * pi / n_points))


class AxisSearch:
    """Find cells by one of their axes.

    Parameters
    ----------
    basis : float64[3, 3]
        Rows of a primitive basis [Å].
    axis : int
        The row that is looked for.
    tolerance : float
        Relative deviation of its length that is allowed.
    has_sides : bool
        Whether the opposite axis makes another lattice.
    device : str
        Where the kernels for vectors run, `cpu` or `cuda`.
    """

    def __init__(
        self,
        basis: FloatArray,
        axis: int,
        settings: FfbidxSettings,
        *,
        tolerance: float,
        has_sides: bool,
        device: str = CPU,
    ) -> None:
        self.settings = settings
        self._on_vectors = kernels_on(device, "ffbidx_vectors")
        self.tolerance = tolerance
        self.order = np.array([(axis + 1) % 3, (axis + 2) % 3, axis])
        basis = basis[self.order]
        self.length = float(np.linalg.norm(basis[2]))
        self.sides = np.array([1.0, -1.0] if has_sides else [1.0])
        self.seen_along = basis @ orthogonal_frame(basis[2] / self.length).T
        self.vector_rule = scoring_rule(settings, settings.dist1)
        self.cell_rule = scoring_rule(settings, settings.dist3)
        self._directions: dict[int, Float32Array] = {}
        self._turns: dict[int, Float32Array] = {}

    def find_vectors(self, spots: FloatArray, depth: Depth) -> FloatArray:
        """Refined vectors of about the axis's length, the best first, float64[n, 3] [Å].

        `spots` are scattering vectors in order of resolution, float64[n, 3] [Å⁻¹].
        """
        directions, n_used = self.sampling(spots, depth.n_spots)
        n_points = directions.shape[1]
        low = np.ascontiguousarray(spots[:n_used].T, np.float32)
        scores, lengths = self._score(directions, low, depth.stretch * float(np.linalg.norm(spots[n_used - 1])))
        n_kept = min(REFINED_PER_CANDIDATE * depth.n_vectors, n_points)
        n_sorted = min(SORTED_PER_REFINED * n_kept, n_points)
        best = np.argpartition(scores, n_points - n_sorted)[n_points - n_sorted :]
        best = best[np.lexsort((best, -scores[best]))]
        chosen = np.empty(n_kept, np.int64)
        n_chosen = self._on_vectors.keep_distinct(directions, best, neighbour_cosine(n_points), chosen)
        chosen = chosen[:n_chosen]
        vectors = directions[:, chosen].T.astype(np.float64) * lengths[chosen, None]
        return self._refine(np.ascontiguousarray(vectors), spots, n_used, depth.n_vectors)

    def find_cells(self, vectors: FloatArray, spots: FloatArray, depth: Depth) -> FloatArray:
        """The best-scored cells with one of these axes, rows a, b, c of the basis, float64[n, 3, 3] [Å]."""
        vectors = self._with_expected_length(vectors, depth)
        low = np.ascontiguousarray(spots[: depth.n_spots])
        angles = self.angles(float(np.linalg.norm(low[-1])))
        n_vectors, n_sides = len(vectors), len(self.sides)
        scores = np.empty((n_vectors, n_sides, angles.shape[1]), np.float32)
        frames = np.empty((n_vectors, n_sides, 3, 3))
        score_turned(vectors, self.sides, low, self.seen_along, angles, self.cell_rule, frames, scores)
        found = self._best_turned(scores, frames, angles, depth.n_cells)
        cells = np.empty_like(found)
        cells[:, self.order] = found
        return cells

    def _with_expected_length(self, vectors: FloatArray, depth: Depth) -> FloatArray:
        """Vectors of the expected length, and those of another one.

        Few spots leave the length of a vector nearly along the beam open; the cell file is right more often.
        """
        length = np.linalg.norm(vectors, axis=1)
        expected = vectors * (self.length / length)[:, None]
        if not depth.has_own_lengths:
            return expected
        return np.concatenate([expected, vectors[np.abs(length / self.length - 1.0) > SAME_LENGTH]])

    def _score(
        self, directions: Float32Array, low: Float32Array, stretch_of_phase: float
    ) -> tuple[Float32Array, FloatArray]:
        """Score of each direction and the length with which it is reached, float32[n] and float64[n] [Å]."""
        n_points = directions.shape[1]
        n_lengths = 1 + 2 * ceil(stretch_of_phase * self.length / MAX_LENGTH_STEP)
        scores, lengths = np.empty(n_points, np.float32), np.full(n_points, self.length)
        self._on_vectors.score_vectors(directions, np.float32(self.length), low, self.vector_rule, scores)
        others = np.empty_like(scores) if n_lengths > 1 else scores
        for step, sign in product(range(1, (n_lengths + 1) // 2), (-1, 1)):
            length = self.length * (1.0 + sign * self.tolerance * 2 * step / n_lengths)
            self._on_vectors.score_vectors(directions, np.float32(length), low, self.vector_rule, others)
            is_better = others > scores
            scores[is_better], lengths[is_better] = others[is_better], length
        return scores, lengths

    def _refine(self, vectors: FloatArray, spots: FloatArray, n_first: int, n_kept: int) -> FloatArray:
        quality = np.empty(len(vectors))
        columns = np.ascontiguousarray(spots.T)
        self._on_vectors.refine_vectors(
            vectors, columns, n_first, self.settings.min_spots or len(spots) + 1, quality
        )
        length = np.linalg.norm(vectors, axis=1)
        quality[np.abs(length / self.length - 1.0) > self.tolerance] = 0.0
        order = np.argsort(-quality, kind="stable")
        order = order[quality[order] > KEPT_QUALITY * quality[order[0]]]
        units = np.ascontiguousarray((vectors[order] / length[order, None]).T, np.float32)
        chosen = np.empty(min(len(order), n_kept), np.int64)
        n_chosen = self._on_vectors.keep_distinct(units, np.arange(len(order)), cos(SAME_VECTOR), chosen)
        return vectors[order[chosen[:n_chosen]]]

    def sampling(self, spots: FloatArray, n_wanted: int) -> tuple[Float32Array, int]:
        """Directions to be tried, float32[3, n], and how many of the lowest-resolution spots they can resolve."""
        inverse_d = np.linalg.norm(spots[:n_wanted], axis=1)
        needed = 2.0 * pi * (float(inverse_d[-1]) * self.length / MAX_PHASE_STEP) ** 2
        n_points = max(FEWEST_POINTS, 1024 * ceil(min(needed, 1e9) / 1024))
        n_points = min(self.settings.num_halfsphere_points, n_points)
        resolved = MAX_PHASE_STEP / (self.length * sqrt(2.0 * pi / n_points))
        n_used = int(np.searchsorted(inverse_d, resolved, side="right"))
        if n_points not in self._directions:
            self._directions[n_points] = half_sphere(n_points)
        return self._directions[n_points], min(len(inverse_d), max(n_used, MIN_SPOTS_FOR_SAMPLING))

    def _best_turned(
        self, scores: Float32Array, frames: FloatArray, angles: Float32Array, n_wanted: int
    ) -> FloatArray:
        # A neighbouring angle is the same cell once more: only local maxima compete.
        is_maximum = (scores >= np.roll(scores, 1, axis=2)) & (scores > np.roll(scores, -1, axis=2))
        flat = np.where(is_maximum, scores, np.float32(-1.0)).ravel()
        n_kept = min(n_wanted, len(flat))
        best = np.argpartition(flat, len(flat) - n_kept)[len(flat) - n_kept :]
        best = best[np.lexsort((best, -flat[best]))]
        vector, side, turn = np.unravel_index(best, scores.shape)
        cosine, sine = angles[:, turn].astype(np.float64)
        turned = np.repeat(self.seen_along[None], n_kept, axis=0)
        x, y = turned[:, :, 0].copy(), turned[:, :, 1].copy()
        turned[:, :, 0] = cosine[:, None] * x - sine[:, None] * y
        turned[:, :, 1] = sine[:, None] * x + cosine[:, None] * y
        return np.ascontiguousarray(turned @ frames[vector, side])

    def angles(self, max_inverse_d: float) -> Float32Array:
        """Cosine and sine of the angles to be tried, float32[2, n], for spots of up to this 1/d [Å⁻¹]."""
        n = self.settings.num_angle_points
        if n:
            n = 1024 * ceil(n / 1024)
        else:
            radius = float(np.linalg.norm(self.seen_along[:2, :2], axis=1).max())
            most = 1024 * ((int(2.5 * sqrt(self.settings.num_halfsphere_points)) + 1023) // 1024)
            needed = 2.0 * pi * radius * max_inverse_d / MAX_TURN_STEP
            n = int(min(MAX_TURNS_FACTOR * most, max(128, 64 * ceil(needed / 64))))
        if n not in self._turns:
            self._turns[n] = turns(n)
        return self._turns[n]
