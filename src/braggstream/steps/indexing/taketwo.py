"""Indexing with a known cell from vectors between spots: TakeTwo.

Ginn et al. (2016), Acta Cryst. D72, 956 (doi:10.1107/S2059798316010706).

Vectors between neighbouring spots are matched by length with lattice vectors.  Two that share a spot, with the
right angle between them, are a seed: an orientation.  The vectors that agree with it are its network.  Different
from the published form:

- All vectors are compared with the seed's orientation, instead of each new member with each old one: that is as
  strict, and so cheap that thousands of seeds are judged by their networks instead of ten by their angles.
- Seeds with vectors that match few lattice vectors come first.
- Vectors are as short as the cell needs them: in a large cell, long ones match anything.
- Where that finds too little, cells that are a little off, and several lattices, are allowed for.
- The cell is fitted to the spots at the end, not only turned.
"""

from dataclasses import dataclass
from math import cos, hypot, radians

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.taketwo import (
    ANGLE_TOLERANCE,
    ENOUGH,
    MAX_COMBINATIONS,
    N_LIMITS,
    POSITION_ERROR,
    SAME_ORIENTATION,
    collect_vectors,
    find_seeds,
    list_pairs,
)
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, TaketwoSettings
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.lattice_points import points_within
from braggstream.steps.indexing.settle import fit, settle
from braggstream.steps.indexing.spots import by_resolution
from braggstream.steps.indexing.symmetry import is_representative, lattice_rotations
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_LENGTH = 0.15
"""Vectors between spots are shorter than this [Å⁻¹]."""
MAX_LATTICE_VECTORS = 4000
"""They are so short that there are no more lattice vectors to match them."""
MAX_SPOTS = 250
MAX_VECTORS = 300
FEW_VECTORS = 40
"""Where there are fewer, longer ones are taken."""
MAX_PAIRS = 4000
N_SEEDS = 24
MIN_LENGTH = 0.2
"""Vectors shorter than this part of the longest have no direction to speak of."""
POSITION_PART = 0.4
"""Of the tolerance of lengths is taken for the error of a vector across its direction."""


LEAST_PART = 0.24
"""A lattice that explains less than this part of the spots may be one of another cell that has some points in
common with the expected one."""
GOOD_SPOTS = 10.0
"""Spots that a good lattice explains at least, beyond a part of all."""


@dataclass(frozen=True, slots=True)
class Search:
    """One of the searches, made in turn until a lattice explains enough."""

    length_part: float
    """Length of the longest vectors in parts of the usual one."""
    strain: float
    """Relative error of the expected cell that is allowed for."""
    enough_part: float
    """A network of this part of all vectors ends the search, if it has as many members as the user wants."""
    good_part: float
    """A lattice that explains this part of the spots makes further searches needless."""
    max_tried: float
    """Combinations of lattice vectors tried at most."""


SEARCHES = (
    Search(1.0, 0.0, 0.1, good_part=0.6, max_tried=3e5),
    # The cell is not quite the expected one: short vectors hardly feel it.
    Search(0.5, 0.03, 0.3, good_part=0.12, max_tried=3e5),
    # Several lattices: most vectors join spots of different ones, and all pairs have to be tried.
    Search(1.0, 0.0, 1.0, good_part=1.0, max_tried=6e5),
)


class TaketwoIndexer:
    """Find a known lattice in the vectors between a frame's peaks."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=taketwo needs a unit cell: give one with -p")
        self._target = settings.target_cell
        self._settings = check_settings(settings.taketwo)
        reduced = reduce_cell(settings.target_cell)
        self._to_cell = reduced.to_cell
        basis = np.ascontiguousarray(reduced.basis.T)
        reciprocal = np.linalg.inv(basis)  # Columns a*, b*, c*.
        gram = reciprocal.T @ reciprocal
        metric = np.array([*np.diag(gram), 2 * gram[1, 2], 2 * gram[0, 2], 2 * gram[0, 1]])
        self._cell = (basis, metric)
        self._max_length = _max_length(float(np.linalg.det(basis)))
        radius = min(MAX_LENGTH, 2.0 * self._max_length) + 2.0 * self._settings.len_tolerance
        indices, points = points_within(basis, radius)
        lengths = np.linalg.norm(points, axis=1)
        is_unique = is_representative(indices, lattice_rotations(basis))
        self._lattice = (points, lengths, is_unique)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the best lattice, or nothing."""
        return [candidate(axes, self._target) for axes in self.find(view.q, thorough=thorough)]

    def find(self, q: FloatArray, *, thorough: bool = True) -> list[FloatArray]:
        """Reciprocal axes of the best lattice, or nothing: rows a*, b*, c*, float64[3, 3] [Å⁻¹].

        `q` holds scattering vectors, strongest first, float64[n, 3] [Å⁻¹].  Unless `thorough`, only the first
        search is made.
        """
        spots = by_resolution(q, MAX_SPOTS)
        best: FloatArray | None = None
        best_quality = 0.0
        for search in SEARCHES if thorough else SEARCHES[:1]:
            vectors, ends = self._vectors(q, search)
            if len(vectors) < 2:
                continue
            seeds = self._seeds(vectors, ends, search)
            cells = self._turned(seeds, vectors, search)
            quality = settle(cells, spots)
            if len(quality) and quality[0] > best_quality:
                best, best_quality = cells[0], float(quality[0])
            if best_quality >= GOOD_SPOTS + search.good_part * len(spots):
                break
        if best is None or best_quality < LEAST_PART * len(spots):
            return []
        return [np.ascontiguousarray(np.linalg.inv(self._to_cell.T @ best).T)]

    def _turned(self, seeds: FloatArray, vectors: FloatArray, search: "Search") -> FloatArray:
        """Cells in the orientations of seeds, fitted to the vectors between spots, float64[n, 3, 3] [Å].

        Short vectors measure angles well and lengths badly: unless the cell is doubted, it is only turned.
        """
        basis = self._cell[0]
        cells = np.ascontiguousarray(basis @ seeds.transpose(0, 2, 1))
        if len(cells):
            fit(cells, vectors, np.empty((len(cells), 2)))
        if search.strain == 0.0:
            left, _, right = np.linalg.svd(np.linalg.inv(basis) @ cells)
            cells = np.ascontiguousarray(basis @ (left @ right))
        return cells

    def _vectors(self, q: FloatArray, search: "Search") -> tuple[FloatArray, IntArray]:
        """Vectors between spots, and between spots and the origin, and the numbers of their ends."""
        spots = np.concatenate([np.zeros((1, 3)), q[np.isfinite(q).all(axis=1)][:MAX_SPOTS]])
        vectors, ends = np.empty((MAX_VECTORS, 3)), np.empty((MAX_VECTORS, 2), np.int64)
        longest = search.length_part * self._max_length
        n = collect_vectors(spots, MIN_LENGTH * longest, longest, vectors, ends)
        if n < FEW_VECTORS:
            longest = min(MAX_LENGTH, 2.0 * longest)
            n = collect_vectors(spots, MIN_LENGTH * longest, longest, vectors, ends)
        return vectors[:n], ends[:n]

    def _seeds(self, vectors: FloatArray, ends: IntArray, search: "Search") -> FloatArray:
        """The orientations with the largest networks, float64[n, 3, 3]."""
        chosen = self._settings
        length = np.linalg.norm(vectors, axis=1)
        angle = hypot(radians(chosen.angle_tolerance), search.strain)
        margin = np.hypot(chosen.len_tolerance, search.strain * length)
        tolerance = np.hypot(margin, length * angle)
        bounds = (length - margin, length + margin)
        matches = np.stack([np.searchsorted(self._lattice[1], bound) for bound in bounds], axis=1).astype(np.int64)
        limits = np.empty(N_LIMITS)
        limits[ANGLE_TOLERANCE] = angle
        limits[POSITION_ERROR] = POSITION_PART * chosen.len_tolerance
        limits[SAME_ORIENTATION] = 1.0 + 2.0 * cos(radians(chosen.trace_tolerance))
        limits[ENOUGH] = max(chosen.member_threshold, search.enough_part * len(vectors))
        limits[MAX_COMBINATIONS] = search.max_tried
        seeds, counts = np.zeros((N_SEEDS, 3, 3)), np.empty(N_SEEDS, np.int64)
        observed = (vectors, tolerance * tolerance, matches)
        find_seeds(observed, _pairs(ends, matches), self._lattice, self._cell, limits, seeds, counts)
        return seeds[counts > 0]


def _pairs(ends: IntArray, matches: IntArray) -> IntArray:
    """Pairs of vectors that share a spot, int64[n, 2], those with the fewest combinations of matches first."""
    n_matches = matches[:, 1] - matches[:, 0]
    pairs = np.empty((len(ends) * (len(ends) - 1) // 2, 2), np.int64)
    n_combinations = np.empty(len(pairs), np.int64)
    n = list_pairs(ends, n_matches, pairs, n_combinations)
    order = np.argsort(n_combinations[:n], kind="stable")[:MAX_PAIRS]
    return pairs[order]


def _max_length(volume: float) -> float:
    """Length below which a primitive cell of this volume [Å³] has at most MAX_LATTICE_VECTORS vectors [Å⁻¹]."""
    return float(min(MAX_LENGTH, (MAX_LATTICE_VECTORS / (4.0 / 3.0 * np.pi * abs(volume))) ** (1.0 / 3.0)))


def make_indexer(settings: IndexingSettings) -> TaketwoIndexer:
    """Make the indexer; `UserError` without a cell or with impossible parameters."""
    return TaketwoIndexer(settings)


def check_settings(chosen: TaketwoSettings) -> TaketwoSettings:
    """Check the limits of the parameters; `UserError` names the option that is out of them."""
    rules = (
        ("member-threshold", chosen.member_threshold >= 1, "at least 1"),
        ("len-tolerance", 0.0 < chosen.len_tolerance < MAX_LENGTH, f"more than 0 and less than {MAX_LENGTH} [Å⁻¹]"),
        ("angle-tolerance", 0.0 < chosen.angle_tolerance < 90.0, "more than 0 and less than 90 [deg]"),
        ("trace-tolerance", 0.0 < chosen.trace_tolerance < 180.0, "more than 0 and less than 180 [deg]"),
    )
    for name, is_good, expected in rules:
        if not is_good:
            value = getattr(chosen, name.replace("-", "_"))
            raise UserError(f"--taketwo-{name}={value}: expected {expected}")
    return chosen
