"""XGANDALF, with and without a cell, judged by the true lattice; its kernels beside plain twins."""

from itertools import combinations

import numpy as np
import pytest

from braggstream.kernels import xgandalf as kernels
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, XgandalfSettings
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.vector_samples import half_ball, lengths_to_sample, shells
from braggstream.steps.indexing.xgandalf import XgandalfIndexer
from steps.simulated_stills import misorientation, still_with_partials
from steps.still_frames import is_same_lattice, random_spots, still, view_of

TETRAGONAL = UnitCell(
    a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c"
)
RHOMBOHEDRAL = UnitCell(
    a=81.0, b=81.0, c=81.0, alpha=59.2, beta=59.2, gamma=59.2, lattice_type="rhombohedral", centring="R"
)
CELLS = {
    "tetragonal P": TETRAGONAL,
    "cubic I": UnitCell(a=106, b=106, c=106, alpha=90, beta=90, gamma=90, lattice_type="cubic", centring="I"),
    "rhombohedral R": RHOMBOHEDRAL,
    "triclinic": UnitCell(a=41.0, b=52.0, c=63.0, alpha=82.0, beta=97.0, gamma=104.0),
}


def indexer(cell=TETRAGONAL, **chosen):
    return XgandalfIndexer(IndexingSettings(target_cell=cell, xgandalf=XgandalfSettings(**chosen)))


@pytest.mark.parametrize("name", CELLS)
def test_known_lattices_are_found_among_false_peaks(name):
    rng, cell = np.random.default_rng(41), CELLS[name]
    find = indexer(cell)
    for n, n_false in ((200, 60), (120, 50), (60, 10)) * 3:
        q, true = still(cell, rng, n=n, n_false=n_false)
        (found,) = find(view_of(q))
        assert is_same_lattice(found.reciprocal_axes, true, cell.centring)
        assert (found.centring, found.lattice_type) == (cell.centring, cell.lattice_type)


@pytest.mark.parametrize("name", CELLS)
def test_unknown_lattices_are_found_as_primitive_cells(name):
    rng, cell = np.random.default_rng(42), CELLS[name]
    find = XgandalfIndexer(IndexingSettings(xgandalf=XgandalfSettings(max_lattice_vector_length=130.0)))
    for n in (200, 60):
        true, view = still_with_partials(cell, rng, n=n, n_false=n // 6)
        (found,) = find(view)
        assert found.centring == "P"
        primitive = np.linalg.inv(found.reciprocal_axes).T
        index = primitive @ true.T
        n_points = {"I": 2}.get(cell.centring, 1)
        assert abs(np.linalg.det(index)) * n_points == pytest.approx(1, rel=0.01)
        q = view.q @ primitive.T
        assert (np.abs(q - np.rint(q)).max(axis=1) < 0.2).mean() > 0.75


@pytest.mark.parametrize(
    "chosen",
    [
        {"fast_execution": True},
        {"sampling_pitch": 3, "grad_desc_iterations": 2},
        {"sampling_pitch": 7, "grad_desc_iterations": 5},
        {"sampling_pitch": 0, "grad_desc_iterations": 0},
        {"max_peaks": 60},
    ],
)
def test_every_density_and_schedule_finds_it(chosen):
    rng, find = np.random.default_rng(43), indexer(**chosen)
    for _ in range(2):
        true, view = still_with_partials(TETRAGONAL, rng, n=100)
        (found,) = find(view)
        assert is_same_lattice(found.reciprocal_axes, true, "P")


def test_the_tolerance_says_which_cells_are_meant():
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(44), n=150)
    off = UnitCell(a=77.2, b=77.2, c=37.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c")
    assert indexer(off)(view) == []
    (found,) = indexer(off, tolerance=0.04)(view)
    assert is_same_lattice(found.reciprocal_axes, true, "P")


def test_the_provided_cell_can_be_kept_exactly():
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(45), n=150)
    (free,), (kept,) = indexer()(view), indexer(no_deviation_from_provided_cell=True)(view)
    assert kept.cell.parameters == pytest.approx(TETRAGONAL.parameters, rel=1e-9)
    assert free.cell.parameters != pytest.approx(TETRAGONAL.parameters, rel=1e-9)
    setting = np.rint(kept.reciprocal_axes @ np.linalg.inv(true))
    assert misorientation(setting @ true, kept.reciprocal_axes) < 0.1


def test_another_lattice_and_no_lattice_are_kept_out():
    rng = np.random.default_rng(46)
    index = make_lattice_finder(IndexingSettings(methods=("xgandalf",), target_cell=TETRAGONAL, retry=False))
    other = UnitCell(a=64, b=93, c=51, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic")
    for _ in range(4):
        assert not index(view_of(still(other, rng)[0])).crystals
        assert not index(view_of(random_spots(rng, 100))).crystals


def test_the_loop_accepts_what_is_found_and_says_by_what():
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(47), n_false=20)
    outcome = make_lattice_finder(IndexingSettings(methods=("xgandalf",), target_cell=TETRAGONAL))(view)
    (crystal,) = outcome.crystals
    assert (outcome.indexed_by, crystal.indexed_by, outcome.n_tries) == ("xgandalf", "xgandalf", 1)
    assert is_same_lattice(crystal.reciprocal_axes, true, "P")


def test_the_same_peaks_give_the_same_axes_in_every_indexer():
    q, _ = still(TETRAGONAL, np.random.default_rng(48))
    find = indexer()
    find(view_of(random_spots(np.random.default_rng(0), 80)))
    (one,), (other,) = find(view_of(q)), indexer()(view_of(q))
    assert (one.reciprocal_axes == other.reciprocal_axes).all()


@pytest.mark.parametrize("cell", [TETRAGONAL, None], ids=["cell", "no cell"])
def test_degenerate_peaks_give_no_lattice_or_a_sound_one(cell):
    find = indexer(cell, sampling_pitch=2, max_lattice_vector_length=100.0)
    line = np.linspace(0.01, 0.4, 50)[:, None] * [0.6, 0.0, 0.8]
    same = [np.full((n, 3), value) for n in (1, 50) for value in (0.1, np.nan, np.inf, 0.0, 1e-300, 1e6)]
    for q in (np.empty((0, 3)), line, *same):
        for axes in find.find(q):
            assert np.isfinite(axes).all()
            assert np.linalg.det(axes) != 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sampling_pitch", 8),
        ("sampling_pitch", -1),
        ("grad_desc_iterations", 6),
        ("tolerance", 0.0),
        ("tolerance", float("nan")),
        ("min_lattice_vector_length", 0.0),
        ("max_lattice_vector_length", 20.0),
        ("max_lattice_vector_length", 5000.0),
        ("max_peaks", 3),
    ],
)
def test_impossible_parameters_are_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"--xgandalf-{name.replace('_', '-')}="):
        indexer(**{name: value})


def test_samples_cover_shells_and_ball():
    lengths = lengths_to_sample(np.diag([38.0, 79.0, 79.0]), 6)
    assert lengths == pytest.approx([38, 79, np.hypot(38, 79), np.hypot(79, 79)])
    samples, spacing = shells([38.0, 79.0], 0.02, 6)
    rng = np.random.default_rng(49)
    for radius in (38.0, 38.5, 79.0, 80.3):
        wanted = rng.normal(size=3)
        wanted *= radius * np.sign(wanted[2]) / np.linalg.norm(wanted)
        assert np.linalg.norm(samples - wanted[:, None], axis=0).min() < 1.2 * spacing
    ball, step = half_ball(30.0, 60.0, 6, 100_000)
    length = np.linalg.norm(ball, axis=0)
    assert 29 < length.min() < length.max() <= 60
    assert len(length) == pytest.approx(2 * np.pi / 3 * (60**3 - 29.4**3) / step**3, rel=0.1)


def test_scores_are_sums_of_cosines():
    rng = np.random.default_rng(50)
    samples, spots = rng.normal(size=(3, 40)) * 50, rng.normal(size=(3, 30)) * 0.1
    scores = np.zeros(40, np.float32)
    kernels.score_samples(samples.astype(np.float32), spots.astype(np.float32), scores)
    assert scores == pytest.approx(np.cos(2 * np.pi * samples.T @ spots).sum(axis=1), abs=0.01)


def test_vectors_climb_to_the_lattice_vector():
    rng = np.random.default_rng(51)
    true = np.array([30.0, -20.0, 45.0])
    q, _ = np.linalg.qr(np.c_[true, rng.normal(size=(3, 2))])
    along = rng.integers(-6, 7, 150) / np.linalg.norm(true)
    spots = q @ np.stack([along * np.sign(q[:, 0] @ true), *rng.uniform(-0.2, 0.2, (2, 150))])
    starts = true + rng.uniform(-1.2, 1.2, (20, 3))
    vectors = starts.copy()
    weights = (1 / np.linalg.norm(spots, axis=0)).astype(np.float32)
    plan = np.array([90, 10, 0.85, 15, 15, 0.9, 0.6, 65 / 23, 65 / 230, 1.5])
    kernels.climb(vectors, spots.astype(np.float32), weights, plan)

    def mean_cosine(rows):
        return np.cos(2 * np.pi * rows @ spots).mean(axis=1)

    assert (mean_cosine(vectors) > mean_cosine(starts)).all()
    assert np.median(np.linalg.norm(vectors - true, axis=1)) < 0.25


def test_neighbours_and_opposites_are_kept_once():
    rng = np.random.default_rng(52)
    vectors = rng.normal(size=(3, 60))
    order = rng.permutation(60)
    expected = []
    for i in order:
        apart = [min(np.linalg.norm(vectors[:, i] - s * vectors[:, j]) for s in (1, -1)) >= 0.6 for j in expected]
        if all(apart) and len(expected) < 15:
            expected.append(i)
    for keep in (kernels.keep_apart, kernels.keep_apart.py_func):
        chosen = np.zeros(15, np.int64)
        assert chosen[: keep(vectors, order, 0.6, chosen)].tolist() == expected


def test_sets_of_three_are_ranked_by_common_spots():
    rng = np.random.default_rng(53)
    vectors = rng.normal(size=(12, 3)) * 10
    members = rng.random((12, 128)) < 0.7
    close = np.packbits(members, axis=1).view(np.uint64)
    volumes = np.array([300.0, 1500.0])
    expected = sorted(
        (
            int((members[i] & members[j] & members[k]).sum())
            for i, j, k in combinations(range(12), 3)
            if volumes[0] <= abs(np.linalg.det(vectors[[i, j, k]])) <= volumes[1]
        ),
        reverse=True,
    )
    triples, common = np.zeros((20, 3), np.int64), np.zeros(20, np.int64)
    n = kernels.assemble(vectors, close, volumes, 5, triples, common)
    assert n == 20
    assert common.tolist() == expected[:20]
    for (i, j, k), count in zip(triples, common, strict=True):
        assert (members[i] & members[j] & members[k]).sum() == count
        assert volumes[0] <= abs(np.linalg.det(vectors[[i, j, k]])) <= volumes[1]
