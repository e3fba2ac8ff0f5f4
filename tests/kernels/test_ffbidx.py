"""Kernels of the sampling indexer against naive twins."""

import numpy as np
import pytest

from braggstream.kernels import ffbidx_cells, ffbidx_vectors, lattice_match, niggli
from braggstream.model.settings import FfbidxSettings
from braggstream.steps.indexing.sampling import half_sphere, scoring_rule, turns

RULE = scoring_rule(FfbidxSettings(), 0.2)


def naive_score(distances, rule):
    close, low, high, c0, c1, c2 = (float(value) for value in rule)
    trimmed = np.clip(distances, low, high)
    return float((distances < close).sum() + (c2 * trimmed**2 + c1 * trimmed + c0).sum())


def test_vector_scores_agree_with_the_definition():
    rng = np.random.default_rng(1)
    directions, spots = half_sphere(50), rng.uniform(-0.3, 0.3, (3, 33)).astype(np.float32)
    scores = np.empty(50, np.float32)
    ffbidx_vectors.score_vectors(directions, np.float32(70.0), spots, RULE, scores)
    phase = 70.0 * directions.T.astype(np.float64) @ spots
    expected = [naive_score(np.abs(row - np.rint(row)), RULE) for row in phase]
    assert scores == pytest.approx(expected, abs=2e-3)


def test_rotation_scores_agree_with_the_definition():
    rng = np.random.default_rng(2)
    projections = rng.normal(size=(7, 20)).astype(np.float32)
    projections[ffbidx_cells.DISTANCE] = rng.uniform(0, 0.02, 20)
    angles, scores = turns(16), np.empty(16, np.float32)
    ffbidx_cells.score_rotations(projections, 20, angles, RULE, scores)
    along_a, along_b, ax, ay, bx, by, d2 = projections.astype(np.float64)
    for i, (cosine, sine) in enumerate(angles.T):
        a, b = along_a + cosine * ax + sine * ay, along_b + cosine * bx + sine * by
        distance = np.sqrt(d2 + (a - np.rint(a)) ** 2 + (b - np.rint(b)) ** 2)
        assert scores[i] == pytest.approx(naive_score(distance, RULE), abs=1e-3)


def test_ties_never_outweigh_a_close_spot():
    for n in (10, 200, 1000):
        rule = scoring_rule(FfbidxSettings(max_spots=n), 0.2)
        distances = np.linspace(0.0, 0.5, 300)
        parts = np.array([naive_score(np.array([d]), rule) - (d < rule[0]) for d in distances])
        assert n * (parts.max() - parts.min()) < 1.0
        assert (np.diff(parts) <= 1e-9).all()


def test_the_half_sphere_is_even():
    points = half_sphere(2000).T.astype(np.float64)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0, abs=1e-6)
    directions = np.random.default_rng(3).normal(size=(300, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    nearest = np.arccos(np.clip(np.abs(directions @ points.T).max(axis=1), 0, 1))
    assert nearest.max() < 1.1 * np.sqrt(2 * np.pi / 2000)


def test_turned_cells_are_scored_as_cells():
    rng = np.random.default_rng(5)
    spots = rng.uniform(-0.2, 0.2, (30, 3))
    expected = np.array([[31.0, 2.0, 3.0], [-4.0, 47.0, 1.0], [0.0, 0.0, 60.0]])
    vectors = rng.normal(size=(3, 3)) * 40.0
    angles, sides = turns(8), np.array([1.0, -1.0])
    scores, frames = np.empty((3, 2, 8), np.float32), np.empty((3, 2, 3, 3))
    ffbidx_cells.score_turned(vectors, sides, spots, expected, angles, RULE, frames, scores)
    for i, side, k in np.ndindex(scores.shape):
        frame, (cosine, sine) = frames[i, side], angles[:, k].astype(np.float64)
        scale = np.linalg.norm(vectors[i]) / 60.0
        assert frame @ frame.T == pytest.approx(np.eye(3) * scale**2, abs=1e-9)
        assert np.linalg.det(frame) > 0
        assert frame[2] * 60.0 == pytest.approx(sides[side] * vectors[i])
        turned = expected @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) @ frame
        index = spots @ turned.T
        off = np.abs(index - np.rint(index))
        near = off[:, 2] < RULE[0]
        distance = np.linalg.norm(off[near], axis=1)
        assert scores[i, side, k] == pytest.approx(naive_score(distance, RULE), abs=2e-2)


SCHEDULE = np.array([0.002, 1e-4, 0.8, 32.0, 8.0])


def random_lattice(rng):
    return np.diag([40.0, 60.0, 80.0]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]


@pytest.mark.parametrize("n_first", [16, 80])
def test_cells_are_refined_onto_the_lattice(n_first):
    rng = np.random.default_rng(4)
    true = random_lattice(rng)
    hkl = rng.integers(-12, 13, (80, 3))
    spots = hkl @ np.linalg.inv(true).T
    spots = np.ascontiguousarray(spots[np.argsort(np.linalg.norm(spots, axis=1))])
    cells = (true + rng.normal(size=(3, 3)) * 0.1)[None].copy()
    start = cells.copy()
    ffbidx_cells.refine_cells_outwards(cells, spots, n_first, SCHEDULE, np.empty(80))
    assert cells[0] == pytest.approx(true, abs=1e-9)
    quality = np.empty((1, 2))
    ffbidx_cells.refine_cells(start, spots, SCHEDULE, quality, np.empty(80))
    assert start[0] == pytest.approx(true, abs=1e-9)
    assert quality[0, 0] == pytest.approx(80.0)
    assert quality[0, 1] < 1e-12


def test_a_singular_cell_is_no_lattice():
    cells, quality = np.ones((1, 3, 3)), np.empty((1, 2))
    ffbidx_cells.refine_cells(cells, np.ones((9, 3)), SCHEDULE, quality, np.empty(9))
    assert quality[0].tolist() == [0.0, np.inf]


def test_cells_are_weighed_by_their_distances_from_spots():
    rng = np.random.default_rng(7)
    true = random_lattice(rng)
    spots = rng.integers(-12, 13, (50, 3)) @ np.linalg.inv(true).T
    spots[:20] += rng.normal(size=(20, 3)) * 5e-3
    cells = np.array([true, np.ones((3, 3))])
    weighings, reaches = np.empty((2, 3)), np.array([1e-4, 1e-3, 2e-3])
    ffbidx_cells.weigh_cells(cells, spots, reaches, weighings, np.empty(50))
    evidence, reach, count = weighings[0]
    assert (reach, count) == (1e-4, 30)
    chance = 4 / 3 * np.pi * 1e-12 * 40 * 60 * 80
    part = 30 / 50
    assert evidence == pytest.approx(
        30 * np.log10(part / chance) + 20 * np.log10((1 - part) / (1 - chance)), rel=1e-9
    )
    assert weighings[1].tolist() == [0.0, 0.0, 0.0]


def test_bundles_are_kept_once():
    directions = np.array([[1, 0, 0], [0.9999, 0.0141, 0], [-1, 0, 0], [0, 1, 0]], np.float32).T.copy()
    chosen = np.empty(4, np.int64)
    n = ffbidx_vectors.keep_distinct(directions, np.array([1, 0, 2, 3]), np.cos(0.05), chosen)
    assert chosen[:n].tolist() == [1, 3]


def shortest_vectors(basis):
    """Lengths of the three shortest independent lattice vectors, by enumeration."""
    grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    vectors = grid[grid.any(axis=1)] @ basis.T
    vectors = vectors[np.argsort(np.linalg.norm(vectors, axis=1))]
    kept = []
    for vector in vectors:
        if np.linalg.matrix_rank(np.array([*kept, vector]), tol=1e-6) > len(kept):
            kept.append(vector)
        if len(kept) == 3:
            break
    return np.linalg.norm(kept, axis=1)


@pytest.mark.parametrize("seed", range(12))
def test_reduction_finds_the_shortest_vectors(seed):
    rng = np.random.default_rng(seed)
    original = (
        np.diag([30.0, 30.0, 45.0]) if seed < 4 else rng.normal(size=(3, 3)) * 10 + np.diag([40.0, 50.0, 60.0])
    )
    shear = np.eye(3)
    for _ in range(2):
        i, j = rng.permutation(3)[:2]
        step = np.eye(3)
        step[i, j] = rng.integers(-1, 2)
        shear = shear @ step
    basis, transform = np.ascontiguousarray(original @ shear), np.empty((3, 3))
    start = basis.copy()
    assert niggli.reduce_niggli(basis, transform) == 1
    assert basis == pytest.approx(start @ transform, abs=1e-9)
    assert np.linalg.det(transform) == pytest.approx(1.0)
    assert np.linalg.norm(basis, axis=0) == pytest.approx(shortest_vectors(original), rel=1e-6)


def test_reduction_of_a_flat_basis_fails():
    assert niggli.reduce_niggli(np.ones((3, 3)), np.empty((3, 3))) == 0
    assert niggli.reduce_niggli(np.full((3, 3), np.nan), np.empty((3, 3))) == 0


def test_nearest_setting_wins():
    gram = np.diag([900.0, 1600.0, 2500.0])
    settings = np.ascontiguousarray([np.eye(3), np.eye(3)[[1, 0, 2]], -np.eye(3)])
    target = np.array([30.5, 40.0, 50.0, 90, 90, 90, 30.5**2, 1600, 2500, 0, 0, 0])
    tolerance, ties = np.array([0.05, 0.05, 0.05, 1.5, 1.5, 1.5]), np.empty(24, np.int64)
    n = lattice_match.match_settings(gram, settings, target, tolerance, ties)
    assert ties[:n].tolist() == [0, 2]
    assert lattice_match.match_settings(gram, settings, target, np.full(6, 0.01), ties) == 0
