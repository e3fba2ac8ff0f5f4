"""Pairs of peaks and lattice points: what refinement and the profile radius are measured from.

CrystFEL's rules, with one difference: the shortest reciprocal spacing, to which the allowed distance is
proportional, is looked for among indices of both signs, so that an oblique cell is not given too wide a limit.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ewald import N_BEAM, RADIUS, WAVENUMBER, WAVENUMBER_SIGMA
from braggstream.kernels.pairing import pair_peaks as pair_peaks_kernel
from braggstream.model.cell import Centring
from braggstream.model.crystal import Crystal
from braggstream.steps.view import PeakView

MIN_PAIRS = 3
"""Fewer pairs than this say nothing about a crystal."""
REACH = 1.0 / 3.0
"""How far a peak may be from its lattice point, in half shortest spacings."""
MOST_EXCITATION = 1.5
"""Pairs whose excitation error is so many times the median, or more, are left out."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PeakPairs:
    """Peaks and the lattice points that they belong to."""

    peak: NDArray[np.int64]
    """Number of the peak in its view, int64[n]."""
    hkl: NDArray[np.int32]
    """Miller indices, int32[n, 3]; two peaks may share them."""
    excitation_error: NDArray[np.float64]
    """Distance of the lattice point from the Ewald sphere, positive inside, float64[n] [Å⁻¹]."""

    def __len__(self) -> int:
        return len(self.peak)

    def take(self, index: NDArray) -> "PeakPairs":
        """Select pairs by index, in its order."""
        return PeakPairs(
            peak=self.peak[index], hkl=self.hkl.take(index, axis=0), excitation_error=self.excitation_error[index]
        )


def pair_peaks(
    crystal: Crystal, view: PeakView, *, most_excitation: float = MOST_EXCITATION, reach: float = REACH
) -> PeakPairs:
    """Pair the peaks of a view with lattice points of a crystal, without those far from the Ewald sphere.

    The list is cut where the excitation error, sorted by size, first exceeds `most_excitation` times its median;
    fewer than three pairs are returned as they are.  It is in that order, or without a limit in that of the peaks.
    A peak belongs to a lattice point up to `reach` times half of the shortest reciprocal spacing.
    """
    q = shifted_q(view, crystal.det_shift)
    n = len(view)
    hkl, peak, excitation = np.empty((n, 3), np.int32), np.empty(n, np.int64), np.empty(n)
    beam = pack_beam(view.wavelength, view.bandwidth, crystal.profile_radius)
    limit = lowest_half_spacing(crystal.reciprocal_axes, crystal.centring) * reach
    axes = np.ascontiguousarray(crystal.reciprocal_axes)
    direct = np.ascontiguousarray(crystal.direct_axes)
    n_pairs = pair_peaks_kernel(q, axes, direct, beam, limit, hkl, peak, excitation)
    pairs = PeakPairs(peak=peak[:n_pairs], hkl=hkl[:n_pairs], excitation_error=excitation[:n_pairs])
    if most_excitation == inf:
        return pairs
    size = np.abs(pairs.excitation_error)
    order = np.argsort(size, kind="stable")
    if n_pairs >= MIN_PAIRS:
        middle = n_pairs // 2
        order = order[: np.searchsorted(size[order], most_excitation * size[order[middle]], side="right")]
    return pairs.take(order)


def pack_beam(wavelength: float, bandwidth: float, profile_radius: float) -> NDArray[np.float64]:
    """Pack wavelength [Å], relative bandwidth and profile radius [Å⁻¹] for the kernels."""
    beam = np.empty(N_BEAM)
    beam[WAVENUMBER] = 1.0 / wavelength
    beam[WAVENUMBER_SIGMA] = bandwidth / wavelength
    beam[RADIUS] = profile_radius
    return beam


def shifted_q(view: PeakView, det_shift: tuple[float, float]) -> NDArray[np.float64]:
    """Scattering vectors of the peaks with a crystal's own detector shift [m] applied, float64[n, 3] [Å⁻¹]."""
    if det_shift == (0.0, 0.0):
        return np.ascontiguousarray(view.q)
    peaks = view.peaks
    return view.detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, view.wavelength, det_shift)


def lowest_half_spacing(reciprocal_axes: NDArray[np.float64], centring: Centring) -> float:
    """Half of the smallest 1/d among reflections that the centring allows and whose indices are at most 3 [Å⁻¹]."""
    q = LOW_INDICES[centring] @ reciprocal_axes
    return float(np.sqrt(np.einsum("ij,ij->i", q, q).min())) / 2.0


def is_allowed(hkl: NDArray[np.integer], centring: Centring) -> NDArray[np.bool_]:
    """Tell which reflections the centring allows, bool[n]; H is in the obverse setting."""
    h, k, l = hkl.T  # noqa: E741
    match centring:
        case "A":
            odd = (k + l) % 2
        case "B":
            odd = (h + l) % 2
        case "C":
            odd = (h + k) % 2
        case "I":
            odd = (h + k + l) % 2
        case "F":
            odd = (h + k) % 2 + (h + l) % 2
        case "H":
            odd = (-h + k + l) % 3
        case _:
            odd = np.zeros_like(h)
    return np.asarray(odd == 0)


def _low_indices() -> dict[Centring, NDArray[np.float64]]:
    grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    half = grid[len(grid) // 2 + 1 :]
    centrings: tuple[Centring, ...] = ("P", "A", "B", "C", "I", "F", "R", "H")
    return {centring: half[is_allowed(half, centring)].astype(np.float64) for centring in centrings}


LOW_INDICES = _low_indices()
