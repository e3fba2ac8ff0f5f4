"""What the known-cell search is made of: symmetry of axes, cells put together, evidence that is needed."""

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing import index_q, make_lattice_finder
from braggstream.steps.indexing.assembly import CellAssembly
from braggstream.steps.indexing.centring import reduce_cell
from braggstream.steps.indexing.evidence import ANY_CELL, MARGIN, needed_evidence
from braggstream.steps.indexing.ffbidx import FfbidxIndexer
from braggstream.steps.indexing.symmetry import can_be_reversed, different_axes, lattice_rotations
from steps.simulated_stills import still_with_partials
from steps.still_frames import is_same_lattice, random_rotation, random_spots, view_of

TOLERANCE = (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)


def cell(a, b, c, alpha=90.0, beta=90.0, gamma=90.0, lattice_type="triclinic", **kind):
    return UnitCell(a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma, lattice_type=lattice_type, **kind)


TETRAGONAL = cell(79.2, 79.2, 38.0, lattice_type="tetragonal", unique_axis="c")
MONOCLINIC = cell(52.4, 61.3, 70.9, beta=103.7, lattice_type="monoclinic", unique_axis="b")
TRICLINIC = cell(41.0, 52.0, 63.0, 82.0, 97.0, 104.0)
CUBIC_I = cell(106.0, 106.0, 106.0, lattice_type="cubic", centring="I")


def basis_of(target):
    return reduce_cell(target).basis.T


@pytest.mark.parametrize(
    ("target", "n_rotations", "n_different", "n_reversed"),
    [(TETRAGONAL, 8, 2, 3), (MONOCLINIC, 2, 3, 2), (TRICLINIC, 1, 3, 0), (CUBIC_I, 24, 1, 3)],
)
def test_symmetry_of_axes(target, n_rotations, n_different, n_reversed):
    rotations = lattice_rotations(basis_of(target))
    assert len(rotations) == n_rotations
    assert len(different_axes(rotations)) == n_different
    assert sum(can_be_reversed(rotations, axis) for axis in range(3)) == n_reversed


def test_cells_are_put_together_from_vectors_of_other_lengths():
    rng = np.random.default_rng(1)
    basis = basis_of(MONOCLINIC)
    true = np.diag([1.03, 0.97, 1.02]) @ basis @ random_rotation(rng).T
    signs = rng.choice([-1.0, 1.0], size=(3, 1))
    vectors = [np.array([*rng.normal(size=(4, 3)) * 40, one]) for one in signs * true]
    found = CellAssembly(basis).cells(vectors, 8)
    assert found.shape[1:] == (3, 3) and len(found) <= 8
    # The whole cell may be turned about; the search does not tell v from -v.
    assert any(np.allclose(np.abs(one @ np.linalg.inv(true)), np.eye(3)) for one in found)
    assert (np.sign(np.linalg.det(found)) == np.sign(np.linalg.det(basis))).all()


def test_no_vectors_make_no_cells():
    none = np.empty((0, 3))
    assert CellAssembly(basis_of(TETRAGONAL)).cells([none, none, none], 8).shape == (0, 3, 3)


def test_evidence_that_is_needed_grows_with_what_chance_can_choose_from():
    strict = needed_evidence(0.3, 5e-4, TOLERANCE)
    assert needed_evidence(0.3, 5e-4, ANY_CELL) > strict > needed_evidence(0.3, 2e-3, TOLERANCE)
    # All that can be told apart are orientations: 8 pi² over the cube of the angle.
    assert needed_evidence(0.3, 3e-4, (0.0,) * 6) == pytest.approx(np.log10(8 * np.pi**2 * 1e9) + MARGIN)
    assert needed_evidence(0.0, 1.0, TOLERANCE) == pytest.approx(np.log10(8 * np.pi**2) + MARGIN)


@pytest.mark.parametrize("stretch", [(1.025, 0.975, 1.025), (0.975, 0.975, 0.975)])
def test_a_cell_file_that_is_off_still_finds_the_lattice(stretch):
    rng = np.random.default_rng(2)
    a, b, c = (length * factor for length, factor in zip(MONOCLINIC.parameters[:3], stretch, strict=True))
    expected = cell(a, b, c, beta=103.7, lattice_type="monoclinic", unique_axis="b")
    find = make_lattice_finder(IndexingSettings(target_cell=expected))
    for n in (30, 60, 100, 200):
        true, view = still_with_partials(MONOCLINIC, rng, n=n)
        (crystal,) = find(view).crystals
        assert is_same_lattice(crystal.reciprocal_axes, true, "P")
        assert crystal.cell.parameters == pytest.approx(MONOCLINIC.parameters, rel=2e-3)


def test_a_lattice_met_in_another_setting_is_kept_and_an_open_one_is_closed():
    target = cell(110.0, 50.0, 70.0, beta=110.0, lattice_type="monoclinic", centring="C", unique_axis="b")
    indexer = FfbidxIndexer(IndexingSettings(target_cell=target))
    rng = np.random.default_rng(12)
    true, view = still_with_partials(target, rng, n=250)
    to_cell = reduce_cell(target).to_cell
    basis = np.linalg.inv(to_cell).T @ np.linalg.inv(true).T
    for sheared in (basis, np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]]) @ basis):
        axes = indexer._in_target_setting(sheared, view.q, 2e-3)
        assert is_same_lattice(axes, true, "C")
        other = np.linalg.inv(to_cell.T @ sheared).T
        assert np.allclose(axes, other)
    # A cell that is out of the tolerance is replaced by the expected one, turned as the peaks say.
    bent = basis * np.array([[1.0], [1.0], [1.08]])
    axes = indexer._in_target_setting(bent, view.q, 2e-3)
    assert np.linalg.norm(np.linalg.inv(axes), axis=0) == pytest.approx([110.0, 50.0, 70.0])


def test_without_a_cell_check_the_cell_is_refined_freely():
    # The cell file claims a symmetry that the crystal has not.
    orthorhombic = cell(79.0, 80.6, 38.2, lattice_type="orthorhombic")
    true, view = still_with_partials(orthorhombic, np.random.default_rng(3), n=150)
    lengths = []
    for check_cell in (True, False):
        find = make_lattice_finder(IndexingSettings(target_cell=TETRAGONAL, check_cell=check_cell))
        (crystal,) = find(view).crystals
        assert is_same_lattice(crystal.reciprocal_axes, true, "P")
        lengths.append(sorted(crystal.cell.parameters[:3]))
    assert lengths[0][1] == pytest.approx(lengths[0][2], rel=1e-6)
    assert lengths[1] == pytest.approx([38.2, 79.0, 80.6], rel=2e-3)


def test_the_tolerance_decides():
    _, view = still_with_partials(TETRAGONAL, np.random.default_rng(4), n=150)
    off = cell(81.2, 81.2, 39.0, lattice_type="tetragonal", unique_axis="c")
    for percent, n in ((1.0, 0), (5.0, 1)):
        settings = IndexingSettings(target_cell=off, tolerance=(percent, percent, percent, 1.5, 1.5, 1.5))
        assert len(make_lattice_finder(settings)(view).crystals) == n


def test_any_worker_gives_the_same_answer():
    rng = np.random.default_rng(5)
    views = [still_with_partials(TETRAGONAL, rng, n=n)[1] for n in (25, 150)] + [view_of(random_spots(rng, 90))]
    one, other = (make_lattice_finder(IndexingSettings(target_cell=TETRAGONAL)) for _ in range(2))
    first = [one(view).crystals for view in views]
    again = [other(view).crystals for view in reversed(views)][::-1]
    for crystals, same in zip(first, again, strict=True):
        assert [c.reciprocal_axes.tolist() for c in crystals] == [c.reciprocal_axes.tolist() for c in same]


def test_random_spots_give_no_lattice_at_all():
    rng = np.random.default_rng(6)
    for n in (8, 20, 50, 100, 200, 400):
        for _ in range(4):
            assert index_q(random_spots(rng, n), TETRAGONAL) == []
