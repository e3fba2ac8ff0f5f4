"""Which peaks does a crystal explain, are they enough, and is it one that was found before?"""

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal
from braggstream.steps.pairing import shifted_q
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

MAX_FRACTION = 0.25
"""Distance from an integer, in each index, up to which a peak is explained."""
MIN_EXPLAINED = 0.5
"""Fraction of the peaks that the one crystal of a frame has to explain."""
SAME_ANGLE_DEG = 5.0
SAME_LENGTH = 0.1


def fractions(crystal: Crystal, view: PeakView) -> FloatArray:
    """Distance of each peak's indices from integers, float64[n, 3]."""
    indices = shifted_q(view, crystal.det_shift) @ crystal.direct_axes.T
    return np.asarray(indices - np.rint(indices))


def explains_enough(crystal: Crystal, view: PeakView, *, multi: bool) -> bool:
    """Judge a crystal by the peaks that it explains; with `multi` fewer are enough."""
    n_peaks = len(view)
    n = int((np.abs(fractions(crystal, view)) < MAX_FRACTION).all(axis=1).sum())
    if multi:
        return n > 70 or (n > 25 and n > 0.3 * n_peaks) or n > 0.4 * n_peaks
    return n_peaks > 0 and n >= MIN_EXPLAINED * n_peaks


def unexplained(crystal: Crystal, view: PeakView) -> NDArray[np.bool_]:
    """Peaks that remain for further lattices, bool[n]."""
    return np.asarray(~(np.linalg.norm(fractions(crystal, view), axis=1) < MAX_FRACTION))


def are_similar(one: Crystal, other: Crystal) -> bool:
    """Tell whether two crystals are the same lattice in any setting, within 5 degrees and 10 %."""
    if one.centring != other.centring:
        return False
    axes = other.direct_axes
    combined = _COMBINATIONS @ one.direct_axes
    length, wanted = np.linalg.norm(combined, axis=1), np.linalg.norm(axes, axis=1)
    with np.errstate(invalid="ignore"):
        cosine = (combined @ axes.T) / np.outer(length, wanted)
    same = (cosine >= np.cos(np.radians(SAME_ANGLE_DEG))) & (
        np.abs(length[:, None] - wanted) <= SAME_LENGTH * wanted
    )
    rows = [_COMBINATIONS[column] for column in same.T]
    if not all(len(row) for row in rows):
        return False
    # Determinants of all combinations of one row per axis.
    crossed = np.cross(rows[0][:, None], rows[1][None])
    return bool((np.abs(np.rint(crossed @ rows[2].T)) == 1.0).any())


_COMBINATIONS = np.array([m for m in np.ndindex(3, 3, 3) if m != (1, 1, 1)], np.float64) - 1.0
"""The 26 shortest combinations of axes."""
