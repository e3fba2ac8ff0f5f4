"""The intensities against hand-written rules of the space groups and Wilson's moments."""

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.simulate.reflections import find_space_group, laue_rotations, make_reflections
from braggstream.simulate.settings import CrystalSettings
from simulate.simulated_detectors import cell


def reflections_of(made_of, symbol, **settings):
    crystal = CrystalSettings(space_group=symbol, **settings)
    rng = np.random.default_rng(3)
    return make_reflections(made_of, find_space_group(made_of, symbol), crystal, rng)


def by_index(reflections):
    rows = map(tuple, reflections.hkl.tolist())
    return dict(zip(rows, reflections.intensity.tolist(), strict=True))


def test_tetragonal_intensities_obey_the_laue_group_and_the_absences():
    table = by_index(reflections_of(cell(), "P 43 21 2", d_min=3.0))
    assert len(table) > 30000
    for (h, k, ell), intensity in table.items():
        mates = [(-h, -k, ell), (-k, h, ell), (k, h, -ell), (-h, -k, -ell), (h, -k, ell)]
        assert all(table[mate] == intensity for mate in mates)
        assert not (h == k == 0 and ell % 4), "the 4₃ axis forbids 00l but for l = 4n"
        assert not (k == ell == 0 and h % 2), "the 2₁ axis forbids h00 for odd h"


def test_every_index_that_is_not_forbidden_is_present():
    axes = cell().reciprocal_axes()
    table = by_index(reflections_of(cell(), "P 43 21 2", d_min=6.0))
    for h in range(-13, 14):
        for k in range(-13, 14):
            for ell in range(-6, 7):
                near = 0 < np.linalg.norm(np.array([h, k, ell]) @ axes) < 1 / 6.0 - 1e-9
                absent = (h == k == 0 and ell % 4) or (ell == 0 and ((k == 0 and h % 2) or (h == 0 and k % 2)))
                assert ((h, k, ell) in table) == bool(near and not absent)


def test_a_group_without_the_diagonal_axes_tells_hkl_from_khl():
    table = by_index(reflections_of(cell(), "P 4", d_min=6.0))
    different = [table[h, k, ell] != table[k, h, ell] for h, k, ell in table if 0 < h < k and ell]
    assert all(different) and len(different) > 50
    assert all(table[h, k, ell] == table[-k, h, ell] for h, k, ell in table)


@pytest.mark.parametrize(
    ("made_of", "allowed"),
    [
        (cell(centring="I"), lambda h, k, ell: (h + k + ell) % 2 == 0),
        (
            cell(80, 90, 100, lattice_type="orthorhombic", centring="C", unique_axis="*"),
            lambda h, k, ell: (h + k) % 2 == 0,
        ),
        (
            cell(90, 90, 90, lattice_type="cubic", centring="F", unique_axis="*"),
            lambda h, k, ell: h % 2 == k % 2 == ell % 2,
        ),
        (
            cell(90, 90, 60, (90, 90, 120), lattice_type="hexagonal", centring="H"),
            lambda h, k, ell: (-h + k + ell) % 3 == 0,
        ),
    ],
)
def test_centring_forbids_reflections(made_of, allowed):
    table = by_index(reflections_of(made_of, None, d_min=8.0))
    assert len(table) > 500
    assert all(allowed(*hkl) for hkl in table)


def test_intensities_follow_wilson():
    wanted = CrystalSettings(d_min=2.0, photons=1000.0, b_factor=20.0)
    reflections = make_reflections(cell(), find_space_group(cell(), "P 4"), wanted, np.random.default_rng(5))
    h, k, ell = reflections.unique_hkl.T
    inverse_d = np.linalg.norm(reflections.unique_hkl @ cell().reciprocal_axes(), axis=1)
    ratio = reflections.unique_intensity / (1000.0 * np.exp(-20.0 * inverse_d**2 / 2))
    centric, axial = ell == 0, (h == 0) & (k == 0)
    general = ~centric & ~axial
    assert np.mean(ratio[general]) == pytest.approx(1.0, abs=0.04)
    assert np.mean(ratio[general] ** 2) / np.mean(ratio[general]) ** 2 == pytest.approx(2.0, abs=0.15)
    assert np.mean(ratio[centric]) == pytest.approx(1.0, abs=0.15)
    assert np.mean(ratio[centric] ** 2) / np.mean(ratio[centric]) ** 2 == pytest.approx(3.0, abs=0.7)


@pytest.mark.parametrize(
    ("made_of", "symbol", "what"),
    [
        (cell(), "P 9 9", "not a space group"),
        (cell(), "P 3", "do not fit"),
        (cell(), "I 4", "centring I"),
        (cell(unique_axis="a"), None, "unique axis a"),
    ],
)
def test_a_group_that_does_not_fit_the_cell_is_refused(made_of, symbol, what):
    with pytest.raises(UserError, match=what):
        find_space_group(made_of, symbol)


@pytest.mark.parametrize(("d_min", "what"), [(0.3, "at most"), (90.0, "no reflection")])
def test_an_impossible_limit_is_refused(d_min, what):
    with pytest.raises(UserError, match=what):
        reflections_of(cell(), "P 4", d_min=d_min)


@pytest.mark.parametrize(("symbol", "order"), [("P 1", 2), ("P 4", 8), ("P 43 21 2", 16)])
def test_the_laue_group_has_its_order(symbol, order):
    rotations = laue_rotations(find_space_group(cell(), symbol))
    assert rotations.shape == (order, 3, 3)
    assert len({tuple(rotation.ravel()) for rotation in rotations}) == order


def test_rhombohedral_axes_get_a_group_of_their_own():
    cell = UnitCell(
        a=64, b=64, c=64, alpha=85, beta=85, gamma=85, lattice_type="rhombohedral", centring="R", unique_axis="*"
    )
    assert find_space_group(cell, None).xhm() == "R 3:R"
    with pytest.raises(UserError, match="do not fit"):
        find_space_group(cell, "P 4")
