"""Unit cells and the parameters that they are made of."""

import numpy as np
import pytest

from braggstream.model.cell import UnitCell, cell_parameters


def test_many_cells_are_measured_as_each_one_is():
    axes = np.random.default_rng(3).normal(scale=40.0, size=(50, 3, 3))
    one_by_one = [UnitCell.from_direct_axes(each).parameters for each in axes]
    assert cell_parameters(axes) == pytest.approx(np.array(one_by_one), rel=1e-9)
    assert cell_parameters(axes[:0]).shape == (0, 6)


def test_a_cell_with_other_parameters_keeps_its_lattice():
    numbers = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
    cell = UnitCell.from_parameters(numbers, lattice_type="tetragonal", centring="I", unique_axis="c")
    other = cell.with_parameters(np.array([80.0, 80.0, 39.0, 90.0, 90.0, 90.0]))
    assert other.parameters == (80.0, 80.0, 39.0, 90.0, 90.0, 90.0)
    assert (other.lattice_type, other.centring, other.unique_axis) == ("tetragonal", "I", "c")
    assert UnitCell.from_direct_axes(cell.direct_axes()).parameters == pytest.approx(numbers)
