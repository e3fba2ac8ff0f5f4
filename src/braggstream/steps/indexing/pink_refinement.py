"""Refinement and judgement of lattices found in a wide spectrum."""

from dataclasses import dataclass
from math import lgamma, log, pi

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.pink_match import (
    ACROSS_X,
    ACROSS_Z,
    INFORMATION,
    LENGTH,
    N_TOLERANCES,
    Q_X,
    Q_Z,
    assign,
    refine_rotations,
    to_matrix,
)
from braggstream.steps.indexing.pink_peaks import pack_peaks
from braggstream.steps.indexing.sharing import MOST_BETWEEN, best_class, is_too_large, sparser_steps
from braggstream.steps.pairing import shifted_q
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

N_CELL_ROUNDS = 4
CELL_FREEDOM = 0.02
"""Components of the axes are held with this part of the shortest axis: what the peaks do not determine stays."""
SHIFT_STEP = 1e-5
"""Step for derivatives with the detector's shift [m]."""
SHIFT_FREEDOM = 5e-4
"""Shifts are held with this [m]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PinkLimits:
    """How far peaks may lie from the lattice points that explain them."""

    bandwidth: float
    """Half width of the spectrum, relative."""
    radius: float
    """Radius of a lattice point [Å⁻¹]."""
    across: float
    """Across the line on which the scattering vector may end [Å⁻¹]."""
    spacing: float
    """Shortest reciprocal axis [Å⁻¹]."""
    volume: float
    """Volume of the primitive cell [Å³]."""

    def rows(self, *steps: tuple[float, float]) -> FloatArray:
        """Tolerances for the kernels: pairs of a factor of `across` and a largest angle [rad], float64[n, 4]."""
        rows = np.empty((len(steps), N_TOLERANCES))
        for row, (factor, angle) in zip(rows, steps, strict=True):
            row[:] = self.bandwidth, self.radius, factor * self.across, angle
        return rows

    def pack(self, q: FloatArray, *, in_order: bool = False) -> FloatArray:
        """Pack peaks for the kernels, those of lowest resolution first, or all of them as they come."""
        return pack_peaks(
            q,
            in_order=in_order,
            bandwidth=self.bandwidth,
            radius=self.radius,
            across=self.across,
            spacing=self.spacing,
            volume=self.volume,
        )


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PinkSolution:
    """A lattice, and how well it explains the peaks."""

    axes: FloatArray
    """Rows: primitive reciprocal axes, float64[3, 3] [Å⁻¹]."""
    det_shift: tuple[float, float] = (0.0, 0.0)
    """[m]"""
    n_explained: int = 0
    evidence: float = -np.inf
    """Logarithm of the odds against finding anything as good by chance."""
    disbalance: float = 2.0
    """Distance between the mean directions of the explained peaks and of all, 0 to 2."""


def refine_rotation(axes: FloatArray, peaks: FloatArray, limits: PinkLimits) -> FloatArray:
    """Turn a lattice onto the peaks, its cell as it is."""
    cell = np.stack([axes, _direct(axes)])
    rotation = np.array([[1.0, 0.0, 0.0, 0.0]])
    schedule = limits.rows((1.5, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 0.0))
    refine_rotations(rotation, peaks, cell, schedule, np.empty((1, 2)))
    return turned(axes, rotation[0])


def refine_cell(axes: FloatArray, peaks: FloatArray, limits: PinkLimits) -> FloatArray:
    """Fit all nine components of the axes."""
    for _ in range(N_CELL_ROUNDS):
        hkl, explained = assigned(axes, peaks, limits)
        if explained.sum() < 6:
            break
        rows, wanted = _equations(peaks[explained], hkl[explained], limits)
        held = np.eye(9) / (CELL_FREEDOM * limits.spacing)
        matrix = np.concatenate([rows, held])
        right = np.concatenate([wanted, held @ axes.ravel()])
        axes = np.linalg.lstsq(matrix, right, rcond=None)[0].reshape(3, 3)
    return np.ascontiguousarray(axes)


def refine_cell_and_shift(
    axes: FloatArray, view: PeakView, limits: PinkLimits, shift: tuple[float, float]
) -> tuple[FloatArray, tuple[float, float]]:
    """Fit the axes together with the shift of the detector, which a rotation looks like at low resolution."""
    found = np.array(shift)
    for _ in range(N_CELL_ROUNDS):
        packed = limits.pack(shifted_q(view, (found[0], found[1])), in_order=True)
        hkl, explained = assigned(axes, packed, limits)
        if explained.sum() < 6:
            break
        rows, wanted = _equations(packed[explained], hkl[explained], limits)
        residuals = rows @ axes.ravel() - wanted
        slopes = []
        for step in np.eye(2) * SHIFT_STEP:
            moved = limits.pack(shifted_q(view, (found[0] + step[0], found[1] + step[1])), in_order=True)
            other, right = _equations(moved[explained], hkl[explained], limits)
            slopes.append((other @ axes.ravel() - right - residuals) / SHIFT_STEP)
        held = np.diag([1.0 / (CELL_FREEDOM * limits.spacing)] * 9 + [1.0 / SHIFT_FREEDOM] * 2)
        matrix = np.concatenate([np.column_stack([rows, *slopes]), held])
        right = np.concatenate([-residuals, np.zeros(9), -found / SHIFT_FREEDOM])
        change = np.linalg.lstsq(matrix, right, rcond=None)[0]
        axes = np.ascontiguousarray(axes + change[:9].reshape(3, 3))
        found = found + change[9:]
    return axes, (float(found[0]), float(found[1]))


def judge(axes: FloatArray, peaks: FloatArray, limits: PinkLimits, shift: tuple[float, float]) -> PinkSolution:
    """Tell how well a lattice explains the peaks."""
    _, explained = assigned(axes, peaks, limits)
    n, k = len(peaks), int(explained.sum())
    # So many rotations could have been found, each with any choice of k peaks.
    resolved = limits.across / float(peaks[-1, LENGTH])
    n_rotations = 8.0 * pi**2 / resolved**3
    choices = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    evidence = float(peaks[explained, INFORMATION].sum()) - choices - log(n_rotations)
    inward = peaks[:, Q_X:Q_Z] / np.linalg.norm(peaks[:, Q_X:Q_Z], axis=1, keepdims=True)
    disbalance = float(np.linalg.norm(inward[explained].mean(axis=0) - inward.mean(axis=0))) if k else 2.0
    return PinkSolution(axes=axes, det_shift=shift, n_explained=k, evidence=evidence, disbalance=disbalance)


def has_rival(axes: FloatArray, peaks: FloatArray, limits: PinkLimits) -> bool:
    """Tell whether a sparser or a denser lattice explains the peaks as well or better, see `sharing`."""
    hkl, explained = assigned(axes, peaks, limits)
    chance = float(np.exp(-peaks[:, INFORMATION].mean()))
    indices = hkl[explained].astype(np.int64)
    if is_too_large(indices, list(sparser_steps(indices, len(peaks), chance))):
        return True
    others = np.ascontiguousarray(peaks[~explained])

    def looked_up(p: int) -> tuple[FloatArray, FloatArray]:
        steps, distances = np.zeros((len(others), 3)), np.empty(len(others))
        finer = np.ascontiguousarray(axes / p)
        assign(finer, _direct(finer), others, limits.rows((1.0, 0.0))[0], steps, distances)
        return steps, distances**2

    best = best_class(len(others), chance, limits.across, looked_up)
    return best.evidence >= MOST_BETWEEN and best.has_arbitrary_part(int(explained.sum()))


def assigned(axes: FloatArray, peaks: FloatArray, limits: PinkLimits) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Miller indices of each peak, float64[n, 3], and whether they explain it, bool[n]."""
    hkl, distances = np.zeros((len(peaks), 3)), np.empty(len(peaks))
    assign(np.ascontiguousarray(axes), _direct(axes), peaks, limits.rows((1.0, 0.0))[0], hkl, distances)
    return hkl, distances < limits.across


def turned(axes: FloatArray, rotation: FloatArray) -> FloatArray:
    """Turn axes (rows) by a quaternion."""
    matrix = np.empty((3, 3))
    to_matrix(rotation, matrix)
    return np.ascontiguousarray(axes @ matrix.T)


def _equations(peaks: FloatArray, hkl: FloatArray, limits: PinkLimits) -> tuple[FloatArray, FloatArray]:
    """Weighted linear equations for the nine components of the axes, three a peak."""
    along = peaks[:, Q_X : Q_Z + 1] / peaks[:, LENGTH, None]
    across = peaks[:, ACROSS_X : ACROSS_Z + 1]
    normal = np.cross(along, across)
    sigmas = np.stack(
        [
            np.full(len(peaks), limits.across),
            np.full(len(peaks), limits.across + limits.radius),
            limits.across + limits.radius + limits.bandwidth * peaks[:, LENGTH],
        ],
        axis=1,
    )
    directions = np.stack([across, normal, along], axis=1) / sigmas[:, :, None]
    rows = (hkl[:, None, :, None] * directions[:, :, None, :]).reshape(-1, 9)
    wanted = np.zeros((len(peaks), 3))
    wanted[:, 2] = peaks[:, LENGTH] / sigmas[:, 2]
    return rows, wanted.ravel()


def _direct(axes: FloatArray) -> FloatArray:
    return np.ascontiguousarray(np.linalg.inv(axes).T)
