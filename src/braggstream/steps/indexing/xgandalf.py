"""Indexing by lattice vectors that make many phases whole: XGANDALF, with and without a known cell.

Gevorkov et al. (2019), Acta Cryst. A75, 694 (doi:10.1107/S2053273319010593).

Vectors t for which q·t is near an integer for many spots q are looked for, and three of them make a cell.
Different from the published form:

- Samples are judged once, with the spots of lowest resolution, and only the best local maxima climb on; the
  published form takes every sample through all steps of the ascent.
- The last phases of the ascent, which look for the nearest maximum with ever smaller steps, are least squares.
- Without a cell the samples are dense enough for the spots of lowest resolution, and short vectors come first.
- Sets of three vectors are ranked by the spots that they share, fitted to all spots, and compared again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_vectors import refine_vectors
from braggstream.kernels.niggli import reduce_niggli
from braggstream.kernels.xgandalf import (
    CLOSE,
    N_GLOBAL,
    N_LAST,
    N_LOCAL,
    N_SHRINKING,
    assemble,
    climb,
    keep_apart,
    score_samples,
)
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, XgandalfSettings
from braggstream.steps.indexing.cell_check import CellCheck
from braggstream.steps.indexing.centring import TO_PRIMITIVE, reduce_cell
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.settle import MIN_SPOTS, settle
from braggstream.steps.indexing.spots import by_resolution
from braggstream.steps.indexing.vector_samples import UNIT_PITCH, half_ball, lengths_to_sample, shells
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

SCHEDULES = (
    # global, shrinking, factor, local, last, factor, gamma, longest and shortest step (mean length / x), turning
    (10, 3, 0.65, 4, 3, 0.65, 0.75, 15, 150, 2.0),
    (20, 4, 0.73, 6, 5, 0.73, 0.70, 18, 180, 1.5),
    (40, 5, 0.80, 8, 6, 0.80, 0.65, 20, 200, 1.5),
    (60, 8, 0.83, 10, 9, 0.83, 0.65, 20, 200, 1.5),
    (90, 10, 0.85, 15, 15, 0.90, 0.60, 23, 230, 1.5),
    (200, 15, 0.90, 15, 15, 0.90, 0.60, 23, 230, 1.5),
)
"""Steps of the ascent, for each setting of the iterations."""
RESOLVED = 0.35
"""Samples are judged with spots whose phases differ by less than this between neighbours [cycles]."""
MIN_LOW_SPOTS = 40
N_CLIMBERS = 300
N_GUIDES = 100
"""Spots of lowest resolution that guide the first part of the ascent."""
N_LOCAL_CLIMBERS = 120
MEETING = 0.03
"""Vectors have met where they are closer than this part of the shortest expected one."""
N_VECTORS = 60
N_CELLS = 24
SAME_VECTOR = 0.05
"""Vectors closer than this part of the shortest expected one are one."""
FIRST_BALL = 130.0
"""Without a cell, vectors up to this length are looked for first [Å]."""
MAX_IN_BALL = (500_000, 1_200_000)
VOLUMES = (0.8, 1.2)
"""Volumes of cells to be looked at, in parts of the expected one."""
NEARLY_AS_MANY = 0.85
"""Without a cell, the smallest cell that explains this part of what the best one explains is right."""
GOOD_PART = 0.45
"""A lattice that explains this part of the spots makes a further search needless."""


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Vectors to start from, of one search."""

    lengths: tuple[float, ...]
    """Lengths that are expected; without a cell, the shortest and the longest [Å]."""
    tolerance: float | None
    """Relative error of the lengths; None where they are limits."""
    pitch: int
    most: int

    @cached_property
    def samples(self) -> tuple[Float32Array, float]:
        """The vectors, float32[3, n], and their distance [Å]."""
        if self.tolerance is None:
            return half_ball(self.lengths[0], self.lengths[-1], self.pitch, self.most)
        return shells(list(self.lengths), self.tolerance, self.pitch)


class XgandalfIndexer:
    """Find a lattice, known or unknown, in the scattering vectors of a frame's peaks."""

    def __init__(self, settings: IndexingSettings) -> None:
        self._target = settings.target_cell
        self._settings = chosen = check_settings(settings.xgandalf)
        pitch, iterations = chosen.sampling_pitch, chosen.grad_desc_iterations
        if chosen.fast_execution:
            pitch, iterations = 2, 3
        self._check: CellCheck | None = None
        if self._target is None:
            lengths = (chosen.min_lattice_vector_length, chosen.max_lattice_vector_length)
            self._volumes = np.array([lengths[0] ** 3, lengths[1] ** 3])
            radii = [FIRST_BALL, lengths[1]] if lengths[1] > FIRST_BALL > 1.5 * lengths[0] else [lengths[1]]
            self._sets = [
                SampleSet((lengths[0], radius), None, pitch, most)
                for radius, most in zip(radii, MAX_IN_BALL[-len(radii) :], strict=True)
            ]
        else:
            basis = reduce_cell(self._target).basis.T
            lengths = tuple(sorted(np.linalg.norm(basis, axis=1)))
            self._volumes = np.array(VOLUMES) * abs(np.linalg.det(basis))
            searched = tuple(lengths_to_sample(np.ascontiguousarray(basis), pitch))
            self._sets = [SampleSet(searched, chosen.tolerance, pitch, 0)]
            percent, degrees = 100.0 * chosen.tolerance, 90.0 * chosen.tolerance
            self._check = CellCheck(self._target, (percent, percent, percent, degrees, degrees, degrees))
        self._shortest = float(lengths[0])
        plan = np.array(SCHEDULES[iterations], np.float64)
        plan[7:9] = np.mean(lengths if self._target else lengths[:1] * 2) / plan[7:9]
        self._plan = plan
        for samples in self._sets:
            _ = samples.samples  # Made now, not when a frame waits.

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the best lattice, or nothing."""
        return [candidate(axes, self._target) for axes in self.find(view.q, thorough=thorough)]

    def find(self, q: FloatArray, *, thorough: bool = True) -> list[FloatArray]:
        """Reciprocal axes of the best lattice, or nothing: rows a*, b*, c*, float64[3, 3] [Å⁻¹].

        `q` holds scattering vectors, strongest first, float64[n, 3] [Å⁻¹].
        """
        spots = by_resolution(q, len(q))
        if len(spots) < MIN_SPOTS:
            return []
        low = np.ascontiguousarray(spots[: self._settings.max_peaks])
        best: FloatArray | None = None
        best_quality = 0.0
        for samples in self._sets if thorough else self._sets[:1]:
            axes, quality = self._best_cell(self._find_vectors(samples, low), spots)
            if axes is not None and quality > best_quality:
                best, best_quality = axes, quality
            if best_quality >= GOOD_PART * len(spots):
                break
        return [] if best is None else [best]

    def _find_vectors(self, sample_set: SampleSet, low: FloatArray) -> FloatArray:
        """Lattice vectors, the best first, float64[n, 3] [Å]."""
        samples, spacing = sample_set.samples
        inverse_d = np.linalg.norm(low, axis=1)
        n_used = max(MIN_LOW_SPOTS, int(np.searchsorted(inverse_d, RESOLVED / spacing)))
        spots = np.ascontiguousarray(low.T, np.float32)
        scores = np.empty(samples.shape[1], np.float32)
        score_samples(samples, np.ascontiguousarray(spots[:, :n_used]), scores)
        n_sorted = min(8 * N_CLIMBERS, len(scores))
        best = np.argpartition(scores, len(scores) - n_sorted)[len(scores) - n_sorted :]
        best = best[np.lexsort((best, -scores[best]))]
        vectors = np.ascontiguousarray(samples[:, _apart(samples, best, 1.8 * spacing, N_CLIMBERS)].T, np.float64)
        vectors = self._climb(vectors, spots, inverse_d)
        quality = np.empty(len(vectors))
        refine_vectors(vectors, np.ascontiguousarray(low.T), len(low), 5, quality)
        length = np.linalg.norm(vectors, axis=1)
        quality[~(length > 0.5 * self._shortest) | ~(length < 1.1 * sample_set.lengths[-1])] = 0.0
        order = np.argsort(-quality, kind="stable")
        order = order[quality[order] > 0.0]
        return vectors[_apart(np.ascontiguousarray(vectors.T), order, SAME_VECTOR * self._shortest, N_VECTORS)]

    def _climb(self, vectors: FloatArray, spots: Float32Array, inverse_d: FloatArray) -> FloatArray:
        """Move vectors uphill: first with some spots of low resolution, then, those that did not meet, with all."""
        weights = (1.0 / inverse_d).astype(np.float32)
        first = self._plan.copy()
        first[[N_LOCAL, N_LAST]] = 0.0
        few = np.ascontiguousarray(spots[:, :N_GUIDES])
        climb(vectors, few, weights[:N_GUIDES], first)
        top = np.ascontiguousarray(vectors.T, np.float32)
        scores = np.empty(len(vectors), np.float32)
        score_samples(top, few, scores)
        chosen = _apart(top, np.argsort(-scores, kind="stable"), MEETING * self._shortest, N_LOCAL_CLIMBERS)
        vectors = np.ascontiguousarray(vectors[chosen])
        last = self._plan.copy()
        last[[N_GLOBAL, N_SHRINKING]] = 0.0
        climb(vectors, spots, np.ones_like(weights), last)
        return vectors

    def _best_cell(self, vectors: FloatArray, spots: FloatArray) -> tuple[FloatArray | None, float]:
        """The cell of three vectors that explains most spots, as reciprocal axes, and how many it explains."""
        cells = self._cells(vectors, spots)
        if not len(cells):
            return None, 0.0
        quality = settle(cells, spots)
        for cell, value in zip(cells, quality, strict=True):
            if value > 0.0:
                axes = self._in_target_setting(cell)
                if axes is not None:
                    return axes, float(value)
        return None, 0.0

    def _cells(self, vectors: FloatArray, spots: FloatArray) -> FloatArray:
        """Reduced cells of three vectors that share many spots, float64[n, 3, 3] [Å]."""
        phases = spots @ vectors.T
        is_close = np.abs(phases - np.rint(phases)) < CLOSE
        bits = np.packbits(is_close.T, axis=1)
        close = np.zeros((len(vectors), 8 * (-(-bits.shape[1] // 8))), np.uint8)
        close[:, : bits.shape[1]] = bits
        triples, common = np.zeros((N_CELLS, 3), np.int64), np.zeros(N_CELLS, np.int64)
        n = assemble(vectors, close.view(np.uint64), self._volumes, 5, triples, common)
        if self._target is None and n:
            n = self._smallest_first(vectors, triples[:n], common[:n])
        cells = np.ascontiguousarray(vectors[triples[:n]])
        return np.array([cell for cell in map(_reduced, cells) if cell is not None]).reshape(-1, 3, 3)

    def _smallest_first(self, vectors: FloatArray, triples: NDArray, common: NDArray) -> int:
        """Put the sets that explain nearly most spots first, those of the smallest volume; gives how many."""
        volumes = np.abs(np.linalg.det(vectors[triples]))
        enough = np.flatnonzero(common >= NEARLY_AS_MANY * common[0])
        smallest = enough[volumes[enough] < 1.2 * volumes[enough].min()]
        triples[: len(smallest)] = triples[smallest]
        return len(smallest)

    def _in_target_setting(self, cell: FloatArray) -> FloatArray | None:
        """Reciprocal axes in the target's setting; None where the cell is not the target's within the tolerance."""
        reciprocal = np.ascontiguousarray(np.linalg.inv(cell).T)
        if self._check is None or self._target is None:
            return reciprocal
        to_primitive = TO_PRIMITIVE[self._target.centring]
        centred = np.ascontiguousarray(np.linalg.inv(np.linalg.inv(to_primitive).T @ cell).T)
        found = self._check.reindexed(candidate(centred, self._target))
        if found is None:
            return None
        axes = found.reciprocal_axes
        if self._settings.no_deviation_from_provided_cell:
            expected = self._target.reciprocal_axes()
            left, _, right = np.linalg.svd(np.linalg.inv(expected) @ axes)
            axes = np.ascontiguousarray(expected @ (left @ right))
        return axes


def _apart(vectors: NDArray, order: NDArray, distance: float, most: int) -> NDArray[np.int64]:
    chosen = np.empty(most, np.int64)
    return chosen[: keep_apart(vectors, np.asarray(order, np.int64), distance, chosen)]


def _reduced(cell: FloatArray) -> FloatArray | None:
    """Reduce a cell of rows a, b, c, and make it right-handed."""
    basis = np.ascontiguousarray(cell.T)
    if not reduce_niggli(basis, np.empty((3, 3))):
        return None
    return np.asarray(basis.T * np.sign(np.linalg.det(basis)))


def make_indexer(settings: IndexingSettings) -> XgandalfIndexer:
    """Make the indexer; `UserError` for impossible parameters."""
    return XgandalfIndexer(settings)


def check_settings(chosen: XgandalfSettings) -> XgandalfSettings:
    """Check the limits of the parameters; `UserError` names the option that is out of them."""
    shortest, longest = chosen.min_lattice_vector_length, chosen.max_lattice_vector_length
    most_pitch, most_iterations = len(UNIT_PITCH) - 1, len(SCHEDULES) - 1
    rules = (
        ("sampling-pitch", 0 <= chosen.sampling_pitch <= most_pitch, f"0 to {most_pitch}"),
        ("grad-desc-iterations", 0 <= chosen.grad_desc_iterations <= most_iterations, f"0 to {most_iterations}"),
        ("tolerance", 0.0 < chosen.tolerance <= 0.2, "more than 0, at most 0.2"),
        ("min-lattice-vector-length", shortest >= 1.0, "at least 1 [Å]"),
        ("max-lattice-vector-length", shortest < longest <= 1000.0, "more than the minimum, at most 1000 [Å]"),
        ("max-peaks", chosen.max_peaks >= MIN_SPOTS, f"at least {MIN_SPOTS}"),
    )
    for name, is_good, expected in rules:
        if not is_good:
            value = getattr(chosen, name.replace("-", "_"))
            raise UserError(f"--xgandalf-{name}={value}: expected {expected}")
    return chosen
