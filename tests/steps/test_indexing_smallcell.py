"""Cliques of few peaks from small cells, judged by the true lattice; the kernel beside a plain twin."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from braggstream.kernels.smallcell import find_cliques
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.lattice_points import points_within
from braggstream.steps.indexing.smallcell import SmallcellIndexer
from steps.simulated_stills import still_with_partials
from steps.still_frames import is_same_lattice, random_rotation, random_spots, view_of

ORTHORHOMBIC = UnitCell(a=9.8, b=12.1, c=15.3, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic")
MONOCLINIC = replace(
    ORTHORHOMBIC, a=5.93, b=7.33, c=29.1, beta=95.6, lattice_type="monoclinic", centring="C", unique_axis="b"
)
CELLS = {
    "orthorhombic P": ORTHORHOMBIC,
    "monoclinic C": MONOCLINIC,
    "triclinic": UnitCell(a=7.1, b=9.2, c=10.4, alpha=82, beta=97, gamma=104),
    "hexagonal P": UnitCell(
        a=11.2, b=11.2, c=7.4, alpha=90, beta=90, gamma=120, lattice_type="hexagonal", unique_axis="c"
    ),
    "cubic F": UnitCell(a=18, b=18, c=18, alpha=90, beta=90, gamma=90, lattice_type="cubic", centring="F"),
}


def finder(cell):
    return make_lattice_finder(IndexingSettings(methods=("smallcell",), target_cell=cell))


def few_peaks(cell, rng, n, n_false=0):
    return still_with_partials(cell, rng, radius=1.2e-3, n=n, n_false=n_false, max_q=0.7)


@pytest.mark.parametrize("name", CELLS)
def test_few_peaks_give_the_lattice(name):
    rng, cell = np.random.default_rng(61), CELLS[name]
    index = finder(cell)
    n_right, n_wrong = 0, 0
    for n, n_false in ((8, 0), (10, 1), (14, 3), (20, 4), (30, 6)) * 4:
        true, view = few_peaks(cell, rng, n, n_false)
        for crystal in index(view).crystals:
            is_right = is_same_lattice(crystal.reciprocal_axes, true, cell.centring, tolerance=0.15)
            n_right += is_right
            n_wrong += not is_right
    assert n_wrong == 0
    assert n_right >= 19


def test_what_is_found_says_by_what_and_how_it_is_centred():
    _, view = few_peaks(MONOCLINIC, np.random.default_rng(62), 14)
    outcome = finder(MONOCLINIC)(view)
    (crystal,) = outcome.crystals
    assert (outcome.indexed_by, crystal.centring, crystal.unique_axis) == ("smallcell", "C", "b")


def test_another_lattice_and_no_lattice_are_kept_out():
    rng, index = np.random.default_rng(63), finder(ORTHORHOMBIC)
    n_found = 0
    for _ in range(10):
        n_found += len(index(few_peaks(CELLS["triclinic"], rng, 14)[1]).crystals)
        n_found += len(index(view_of(random_spots(rng, 14, max_q=0.6))).crystals)
    assert n_found == 0


def test_a_large_cell_gives_nothing_and_costs_little():
    large = UnitCell(a=117, b=223, c=309, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic")
    assert (
        SmallcellIndexer(IndexingSettings(target_cell=large))(few_peaks(large, np.random.default_rng(64), 60)[1])
        == []
    )


def test_the_same_peaks_give_the_same_axes_in_every_indexer():
    rng = np.random.default_rng(65)
    settings = IndexingSettings(target_cell=ORTHORHOMBIC)
    _, view = few_peaks(ORTHORHOMBIC, rng, 14)
    find = SmallcellIndexer(settings)
    find(few_peaks(ORTHORHOMBIC, rng, 20)[1])
    (one,), (other,) = find(view), SmallcellIndexer(settings)(view)
    assert (one.reciprocal_axes == other.reciprocal_axes).all()


def test_degenerate_peaks_give_no_lattice_or_a_sound_one():
    find = SmallcellIndexer(IndexingSettings(target_cell=ORTHORHOMBIC))
    line = np.linspace(0.01, 0.7, 30)[:, None] * [0.6, 0.0, 0.8]
    same = [np.full((n, 3), value) for n in (1, 30) for value in (0.1, np.nan, np.inf, 0.0, 1e-300, 1e6)]
    for q in (np.empty((0, 3)), line, *same):
        for axes in find.find(q, 0.006):
            assert np.isfinite(axes).all()
            assert np.linalg.det(axes) != 0.0


def test_a_cell_is_needed():
    with pytest.raises(UserError, match="needs a unit cell"):
        SmallcellIndexer(IndexingSettings())


def test_points_are_those_within_the_radius_nearest_first():
    cell = CELLS["triclinic"]
    indices, places = points_within(cell.direct_axes(), 0.3)
    length = np.linalg.norm(places, axis=1)
    assert places == pytest.approx(indices @ cell.reciprocal_axes())
    assert (np.diff(length) >= 0).all()
    grid = np.array(list(product(range(-5, 6), repeat=3)))
    expected = np.linalg.norm(grid @ cell.reciprocal_axes(), axis=1)
    assert len(length) == ((expected > 0) & (expected <= 0.3)).sum()


@pytest.mark.parametrize("seed", range(6))
def test_the_largest_clique_is_that_of_all_combinations(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (40, 3))
    points = points[np.argsort(np.linalg.norm(points, axis=1))]
    q = np.concatenate([points[rng.choice(40, 5, replace=False)], rng.uniform(-1, 1, (3, 3))])
    q = (q + rng.normal(size=q.shape) * 0.01) @ random_rotation(rng)
    length = np.linalg.norm(points, axis=1)
    matches = np.array([np.searchsorted(length, [size - 0.05, size + 0.05]) for size in np.linalg.norm(q, axis=1)])

    nodes = [(i, j) for i in range(len(q)) for j in range(*matches[i])]

    def are_joined(one, other):
        distance = np.linalg.norm(q[one[0]] - q[other[0]]) - np.linalg.norm(points[one[1]] - points[other[1]])
        return one[0] != other[0] and abs(distance) <= 0.05

    joined = {pair for pair in combinations(nodes, 2) if are_joined(*pair)}
    largest = [(node,) for node in nodes]
    while True:
        larger = [(*c, n) for c in largest for n in nodes if n > c[-1] and all((m, n) in joined for m in c)]
        if not larger:
            break
        largest = larger
    expected = {frozenset(clique) for clique in largest}

    cliques, sizes = np.zeros((64, len(q)), np.int64), np.zeros(64, np.int64)
    find_cliques(q, matches, points, np.ones(len(points), bool), 0.05, cliques, sizes)
    assert sizes[0] == len(largest[0]) >= 5
    found = [
        frozenset((i, int(j)) for i, j in enumerate(clique) if j >= 0) for clique in cliques[sizes == sizes[0]]
    ]
    assert set(found) <= expected
    for clique, size in zip(cliques, sizes, strict=True):
        members = [(i, int(j)) for i, j in enumerate(clique) if j >= 0][: int(size)]
        assert all(pair in joined for pair in combinations(members, 2))
