"""Indexing with a known cell by sampling: the TORO algorithm of the Fast Feedback Indexer, on the CPU.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).

One lattice vector of known length is looked for over a half sphere, then the rotation about it, then the whole cell
is refined.  Different from the published form:

- The sampled axis is the longest one that the points of the half sphere resolve; the others follow only where it
  finds too little.  The density of points follows from its length and the resolution of the spots.
- Neighbouring samples count once, so that the candidates are different ones.
- Centred cells are searched as primitive, reduced ones.
- Cells are ranked by how many spots they explain and how well: the distance of the eighth-best spot alone is easily
  won by chance.
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_cells import refine_cells
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import FfbidxSettings, IndexingSettings
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.search import AxisSearch
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

ENOUGH = 0.35
"""Quality per spot with which no further axis is sampled."""


class FfbidxIndexer:
    """Find a known lattice in the scattering vectors of a frame's peaks."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=ffbidx needs a unit cell: give one with -p")
        self._target = settings.target_cell
        self._settings = check_settings(settings.ffbidx)
        reduced = reduce_cell(settings.target_cell)
        self._to_cell = reduced.to_cell
        basis = reduced.basis.T
        self._shortest_spacing = float(np.linalg.norm(np.linalg.inv(basis), axis=0).min())
        searches = [AxisSearch(basis, axis, settings.ffbidx) for axis in range(3)]
        self._longest_first = sorted(searches, key=lambda search: -search.length)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the best lattice, or nothing."""
        return [candidate(axes, self._target) for axes in self.find(view.q, thorough=thorough)]

    def find(self, q: FloatArray, *, thorough: bool = True) -> list[FloatArray]:
        """Reciprocal axes of the best lattice, or nothing: rows a*, b*, c*, float64[3, 3] [Å⁻¹].

        `q` holds scattering vectors, strongest first, float64[n, 3] [Å⁻¹].  Unless `thorough`, one axis is searched
        only.
        """
        spots = self._usable(q)
        if len(spots) < max(self._settings.ifssr_min_spots, 3):
            return []
        best: FloatArray | None = None
        best_quality = 0.0
        for search in self._preferred(float(np.linalg.norm(spots[-1]))):
            cell, quality = self._best_refined(search.find(spots), spots)
            if cell is not None and quality > best_quality:
                best, best_quality = cell, quality
            is_enough = best_quality >= ENOUGH * len(spots) or not thorough
            if is_enough and not self._settings.redundant_computations:
                break
        return [] if best is None else [self._in_target_setting(best)]

    def _usable(self, q: FloatArray) -> FloatArray:
        """The strongest finite spots, in order of resolution."""
        inverse_d = np.sqrt(np.einsum("ij,ij->i", q, q))
        usable = np.flatnonzero(np.isfinite(inverse_d) & (inverse_d > 0.0))[: self._settings.max_spots]
        order = usable[np.argsort(inverse_d[usable], kind="stable")]
        return np.ascontiguousarray(q[order])

    def _preferred(self, max_inverse_d: float) -> list[AxisSearch]:
        """Order of trial: axes that the samples resolve, longest first; then the others, shortest first."""
        most = self._settings.num_halfsphere_points
        resolved = [search for search in self._longest_first if search.needed_points(max_inverse_d) <= most]
        return resolved + [search for search in reversed(self._longest_first) if search not in resolved]

    def _best_refined(self, cells: FloatArray, spots: FloatArray) -> tuple[FloatArray | None, float]:
        """Refine cells; gives the best viable one and its quality."""
        chosen = self._settings
        schedule = np.array(
            [
                chosen.dist3 * self._shortest_spacing,
                chosen.ifssr_max_dist,
                chosen.ifssr_threshold_contraction,
                chosen.ifssr_max_iter,
                chosen.ifssr_min_spots,
            ]
        )
        quality = np.empty((len(cells), 2))
        refine_cells(cells, spots, schedule, quality, np.empty(len(spots)))
        quality[quality[:, 1] > chosen.ifssr_max_dist, 0] = 0.0
        if not len(cells) or not quality[:, 0].any():
            return None, 0.0
        best = int(np.argmax(quality[:, 0]))
        return cells[best], float(quality[best, 0])

    def _in_target_setting(self, cell: FloatArray) -> FloatArray:
        axes = self._to_cell.T @ cell
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
