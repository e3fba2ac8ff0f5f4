"""Indexing with a known cell by sampling: the TORO algorithm of the Fast Feedback Indexer, on the CPU.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).

One lattice vector of known length is looked for over a half sphere, then the rotation about it, then the whole cell
is refined.  Different from the published form: the density of samples follows from the longest axis and the highest
resolution of the spots, so that small cells cost less; neighbouring samples count once, so that the candidates are
different ones; centred cells are searched as primitive, reduced ones; and the cells are ranked by how many spots
they explain and how well, because the distance of the eighth-best spot alone is easily won by chance.
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
    refine_cells,
    score_rotations,
)
from braggstream.kernels.ffbidx_vectors import keep_distinct, refine_vectors, score_vectors
from braggstream.model.errors import UserError
from braggstream.model.settings import FfbidxSettings, IndexingSettings
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.sampling import half_sphere, orthogonal_frame, scoring_rule, turns

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

MIN_SPOTS_FOR_SAMPLING = 40
"""The half sphere is scored with at least so many spots of lowest resolution."""
MAX_PHASE_STEP = 0.9
"""Largest change of a spot's phase between neighbouring samples of the half sphere [cycles]."""
MAX_TURN_STEP = 0.35
"""Largest change of a spot's phase between neighbouring angles [cycles]."""
MAX_SCALE = 0.04
"""A found vector may be longer or shorter than expected by this fraction; the cell is scaled with it."""
KEPT_QUALITY = 0.6
"""Vectors whose quality is below this fraction of the best one's are dropped."""


class FfbidxIndexer:
    """Find a known lattice in the scattering vectors of a frame's peaks."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=ffbidx needs a unit cell: give one with -p")
        self._settings = check_settings(settings.ffbidx)
        reduced = reduce_cell(settings.target_cell)
        self._to_cell = reduced.to_cell
        basis = reduced.basis.T
        # The sampled vector is the longest one, because it narrows the rotation down best; it goes last.
        longest = int(np.argmax(np.linalg.norm(basis, axis=1)))
        self._order = np.array([(longest + 1) % 3, (longest + 2) % 3, longest])
        basis = basis[self._order]
        self._length = float(np.linalg.norm(basis[2]))
        self._seen_along = basis @ orthogonal_frame(basis[2] / self._length).T
        self._shortest_spacing = float(np.linalg.norm(np.linalg.inv(basis), axis=0).min())
        self._vector_rule = scoring_rule(settings.ffbidx, settings.ffbidx.dist1)
        self._cell_rule = scoring_rule(settings.ffbidx, settings.ffbidx.dist3)
        self._directions: dict[int, Float32Array] = {}
        self._turns: dict[int, Float32Array] = {}

    def __call__(self, q: FloatArray) -> list[FloatArray]:
        """Reciprocal axes of the lattices found, best first: rows a*, b*, c*, float64[3, 3] [Å⁻¹].

        `q` holds scattering vectors, strongest first, float64[n, 3] [Å⁻¹].
        """
        spots = self._usable(q)
        if len(spots) < max(self._settings.ifssr_min_spots, 3):
            return []
        vectors = self._find_vectors(spots)
        if not len(vectors):
            return []
        cells = self._find_cells(vectors, spots)
        return self._refined(cells, spots)

    def _usable(self, q: FloatArray) -> FloatArray:
        """The strongest finite spots, in order of resolution."""
        inverse_d = np.sqrt(np.einsum("ij,ij->i", q, q))
        usable = np.flatnonzero(np.isfinite(inverse_d) & (inverse_d > 0.0))[: self._settings.max_spots]
        order = usable[np.argsort(inverse_d[usable], kind="stable")]
        return np.ascontiguousarray(q[order])

    def _find_vectors(self, spots: FloatArray) -> FloatArray:
        """Refined vectors of the sampled length, the best first, float64[n, 3] [Å]."""
        n_points, n_used = self._sampling(spots)
        directions = self._directions.get(n_points)
        if directions is None:
            directions = self._directions[n_points] = half_sphere(n_points)
        scores = np.empty(n_points, np.float32)
        low = np.ascontiguousarray(spots[:n_used].T, np.float32)
        score_vectors(directions, np.float32(self._length), low, self._vector_rule, scores)
        n_kept = min(self._settings.num_candidate_vectors, n_points)
        n_sorted = min(8 * n_kept, n_points)
        best = np.argpartition(scores, n_points - n_sorted)[n_points - n_sorted :]
        best = best[np.lexsort((best, -scores[best]))]
        chosen = np.empty(n_kept, np.int64)
        n_chosen = keep_distinct(directions, best, cos(1.5 * sqrt(2.0 * pi / n_points)), chosen)
        vectors = directions[:, chosen[:n_chosen]].T.astype(np.float64) * self._length
        return self._refine_vectors(np.ascontiguousarray(vectors), spots)

    def _refine_vectors(self, vectors: FloatArray, spots: FloatArray) -> FloatArray:
        quality = np.empty(len(vectors))
        if self._settings.min_spots:
            refine_vectors(vectors, spots, self._settings.min_spots, quality)
        else:
            refine_vectors(vectors, spots, len(spots) + 1, quality)
        length = np.linalg.norm(vectors, axis=1)
        quality[np.abs(length / self._length - 1.0) > MAX_SCALE] = 0.0
        order = np.argsort(-quality, kind="stable")
        order = order[quality[order] > KEPT_QUALITY * quality[order[0]]]
        units = np.ascontiguousarray((vectors[order] / length[order, None]).T, np.float32)
        chosen = np.empty(len(order), np.int64)
        n_chosen = keep_distinct(units, np.arange(len(order)), cos(0.004), chosen)
        return vectors[order[chosen[:n_chosen]]]

    def _sampling(self, spots: FloatArray) -> tuple[int, int]:
        """Number of sample points, and of the lowest-resolution spots that they can resolve."""
        inverse_d = np.linalg.norm(spots, axis=1)
        most = self._settings.num_halfsphere_points
        needed = 2.0 * pi * (inverse_d[-1] * self._length / MAX_PHASE_STEP) ** 2
        n_points = int(min(most, max(2048, 1024 * ceil(needed / 1024))))
        resolved = MAX_PHASE_STEP / (self._length * sqrt(2.0 * pi / n_points))
        n_used = int(np.searchsorted(inverse_d, resolved, side="right"))
        return n_points, min(len(spots), max(n_used, MIN_SPOTS_FOR_SAMPLING))

    def _find_cells(self, vectors: FloatArray, spots: FloatArray) -> FloatArray:
        """The best-scored cells, rows a, b, c in the order of the search, float64[n, 3, 3] [Å]."""
        angles = self._angles(float(np.linalg.norm(spots[-1])))
        n_angles = angles.shape[1]
        scores = np.empty((len(vectors), 2, n_angles), np.float32)
        frames = np.empty((len(vectors), 2, 3, 3))
        for i, vector in enumerate(vectors):
            scale = np.linalg.norm(vector) / self._length
            for side, sign in enumerate((1.0, -1.0)):
                frame = orthogonal_frame(sign * vector / np.linalg.norm(vector))
                frames[i, side] = frame * scale
                projections = self._project(spots @ frames[i, side].T)
                score_rotations(projections, angles, self._cell_rule, scores[i, side])
        # A neighbouring angle is the same cell once more: only local maxima compete.
        is_maximum = (scores >= np.roll(scores, 1, axis=2)) & (scores > np.roll(scores, -1, axis=2))
        flat = np.where(is_maximum, scores, np.float32(-1.0)).ravel()
        n_kept = min(self._settings.output_cells, len(flat))
        best = np.argpartition(flat, len(flat) - n_kept)[len(flat) - n_kept :]
        best = best[np.lexsort((best, -flat[best]))]
        i, side, k = np.unravel_index(best, scores.shape)
        cosine, sine = angles[0, k].astype(np.float64), angles[1, k].astype(np.float64)
        turned = np.repeat(self._seen_along[None], n_kept, axis=0)
        x, y = turned[:, :, 0].copy(), turned[:, :, 1].copy()
        turned[:, :, 0] = cosine[:, None] * x - sine[:, None] * y
        turned[:, :, 1] = sine[:, None] * x + cosine[:, None] * y
        return np.ascontiguousarray(turned @ frames[i, side])

    def _angles(self, max_inverse_d: float) -> Float32Array:
        n = self._settings.num_angle_points
        if n:
            n = 1024 * ceil(n / 1024)
        else:
            radius = float(np.linalg.norm(self._seen_along[:2, :2], axis=1).max())
            most = 1024 * ((int(2.5 * sqrt(self._settings.num_halfsphere_points)) + 1023) // 1024)
            needed = 2.0 * pi * radius * max_inverse_d / MAX_TURN_STEP
            n = int(min(most, max(128, 64 * ceil(needed / 64))))
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

    def _refined(self, cells: FloatArray, spots: FloatArray) -> list[FloatArray]:
        chosen = self._settings
        start = chosen.dist3 * self._shortest_spacing
        schedule = np.array(
            [
                start,
                chosen.ifssr_max_dist,
                chosen.ifssr_threshold_contraction,
                chosen.ifssr_max_iter,
                chosen.ifssr_min_spots,
            ]
        )
        quality = np.empty((len(cells), 2))
        refine_cells(cells, spots, schedule, quality, np.empty(len(spots)))
        order = np.argsort(-quality[:, 0], kind="stable")
        viable = order[quality[order, 1] <= chosen.ifssr_max_dist]
        return [self._in_target_setting(cells[i]) for i in viable[:1]]

    def _in_target_setting(self, cell: FloatArray) -> FloatArray:
        reduced = np.empty((3, 3))
        reduced[self._order] = cell
        axes = self._to_cell.T @ reduced
        return np.ascontiguousarray(np.linalg.inv(axes).T)


def make_indexer(settings: IndexingSettings) -> FfbidxIndexer:
    """Make the indexer; `UserError` without a cell or with impossible parameters."""
    return FfbidxIndexer(settings)


def check_settings(chosen: FfbidxSettings) -> FfbidxSettings:
    """Check the limits of the parameters; `UserError` names the option that is out of them."""
    rules = (
        ("max-spots", chosen.max_spots >= 3, "at least 3"),
        ("output-cells", 1 <= chosen.output_cells <= 1024, "1 to 1024"),
        ("num-candidate-vectors", 1 <= chosen.num_candidate_vectors <= 1024, "1 to 1024"),
        (
            "num-halfsphere-points",
            chosen.num_candidate_vectors <= chosen.num_halfsphere_points <= 1 << 24,
            "at least the number of candidate vectors, at most 16777216",
        ),
        (
            "num-angle-points",
            chosen.num_angle_points == 0 or chosen.output_cells <= chosen.num_angle_points <= 1 << 20,
            "0, or at least the number of output cells, at most 1048576",
        ),
        ("triml", 0.0 <= chosen.triml < chosen.trimh, "at least 0 and less than trimh"),
        ("trimh", chosen.trimh <= 0.5, "at most 0.5"),
        ("delta", chosen.delta > 0.0, "more than 0"),
        ("dist1", chosen.dist1 > 0.0, "more than 0"),
        ("dist3", chosen.dist3 > 0.0, "more than 0"),
        ("min-spots", chosen.min_spots == 0 or chosen.min_spots >= 4, "0, or at least 4"),
        ("ifssr-min-spots", chosen.ifssr_min_spots >= 4, "at least 4"),
        ("ifssr-max-dist", chosen.ifssr_max_dist > 0.0, "more than 0"),
        ("ifssr-max-iter", chosen.ifssr_max_iter >= 0, "at least 0"),
        ("ifssr-threshold-contraction", 0.0 < chosen.ifssr_threshold_contraction < 1.0, "between 0 and 1"),
    )
    for name, is_good, expected in rules:
        if not is_good:
            value = getattr(chosen, name.replace("-", "_"))
            raise UserError(f"--ffbidx-{name}={value}: expected {expected}")
    return chosen
