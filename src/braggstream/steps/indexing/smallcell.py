"""Indexing of few peaks from a small, known cell: cliques of peaks and lattice points.

Brewster et al. (2015), Acta Cryst. D71, 357 (doi:10.1107/S1399004714026145).

A powder ring of the cell tells which lattice points a peak may be.  Peaks and points whose mutual distances all
agree make a clique, and a large clique is a lattice.  Different from the published form:

- Of symmetry-equivalent cliques only one is looked for.
- The cells of many cliques are fitted to all peaks and compared, instead of taking the first sound one.
- Of very few peaks only the orientation is believed: the cell is the expected one.
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_cells import refine_cells
from braggstream.kernels.smallcell import find_cliques
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.lattice_points import points_within
from braggstream.steps.indexing.symmetry import is_representative, lattice_rotations
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_INVERSE_D = 1.0
"""Lattice points are looked at up to this 1/d [Å⁻¹]."""
MAX_POINTS = 60_000
"""In a cell that has more of them, up to a lower 1/d."""
RING_PX = 6.0
"""A peak is on a powder ring within so many pixels."""
DISTANCE = 0.01
"""Difference of the distance between peaks from that between lattice points [Å⁻¹]."""
MAX_PEAKS = 40
MAX_MATCHES = 400
"""A peak that may be more lattice points than this says too little."""
MIN_MEMBERS = 5
FEW_PEAKS = 12
"""So few do not fix the nine components of a cell."""
N_CLIQUES = 64
EXPLAINED = 8e-3
"""A peak this near a lattice point is explained [Å⁻¹]."""
MIN_PART = 0.48
"""Part of the peaks that a lattice explains at least."""
FIT_START = 0.25
"""A peak belongs to a lattice point within this part of the shortest reciprocal spacing, as the fit starts."""
FIT_END = 4e-3
"""And within this distance at its end [Å⁻¹]."""


class SmallcellIndexer:
    """Find a known small lattice in few peaks."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=smallcell needs a unit cell: give one with -p")
        self._target = settings.target_cell
        reduced = reduce_cell(settings.target_cell)
        self._to_cell = reduced.to_cell
        self._basis = np.ascontiguousarray(reduced.basis.T)
        volume = abs(float(np.linalg.det(self._basis)))
        radius = min(MAX_INVERSE_D, float((MAX_POINTS / (4.0 / 3.0 * np.pi * volume)) ** (1.0 / 3.0)))
        self._indices, self._points = points_within(self._basis, radius)
        self._lengths = np.linalg.norm(self._points, axis=1)
        self._is_unique = is_representative(self._indices, lattice_rotations(self._basis))

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the best lattice, or nothing."""
        detector = view.detector
        distance = detector.average_camera_length * view.wavelength
        ring = RING_PX * float(np.mean(detector.pixel_size)) / distance if distance > 0.0 else DISTANCE
        return [candidate(axes, self._target) for axes in self.find(view.q, ring)]

    def find(self, q: FloatArray, ring: float) -> list[FloatArray]:
        """Reciprocal axes of the best lattice, or nothing: rows a*, b*, c*, float64[3, 3] [Å⁻¹].

        `q` holds scattering vectors, strongest first, float64[n, 3], `ring` the width of a powder ring [Å⁻¹].
        """
        peaks, matches = self._matched(q[np.isfinite(q).all(axis=1)][:MAX_PEAKS], ring)
        if len(peaks) < MIN_MEMBERS:
            return []
        cliques = np.empty((N_CLIQUES, len(peaks)), np.int64)
        sizes = np.empty(N_CLIQUES, np.int64)
        find_cliques(peaks, matches, self._points, self._is_unique, DISTANCE, cliques, sizes)
        cells = self._cells(peaks, cliques[sizes >= MIN_MEMBERS])
        if not len(cells):
            return []
        spots = np.ascontiguousarray(q[np.isfinite(q).all(axis=1)])
        best = self._best_fitted(cells, spots)
        if best is None:
            return []
        if len(spots) <= FEW_PEAKS:
            left, _, right = np.linalg.svd(np.linalg.inv(self._basis) @ best)
            best = self._basis @ (left @ right)
        if not self._explains_enough(best, spots):
            return []
        return [np.ascontiguousarray(np.linalg.inv(self._to_cell.T @ best).T)]

    def _matched(self, q: FloatArray, ring: float) -> tuple[FloatArray, IntArray]:
        """Peaks on powder rings, those with the fewest matches first, and the range of matches of each."""
        inverse_d = np.linalg.norm(q, axis=1)
        first = np.searchsorted(self._lengths, inverse_d - ring, side="left")
        last = np.searchsorted(self._lengths, inverse_d + ring, side="right")
        n_matches = last - first
        order = np.argsort(n_matches, kind="stable")
        order = order[(n_matches[order] > 0) & (n_matches[order] <= MAX_MATCHES)]
        return np.ascontiguousarray(q[order]), np.stack([first[order], last[order]], axis=1).astype(np.int64)

    def _cells(self, peaks: FloatArray, cliques: IntArray) -> FloatArray:
        """Cells fitted to the members of cliques, rows a, b, c, right-handed, float64[n, 3, 3] [Å]."""
        cells = []
        for clique in cliques:
            members = np.flatnonzero(clique >= 0)
            reciprocal, _, rank, _ = np.linalg.lstsq(
                self._indices[clique[members]].astype(np.float64), peaks[members], rcond=1e-6
            )
            determinant = float(np.linalg.det(reciprocal))
            if rank == 3 and abs(determinant) * abs(np.linalg.det(self._basis)) > 0.1:
                cells.append(np.linalg.inv(reciprocal).T * np.sign(determinant))
        return np.array(cells).reshape(-1, 3, 3)

    def _best_fitted(self, cells: FloatArray, spots: FloatArray) -> FloatArray | None:
        """Fit the cells to all peaks; gives the one that explains most."""
        spacing = float(np.linalg.norm(np.linalg.inv(self._basis), axis=0).min())
        start = FIT_START * spacing
        schedule = np.array([start, min(FIT_END, start / 2.0), 0.8, 12, MIN_MEMBERS])
        quality = np.empty((len(cells), 2))
        refine_cells(cells, spots, schedule, quality, np.empty(len(spots)))
        quality[quality[:, 1] > start, 0] = 0.0
        best = int(np.argmax(quality[:, 0]))
        return cells[best] if quality[best, 0] > 0.0 else None

    def _explains_enough(self, cell: FloatArray, spots: FloatArray) -> bool:
        """Tell whether chance is out of the question: with few peaks, the check of indices alone is too easy."""
        indices = spots @ cell.T
        misfit = (indices - np.rint(indices)) @ np.linalg.inv(cell).T
        n_close = int((np.linalg.norm(misfit, axis=1) < EXPLAINED).sum())
        return n_close >= max(MIN_MEMBERS, MIN_PART * len(spots))


def make_indexer(settings: IndexingSettings) -> SmallcellIndexer:
    """Make the indexer; `UserError` without a cell."""
    return SmallcellIndexer(settings)
