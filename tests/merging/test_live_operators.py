"""Ambiguities that a lattice and a point group leave."""

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.index_operators import operator_text, parse_operator
from braggstream.model.point_group import point_group
from braggstream.steps.merging.live_operators import live_operators


def cell(lattice_type, centring="P", unique_axis="*"):
    return UnitCell(
        a=50.0, b=50.0, c=50.0, alpha=90.0, beta=90.0, gamma=90.0,
        lattice_type=lattice_type, centring=centring, unique_axis=unique_axis,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lattice", "symmetry", "n"),
    [
        (("tetragonal", "I", "c"), "4/mmm", 0),
        (("tetragonal", "I", "c"), "422", 0),
        (("tetragonal", "P", "c"), "4/m", 1),
        (("tetragonal", "P", "b"), "4/m_uab", 1),
        (("tetragonal", "P", "c"), "4", 1),
        (("hexagonal", "P", "c"), "6/m", 1),
        (("hexagonal", "P", "c"), "-3_H", 3),
        (("hexagonal", "H", "c"), "321_H", 0),
        (("hexagonal", "H", "c"), "-3_H", 1),
        (("rhombohedral", "R"), "32_R", 0),
        (("cubic", "F"), "m-3", 1),
        (("cubic", "F"), "m-3m", 0),
        (("orthorhombic", "C"), "mmm", 0),
        (("monoclinic", "C", "b"), "2/m_uab", 0),
        (("triclinic",), "-1", 0),
        (("tetragonal", "P", "c"), "4/m_uab", 0),  # Another setting: nothing can be said.
        (("tetragonal", "P", "c"), "-42m", 0),
    ],
)
def test_what_the_lattice_has_and_the_structure_has_not(lattice, symmetry, n):
    assert len(live_operators(cell(*lattice), point_group(symmetry), "auto")) == n


def test_operators_may_be_given_or_switched_off():
    triclinic = cell("triclinic")
    (one,) = live_operators(triclinic, point_group("2_uab"), "l,-k,h")
    assert np.array_equal(one, parse_operator("l,-k,h")) and operator_text(one) == "l,-k,h"
    assert live_operators(cell("tetragonal", "P", "c"), point_group("4/m"), "off") == ()
