"""The Bravais lattice of a primitive cell that was measured, with its conventional cell.

Two-fold axes of a lattice are found after Le Page (1982), J. Appl. Cryst. 15, 255 (doi:10.1107/S0021889882011959):
a direct lattice vector t and a reciprocal one k are along one as far as they are parallel, with t·k = 1 or 2.  From
these axes the conventional cells of all lattice systems are built, and the most symmetric one that fits is taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring, LatticeType, UnitCell
from braggstream.steps.indexing.centring import reduce_lattice

FloatArray = NDArray[np.float64]

MAX_ANGLE = 0.8
"""Largest deviation of an angle, and of a two-fold axis, from what the symmetry asks [deg]."""
MAX_LENGTH = 0.01
"""Largest relative difference of lengths that the symmetry makes equal."""
_CENTRED_AT: dict[frozenset[tuple[int, ...]], Centring] = {
    frozenset(): "P",
    frozenset({(0, 1, 1)}): "A",
    frozenset({(1, 0, 1)}): "B",
    frozenset({(1, 1, 0)}): "C",
    frozenset({(1, 1, 1)}): "I",
    frozenset({(0, 1, 1), (1, 0, 1), (1, 1, 0)}): "F",
}
"""Centring by the lattice points inside the cell, in halves of the axes."""
_OBVERSE = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3.0


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class BravaisLattice:
    """A lattice with its symmetry."""

    cell: UnitCell
    """The conventional cell, with the parameters that the symmetry asks for."""
    from_primitive: FloatArray
    """Rows: the conventional axes in terms of the primitive ones, float64[3, 3]."""
    misfit: float
    """Largest deviation of the measured cell from the symmetry, as a part of what is allowed."""


def bravais_lattice(
    primitive: FloatArray, *, max_angle: float = MAX_ANGLE, max_length: float = MAX_LENGTH
) -> BravaisLattice | None:
    """Find the most symmetric lattice that a primitive cell fits.

    Parameters
    ----------
    primitive : float64[3, 3]
        Rows a, b, c of a primitive cell in any setting [Å].
    max_angle, max_length
        Largest deviations, in degrees and as a part of the length.

    Returns
    -------
    BravaisLattice or None
        None for a degenerate cell.
    """
    reduced = reduce_lattice(primitive, "P")
    if reduced is None:
        return None
    basis = reduced.basis.T
    axes = _two_fold_axes(basis, max_angle)
    for kind, conventional in _by_symmetry(basis, axes):
        found = _fitted(kind, conventional, basis, max_angle=max_angle, max_length=max_length)
        if found is not None:
            to_reduced = np.rint(np.linalg.solve(primitive.T, basis.T)).T
            return replace(found, from_primitive=found.from_primitive @ to_reduced)
    raise AssertionError("every lattice is triclinic")


def _small_indices(most: int) -> NDArray[np.int64]:
    """Index triples without a common divisor, one of each pair of opposites, int64[n, 3]."""
    triples = [each for each in product(range(-most, most + 1), repeat=3) if gcd(*each) == 1]
    return np.array([each for each in triples if each > (0, 0, 0)], np.int64)


_INDICES = _small_indices(2)
_MORE_INDICES = _small_indices(4)


def _two_fold_axes(basis: FloatArray, max_angle: float) -> FloatArray:
    """Shortest lattice vectors along two-fold axes, in terms of the basis, the shortest first, float64[n, 3]."""
    direct = _INDICES @ basis
    reciprocal = _INDICES @ np.linalg.inv(basis).T
    products = _INDICES @ _INDICES.T
    lengths = np.outer(np.linalg.norm(direct, axis=1), np.linalg.norm(reciprocal, axis=1))
    cosine = np.abs(products) / lengths
    is_axis = (cosine > np.cos(np.radians(max_angle))) & ((np.abs(products) == 1) | (np.abs(products) == 2))
    found = np.flatnonzero(is_axis.any(axis=1))
    found = found[np.argsort(np.linalg.norm(direct[found], axis=1), kind="stable")]
    return _INDICES[found].astype(np.float64)


def _by_symmetry(basis: FloatArray, axes: FloatArray) -> Iterator[tuple[LatticeType, FloatArray]]:
    """Conventional cells to try, rows in terms of the basis: the most symmetric first, then the smallest."""
    triples = [np.array(each) for each in combinations(axes, 3) if abs(np.linalg.det(each)) > 0.5]
    triples.sort(key=lambda each: abs(float(np.linalg.det(each))))
    pairs = [np.array(each) for each in combinations(axes, 2)]
    for triple in triples:
        yield "cubic", triple
    for kind in ("hexagonal", "tetragonal"):
        for triple in triples:
            for unique in range(3):
                yield kind, np.roll(triple, 2 - unique, axis=0)
    for pair in pairs:
        for third in _along_normal(pair, basis):
            yield "rhombohedral", np.array([*pair, third])
    for triple in triples:
        yield "orthorhombic", triple
    for axis in axes:
        yield "monoclinic", _with_shortest_across(axis, basis)
    yield "triclinic", np.eye(3)


def _along_normal(pair: FloatArray, basis: FloatArray) -> FloatArray:
    """The lattice vector that is nearest to the normal of two, if there is a short one, float64[0 or 1, 3]."""
    normal = np.cross(pair[0] @ basis, pair[1] @ basis)
    vectors = _MORE_INDICES @ basis
    cosine = np.abs(vectors @ normal) / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(normal))
    best = int(np.argmax(cosine))
    return _MORE_INDICES[best : best + 1].astype(np.float64)


def _with_shortest_across(axis: FloatArray, basis: FloatArray) -> FloatArray:
    """The cell of an axis b and the two shortest vectors across it, rows a, b, c in terms of the basis."""
    vectors = _MORE_INDICES @ basis
    lengths = np.linalg.norm(vectors, axis=1)
    along = axis @ basis
    cosine = np.abs(vectors @ along) / (lengths * np.linalg.norm(along))
    across = np.flatnonzero(cosine < ACROSS)
    across = across[np.argsort(lengths[across], kind="stable")][:2]
    chosen = _MORE_INDICES[across].astype(np.float64)
    return np.array([chosen[0], axis, chosen[-1]])


ACROSS = np.sin(np.radians(2.0))
"""Cosine of the angle to an axis up to which a vector counts as perpendicular to it."""


def _fitted(
    kind: LatticeType, conventional: FloatArray, basis: FloatArray, *, max_angle: float, max_length: float
) -> BravaisLattice | None:
    """Bring a cell into its standard setting; None where it does not fit the lattice system."""
    if not abs(np.linalg.det(conventional)) > 0.5:
        return None
    conventional = _standard(kind, _right_handed(conventional, basis), basis)
    centring = _centring(kind, conventional)
    if centring is None:
        return None
    if kind == "rhombohedral":
        conventional = _OBVERSE @ conventional
    unique = {"hexagonal": "c", "tetragonal": "c", "monoclinic": "b"}.get(kind, "*")
    measured = UnitCell.from_direct_axes(
        conventional @ basis, lattice_type=kind, centring=centring, unique_axis=unique
    )
    ideal = idealized(measured)
    deviation = np.abs(np.subtract(measured.parameters, ideal.parameters))
    deviation[:3] /= max_length * np.array(ideal.parameters[:3])
    deviation[3:] /= max_angle
    if deviation.max() > 1.0:
        return None
    return BravaisLattice(cell=ideal, from_primitive=conventional, misfit=float(deviation.max()))


def _standard(kind: LatticeType, cell: FloatArray, basis: FloatArray) -> FloatArray:
    """Choose among the settings of a cell: signs, order of axes, kind of centring."""
    if kind in ("hexagonal", "rhombohedral"):
        # The angle between a and b is 120 degrees and not 60.
        if (cell[0] @ basis) @ (cell[1] @ basis) > 0.0:
            cell = np.array([cell[0], -cell[1], -cell[2]])
        if kind == "rhombohedral" and not _is_whole(_OBVERSE @ cell):
            cell = np.array([-cell[0], -cell[1], cell[2]])
        return cell
    if kind == "orthorhombic":
        lengths = np.linalg.norm(cell @ basis, axis=1)
        cell = _right_handed(cell[np.argsort(lengths, kind="stable")], basis)
        turns = {"A": (1, 2, 0), "B": (2, 0, 1)}
        turned = turns.get(_centring(kind, cell) or "P")
        return cell if turned is None else _sorted_base(cell[list(turned)], basis)
    if kind == "monoclinic":
        return _monoclinic(cell, basis)
    return cell


def _sorted_base(cell: FloatArray, basis: FloatArray) -> FloatArray:
    """The same cell with a not longer than b."""
    a, b, c = cell
    return cell if np.linalg.norm(a @ basis) <= np.linalg.norm(b @ basis) else np.array([b, a, -c])


def _monoclinic(cell: FloatArray, basis: FloatArray) -> FloatArray:
    """A P or C cell with the least oblique, obtuse beta."""
    a, b, c = cell
    settings = []
    for new_a, new_c in ((a, c), (c, a), (a + c, c), (a - c, c), (c + a, a), (c - a, a)):
        candidate = np.array([new_a, b, new_c])
        if _centring("monoclinic", candidate) in ("P", "C"):
            settings.append(candidate)
    if not settings:
        return cell
    a, b, c = min(settings, key=lambda each: abs(_cosine(each[0] @ basis, each[2] @ basis)))
    if _centring("monoclinic", cell) == "P" and np.linalg.norm(a @ basis) > np.linalg.norm(c @ basis):
        a, c = c, a
    if _cosine(a @ basis, c @ basis) > 0.0:
        a = -a
    return _right_handed(np.array([a, b, c]), basis, flipped=1)


def _centring(kind: LatticeType, cell: FloatArray) -> Centring | None:
    """Centring of a cell, rows in terms of a primitive basis; None where the system has no such lattice."""
    if kind == "rhombohedral":
        return "R" if _is_whole(_OBVERSE @ cell) and round(abs(float(np.linalg.det(cell)))) == 3 else None
    inverse = np.linalg.inv(cell)
    inside = np.array(list(product((0, 1), repeat=3))[1:])
    # A lattice point, in halves of the axes, has whole coordinates in the basis.
    points = frozenset(tuple(int(i) for i in each) for each in inside if _is_whole(each @ cell / 2.0))
    centring = _CENTRED_AT.get(points)
    if centring is None or round(abs(float(np.linalg.det(inverse))) * (len(points) + 1) * 1e6) != 1000000:
        return None
    return centring if centring in _POSSIBLE[kind] else None


_POSSIBLE: dict[LatticeType, str] = {
    "cubic": "PIF",
    "hexagonal": "P",
    "tetragonal": "PI",
    "orthorhombic": "PABCIF",
    "monoclinic": "PABCI",
    "triclinic": "P",
}


def idealized(cell: UnitCell) -> UnitCell:
    """The cell with the parameters that its lattice type asks for: means of those that are equal."""
    a, b, c, alpha, beta, gamma = cell.parameters
    match cell.lattice_type:
        case "cubic":
            mean = (a + b + c) / 3.0
            a, b, c, alpha, beta, gamma = mean, mean, mean, 90.0, 90.0, 90.0
        case "rhombohedral":
            mean, angle = (a + b + c) / 3.0, (alpha + beta + gamma) / 3.0
            a, b, c, alpha, beta, gamma = mean, mean, mean, angle, angle, angle
        case "hexagonal" | "tetragonal":
            mean = (a + b) / 2.0
            a, b, alpha, beta = mean, mean, 90.0, 90.0
            gamma = 120.0 if cell.lattice_type == "hexagonal" else 90.0
        case "orthorhombic":
            alpha, beta, gamma = 90.0, 90.0, 90.0
        case "monoclinic":
            alpha, gamma = 90.0, 90.0
        case _:
            pass
    return replace(cell, a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma)


def _right_handed(cell: FloatArray, basis: FloatArray, flipped: int = 2) -> FloatArray:
    if np.linalg.det(cell @ basis) > 0.0:
        return cell
    signs = np.ones((3, 1))
    signs[flipped] = -1.0
    return cell * signs


def _is_whole(numbers: FloatArray) -> bool:
    return bool(np.abs(numbers - np.rint(numbers)).max() < 1e-6)


def _cosine(one: FloatArray, other: FloatArray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))
