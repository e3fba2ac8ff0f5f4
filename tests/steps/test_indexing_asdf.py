"""Indexing without a cell, judged by the true lattice."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.kernels import asdf_cells, asdf_vectors
from braggstream.model.cell import UnitCell
from braggstream.model.settings import AsdfSettings, IndexingSettings
from braggstream.simulate.lattices import compare
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.asdf import make_indexer
from braggstream.steps.indexing.bravais import bravais_lattice
from braggstream.steps.indexing.direct_map import LatticeVectors, find_vectors
from braggstream.steps.indexing.spanned_cells import best_cell, judged
from braggstream.steps.indexing.spots import by_resolution
from braggstream.steps.indexing.sublattices import LARGER_AND_SMALLER
from steps.simulated_stills import seen, still_with_partials
from steps.still_frames import WIDTH, is_same_lattice, random_spots, still, view_of
from steps.test_indexing import CELLS, collinear

TETRAGONAL = CELLS["tetragonal P"]


def finder(**settings):
    return make_lattice_finder(IndexingSettings(methods=("asdf",), **settings))


def crystals_of(view, **settings):
    return finder(**settings)(view).crystals


def is_right(crystals, true, cell):
    assert len(crystals) == 1
    assert (crystals[0].lattice_type, crystals[0].centring) == ("triclinic", "P")
    return compare(true, crystals[0].reciprocal_axes, true_centring=cell.centring) is not None


@pytest.mark.parametrize("name", [name for name in CELLS if name != "large"])
def test_every_lattice_type_is_found_without_a_cell(name):
    rng = np.random.default_rng([31, len(name)])
    find = finder()
    for n in (25, 60, 250):
        true, view = still_with_partials(CELLS[name], rng, n=n)
        assert is_right(find(view).crystals, true, CELLS[name]), n


def test_a_large_cell_is_found_without_a_cell():
    rng = np.random.default_rng(32)
    true, view = still_with_partials(CELLS["large"], rng, n=200, max_q=0.3)
    assert is_right(crystals_of(view), true, CELLS["large"])


def test_vectors_are_refined():
    """Beyond the steps of the map, which are angstroms wide: where the spots put them."""
    true, view = still_with_partials(CELLS["large"], np.random.default_rng(35), n=200, max_q=0.3)
    spots = by_resolution(view.q, 400, limit=10.0)
    vectors = find_vectors(spots, 400.0, 3e8).vectors
    indices = vectors @ true.T
    is_of_lattice = np.abs(indices - np.rint(indices)).max(axis=1) < 0.02
    assert is_of_lattice.sum() >= 6
    assert is_of_lattice.mean() > 0.8


def test_false_peaks_are_left_over():
    rng = np.random.default_rng(33)
    for _ in range(4):
        true, view = still_with_partials(TETRAGONAL, rng, n=70, n_false=70)
        assert is_right(crystals_of(view, multi=True), true, TETRAGONAL)


@pytest.mark.parametrize("n", [8, 15, 30, 60, 120, 300])
def test_peaks_anywhere_give_no_lattice(n):
    rng = np.random.default_rng([34, n])
    find = finder()
    for _ in range(2):
        assert find(seen(rng.uniform(0, WIDTH, (n, 2)), rng.exponential(size=n))).crystals == ()
        # Real ones are denser near the beam.
        assert find(seen(WIDTH / 2 + rng.normal(size=(n, 2)) * WIDTH / 8, rng.exponential(size=n))).crystals == ()


def test_two_lattices_are_found_one_after_the_other():
    rng = np.random.default_rng(35)
    (one, first), (other, second) = (still_with_partials(TETRAGONAL, rng, n=90) for _ in range(2))
    places = np.concatenate([np.stack([view.peaks.fs, view.peaks.ss], axis=1) for view in (first, second)])
    intensity = np.concatenate([first.peaks.intensity, second.peaks.intensity])
    found = crystals_of(seen(places, intensity), multi=True)
    assert len(found) == 2
    for true in (one, other):
        assert any(compare(true, crystal.reciprocal_axes) for crystal in found)


def test_a_known_cell_gives_its_setting_and_type():
    rng = np.random.default_rng(36)
    for name in ("monoclinic C", "hexagonal H", "orthorhombic I"):
        target = CELLS[name]
        true, view = still_with_partials(target, rng, n=60)
        (crystal,) = crystals_of(view, target_cell=target)
        assert (crystal.lattice_type, crystal.centring) == (target.lattice_type, target.centring)
        assert compare(true, crystal.reciprocal_axes, true_centring=target.centring, found_centring=target.centring)
        assert crystal.cell.parameters == pytest.approx(target.parameters, rel=0.01)
    assert crystals_of(view, target_cell=TETRAGONAL) == ()


def test_the_fast_search_finds_the_usual_frame():
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(37), n=150)
    assert is_right(crystals_of(view, asdf=AsdfSettings(fast=True)), true, TETRAGONAL)


def test_the_same_peaks_give_the_same_axes():
    _, view = still_with_partials(TETRAGONAL, np.random.default_rng(38), n=100)
    one, other = (crystals_of(view)[0].reciprocal_axes for _ in range(2))
    assert (one == other).all()


def test_spots_need_not_lie_on_a_sphere():
    rng = np.random.default_rng(39)
    cell = UnitCell(a=30.0, b=40.0, c=50.0, alpha=90.0, beta=90.0, gamma=90.0)
    spots = rng.integers(-5, 6, (120, 3)) @ cell.reciprocal_axes()
    spots = spots[np.argsort(np.linalg.norm(spots, axis=1))][1:]
    found = best_cell(spots, find_vectors(spots, 100.0, 1e8), reach=100.0)
    assert is_same_lattice(np.linalg.inv(found.axes).T, cell.reciprocal_axes(), "P")


@pytest.mark.parametrize(
    "q",
    [
        np.empty((0, 3)),
        np.full((3, 3), 0.1),
        np.full((50, 3), np.nan),
        np.full((50, 3), np.inf),
        np.zeros((50, 3)),
        np.full((50, 3), 0.1),
        collinear(50),
        np.full((20, 3), 1e-300),
        np.full((20, 3), 1e300),
        np.c_[np.linspace(-0.4, 0.4, 60), np.zeros((60, 2))],
        np.c_[np.random.default_rng(1).uniform(-0.4, 0.4, (60, 2)), np.zeros(60)],
    ],
    ids=["none", "three", "nan", "infinite", "zero", "the same", "collinear", "tiny", "huge", "a row", "a plane"],
)
def test_degenerate_peaks_give_no_lattice_or_a_sound_one(q):
    view = replace(view_of(random_spots(np.random.default_rng(2), len(q))), q=q)
    for crystal in crystals_of(view, refine=False):
        assert np.isfinite(crystal.reciprocal_axes).all()
        assert np.linalg.det(crystal.reciprocal_axes) != 0.0


def test_nan_among_good_peaks_does_no_harm():
    q, true = still(TETRAGONAL, np.random.default_rng(40), n_false=0)
    q[::9] = np.nan
    (found,) = make_indexer(IndexingSettings()).find(q)
    assert is_same_lattice(found, true, "P")


@pytest.mark.real
def test_real_peak_lists_show_their_lattice(real):
    known = np.array(
        [
            [39.431335, 25.273994, 63.585350],
            [28.513729, 60.642746, -41.786659],
            [-29.096014, 20.499205, 9.895323],
        ]
    )
    indexer = make_indexer(IndexingSettings())
    for path in sorted((real / "ffbidx_peak_lists").glob("image*.txt")):
        q = np.array([line.split() for line in path.read_text().splitlines()[1:] if line.strip()], float)
        (found,) = indexer.find(q)
        assert is_same_lattice(found, np.linalg.inv(known).T, "P"), path.name
        # Of one frame, and not refined yet.
        cell = bravais_lattice(np.linalg.inv(found).T, max_angle=1.5, max_length=0.02).cell
        assert (cell.lattice_type, cell.centring, cell.unique_axis) == ("tetragonal", "P", "c")


def test_sublattices_are_all_different():
    # A lattice has as many sublattices of index 2, 3 and 5 as their divisors' sums say: 7, 13 and 31.
    assert len(LARGER_AND_SMALLER) == 7 + 13 + 7 + 13 + 31
    volumes = np.rint(np.linalg.det(LARGER_AND_SMALLER) * 30).astype(int)
    assert sorted(set(volumes)) == [6, 10, 15, 60, 90]
    for i, one in enumerate(LARGER_AND_SMALLER):
        for other in LARGER_AND_SMALLER[:i]:
            joining = one @ np.linalg.inv(other)
            is_same = np.abs(joining - np.rint(joining)).max() < 1e-9
            assert not (is_same and abs(abs(np.linalg.det(joining)) - 1.0) < 1e-9)


def test_several_lattices_are_found_in_one_search():
    rng = np.random.default_rng(46)
    stills = [still_with_partials(TETRAGONAL, rng, n=n) for n in (110, 90, 70)]
    places = np.concatenate([np.stack([view.peaks.fs, view.peaks.ss], axis=1) for _, view in stills])
    view = seen(places, np.concatenate([view.peaks.intensity for _, view in stills]))
    found = make_indexer(IndexingSettings(multi=True)).find(view.q)
    assert len(found) == 3
    for true, _ in stills:
        compared = [compare(true, axes) for axes in found]
        assert sum(each is not None and each.misorientation < 0.5 for each in compared) == 1


def test_a_cell_with_eleven_times_the_volume_is_seen_through():
    rng = np.random.default_rng(47)
    true, view = still_with_partials(TETRAGONAL, rng, n=60, n_false=60)
    spots = np.ascontiguousarray(view.q[np.argsort(np.linalg.norm(view.q, axis=1))])
    axes = np.linalg.inv(true).T
    larger = np.array([[1, 0, 3], [0, 1, 5], [0, 0, 11]]) @ axes
    vectors = LatticeVectors(vectors=larger, part=np.full(3, 0.5), spread=np.full(3, 0.03))
    found = best_cell(spots, vectors, reach=500.0)
    assert compare(true, np.linalg.inv(found.axes).T) is not None


@pytest.mark.parametrize("number", [0, 9, 25, 45, 70])
def test_a_neighbouring_lattice_is_less_likely(number):
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(41), n=60)
    axes = np.linalg.inv(true).T
    order = np.argsort(np.linalg.norm(view.q, axis=1))
    spots = np.ascontiguousarray(view.q[order])
    right, wrong = judged(axes, spots), judged(LARGER_AND_SMALLER[number] @ axes, spots)
    assert right.is_likely
    assert wrong is None or wrong.likelihood < right.likelihood - 10.0


# ---- kernels against plain twins ---------------------------------------------------------------------------


def test_maxima_are_those_of_the_plane():
    rng = np.random.default_rng(42)
    plane = rng.normal(size=(40, 31)).astype(np.float32)
    maxima = np.zeros((500, 4), np.float32)
    n = asdf_vectors.collect_maxima(plane, 3, 0.5, maxima, 2)
    expected = [
        (plane[i, j], i, j, 3)
        for i in range(1, 39)
        for j in range(1, 30)
        if plane[i, j] > 0.5 and plane[i, j] == max(*plane[i, j - 1 : j + 2], plane[i - 1, j], plane[i + 1, j])
    ]
    assert n == 2 + len(expected)
    assert np.array_equal(maxima[2:n], np.array(expected, np.float32))
    assert asdf_vectors.collect_maxima(plane, 3, 0.5, maxima[:20], 0) == -1


def mixture(distances, n_dimensions, volume, part, spread, n_steps, limits):
    """Expectation maximisation of a Gaussian about lattice points and a constant background."""
    for step in range(n_steps + 1):
        peak = part / ((2 * np.pi) ** (n_dimensions / 2) * spread**n_dimensions * volume)
        lattice = peak * np.exp(-(distances**2) / 2 / spread**2)
        weight = lattice / (1 - part + lattice)
        if step < n_steps:
            part = np.clip(weight.mean(), 0.05, 0.98)
            spread = np.clip(np.sqrt((weight * distances**2).sum() / n_dimensions / weight.sum()), *limits)
    return np.log(1 - part + lattice).sum(), part, spread


def test_vectors_are_judged_by_the_mixture():
    rng = np.random.default_rng(43)
    spots, vectors = rng.uniform(-0.3, 0.3, (80, 3)), rng.uniform(-60, 60, (5, 3))
    evidence = np.empty((5, 3))
    asdf_vectors.judge_vectors(vectors, spots, evidence)
    for vector, found in zip(vectors, evidence, strict=True):
        phase = spots @ vector
        limits = (asdf_vectors.LEAST_SPREAD, asdf_vectors.MOST_SPREAD)
        expected = mixture(np.abs(phase - np.rint(phase)), 1, 1.0, 0.6, 0.08, asdf_vectors.N_STEPS - 1, limits)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_cells_are_judged_by_the_mixture():
    true, view = still_with_partials(TETRAGONAL, np.random.default_rng(44), n=60, n_false=30)
    cell = np.ascontiguousarray(np.linalg.inv(true).T)
    evidence, distances = np.empty(3), np.empty(len(view))
    asdf_cells.judge_cell(cell, true, view.q, evidence, distances)
    index = view.q @ cell.T
    distance = np.linalg.norm((index - np.rint(index)) @ true, axis=1)
    assert np.sqrt(distances) == pytest.approx(distance)
    volume = np.linalg.det(cell)
    first = min(0.17 / abs(volume) ** (1 / 3), asdf_cells.MOST_SPREAD)
    limits = (asdf_cells.LEAST_SPREAD, first)
    expected = mixture(distance, 3, abs(volume), asdf_cells.FIRST_PART, first, asdf_cells.N_STEPS, limits)
    assert evidence == pytest.approx(expected, rel=1e-6)


def test_masks_and_triplets_are_those_of_a_plain_search():
    rng = np.random.default_rng(45)
    spots, vectors = rng.uniform(-0.2, 0.2, (150, 3)), rng.uniform(-40, 40, (9, 3))
    vectors = vectors[np.argsort(np.linalg.norm(vectors, axis=1))]
    limits = rng.uniform(0.2, 0.4, 9)
    masks = np.empty((9, 3), np.int64)
    asdf_cells.mark_spots(vectors, spots, limits, masks)
    phase = vectors @ spots.T
    near = np.abs(phase - np.rint(phase)) < limits[:, None]
    for i in range(9):
        assert [bool(masks[i, j // 63] >> (j % 63) & 1) for j in range(150)] == near[i].tolist()
    scores, triplets = np.empty(5), np.empty((5, 3), np.int64)
    n = asdf_cells.rank_triplets(vectors, masks, np.array([1000.0, 5e4, 1e7]), scores, triplets)
    expected = []
    for i in range(9):
        for j in range(i):
            for k in range(j):
                volume = abs(np.linalg.det(vectors[[i, j, k]]))
                flat = volume / np.prod(np.linalg.norm(vectors[[i, j, k]], axis=1))
                count = (near[i] & near[j] & near[k]).sum()
                if flat > asdf_cells.FLATTEST and 1000 <= volume <= 5e4 and count >= asdf_cells.FEWEST:
                    expected.append((count * np.log(1e7 / volume), i, j, k))
    expected.sort(reverse=True)
    assert n == 5
    assert scores == pytest.approx([each[0] for each in expected[:5]])
    assert triplets.tolist() == [list(each[1:]) for each in expected[:5]]
