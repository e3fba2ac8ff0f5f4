"""Indexing without a cell: lattice vectors from Fourier sums, then the cell that explains the peaks best.

The idea is that of DirAx (Duisenberg 1992, doi:10.1107/S0021889891010634) with Fourier transforms, the `asdf` of
CrystFEL.  Different from there:

- All of direct space up to a length is mapped, instead of the directions of triplets of peaks that are drawn at
  random: see `direct_map`.
- Vectors and cells are judged by the likelihood of the spots under a mixture of lattice and background: see
  `spanned_cells`.
- A known cell limits the length of the vectors and the volume; otherwise vectors are looked for ever further out
  until a cell convinces.
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.direct_map import find_vectors
from braggstream.steps.indexing.spanned_cells import VOLUME_LIMITS, JudgedCell, best_cell
from braggstream.steps.indexing.spots import by_resolution
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MOST_SPOTS = 400
"""Strongest spots that are used."""
MOST_SPOTS_AGAIN = 100
"""The same, in repeated attempts: what the many did not show the strongest may."""
FEWEST_SPOTS = 8
REACHES = (100.0, 200.0, 400.0)
"""Without a cell, lattice vectors are looked for up to this length, the next one where no cell convinces [Å]."""
REACH_OF_CELL = 1.15
"""With a cell, up to the longest axis of its reduced primitive cell times this."""
LEAST_VOLUME_TOLERANCE = 0.1
OPERATIONS = 3e8
"""Multiplications and additions that one map of direct space may cost."""
FEWER_OPERATIONS = 7e7
"""The same for repeated attempts, and with `--asdf-fast`."""
LARGEST_INVERSE_D = 10.0
"""No peak lies beyond; such a number is an error of the geometry [Å⁻¹]."""


class AsdfIndexer:
    """Find a lattice in the scattering vectors of a frame's peaks; a known cell is not needed."""

    def __init__(self, settings: IndexingSettings) -> None:
        self._most_lattices = settings.max_lattices if settings.multi else 1
        self._operations = FEWER_OPERATIONS if settings.asdf.fast else OPERATIONS
        self._volumes = VOLUME_LIMITS
        self._reaches: tuple[float, ...] = REACHES
        if settings.target_cell is not None:
            basis = reduce_cell(settings.target_cell).basis
            volume = abs(float(np.linalg.det(basis)))
            slack = max(LEAST_VOLUME_TOLERANCE, sum(settings.tolerance[:3]) / 100.0)
            self._volumes = (volume / (1.0 + slack), volume * (1.0 + slack))
            self._reaches = (REACH_OF_CELL * float(np.linalg.norm(basis, axis=0).max()),)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give lattices as primitive, reduced cells: one, or several where several are wanted."""
        return [Crystal(reciprocal_axes=axes) for axes in self.find(view.q, thorough=thorough)]

    def find(self, q: FloatArray, *, thorough: bool = True) -> list[FloatArray]:
        """Reciprocal axes of lattices, the likeliest first: rows a*, b*, c*, float64[3, 3] [Å⁻¹].

        `q` holds scattering vectors, strongest first, float64[n, 3] [Å⁻¹].  Each further lattice is found in the
        spots that those before it leave.  Unless `thorough`, a map of middle size is searched only.
        """
        spots = by_resolution(q, MOST_SPOTS if thorough else MOST_SPOTS_AGAIN, limit=LARGEST_INVERSE_D)
        found: list[FloatArray] = []
        while len(found) < self._most_lattices and len(spots) >= FEWEST_SPOTS:
            cell = self._likeliest(spots, thorough=thorough)
            if cell is None:
                break
            found.append(np.ascontiguousarray(np.linalg.inv(cell.axes).T))
            spots = np.ascontiguousarray(spots[~cell.is_explained])
        return found

    def _likeliest(self, spots: FloatArray, *, thorough: bool) -> JudgedCell | None:
        """The likeliest cell, if it is likely enough."""
        best: JudgedCell | None = None
        middle = len(self._reaches) // 2
        for reach in self._reaches if thorough else self._reaches[middle : middle + 1]:
            vectors = find_vectors(spots, reach, self._operations if thorough else FEWER_OPERATIONS)
            cell = best_cell(spots, vectors, reach=reach, volumes=self._volumes)
            if cell is not None and (best is None or cell.likelihood > best.likelihood):
                best = cell
            if best is not None and best.is_convincing(reach):
                break
        if best is None:
            return None
        # A repeated attempt does not reach as far, so that it may take a part of a large cell for a small one.
        is_enough = best.is_likely if thorough else best.is_convincing(self._reaches[middle])
        return best if is_enough else None


def make_indexer(settings: IndexingSettings) -> AsdfIndexer:
    """Make the indexer."""
    return AsdfIndexer(settings)
