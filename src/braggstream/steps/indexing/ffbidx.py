"""Indexing with a known cell by sampling: the TORO algorithm of the Fast Feedback Indexer, on the CPU.

Gasparotto et al. (2024), J. Appl. Cryst. 57, 931 (doi:10.1107/S1600576724003182).

One lattice vector of known length is looked for over a half sphere, then the rotation about it, then the whole cell
is refined.  Different from the published form:

- From coarse to fine: a few spots of low resolution find the axis and the rotation with few samples, and the others
  join in the refinement.  All axes are tried in turn, the shortest first, whose length matters least; only where
  that fails, more spots, more candidates and other lengths.
- Where the cell file is wrong, vectors that were found for the three axes, each with a length of its own, are put
  together to cells.
- Neighbouring samples count once, so that the candidates are different ones.
- Centred cells are searched as primitive, reduced ones.
- Cells are ranked by evidence: how improbable it is that so many spots lie so near to lattice points by chance.
- Several lattices come out of one search: each next one is ranked by the spots that the others leave over.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.chance import COUNT, EVIDENCE, REACH
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.settings import FfbidxSettings, IndexingSettings
from braggstream.steps.device import CUDA, kernels_on
from braggstream.steps.indexing.assembly import CellAssembly
from braggstream.steps.indexing.cell_check import CellCheck
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.evidence import ANY_CELL, REACHES, needed_evidence
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.search import AxisSearch, Depth
from braggstream.steps.indexing.spots import by_resolution
from braggstream.steps.indexing.symmetry import can_be_reversed, different_axes, lattice_rotations
from braggstream.steps.view import PeakView

if TYPE_CHECKING:
    from braggstream.steps.indexing.search_cuda import AxisSearchOnDevice

FloatArray = NDArray[np.float64]

QUICK_SPOTS = 64
DEEP_SPOTS = 110
STRETCHED_SPOTS = 40
QUICK_PART = 4
"""The quick search keeps one candidate vector of so many."""
FEWEST_FIRST = 16
FIRST_PART = 3
"""The refinement of a cell starts with one spot of so many, those of lowest resolution."""
WIDEST_START = 1e-3
"""The refinement of a cell starts with at least this distance, up to a fair part of the shortest spacing [Å⁻¹]."""
PART_OF_SPACING = 0.4
CLEAR_PART = 0.3
CLEAR_REACH = 1.2e-3
"""A lattice that explains this part of the spots as well as this ends the search [Å⁻¹]."""
LEFT_PART = 0.15
"""Several lattices that leave over less than this part of the spots end the search."""
COVERED = 2.0
"""Spots within so many times the distance of best agreement belong to a lattice."""
MOST_LATTICES = 16
MOST_STRETCH = 0.06
"""Lengths are not sampled further off than this fraction."""


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """Refined cells, rows a, b, c, and how they agree with all spots."""

    cells: FloatArray
    weighings: FloatArray

    def joined(self, other: "_Found") -> "_Found":
        return _Found(np.concatenate([self.cells, other.cells]), np.concatenate([self.weighings, other.weighings]))


class FfbidxIndexer:
    """Find a known lattice in the scattering vectors of a frame's peaks."""

    def __init__(self, settings: IndexingSettings) -> None:
        if settings.target_cell is None:
            raise UserError("--indexing=ffbidx needs a unit cell: give one with -p")
        self._target = settings.target_cell
        self._several = settings.multi
        self._kernels = kernels_on(settings.device, "ffbidx_cells")
        self._settings = chosen = check_settings(settings.ffbidx)
        self._tolerance = settings.tolerance if settings.check_cell else ANY_CELL
        self._check = CellCheck(settings.target_cell, self._tolerance)
        reduced = reduce_cell(settings.target_cell)
        self._to_cell = reduced.to_cell
        self._basis = basis = reduced.basis.T
        self._shortest_spacing = float(np.linalg.norm(np.linalg.inv(basis), axis=0).min())
        stretch = min(max(self._tolerance[:3]) / 100.0, MOST_STRETCH)
        rotations = lattice_rotations(basis)
        axes = [
            AxisSearch(
                basis,
                axis,
                chosen,
                tolerance=stretch,
                has_sides=not can_be_reversed(rotations, axis),
                device=settings.device,
            )
            for axis in range(3)
        ]
        self._lengths = [axis.length for axis in axes]
        different = [axes[axis] for axis in different_axes(rotations)]
        self._searches = sorted(different, key=lambda search: search.length)
        self._assembly = CellAssembly(basis)
        self._quick = Depth(
            n_spots=QUICK_SPOTS,
            n_vectors=-(-chosen.num_candidate_vectors // QUICK_PART),
            n_cells=-(-chosen.output_cells // QUICK_PART * 2),
            has_own_lengths=True,
        )
        n_vectors, n_cells = chosen.num_candidate_vectors, chosen.output_cells
        self._deep = Depth(n_spots=DEEP_SPOTS, n_vectors=n_vectors, n_cells=n_cells)
        start = max(
            chosen.dist3 * self._shortest_spacing, min(WIDEST_START, PART_OF_SPACING * self._shortest_spacing)
        )
        contraction, rounds = chosen.ifssr_threshold_contraction, chosen.ifssr_max_iter
        self._schedule = np.array([start, chosen.ifssr_max_dist, contraction, rounds, chosen.ifssr_min_spots])
        self._on_device = self._searches_on_device() if settings.device == CUDA else {}
        self._stretched = Depth(n_spots=STRETCHED_SPOTS, n_vectors=n_vectors, n_cells=n_cells, stretch=stretch)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give lattices, the one with the most evidence first."""
        return [candidate(axes, self._target) for axes in self.find(view.q, thorough=thorough)]

    def find(self, q: FloatArray, *, thorough: bool = True) -> list[FloatArray]:
        """Reciprocal axes of lattices, rows a*, b*, c*, float64[3, 3] [Å⁻¹], the best first.

        `q` holds scattering vectors, strongest first, float64[n, 3] [Å⁻¹].  Unless `thorough`, the quick search is
        all.
        """
        spots = by_resolution(q, self._settings.max_spots)
        if len(spots) < max(self._settings.ifssr_min_spots, 3):
            return []
        found = _Found(np.empty((0, 3, 3)), np.empty((0, 3)))
        for depth in (self._quick, self._deep) if thorough else (self._quick,):
            for search in self._searches:
                found = found.joined(self._search(search, spots, depth))
                if not self._several and self._is_clear(found, spots):
                    return self._cover(found, spots)[0]
            lattices, n_left = self._cover(found, spots)
            if self._several and n_left < LEFT_PART * len(spots):
                return lattices
        if thorough:
            found = found.joined(self._search_stretched(spots))
        return self._cover(found, spots)[0]

    def _search(self, search: AxisSearch, spots: FloatArray, depth: Depth) -> _Found:
        """Cells by one axis, refined."""
        if self._on_device:
            return _Found(*self._on_device[search, depth](spots, self._n_first(spots)))
        vectors = search.find_vectors(spots, depth)
        cells = search.find_cells(vectors, spots, depth) if len(vectors) else np.empty((0, 3, 3))
        return self._refined(cells, spots)

    def _searches_on_device(self) -> "dict[tuple[AxisSearch, Depth], AxisSearchOnDevice]":
        from braggstream.steps.indexing.search_cuda import AxisSearchOnDevice

        return {
            (search, depth): AxisSearchOnDevice(search, depth, self._schedule)
            for search in self._searches
            for depth in (self._quick, self._deep)
        }

    def _n_first(self, spots: FloatArray) -> int:
        """Spots of lowest resolution with which the refinement of a cell starts."""
        return min(self._quick.n_spots, max(FEWEST_FIRST, len(spots) // FIRST_PART))

    def _search_stretched(self, spots: FloatArray) -> _Found:
        """Axes of other lengths than expected, which are put together to cells."""
        by_length = {search.length: search.find_vectors(spots, self._stretched) for search in self._searches}
        # Axes that are not searched are as long as one that is.
        nearest = [min(by_length, key=lambda length: abs(length - wanted)) for wanted in self._lengths]
        vectors = [by_length[length] for length in nearest]
        return self._refined(self._assembly.cells(vectors, self._settings.output_cells), spots)

    def _refined(self, cells: FloatArray, spots: FloatArray) -> _Found:
        self._kernels.refine_cells_outwards(
            cells, spots, self._n_first(spots), self._schedule, np.empty(len(spots))
        )
        return _Found(cells, self._weighed(cells, spots))

    def _weighed(self, cells: FloatArray, spots: FloatArray) -> FloatArray:
        weighings = np.empty((len(cells), 3))
        self._kernels.weigh_cells(cells, spots, REACHES, weighings, np.empty(len(spots)))
        return weighings

    def _is_clear(self, found: _Found, spots: FloatArray) -> bool:
        """Whether the best lattice is beyond doubt."""
        if not len(found.cells) or self._settings.redundant_computations:
            return False
        best = found.weighings[np.argmax(found.weighings[:, EVIDENCE])]
        is_clear = best[COUNT] >= CLEAR_PART * len(spots) and best[REACH] <= CLEAR_REACH
        return bool(is_clear) and self._is_significant(best, spots)

    def _is_significant(self, weighing: FloatArray, spots: FloatArray) -> bool:
        if not weighing[EVIDENCE] > 0.0:
            return False
        inverse_d = float(np.linalg.norm(spots[len(spots) // 2]))
        return float(weighing[EVIDENCE]) > needed_evidence(inverse_d, float(weighing[REACH]), self._tolerance)

    def _cover(self, found: _Found, spots: FloatArray) -> tuple[list[FloatArray], int]:
        """Lattices in the order in which each explains most of the spots that those before leave over.

        Gives them, and how many spots are left over at the end.
        """
        cells, weighings = found.cells, found.weighings
        chosen: list[FloatArray] = []
        left = spots
        while len(cells) and len(chosen) < (MOST_LATTICES if self._several else 1):
            best = int(np.argmax(weighings[:, EVIDENCE]))
            if not self._is_significant(weighings[best], left):
                break
            chosen.append(self._in_target_setting(cells[best], left, COVERED * weighings[best, REACH]))
            left = np.ascontiguousarray(left[self._distance(cells[best], left) > COVERED * weighings[best, REACH]])
            if len(left) < self._settings.ifssr_min_spots:
                break
            weighings = self._weighed(cells, left)
        return chosen, len(left)

    def _distance(self, cell: FloatArray, spots: FloatArray) -> FloatArray:
        """Distance of spots from lattice points [Å⁻¹]."""
        index = spots @ cell.T
        return np.asarray(np.linalg.norm((index - np.rint(index)) @ np.linalg.inv(cell).T, axis=1))

    def _in_target_setting(self, cell: FloatArray, spots: FloatArray, reach: float) -> FloatArray:
        """Reciprocal axes of a lattice in the target's setting.

        Few spots may leave a cell open in the direction of the beam.  One that is out of the tolerance is replaced
        by the expected cell in the orientation that suits the spots best, and the refinement decides.
        """
        axes = np.ascontiguousarray(np.linalg.inv(self._to_cell.T @ cell).T)
        found = candidate(axes, self._target)
        # The lattice may have been met in another setting.
        if self._check.fits(found) or self._check.reindexed(found) is not None:
            return axes
        near = spots[self._distance(cell, spots) < reach]
        expected = np.rint(near @ cell.T) @ np.linalg.inv(self._basis).T
        # The rotation of least squares (Kabsch, Acta Cryst. A32 (1976) 922).
        left, _, right = np.linalg.svd(expected.T @ near)
        rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
        return np.ascontiguousarray(np.linalg.inv(self._to_cell.T @ self._basis).T @ rotation)


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
