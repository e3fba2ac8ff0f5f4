"""Wilson plot of a merged list: its absolute scale and overall B factor (Wilson (1942), Nature 150, 152).

Per bin of s² = (sinθ/λ)² stands ln⟨I/(ε·E)⟩, E the mean of |F|² that the atoms of a protein would give at rest; the
slope of a straight line is -2B.  Each bin counts by how well its mean is known: where a list ends in noise,
logarithms of noise would decide alone.  Form factors: International Tables C, 6.1.1.4.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.list_check import SelectedReflections

FloatArray = NDArray[np.float64]

FIRST_INVERSE_D = 0.3125
"""The line is fitted from the bin after the one of this 1/d on: below, solvent and secondary structure bend it
[Å⁻¹]."""
WIDENED_BY = 1e-4
"""The range of 1/d is that much wider than the reflections' on both sides [Å⁻¹]."""
FEWEST_BINS = 3

_ATOMS = {
    # Atoms of an average residue, and the four Gaussians (factor, B) and the constant of their form factors.
    "C": (5.0, ((2.31, 20.8439), (1.02, 10.2075), (1.5886, 0.5687), (0.865, 51.6512)), 0.2156),
    "N": (1.35, ((12.2126, 0.0057), (3.1322, 9.8933), (2.0125, 28.9975), (1.1663, 0.5826)), -11.529),
    "O": (1.5, ((3.0485, 13.2771), (2.2868, 5.7011), (1.5463, 0.3239), (0.867, 32.9089)), 0.2508),
    "H": (8.0, ((0.493002, 10.5109), (0.322912, 26.1257), (0.140191, 3.14236), (0.04081, 57.7997)), 0.003038),
}


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class WilsonPlot:
    """A Wilson plot with its straight line."""

    s_squared: FloatArray
    """Middles of the bins, float64[n] [Å⁻²]."""
    ln_ratio: FloatArray
    """ln⟨I/(ε·E)⟩, float64[n]; NaN for bins that are empty or not positive."""
    n_reflections: NDArray[np.int64]
    """int64[n]."""
    ln_k: float
    """Value of the line at s = 0; NaN where too few bins are there for a line."""
    b_factor: float
    """Overall B factor [Å²]; NaN where too few bins are there for a line."""


def wilson_plot(chosen: SelectedReflections, group: PointGroup, n_bins: int = 50) -> WilsonPlot:
    """Make a Wilson plot of the selected reflections."""
    s_squared = (0.5 * chosen.inverse_d) ** 2
    low = 0.5 * max(0.0, float(chosen.inverse_d.min()) - WIDENED_BY)
    high = 0.5 * (float(chosen.inverse_d.max()) + WIDENED_BY)
    if not high > low:
        raise UserError("a Wilson plot needs reflections of more than one resolution")
    edges = np.linspace(low**2, high**2, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, s_squared, side="right") - 1, 0, n_bins - 1)
    middles = 0.5 * (edges[:-1] + edges[1:])
    n = np.bincount(bins, minlength=n_bins).astype(np.int64)
    intensity = chosen.intensity / _epsilon(chosen.hkl, group)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(bins, intensity, n_bins) / n
        ln_ratio = np.where((n > 0) & (mean > 0.0), np.log(mean / expected_at_rest(middles)), nan)
        # The square of how well ln⟨I⟩ is known: from the spread, which Wilson's statistics lets be the mean itself.
        variance = np.bincount(bins, (intensity - mean[bins]) ** 2, n_bins) / n
        weight = n * mean**2 / np.maximum(variance, mean**2)
    first = int(np.searchsorted(edges, (0.5 * FIRST_INVERSE_D) ** 2, side="right"))
    ln_k, slope = _line(middles[first:], ln_ratio[first:], weight[first:])
    return WilsonPlot(s_squared=middles, ln_ratio=ln_ratio, n_reflections=n, ln_k=ln_k, b_factor=-0.5 * slope)


def expected_at_rest(s_squared: FloatArray) -> FloatArray:
    """Σ n·f² over the atoms of an average residue at s² = (sinθ/λ)² [Å⁻²]."""
    total = np.zeros_like(s_squared)
    for number, gaussians, constant in _ATOMS.values():
        factor = constant + sum(a * np.exp(-b * s_squared) for a, b in gaussians)
        total += number * factor**2
    return total


def _epsilon(hkl: NDArray[np.int32], group: PointGroup) -> NDArray[np.intp]:
    """Count the operators that leave a reflection where it is: how much stronger symmetry axes make it, intp[n].

    In a centrosymmetric group only rotations count: Friedel's law gave it the others.
    """
    operators = group.operators.astype(np.int32)
    if group.is_centrosymmetric:
        operators = operators[np.linalg.det(operators) > 0.0]
    return np.sum([(hkl @ operator == hkl).all(axis=1) for operator in operators], axis=0)


def _line(x: FloatArray, y: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Fit a straight line to the values that are there, by their weights: intercept and slope."""
    known = np.isfinite(y)
    if known.sum() < FEWEST_BINS:
        return nan, nan
    slope, intercept = np.polyfit(x[known], y[known], 1, w=np.sqrt(weight[known]))
    return float(intercept), float(slope)
