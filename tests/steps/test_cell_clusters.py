"""Populations of unit cells."""

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.steps.indexing.cell_clusters import MOST_POPULATIONS, CellClusters
from steps.test_bravais import CELLS, primitive_axes


def added(clusters, target, rng, n, error=5e-4):
    for _ in range(n):
        clusters.add(np.linalg.inv(primitive_axes(target, rng, error)).T)


@pytest.mark.parametrize("name", CELLS)
def test_a_population_is_described(name):
    rng = np.random.default_rng([61, len(name)])
    clusters, target = CellClusters(), CELLS[name]
    added(clusters, target, rng, 25)
    assert clusters.n_largest == clusters.n_cells == 25
    (found,) = clusters.found_cells(5)
    assert (found.cell.lattice_type, found.cell.centring) == (target.lattice_type, target.centring)
    assert found.cell.volume == pytest.approx(target.volume, rel=2e-3)
    lengths = np.array(found.cell.parameters[:3])
    # Errors of single cells are 5e-4, in each direction.
    assert all(1e-4 < spread / length < 2e-3 for spread, length in zip(found.spread, lengths, strict=False))
    assert all(0.005 < spread < 0.2 for spread in found.spread[3:])


def test_two_populations_and_stray_cells():
    rng = np.random.default_rng(62)
    clusters = CellClusters()
    for _ in range(10):
        added(clusters, CELLS["tP"], rng, 3)
        added(clusters, CELLS["mC"], rng, 2)
        stray = UnitCell(**dict(zip("abc", rng.uniform(30, 200, 3), strict=True)), alpha=80, beta=85, gamma=95)
        added(clusters, stray, rng, 1)
    assert clusters.n_cells == 60
    first, second = clusters.found_cells(5)
    assert (first.cell.lattice_type, first.n_crystals) == ("tetragonal", 30)
    assert (second.cell.lattice_type, second.cell.centring, second.n_crystals) == ("monoclinic", "C", 20)


def test_a_population_is_found_after_its_odd_first_cell():
    rng = np.random.default_rng(63)
    clusters = CellClusters()
    clusters.add(CELLS["tP"].reciprocal_axes() * 1.05)
    added(clusters, CELLS["tP"], rng, 8)
    assert clusters.n_largest == 8


def test_cells_that_are_none_do_no_harm():
    clusters = CellClusters()
    for axes in (np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((3, 3)), np.diag([1e-9, 1.0, 1.0])):
        clusters.add(axes)
    assert clusters.n_cells == 4
    assert clusters.found_cells(1) == []


def test_stray_cells_are_not_kept_without_end():
    rng = np.random.default_rng(64)
    clusters = CellClusters()
    for _ in range(MOST_POPULATIONS + 10):
        clusters.add(np.diag(1.0 / rng.uniform(20, 400, 3)))
    assert len(clusters.found_cells(1)) <= MOST_POPULATIONS
