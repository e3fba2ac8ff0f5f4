"""From rough cells to the best one: fit them to more and more of the spots, then compare what they explain."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ffbidx_cells import refine_cells

FloatArray = NDArray[np.float64]

CLOSE = 0.25
"""A spot takes part in the fit from this distance on, in parts of the shortest reciprocal spacing."""
LEAST_DISTANCE = 7.5e-4
"""Distance at the end of the fit [Å⁻¹]."""
CONTRACTION = 0.75
MAX_ROUNDS = 12
PARTS = (0.3, 0.6, 1.0)
"""Spots of lowest resolution, in parts of all, that take part in each stage: a rough cell indexes no others."""
MIN_SPOTS = 8


def settle(cells: FloatArray, spots: FloatArray, *, min_spots: int = MIN_SPOTS) -> FloatArray:
    """Fit cells to spots, and put the best one first.

    Parameters
    ----------
    cells : float64[n, 3, 3], changed
        Rows a, b, c of primitive cells [Å].
    spots : float64[m, 3]
        Scattering vectors in order of resolution [Å⁻¹].
    min_spots
        A cell with fewer spots near its lattice points is dropped.

    Returns
    -------
    float64[n]
        Quality of each cell, which are in order of it: a spot at a lattice point counts 1, further away less;
        0 where a cell was dropped.
    """
    quality = np.zeros((len(cells), 2))
    if not len(cells) or len(spots) < min_spots:
        return quality[:, 0]
    end = distances(cells[0])[1]
    for part in PARTS:
        used = spots[: max(min(len(spots), 3 * min_spots), int(part * len(spots)))]
        fit(cells, used, quality, min_spots=min_spots)
    found = np.where(quality[:, 1] <= end, quality[:, 0], 0.0)
    order = np.argsort(-found, kind="stable")
    cells[:] = cells[order]
    return found[order]


def fit(cells: FloatArray, spots: FloatArray, quality: FloatArray, *, min_spots: int = MIN_SPOTS) -> None:
    """Fit cells to those of the spots that lie near their lattice points; see `refine_cells`."""
    start, end = distances(cells[0])
    schedule = np.array([start, end, CONTRACTION, MAX_ROUNDS, min_spots])
    refine_cells(cells, spots, schedule, quality, np.empty(len(spots)))


def distances(cell: FloatArray) -> tuple[float, float]:
    """Distances of a spot from a lattice point at the start and at the end of a fit [Å⁻¹]."""
    start = CLOSE * float(np.linalg.norm(np.linalg.inv(cell), axis=0).min())
    return start, min(LEAST_DISTANCE, start / 2.0)
