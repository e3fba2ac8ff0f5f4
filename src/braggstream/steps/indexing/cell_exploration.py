"""Unit cells of the crystals of stream files: which of them to look at, histograms, and fits (`cell_explorer`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import CENTRINGS, cell_parameters
from braggstream.model.observations import CrystalTable
from braggstream.steps.indexing.cell_clusters import CellClusters, FoundCell

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

PARAMETERS = ("a", "b", "c", "al", "be", "ga")
"""Names of cell parameters, as in cell files."""
MOST_POPULATIONS = 300
N_BINS = 99
LEAST_RANGE_OF_ANGLES = 1.1
"""Histograms of angles are at least so wide [deg]."""
FEWEST_BINS = 4
"""Bins that a fit needs."""
MOST_STEPS = 30


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class CellSample:
    """Cells of crystals, as columns of equal length."""

    axes: FloatArray
    """Rows a*, b*, c*, float64[n, 3, 3] [Å⁻¹]."""
    parameters: FloatArray
    """Lengths [Å] and angles [deg], float64[n, 6]."""
    centring: NDArray[np.uint8]
    """Number of the centring in `CENTRINGS`, uint8[n]."""
    method: tuple[str, ...]
    """Indexing methods."""

    def __len__(self) -> int:
        return len(self.axes)

    @property
    def n_left_handed(self) -> int:
        """Cells whose axes are left-handed."""
        return int((np.linalg.det(self.axes) < 0.0).sum())

    def selected(
        self,
        intervals: Mapping[str, tuple[float, float]],
        *,
        methods: Sequence[str] = (),
        centrings: Sequence[str] = (),
    ) -> BoolArray:
        """Tell which crystals are within all intervals, and have one of the methods and centrings, bool[n]."""
        kept: BoolArray = np.asarray(np.isfinite(self.parameters).all(axis=1), np.bool_)
        for name, (low, high) in intervals.items():
            values = self.parameters[:, PARAMETERS.index(name)]
            kept &= (values >= low) & (values <= high)
        if methods:
            kept &= np.array([method in methods for method in self.method], np.bool_)
        if centrings:
            kept &= np.isin(self.centring, [CENTRINGS.index(each) for each in CENTRINGS if each in centrings])
        return kept


def cell_sample(tables: Iterable[CrystalTable]) -> CellSample:
    """Collect the cells of crystals; those that span no volume are left out."""
    axes, centrings, methods = [np.zeros((0, 3, 3))], [np.zeros(0, np.uint8)], []
    for table in tables:
        kept = np.abs(np.linalg.det(table.reciprocal_axes)) > 0.0
        axes.append(table.reciprocal_axes[kept])
        centrings.append(table.centring[kept])
        methods += [method for method, is_kept in zip(table.indexed_by, kept.tolist(), strict=True) if is_kept]
    joined = np.concatenate(axes)
    direct = np.asarray(np.linalg.inv(joined).transpose(0, 2, 1), np.float64)
    return CellSample(
        axes=joined,
        parameters=cell_parameters(direct),
        centring=np.concatenate(centrings),
        method=tuple(methods),
    )


def find_populations(
    sample: CellSample, kept: BoolArray, *, most: int, least_part: float, fewest: int = 3
) -> tuple[list[FoundCell], int]:
    """Sort cells into populations, whatever their settings.

    Parameters
    ----------
    sample, kept
        The cells, and which of them count.
    most
        So many are sorted, evenly chosen.
    least_part, fewest
        What a population has at least: part of the cells, and cells.

    Returns
    -------
    list of FoundCell
        The largest population first.
    int
        Cells that were sorted.
    """
    rows = np.flatnonzero(kept)
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]
    clusters = CellClusters(MOST_POPULATIONS)
    for row in rows.tolist():
        clusters.add(sample.axes[row], CENTRINGS[sample.centring[row]])
    return clusters.found_cells(max(fewest, int(np.ceil(least_part * len(rows))))), len(rows)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class CellHistogram:
    """How often values of one cell parameter occur."""

    name: str
    edges: FloatArray
    """float64[n_bins + 1]"""
    counts: Mapping[str, NDArray[np.int64]]
    """For each centring, int64[n_bins]."""
    excluded: NDArray[np.int64]
    """Crystals that do not count, int64[n_bins]."""

    @property
    def total(self) -> NDArray[np.int64]:
        """Crystals of all centrings, int64[n_bins]."""
        return np.sum(list(self.counts.values()), axis=0, dtype=np.int64)


def cell_histogram(sample: CellSample, kept: BoolArray, name: str, n_bins: int = N_BINS) -> CellHistogram:
    """Count the values of a cell parameter, from the smallest to the largest."""
    number = PARAMETERS.index(name)
    values = sample.parameters[:, number]
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 1.0)
    if number > 2 and high - low < LEAST_RANGE_OF_ANGLES:
        low, high = (0.5 * (low + high + side * LEAST_RANGE_OF_ANGLES) for side in (-1.0, 1.0))
    edges = np.linspace(low, high if high > low else low + 1e-6 * max(1.0, abs(low)), n_bins + 1)

    def counted(which: BoolArray) -> NDArray[np.int64]:
        return np.histogram(values[which & known], edges)[0].astype(np.int64)

    counts: dict[str, NDArray[np.int64]]
    counts = {each: counted(kept & (sample.centring == code)) for code, each in enumerate(CENTRINGS)}
    return CellHistogram(name=name, edges=edges, counts=counts, excluded=counted(~kept))


def fitted_gaussian(edges: FloatArray, counts: NDArray[np.integer]) -> tuple[float, float, float] | None:
    """Fit A·exp(-(x - B)²/C²) to a histogram: A, B and C, or None where that is not possible.

    B is the mean and C/√2 the standard deviation.
    """
    x, y = 0.5 * (edges[:-1] + edges[1:]), counts.astype(np.float64)
    if len(x) < FEWEST_BINS or not y.any():
        return None
    best = int(np.argmax(y))
    width = float(edges[-1] - edges[0])
    found = np.array([y[best], x[best], max(width / len(x), _width(x, y))])
    damping = 1e-3
    residual = _gaussian(x, found) - y
    for _ in range(MOST_STEPS):
        z = (x - found[1]) / found[2]
        shape = np.exp(-(z**2))
        with_width = 2.0 * found[0] * shape * z / found[2]
        slopes = np.column_stack([shape, with_width, with_width * z])
        matrix = slopes.T @ slopes
        shift = np.linalg.lstsq(matrix + damping * np.diag(np.diag(matrix)), -slopes.T @ residual, rcond=None)[0]
        tried = found + shift
        new = _gaussian(x, tried) - y
        if tried[2] > 0.0 and new @ new < residual @ residual:
            done = bool(np.all(np.abs(shift) < 1e-3 * np.abs(tried)))
            found, residual, damping = tried, new, 0.1 * damping
            if done:
                break
        else:
            damping *= 10.0
    amplitude, middle, spread = (float(number) for number in found)
    return (amplitude, middle, spread) if edges[0] <= middle <= edges[-1] else None


def _width(x: FloatArray, y: FloatArray) -> float:
    mean = float(x @ y / y.sum())
    return float(np.sqrt(2.0 * ((x - mean) ** 2 @ y) / y.sum()))


def _gaussian(x: FloatArray, parameters: FloatArray) -> FloatArray:
    amplitude, middle, width = parameters
    return np.asarray(amplitude * np.exp(-(((x - middle) / width) ** 2)), np.float64)
