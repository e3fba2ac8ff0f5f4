"""TakeTwo, judged by the true lattice; its kernels beside plain twins."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.kernels import taketwo as kernels
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, TaketwoSettings
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.symmetry import is_representative, lattice_rotations
from braggstream.steps.indexing.taketwo import TaketwoIndexer
from steps.simulated_stills import still_with_partials
from steps.still_frames import is_same_lattice, random_rotation, random_spots, still, view_of

TETRAGONAL = UnitCell(
    a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c"
)


def cell_of(parameters, lattice_type, centring="P", unique_axis="*"):
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    kind = {"lattice_type": lattice_type, "centring": centring, "unique_axis": unique_axis}
    return UnitCell(**dict(zip(names, parameters, strict=True)), **kind)


CELLS = {
    "tetragonal P": TETRAGONAL,
    "monoclinic C": cell_of((110, 50, 70, 90, 110, 90), "monoclinic", "C", "b"),
    "cubic F": cell_of((140, 140, 140, 90, 90, 90), "cubic", "F"),
    "hexagonal H": cell_of((80, 80, 200, 90, 90, 120), "hexagonal", "H", "c"),
    "triclinic": cell_of((41, 52, 63, 82, 97, 104), "triclinic"),
    "large": cell_of((117, 223, 309, 90, 90, 90), "orthorhombic"),
}


def indexer(cell=TETRAGONAL, **chosen):
    return TaketwoIndexer(IndexingSettings(target_cell=cell, taketwo=TaketwoSettings(**chosen)))


@pytest.mark.parametrize("name", CELLS)
def test_lattices_are_found_among_false_peaks(name):
    rng, cell = np.random.default_rng(31), CELLS[name]
    find = indexer(cell)
    for n, n_false in ((300, 60), (120, 60), (80, 10)) * (1 if name == "large" else 3):
        q, true = still(cell, rng, n=n, n_false=n_false)
        (found,) = find(view_of(q))
        assert is_same_lattice(found.reciprocal_axes, true, cell.centring)
        assert (found.centring, found.lattice_type) == (cell.centring, cell.lattice_type)


def test_few_peaks_are_enough():
    rng, find = np.random.default_rng(32), indexer()
    n_right = 0
    for _ in range(50):
        true, view = still_with_partials(TETRAGONAL, rng, n=20)
        n_right += any(is_same_lattice(found.reciprocal_axes, true, "P") for found in find(view))
    assert n_right >= 49


@pytest.mark.parametrize("factors", [(1.025,) * 3, (0.975,) * 3, (0.975, 0.975, 1.025)])
def test_a_cell_that_is_a_little_off_is_found(factors):
    rng = np.random.default_rng(33)
    a, b, c = np.array(factors) * (79.2, 79.2, 38.0)
    find = indexer(replace(TETRAGONAL, a=a, b=b, c=c))
    n_right = 0
    for _ in range(40):
        true, view = still_with_partials(TETRAGONAL, rng, n=120, n_false=20)
        n_right += any(is_same_lattice(found.reciprocal_axes, true, "P") for found in find(view))
    assert n_right >= 39


def test_the_larger_of_several_lattices_is_found():
    rng, find = np.random.default_rng(34), indexer()
    for _ in range(10):
        (first, one), (second, two) = (still_with_partials(TETRAGONAL, rng, n=n) for n in (100, 60))
        q = np.concatenate([one.q, two.q])
        q = q[np.argsort(-np.concatenate([one.peaks.intensity, two.peaks.intensity]), kind="stable")]
        (found,) = find(view_of(q))
        assert any(is_same_lattice(found.reciprocal_axes, true, "P") for true in (first, second))


def test_another_lattice_and_no_lattice_are_kept_out():
    rng = np.random.default_rng(35)
    index = make_lattice_finder(IndexingSettings(methods=("taketwo",), target_cell=TETRAGONAL))
    other = UnitCell(a=64, b=93, c=51, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic")
    for _ in range(5):
        assert not index(view_of(still(other, rng)[0])).crystals
        assert not index(view_of(random_spots(rng, 100))).crystals


def test_the_loop_accepts_what_is_found_and_says_by_what():
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(36), n_false=20)
    outcome = make_lattice_finder(IndexingSettings(methods=("taketwo",), target_cell=TETRAGONAL))(view)
    (crystal,) = outcome.crystals
    assert (outcome.indexed_by, crystal.indexed_by, outcome.n_tries) == ("taketwo", "taketwo", 1)
    assert is_same_lattice(crystal.reciprocal_axes, true, "P")


def test_the_same_peaks_give_the_same_axes_in_every_indexer():
    q, _ = still(TETRAGONAL, np.random.default_rng(37))
    find = indexer()
    find(view_of(random_spots(np.random.default_rng(0), 80)))
    (one,), (other,) = find(view_of(q)), indexer()(view_of(q))
    assert (one.reciprocal_axes == other.reciprocal_axes).all()


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize(
    "q",
    [
        np.empty((0, 3)),
        np.full((1, 3), 0.1),
        np.full((50, 3), np.nan),
        np.full((50, 3), np.inf),
        np.zeros((50, 3)),
        np.full((50, 3), 0.1),
        np.linspace(0.01, 0.4, 50)[:, None] * [0.6, 0.0, 0.8],
        np.full((20, 3), 1e-300),
        np.full((20, 3), 1e6),
    ],
    ids=["none", "one", "nan", "infinite", "zero", "the same", "collinear", "tiny", "far"],
)
def test_degenerate_peaks_give_no_lattice_or_a_sound_one(q, thorough):
    for axes in indexer().find(q, thorough=thorough):
        assert np.isfinite(axes).all()
        assert np.linalg.det(axes) != 0.0


def test_nan_among_good_peaks_does_no_harm():
    q, true = still(TETRAGONAL, np.random.default_rng(38))
    q[::9] = np.nan
    (found,) = indexer().find(q)
    assert is_same_lattice(found, true, "P")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("member_threshold", 0),
        ("len_tolerance", 0.0),
        ("len_tolerance", 0.2),
        ("angle_tolerance", -1.0),
        ("angle_tolerance", 90.0),
        ("trace_tolerance", float("nan")),
    ],
)
def test_impossible_parameters_are_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"--taketwo-{name.replace('_', '-')}="):
        indexer(**{name: value})


def test_a_cell_is_needed():
    with pytest.raises(UserError, match="needs a unit cell"):
        TaketwoIndexer(IndexingSettings())


def test_members_are_vectors_that_end_near_a_lattice_point():
    rng = np.random.default_rng(39)
    direct = CELLS["triclinic"].direct_axes() @ random_rotation(rng)
    reciprocal = np.linalg.inv(direct).T
    gram = reciprocal @ reciprocal.T
    metric = np.array([*np.diag(gram), 2 * gram[1, 2], 2 * gram[0, 2], 2 * gram[0, 1]])
    vectors = rng.uniform(-0.15, 0.15, (2000, 3))
    tolerance = rng.uniform(0.003, 0.006, 2000)
    indices = vectors @ direct.T
    distance = np.linalg.norm((indices - np.rint(indices)) @ reciprocal, axis=1)
    for start, end in ((0, 2000), (100, 900)):
        expected = (distance < tolerance)[start:end].sum()
        for count in (kernels.count_members, kernels.count_members.py_func):
            assert count(vectors, tolerance**2, direct, metric, start, end) == expected > 5


def test_vectors_and_pairs_are_those_of_plain_loops():
    rng = np.random.default_rng(40)
    spots = np.concatenate([np.zeros((1, 3)), rng.uniform(-0.2, 0.2, (30, 3))])
    expected = [(i, j) for j in range(31) for i in range(j) if 0.02 < np.linalg.norm(spots[j] - spots[i]) < 0.15]
    vectors, ends = np.zeros((500, 3)), np.zeros((500, 2), np.int64)
    n = kernels.collect_vectors(spots, 0.02, 0.15, vectors, ends)
    assert [tuple(pair) for pair in ends[:n]] == expected
    assert vectors[:n] == pytest.approx(np.array([spots[j] - spots[i] for i, j in expected]))
    assert kernels.collect_vectors(spots, 0.02, 0.15, vectors[:5], ends[:5]) == 5

    n_matches = rng.integers(0, 4, n)
    pairs, products = np.zeros((n * n, 2), np.int64), np.zeros(n * n, np.int64)
    n_pairs = kernels.list_pairs(ends[:n], n_matches, pairs, products)
    wanted = {
        (i, j): n_matches[i] * n_matches[j]
        for j in range(n)
        for i in range(j)
        if set(expected[i]) & set(expected[j]) and n_matches[i] and n_matches[j]
    }
    assert {tuple(pair): count for pair, count in zip(pairs[:n_pairs], products[:n_pairs], strict=True)} == wanted
    assert len(wanted) == n_pairs > 0


def test_every_orbit_has_one_representative():
    for name, n_rotations in (("tetragonal P", 8), ("triclinic", 1), ("cubic F", 24)):
        cell = CELLS[name]
        basis = indexer(cell)._cell[0]
        rotations = lattice_rotations(basis)
        assert len(rotations) == n_rotations
        hkl = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
        chosen = {tuple(row) for row in hkl[is_representative(hkl, rotations)]}
        length = np.linalg.norm(hkl @ np.linalg.inv(basis).T, axis=1)
        for row, size in zip(hkl, length, strict=True):
            orbit = {tuple(image) for image in row @ rotations}
            assert len(orbit & chosen) <= 1
            assert all(np.linalg.norm(np.linalg.inv(basis) @ image) == pytest.approx(size) for image in orbit)
