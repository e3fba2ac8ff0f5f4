"""Lattice type and conventional cell of primitive cells."""

import gemmi
import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.simulate.lattices import PRIMITIVE, compare
from braggstream.steps.indexing.bravais import bravais_lattice
from steps.still_frames import random_rotation


def cell(a, b, c, alpha=90.0, beta=90.0, gamma=90.0, **kind):
    return UnitCell(a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma, **kind)


def orthorhombic(centring):
    return cell(41.0, 63.0, 88.0, lattice_type="orthorhombic", centring=centring)


CELLS = {
    "aP": cell(41.0, 52.0, 63.0, 82.0, 97.0, 104.0),
    "mP": cell(52.4, 61.3, 70.9, beta=103.7, lattice_type="monoclinic", unique_axis="b"),
    "mC": cell(110.0, 50.0, 70.0, beta=110.0, lattice_type="monoclinic", centring="C", unique_axis="b"),
    "oP": orthorhombic("P"),
    "oC": orthorhombic("C"),
    "oI": orthorhombic("I"),
    "oF": orthorhombic("F"),
    "tP": cell(79.2, 79.2, 38.0, lattice_type="tetragonal", unique_axis="c"),
    "tI": cell(66.0, 66.0, 109.0, lattice_type="tetragonal", centring="I", unique_axis="c"),
    "hP": cell(93.0, 93.0, 130.0, gamma=120.0, lattice_type="hexagonal", unique_axis="c"),
    "hR": cell(81.0, 81.0, 81.0, 59.2, 59.2, 59.2, lattice_type="rhombohedral", centring="R"),
    "cP": cell(80.0, 80.0, 80.0, lattice_type="cubic"),
    "cI": cell(106.0, 106.0, 106.0, lattice_type="cubic", centring="I"),
    "cF": cell(140.0, 140.0, 140.0, lattice_type="cubic", centring="F"),
}
MORE = {
    "long hR": cell(120.0, 120.0, 120.0, 35.0, 35.0, 35.0, lattice_type="rhombohedral", centring="R"),
    "flat hR": cell(60.0, 60.0, 60.0, 111.0, 111.0, 111.0, lattice_type="rhombohedral", centring="R"),
    "flat tI": cell(100.0, 100.0, 37.0, lattice_type="tetragonal", centring="I", unique_axis="c"),
    "long hP": cell(40.0, 40.0, 300.0, gamma=120.0, lattice_type="hexagonal", unique_axis="c"),
    "oblique mC": cell(61.0, 44.0, 93.0, beta=128.0, lattice_type="monoclinic", centring="C", unique_axis="b"),
    "long oF": cell(30.0, 90.0, 210.0, lattice_type="orthorhombic", centring="F"),
    "short oC": cell(90.0, 30.0, 55.0, lattice_type="orthorhombic", centring="C"),
    "large oP": cell(117.0, 223.0, 309.0, lattice_type="orthorhombic"),
}


def primitive_axes(target, rng, error=0.0):
    """A primitive cell in any orientation and setting, with errors."""
    axes = PRIMITIVE[target.centring] @ target.direct_axes() @ random_rotation(rng).T
    axes = axes @ (np.eye(3) + error * rng.normal(size=(3, 3)))
    for _ in range(4):
        i, j = rng.permutation(3)[:2]
        axes[i] += rng.integers(-2, 3) * axes[j]
    return axes


@pytest.mark.parametrize("error", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("name", [*CELLS, *MORE])
def test_every_bravais_lattice_is_recognized(name, error):
    target = (CELLS | MORE)[name]
    rng = np.random.default_rng([51, len(name)])
    for _ in range(6):
        primitive = primitive_axes(target, rng, error)
        found = bravais_lattice(primitive)
        kind = (found.cell.lattice_type, found.cell.centring, found.cell.unique_axis)
        assert kind == (target.lattice_type, target.centring, target.unique_axis)
        assert found.cell.volume == pytest.approx(target.volume, rel=0.01)
        conventional = found.from_primitive @ primitive
        assert np.linalg.det(conventional) > 0
        measured = UnitCell.from_direct_axes(conventional)
        assert measured.parameters[:3] == pytest.approx(found.cell.parameters[:3], rel=0.01)
        assert measured.parameters[3:] == pytest.approx(found.cell.parameters[3:], abs=0.8)
        reciprocal = np.linalg.inv(primitive).T
        assert compare(reciprocal, np.linalg.inv(conventional).T, found_centring=found.cell.centring) is not None
        if error == 0.0 and target.lattice_type not in ("monoclinic", "triclinic"):
            assert sorted(found.cell.parameters) == pytest.approx(sorted(target.parameters))


@pytest.mark.parametrize("name", CELLS)
def test_gemmi_finds_as_much_symmetry(name):
    target = CELLS[name]
    primitive = primitive_axes(target, np.random.default_rng(52), 2e-4)
    found = bravais_lattice(primitive).cell
    measured = gemmi.UnitCell(*UnitCell.from_direct_axes(primitive).parameters)
    operations = gemmi.find_lattice_symmetry(measured, "P", 0.8)
    orders = {"triclinic": 1, "monoclinic": 2, "orthorhombic": 4, "tetragonal": 8, "rhombohedral": 6}
    expected = (orders | {"hexagonal": 12, "cubic": 24})[found.lattice_type]
    assert len(operations) == expected


def test_what_is_no_symmetry_is_not_taken_for_it():
    rng = np.random.default_rng(53)
    for target, kind in (
        (cell(79.2, 81.0, 38.0), "orthorhombic"),
        (cell(79.2, 79.2, 38.0, gamma=91.2), "orthorhombic"),  # The diagonals of a rhombus: C.
        (cell(52.0, 61.0, 70.0, beta=91.5), "monoclinic"),
        (cell(80.0, 80.0, 80.0, 90.0, 90.0, 91.5), "orthorhombic"),
        (cell(60.0, 71.0, 82.0, 88.5, 91.5, 92.0), "triclinic"),
    ):
        assert bravais_lattice(primitive_axes(target, rng)).cell.lattice_type == kind


def test_tolerance_is_the_users():
    axes = cell(80.0, 80.0, 38.0, gamma=91.2).direct_axes()
    assert bravais_lattice(axes, max_angle=2.0, max_length=0.03).cell.lattice_type == "tetragonal"


def test_degenerate_cells_have_no_lattice():
    assert bravais_lattice(np.zeros((3, 3))) is None
    assert bravais_lattice(np.full((3, 3), np.nan)) is None
    assert bravais_lattice(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])) is None
