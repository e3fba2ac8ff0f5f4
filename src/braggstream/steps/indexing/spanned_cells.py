"""The cell that three of the lattice vectors span, and that explains the spots best.

Cells are judged by the likelihood of the spots under a mixture of lattice points and background, against background
alone.  It needs no limit for what belongs to a lattice point, and it prefers neither a lattice with too few points,
which leaves spots over, nor one with too many, which explains as much with less precision.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.asdf_cells import BITS, judge_cell, mark_spots, rank_triplets
from braggstream.kernels.asdf_vectors import LIKELIHOOD, N_EVIDENCE, PART, SPREAD
from braggstream.kernels.ffbidx_cells import refine_cells
from braggstream.kernels.niggli import reduce_niggli
from braggstream.steps.indexing.direct_map import SHORTEST, LatticeVectors
from braggstream.steps.indexing.sublattices import LARGER_AND_SMALLER, MUCH_SMALLER

FloatArray = NDArray[np.float64]

VOLUME_LIMITS = (100.0, 1e8)
"""Volume of a primitive cell [Å³]."""
N_VECTORS = 60
"""Shortest vectors that may span the cell."""
N_TRIPLETS = 16
"""Cells that are refined and judged."""
SPREADS = 2.5
"""A spot is explained by a vector whose phases it fits within so many spreads, ..."""
LIMITS = (0.06, 0.25)
"""... but at least and at most this [cycles]."""
CHANCE_VOLUME = 2e8
"""Volume of a cell whose lattice points, as large as the error of a spot, would fill reciprocal space [Å³]."""
START = 0.2
"""Distance from a lattice point at which refinement starts, relative to the shortest spacing of planes."""
END = 0.00075
"""Distance at which it ends, at most [Å⁻¹]."""
N_ROUNDS = 12.0
FEWEST_SPOTS = 6.0
MOST_REACH = 1.2
"""A cell may have an axis longer than the vectors that were looked for by this factor: more is not determined."""
NEAR = 4.0
"""Distance from a lattice point up to which a spot is explained by it [spreads]."""
MOST_STEPS = 6
"""Steps to neighbouring lattices."""
CROWDED = 0.75
"""With less than this part of the spots explained, there may be other lattices."""
IMPROVEMENT = 2.0
"""A neighbouring lattice has to be more likely by this (natural logarithm)."""
LIKELY = (2.5, 60.0)
"""Likelihood (logarithm) that a lattice must have for each spot that it explains, and besides; peaks anywhere reach
half of it."""
CONVINCING = (3.0, 80.0)
"""The same, for a lattice with which the search ends."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class JudgedCell:
    """A cell and the evidence for it."""

    axes: FloatArray
    """Rows a, b, c, right-handed, float64[3, 3] [Å]."""
    likelihood: float
    """Logarithm of the likelihood ratio."""
    n_explained: float
    """Spots that belong to the lattice, each counted by its probability."""
    is_explained: NDArray[np.bool_]
    """Whether each spot is near a lattice point, bool[n]."""

    @property
    def longest(self) -> float:
        """Longest axis [Å]."""
        return float(np.sqrt((self.axes**2).sum(axis=1).max()))

    @property
    def is_likely(self) -> bool:
        """Whether so much evidence is no chance."""
        return self.likelihood > LIKELY[0] * self.n_explained + LIKELY[1]

    def is_convincing(self, reach: float) -> bool:
        """Whether longer vectors than `reach` [Å] need not be looked for."""
        is_enough = self.likelihood > CONVINCING[0] * self.n_explained + CONVINCING[1]
        return is_enough and self.longest < MOST_REACH * reach


def best_cell(
    spots: FloatArray, found: LatticeVectors, *, reach: float, volumes: tuple[float, float] = VOLUME_LIMITS
) -> JudgedCell | None:
    """Find the likeliest cell that the vectors span.

    Parameters
    ----------
    spots : float64[n, 3]
        Scattering vectors [Å⁻¹].
    found
        Lattice vectors, looked for up to a length of `reach` [Å].
    volumes
        Smallest and largest volume of a primitive cell [Å³].

    Returns
    -------
    JudgedCell or None
        The cell, Niggli-reduced up to what refinement has changed.
    """
    best: JudgedCell | None = None
    for axes in _spanned(spots, found, volumes):
        cell = judged(axes, spots)
        if cell is None or cell.longest > MOST_REACH * reach:
            continue  # An axis that the spots do not determine was carried off by the refinement.
        if best is None or cell.likelihood > best.likelihood:
            best = cell
    return None if best is None else _against_neighbours(best, spots, longest=2.0 * MOST_REACH * reach)


def judged(axes: FloatArray, spots: FloatArray) -> JudgedCell | None:
    """Reduce, refine and judge a cell, rows a, b, c [Å]; None for a degenerate one."""
    reduced = _reduced(axes)
    if reduced is None:
        return None
    start = START * float(np.linalg.norm(np.linalg.inv(reduced), axis=0).min())
    schedule = np.array([start, min(END, 0.5 * start), 0.8, N_ROUNDS, FEWEST_SPOTS])
    cells, distances = reduced[None].copy(), np.empty(len(spots))
    refine_cells(cells, spots, schedule, np.empty((1, 2)), distances)
    cell = cells[0]
    if not np.isfinite(cell).all() or not np.linalg.norm(cell, axis=1).min() > SHORTEST:
        return None
    if not abs(np.linalg.det(cell)) > VOLUME_LIMITS[0]:
        return None
    evidence = np.empty(N_EVIDENCE)
    judge_cell(cell, np.ascontiguousarray(np.linalg.inv(cell).T), spots, evidence, distances)
    return JudgedCell(
        axes=cell,
        likelihood=float(evidence[LIKELIHOOD]),
        n_explained=float(evidence[PART]) * len(spots),
        is_explained=distances < (NEAR * evidence[SPREAD]) ** 2,
    )


def _spanned(spots: FloatArray, found: LatticeVectors, volumes: tuple[float, float]) -> FloatArray:
    """Cells that three of the vectors span, the most promising first, float64[n, 3, 3] [Å]."""
    vectors = np.ascontiguousarray(found.vectors[:N_VECTORS])
    limits = np.clip(SPREADS * found.spread[:N_VECTORS], *LIMITS)
    masks = np.empty((len(vectors), (len(spots) + BITS - 1) // BITS), np.int64)
    mark_spots(vectors, spots, limits, masks)
    scores, triplets = np.empty(N_TRIPLETS), np.empty((N_TRIPLETS, 3), np.int64)
    n = rank_triplets(vectors, masks, np.array([*volumes, CHANCE_VOLUME]), scores, triplets)
    return vectors[triplets[:n]]


def _against_neighbours(cell: JudgedCell, spots: FloatArray, *, longest: float) -> JudgedCell:
    """Go on to lattices that contain this one, or are contained in it, as long as one is likelier."""
    for _ in range(MOST_STEPS):
        other = _likeliest(LARGER_AND_SMALLER @ cell.axes, spots, than=cell)
        if other is None and cell.is_likely and cell.n_explained < CROWDED * len(spots):
            # Where spots of other lattices crowd the map, short vectors may be missed.
            other = _likeliest(MUCH_SMALLER @ cell.axes, spots, than=cell)
        if other is None or other.longest > longest:
            break
        cell = other
    return cell


def _likeliest(cells: FloatArray, spots: FloatArray, *, than: JudgedCell) -> JudgedCell | None:
    """The likeliest of some cells, float64[n, 3, 3] [Å], refined; None where that is not likelier than another."""
    evidence, distances = np.empty(N_EVIDENCE), np.empty(len(spots))
    reciprocals = np.ascontiguousarray(np.linalg.inv(cells).transpose(0, 2, 1))
    likelihoods = np.empty(len(cells))
    for number, (axes, reciprocal) in enumerate(zip(cells, reciprocals, strict=True)):
        judge_cell(axes, reciprocal, spots, evidence, distances)
        likelihoods[number] = evidence[LIKELIHOOD]
    best = int(np.argmax(likelihoods))
    if likelihoods[best] < than.likelihood + IMPROVEMENT:
        return None
    other = judged(cells[best], spots)
    return None if other is None or other.likelihood < than.likelihood + IMPROVEMENT else other


def _reduced(axes: FloatArray) -> FloatArray | None:
    """Niggli-reduced, right-handed rows a, b, c; None for a degenerate cell."""
    basis = np.ascontiguousarray(axes.T)
    if not np.isfinite(basis).all() or not reduce_niggli(basis, np.empty((3, 3))):
        return None
    if np.linalg.det(basis) < 0.0:
        basis = -basis
    return np.ascontiguousarray(basis.T)
