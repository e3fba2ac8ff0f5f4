"""Kernels of the indexer for wide spectra against naive twins."""

import numpy as np
import pytest

from braggstream.kernels import pink_match, pink_votes
from braggstream.kernels.pink_votes import MAX_VOTERS

N = 6


def matrix_of(rotation):
    w, *v = rotation
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def quaternions(rng, n):
    q = rng.normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def naive_cell(rotation, n):
    face = int(np.argmax(np.abs(rotation)))
    places = np.delete(rotation, face) / rotation[face]
    arcs = places * (1.3476 - 0.3476 * np.abs(places))
    i, j, k = (min(int((arc + 1) / 2 * n), n - 1) for arc in arcs)
    return face * n**3 + i * n**2 + j * n + k


def test_cells_are_those_of_the_cube_and_do_not_know_the_sign():
    rng = np.random.default_rng(0)
    centre = np.empty(4)
    for rotation in quaternions(rng, 300):
        cell = pink_votes.cell_of(*rotation, N)
        assert cell == naive_cell(rotation, N) == pink_votes.cell_of(*-rotation, N)
        pink_votes.centre_of_cell(cell, N, centre)
        assert pink_votes.cell_of(*centre, N) == cell
        assert np.isclose(np.linalg.norm(centre), 1)
    # Cells are of like size: the middle is never further away than their diagonal.
    rotation = quaternions(rng, 500)
    apart = []
    for q in rotation:
        pink_votes.centre_of_cell(pink_votes.cell_of(*q, 45), 45, centre)
        apart.append(2 * np.degrees(np.arccos(min(1.0, abs(q @ centre)))))
    assert max(apart) < 4.0


@pytest.mark.parametrize("opposite", [False, True])
def test_curves_hold_the_rotations_that_carry_a_point_onto_a_direction(opposite):
    rng = np.random.default_rng(1)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    point = -direction if opposite else np.roll(direction, 1)
    angle = np.pi * np.arange(400) / 400
    turns = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cells = np.zeros(4 * N**3, np.uint16)
    words = direction[None], np.ones(1, np.int64), np.array([[0, 1]])
    assert pink_votes.vote(*words, point[None], turns, N, cells) == 1
    voted = set(np.flatnonzero(cells))
    assert set((cells & MAX_VOTERS)[list(voted)]) == {1}
    # Every rotation with this property, found by another way, lies in a cell that was voted for, or next to one.
    near = np.array(list(np.ndindex(3, 3, 3, 3))) * 0.02 - 0.02
    for angle in np.linspace(0, 2 * np.pi, 40):
        q = quaternion_of(frame(direction, angle) @ frame(point, 0.0).T)
        assert np.allclose(matrix_of(q) @ point, direction)
        assert {naive_cell(q + d, N) for d in near} & voted


def frame(first, angle):
    """Right-handed frame as columns, the first one given, turned about it."""
    helper = np.array([0.3, -0.5, 0.8])
    x = np.cross(first, helper)
    x /= np.linalg.norm(x)
    y = np.cross(first, x)
    turned = np.cos(angle) * x + np.sin(angle) * y
    return np.stack([first, turned, np.cross(first, turned)], axis=1)


def quaternion_of(r):
    """The quaternion whose matrix is nearest to r: an eigenvector."""
    k = np.empty((4, 4))
    k[0, 0] = np.trace(r)
    k[0, 1:] = k[1:, 0] = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]
    k[1:, 1:] = r + r.T - np.trace(r) * np.eye(3)
    return np.linalg.eigh(k)[1][:, -1]


def test_a_peak_votes_once_for_a_cell():
    rng = np.random.default_rng(2)
    units = rng.normal(size=(30, 3))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    turns = np.stack([np.cos(np.pi * np.arange(60) / 60), np.sin(np.pi * np.arange(60) / 60)], axis=1)
    cells = np.zeros(4 * 2**3, np.uint16)
    reach = np.array([[0, 30], [0, 30], [5, 5], [0, 10]])
    voters = np.array([1, 1, 2, 255])
    pink_votes.vote(units[:4].copy(), voters, reach, units, turns, 2, cells)
    assert (cells & MAX_VOTERS).max() == 2  # Voters 1 and 255; the second has no point.


def test_densest_cells():
    rng = np.random.default_rng(3)
    votes = rng.integers(0, 9, 4 * N**3)
    cells = (votes + (rng.integers(0, 200, len(votes)) << 8)).astype(np.uint16)
    for wanted in (1, 7, 50, 400, 2000):
        found = np.empty(wanted, np.int64)
        n = pink_votes.densest(cells, N, 3, found)
        assert n == min(wanted, (votes >= 3).sum())
        got = np.sort(votes[found[:n]])[::-1]
        assert np.array_equal(got, np.sort(votes)[::-1][:n])
        assert len(set(found[:n].tolist())) == n
    assert pink_votes.densest(np.zeros_like(cells), N, 3, np.empty(5, np.int64)) == 0


def naive_explanation(q, axes, bandwidth, radius, across):
    """Distance across the line of the best lattice point of all around."""
    size = np.linalg.norm(q)
    u = q / size
    t = np.array([-q[1], q[0], 0]) / np.hypot(q[0], q[1])
    best = np.inf
    grid = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for g in grid @ axes:
        if abs(g @ u - size) > bandwidth * size + radius + across:
            continue
        normal = max(abs(g @ np.cross(u, t)) - radius, 0)
        best = min(best, np.hypot(g @ t, normal))
    return best


def test_explanations_are_the_nearest_lattice_points():
    rng = np.random.default_rng(4)
    axes = np.diag([0.02, 0.025, 0.03]) + rng.normal(size=(3, 3)) * 0.002
    direct = np.linalg.inv(axes).T.copy()
    bandwidth, radius, across = 0.04, 3e-4, 1.2e-3
    n_explained = 0
    for _ in range(60):
        point = rng.integers(-4, 5, 3) @ axes
        if np.linalg.norm(point) < 0.02:
            continue
        q = point * rng.uniform(0.97, 1.03) + rng.normal(size=3) * 4e-4
        peak = np.zeros(pink_match.N_COLUMNS)
        peak[:3], peak[pink_match.LENGTH] = q, np.linalg.norm(q)
        peak[pink_match.ACROSS_X : pink_match.ACROSS_Z + 1] = np.array([-q[1], q[0], 0]) / np.hypot(q[0], q[1])
        peak[pink_match.N_STEPS] = 9
        hkl = np.zeros(3)
        tolerances = np.array([bandwidth, radius, across, 0.0])
        got = np.sqrt(pink_match.explain(peak, axes, direct, tolerances, hkl))
        wanted = naive_explanation(q, axes, bandwidth, radius, across)
        if wanted < across:
            n_explained += 1
            assert np.isclose(got, wanted, rtol=1e-6, atol=1e-9)
        else:
            assert got >= across
    assert n_explained > 20


def test_rotations_are_refined_to_where_the_points_are():
    rng = np.random.default_rng(5)
    axes = np.diag([0.02, 0.025, 0.03])
    cell = np.stack([axes, np.linalg.inv(axes).T.copy()])
    true = quaternions(rng, 1)[0]
    hkl = rng.integers(-3, 4, (60, 3))
    q = hkl[(hkl != 0).any(axis=1)] @ axes @ matrix_of(true).T
    peaks = np.zeros((len(q), pink_match.N_COLUMNS))
    length = np.linalg.norm(q, axis=1)
    peaks[:, :3], peaks[:, 3] = q, length
    peaks[:, 4:7] = np.stack([-q[:, 1], q[:, 0], 0 * length], axis=1) / np.hypot(q[:, 0], q[:, 1])[:, None]
    peaks[:, 7], peaks[:, 8] = 1, 2.0
    start = true.copy()
    pink_match.turn(start, *(np.radians(1.5) * np.array([0.6, 0.0, -0.8])))
    assert np.isclose(2 * np.degrees(np.arccos(abs(start @ true))), 1.5)
    rotations = np.stack([start, quaternions(rng, 1)[0]])
    steps = [(1e-3, 0.05), (1e-3, 0.03), (1e-3, 0.0), (1e-3, 0.0), (1e-3, 0.0)]
    schedule = np.array([[0.01, 1e-5, across, angle] for across, angle in steps])
    scores = np.empty((2, 2))
    pink_match.refine_rotations(rotations, peaks, cell, schedule, scores)
    assert np.allclose(matrix_of(rotations[0]), matrix_of(true), atol=1e-6)
    assert scores[0, 1] == len(q) and np.isclose(scores[0, 0], 2.0 * len(q))
    assert scores[1, 0] < 0.7 * scores[0, 0]
