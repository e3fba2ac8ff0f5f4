"""Kernels of the known-cell search on a CUDA device give what those of the processor give."""

import numpy as np
import pytest

from braggstream.kernels import ffbidx_cells, ffbidx_vectors
from braggstream.kernels.cuda import ffbidx_cells as cells_twin
from braggstream.kernels.cuda import ffbidx_vectors as vectors_twin
from braggstream.model.cell import UnitCell
from braggstream.model.settings import FfbidxSettings, IndexingSettings
from braggstream.steps.indexing.evidence import REACHES
from braggstream.steps.indexing.ffbidx import make_indexer
from braggstream.steps.indexing.sampling import half_sphere, scoring_rule
from braggstream.steps.indexing.search import AxisSearch, Depth
from braggstream.steps.indexing.search_cuda import AxisSearchOnDevice
from braggstream.steps.indexing.spots import by_resolution
from steps.still_frames import is_same_lattice, lattice_spots, random_rotation, random_spots

CELL = UnitCell(
    a=31.0, b=38.0, c=45.0, alpha=90.0, beta=98.0, gamma=90.0, lattice_type="monoclinic", unique_axis="b"
)
RULE = scoring_rule(FfbidxSettings(), 0.2)


def spots_of(seed, n=30, n_false=6):
    """Scattering vectors of a crystal and of nothing, in order of resolution, and its direct axes."""
    rng = np.random.default_rng(seed)
    axes = CELL.reciprocal_axes() @ random_rotation(rng).T
    q = np.concatenate([lattice_spots(axes, "P", rng, n=n), random_spots(rng, n_false)])
    return np.ascontiguousarray(q[np.argsort(np.linalg.norm(q, axis=1))]), np.linalg.inv(axes).T


def test_scores_of_vectors():
    spots, _ = spots_of(1)
    directions, low = half_sphere(300), np.ascontiguousarray(spots.T, np.float32)
    expected, found = np.empty((2, 300), np.float32)
    for kernels, scores in ((ffbidx_vectors, expected), (vectors_twin, found), (vectors_twin, found)):
        kernels.score_vectors(directions, np.float32(45.0), low, RULE, scores)
    assert found == pytest.approx(expected, abs=1e-4)


def test_refined_vectors():
    spots, axes = spots_of(2)
    rng = np.random.default_rng(2)
    start = np.concatenate([axes + rng.normal(size=(3, 3)) * 0.3, rng.normal(size=(4, 3)) * 20.0])
    expected, found = start.copy(), start.copy()
    qualities = np.empty((2, len(start)))
    columns = np.ascontiguousarray(spots.T)
    ffbidx_vectors.refine_vectors(expected, columns, 15, 6, qualities[0])
    vectors_twin.refine_vectors(found, columns, 15, 6, qualities[1])
    assert np.abs(expected - start).max() > 0.1
    assert found == pytest.approx(expected, rel=1e-9)
    assert qualities[1] == pytest.approx(qualities[0], rel=1e-9)
    vectors_twin.refine_vectors(np.empty((0, 3)), columns, 15, 6, np.empty(0))


SMALL = UnitCell(
    a=15.0, b=18.0, c=22.0, alpha=90.0, beta=98.0, gamma=90.0, lattice_type="monoclinic", unique_axis="b"
)
DEPTHS = [
    Depth(n_spots=24, n_vectors=3, n_cells=6, has_own_lengths=True),
    Depth(n_spots=30, n_vectors=4, n_cells=5),
]


def near_spots_of(rng, n_false=0):
    """Scattering vectors of low resolution of a crystal of the small cell and of nothing, and its axes."""
    axes = SMALL.reciprocal_axes() @ random_rotation(rng).T
    q = rng.integers(-5, 6, (600, 3)) @ axes
    q = q[np.linalg.norm(q, axis=1) < 0.27][:30] + rng.normal(size=(30, 3)) * 2e-4
    return np.concatenate([q, random_spots(rng, n_false)]), axes


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("axis", "has_sides"), [(0, True), (2, False)])
def test_a_search_in_one_turn_gives_the_cells_of_the_search_step_by_step(axis, has_sides, depth):
    chosen = FfbidxSettings(num_halfsphere_points=600, max_spots=40)
    search = AxisSearch(SMALL.direct_axes(), axis, chosen, tolerance=0.05, has_sides=has_sides)
    on_device = AxisSearchOnDevice(search, depth, SCHEDULE)
    for seed, n_false in ((11, 6), (12, 0)):
        spots = by_resolution(near_spots_of(np.random.default_rng(seed), n_false)[0], 40)
        cells = search.find_cells(search.find_vectors(spots, depth), spots, depth)
        weighings, distances = np.empty((len(cells), 3)), np.empty(len(spots))
        ffbidx_cells.refine_cells_outwards(cells, spots, 12, SCHEDULE, distances)
        ffbidx_cells.weigh_cells(cells, spots, REACHES, weighings, distances)
        found, found_weighings = on_device(spots, 12)
        assert weighings[:, 0].max() > 10
        # Turned by half a turn, a cell of two right angles scores the same to the last digits.
        assert np.abs(found) == pytest.approx(np.abs(cells), rel=1e-9, abs=1e-9)
        assert found_weighings == pytest.approx(weighings, rel=1e-9)


def test_without_a_vector_of_the_expected_length_there_is_no_cell():
    chosen = FfbidxSettings(num_halfsphere_points=300, max_spots=40)
    search = AxisSearch(SMALL.direct_axes(), 1, chosen, tolerance=0.0, has_sides=False)
    spots = by_resolution(near_spots_of(np.random.default_rng(1))[0], 40)
    found, weighings = AxisSearchOnDevice(search, DEPTHS[0], SCHEDULE)(spots, 12)
    assert found.shape == (0, 3, 3)
    assert weighings.shape == (0, 3)


def starts(axes, seed):
    """Cells near the true one and far from it, and a singular one."""
    rng = np.random.default_rng(seed)
    return np.stack([axes + rng.normal(size=(3, 3)) * size for size in (0.05, 0.3, 2.0)] + [np.zeros((3, 3))])


SCHEDULE = np.array([0.15 / 45.0, 0.00075, 0.8, 32, 8])


def test_cells_refined_outwards_and_weighed():
    spots, axes = spots_of(6)
    expected, found = starts(axes, 6), starts(axes, 6)
    weighings, distances = np.empty((2, 4, 3)), np.empty(len(spots))
    for number, (kernels, cells) in enumerate(((ffbidx_cells, expected), (cells_twin, found))):
        kernels.refine_cells_outwards(cells, spots, 12, SCHEDULE, distances)
        kernels.weigh_cells(cells, spots, REACHES, weighings[number], distances)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert weighings[1] == pytest.approx(weighings[0], rel=1e-9)
    assert weighings[0, 0, 0] > 10
    for kernels in (ffbidx_cells, cells_twin):
        kernels.weigh_cells(found[:1], np.empty((0, 3)), REACHES, weighings[0, :1], distances)
        assert not weighings[0, 0].any()


def test_lattices_of_frames():
    chosen = FfbidxSettings(num_halfsphere_points=600, num_candidate_vectors=3, output_cells=4, max_spots=30)
    finders = [
        make_indexer(IndexingSettings(target_cell=SMALL, ffbidx=chosen, device=device))
        for device in ("cpu", "cuda")
    ]
    for seed in range(2):
        q, axes = near_spots_of(np.random.default_rng(seed))
        (expected,), (found,) = (finder.find(q) for finder in finders)
        assert is_same_lattice(expected, axes, "P")
        assert found == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())
