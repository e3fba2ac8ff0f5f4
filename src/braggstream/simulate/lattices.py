"""Whether two lattices are the same, whatever axes describe them, and how far one is turned from the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring, UnitCell

FloatArray = NDArray[np.float64]

PRIMITIVE: dict[str, FloatArray] = {
    "P": np.eye(3),
    "R": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "B": np.array([[0.5, 0, -0.5], [0, 1, 0], [0.5, 0, 0.5]]),
    "C": np.array([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "H": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}
"""Rows: axes of a primitive cell in terms of those of the conventional one.  H is a rhombohedral lattice on
hexagonal axes, obverse setting; R has rhombohedral axes."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Comparison:
    """A found lattice beside the true one, brought into the true one's setting."""

    setting: FloatArray
    """Matrix that takes the found reciprocal axes to those nearest to the true ones, float64[3, 3]."""
    misorientation: float
    """Angle of the rotation between the two [deg]."""
    length_error: float
    """Largest relative error of an axis length of the direct cell."""
    angle_error: float
    """Largest error of an angle of the direct cell [deg]."""


def compare(
    true: FloatArray, found: FloatArray, *, true_centring: Centring = "P", found_centring: Centring = "P"
) -> Comparison | None:
    """Compare reciprocal axes, rows a*, b*, c* [any unit, the same]; None where the lattices are not the same.

    Two bases span one lattice where an integer matrix of determinant ±1 joins them.  Here it only has to do so
    roughly: the misfit that remains is what is measured.
    """
    true_primitive = np.linalg.inv(PRIMITIVE[true_centring]).T @ true
    found_primitive = np.linalg.inv(PRIMITIVE[found_centring]).T @ found
    if not np.isfinite(found_primitive).all() or abs(np.linalg.det(found_primitive)) < 1e-300:
        return None
    joining = np.rint(true_primitive @ np.linalg.inv(found_primitive))
    if np.abs(joining).max() > 1e6 or round(abs(float(np.linalg.det(joining)))) != 1:
        return None
    same_setting = PRIMITIVE[true_centring].T @ joining @ found_primitive
    setting = PRIMITIVE[true_centring].T @ joining @ np.linalg.inv(PRIMITIVE[found_centring]).T
    true_cell, found_cell = _cell(true), _cell(same_setting)
    lengths = np.array(found_cell.parameters[:3]) / true_cell.parameters[:3] - 1
    angles = np.subtract(found_cell.parameters[3:], true_cell.parameters[3:])
    return Comparison(
        setting=setting,
        misorientation=misorientation(true, same_setting),
        length_error=float(np.abs(lengths).max()),
        angle_error=float(np.abs(angles).max()),
    )


def misorientation(true: FloatArray, found: FloatArray) -> float:
    """Angle of the rotation that best turns the lattice of `found` into that of `true` [deg].

    It is the rotation in the polar decomposition of the map between the two; the rest is strain.
    """
    left, _, right = np.linalg.svd(np.linalg.solve(found, true))
    rotation = left @ right
    # From the skew part: the arc cosine of the trace loses all digits for small angles.
    skew = np.array(
        [rotation[1, 2] - rotation[2, 1], rotation[2, 0] - rotation[0, 2], rotation[0, 1] - rotation[1, 0]]
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(skew), np.trace(rotation) - 1.0)))


def is_equivalent_setting(setting: FloatArray, rotations: NDArray[np.int64]) -> bool:
    """Whether a setting is one of the Laue group's, int64[n, 3, 3]: then intensities can be merged as they are."""
    return bool((np.abs(rotations - setting).max(axis=(1, 2)) < 1e-6).any())


def _cell(axes: FloatArray) -> UnitCell:
    direct: FloatArray = np.asarray(np.linalg.inv(axes).T, np.float64)
    return UnitCell.from_direct_axes(direct)
