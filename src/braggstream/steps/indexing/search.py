"""Search for a known cell along one of its axes: sample the half sphere for it, then the rotation about it.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).
"""

from math import ceil, cos, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_cells import (
    A_X,
    A_Y,
    ALONG_A,
    ALONG_B,
    B_X,
    B_Y,
    DISTANCE,
    N_PROJECTIONS,
    score_rotations,
)
from braggstream.kernels.ffbidx_vectors import keep_distinct, refine_vectors, score_vectors
from braggstream.model.settings import FfbidxSettings
from braggstream.steps.indexing.sampling import half_sphere, orthogonal_frame, scoring_rule, turns

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

MIN_SPOTS_FOR_SAMPLING = 40
"""The half sphere is scored with at least so many spots of lowest resolution."""
MAX_PHASE_STEP = 0.7
"""Largest change of a spot's phase between neighbouring samples of the half sphere [cycles]."""
MAX_TURN_STEP = 0.35
"""Largest change of a spot's phase between neighbouring angles [cycles]."""
MAX_TURNS_FACTOR = 4
"""A cell with long axes may have so many times the published number of angles."""
REFINED_PER_CANDIDATE = 4
"""Vectors refined for each candidate that is kept: a sample's score depends on where the grid happens to lie."""
MAX_SCALE = 0.04
"""A found vector may be longer or shorter than expected by this fraction; the cell is scaled with it."""
KEPT_QUALITY = 0.6
"""Vectors whose quality is below this fraction of the best one's are dropped."""
SAME_VECTOR = 0.004
"""Refined vectors within this angle are one vector [rad]."""


class AxisSearch:
    """Find cells by one of their axes."""

    def __init__(self, basis: FloatArray, axis: int, settings: FfbidxSettings) -> None:
        self._settings = settings
        self._order = np.array([(axis + 1) % 3, (axis + 2) % 3, axis])
        basis = basis[self._order]
        self.length = float(np.linalg.norm(basis[2]))
        self._seen_along = basis @ orthogonal_frame(basis[2] / self.length).T
        self._vector_rule = scoring_rule(settings, settings.dist1)
        self._cell_rule = scoring_rule(settings, settings.dist3)
        self._directions: dict[int, Float32Array] = {}
        self._turns: dict[int, Float32Array] = {}

    def find(self, spots: FloatArray) -> FloatArray:
        """The best-scored cells, rows a, b, c of the basis, float64[n, 3, 3] [Å].

        `spots` are scattering vectors in order of resolution, float64[n, 3] [Å⁻¹].
        """
        vectors = self._find_vectors(spots)
        if not len(vectors):
            return np.empty((0, 3, 3))
        found = self._find_cells(vectors, spots)
        cells = np.empty_like(found)
        cells[:, self._order] = found
        return cells

    def needed_points(self, max_inverse_d: float) -> int:
        """Sample points that resolve spots up to this 1/d [Å⁻¹]."""
        return ceil(2.0 * pi * (max_inverse_d * self.length / MAX_PHASE_STEP) ** 2)

    def _find_vectors(self, spots: FloatArray) -> FloatArray:
        """Refined vectors of the sampled length, the best first, float64[n, 3] [Å]."""
        n_points, n_used = self._sampling(spots)
        directions = self._directions.get(n_points)
        if directions is None:
            directions = self._directions[n_points] = half_sphere(n_points)
        scores = np.empty(n_points, np.float32)
        low = np.ascontiguousarray(spots[:n_used].T, np.float32)
        score_vectors(directions, np.float32(self.length), low, self._vector_rule, scores)
        n_kept = min(REFINED_PER_CANDIDATE * self._settings.num_candidate_vectors, n_points)
        n_sorted = min(4 * n_kept, n_points)
        best = np.argpartition(scores, n_points - n_sorted)[n_points - n_sorted :]
        best = best[np.lexsort((best, -scores[best]))]
        chosen = np.empty(n_kept, np.int64)
        n_chosen = keep_distinct(directions, best, cos(1.5 * sqrt(2.0 * pi / n_points)), chosen)
        vectors = directions[:, chosen[:n_chosen]].T.astype(np.float64) * self.length
        return self._refine_vectors(np.ascontiguousarray(vectors), spots, n_used)

    def _refine_vectors(self, vectors: FloatArray, spots: FloatArray, n_first: int) -> FloatArray:
        quality = np.empty(len(vectors))
        refine_vectors(vectors, spots, n_first, self._settings.min_spots or len(spots) + 1, quality)
        length = np.linalg.norm(vectors, axis=1)
        quality[np.abs(length / self.length - 1.0) > MAX_SCALE] = 0.0
        order = np.argsort(-quality, kind="stable")
        order = order[quality[order] > KEPT_QUALITY * quality[order[0]]]
        units = np.ascontiguousarray((vectors[order] / length[order, None]).T, np.float32)
        chosen = np.empty(min(len(order), self._settings.num_candidate_vectors), np.int64)
        n_chosen = keep_distinct(units, np.arange(len(order)), cos(SAME_VECTOR), chosen)
        return vectors[order[chosen[:n_chosen]]]

    def _sampling(self, spots: FloatArray) -> tuple[int, int]:
        """Number of sample points, and of the lowest-resolution spots that they can resolve."""
        inverse_d = np.linalg.norm(spots, axis=1)
        most = self._settings.num_halfsphere_points
        n_points = min(most, max(2048, 1024 * ceil(self.needed_points(float(inverse_d[-1])) / 1024)))
        resolved = MAX_PHASE_STEP / (self.length * sqrt(2.0 * pi / n_points))
        n_used = int(np.searchsorted(inverse_d, resolved, side="right"))
        return n_points, min(len(spots), max(n_used, MIN_SPOTS_FOR_SAMPLING))

    def _find_cells(self, vectors: FloatArray, spots: FloatArray) -> FloatArray:
        """The best-scored cells, the sampled axis last, float64[n, 3, 3] [Å]."""
        angles = self._angles(float(np.linalg.norm(spots[-1])))
        n_angles = angles.shape[1]
        scores = np.empty((len(vectors), 2, n_angles), np.float32)
        frames = np.empty((len(vectors), 2, 3, 3))
        for i, vector in enumerate(vectors):
            scale = np.linalg.norm(vector) / self.length
            for side, sign in enumerate((1.0, -1.0)):
                frame = orthogonal_frame(sign * vector / np.linalg.norm(vector))
                frames[i, side] = frame * scale
                projections = self._project(spots @ frames[i, side].T)
                score_rotations(projections, angles, self._cell_rule, scores[i, side])
        return self._best_turned(scores, frames, angles)

    def _best_turned(self, scores: Float32Array, frames: FloatArray, angles: Float32Array) -> FloatArray:
        # A neighbouring angle is the same cell once more: only local maxima compete.
        is_maximum = (scores >= np.roll(scores, 1, axis=2)) & (scores > np.roll(scores, -1, axis=2))
        flat = np.where(is_maximum, scores, np.float32(-1.0)).ravel()
        n_kept = min(self._settings.output_cells, len(flat))
        best = np.argpartition(flat, len(flat) - n_kept)[len(flat) - n_kept :]
        best = best[np.lexsort((best, -flat[best]))]
        vector, side, turn = np.unravel_index(best, scores.shape)
        cosine, sine = angles[:, turn].astype(np.float64)
        turned = np.repeat(self._seen_along[None], n_kept, axis=0)
        x, y = turned[:, :, 0].copy(), turned[:, :, 1].copy()
        turned[:, :, 0] = cosine[:, None] * x - sine[:, None] * y
        turned[:, :, 1] = sine[:, None] * x + cosine[:, None] * y
        return np.ascontiguousarray(turned @ frames[vector, side])

    def _angles(self, max_inverse_d: float) -> Float32Array:
        n = self._settings.num_angle_points
        if n:
            n = 1024 * ceil(n / 1024)
        else:
            radius = float(np.linalg.norm(self._seen_along[:2, :2], axis=1).max())
            most = 1024 * ((int(2.5 * sqrt(self._settings.num_halfsphere_points)) + 1023) // 1024)
            needed = 2.0 * pi * radius * max_inverse_d / MAX_TURN_STEP
            n = int(min(MAX_TURNS_FACTOR * most, max(128, 64 * ceil(needed / 64))))
        if n not in self._turns:
            self._turns[n] = turns(n)
        return self._turns[n]

    def _project(self, seen: FloatArray) -> Float32Array:
        """What does not depend on the angle, of the spots near planes of the sampled vector."""
        x, y, along = seen.T
        phase = along * self._seen_along[2, 2]
        distance = phase - np.rint(phase)
        near = np.abs(distance) < self._settings.dist3
        x, y, along, distance = x[near], y[near], along[near], distance[near]
        (ax, ay, az), (bx, by, bz) = self._seen_along[:2]
        rows = np.empty((N_PROJECTIONS, len(x)), np.float32)
        rows[ALONG_A], rows[ALONG_B] = az * along, bz * along
        rows[A_X], rows[A_Y] = ax * x + ay * y, ax * y - ay * x
        rows[B_X], rows[B_Y] = bx * x + by * y, bx * y - by * x
        rows[DISTANCE] = distance * distance
        return rows
