"""Evidence against chance: bounds of the binomial distribution, and distances from lattices."""

from math import comb, log10

import numpy as np
import pytest

from braggstream.kernels import chance

BOTH = pytest.mark.parametrize("is_compiled", [True, False])


def kernel(function, *, is_compiled):
    return function if is_compiled else getattr(function, "py_func", function)


@pytest.mark.parametrize(("n", "n_all", "p"), [(8, 20, 0.01), (20, 20, 0.2), (60, 200, 0.03), (3, 100, 0.02)])
def test_evidence_is_a_bound_that_is_nearly_reached(n, n_all, p):
    tail = sum(comb(n_all, k) * p**k * (1 - p) ** (n_all - k) for k in range(n, n_all + 1))
    found = chance.evidence_of(n, n_all, p)
    assert found <= -log10(tail)
    assert found > -log10(tail) - 1.5


def test_no_more_than_chance_is_no_evidence():
    assert chance.evidence_of(2, 100, 0.02) == 0.0
    assert chance.evidence_of(0, 100, 0.0) == 0.0
    assert chance.evidence_of(5, 100, np.nan) == 0.0


@BOTH
def test_the_best_reach_is_found(is_compiled):
    weigh = kernel(chance.weigh_distances, is_compiled=is_compiled)
    rng = np.random.default_rng(1)
    reaches = 1e-4 * 1.3 ** np.arange(12)
    distances = np.concatenate([rng.uniform(0, 4e-4, 40), rng.uniform(0, 1e-2, 60)])
    weighing = np.empty(3)
    weigh(distances**2, 100, reaches, 5e5, weighing)
    counts = [(distances < reach).sum() for reach in reaches]
    expected = [
        chance.evidence_of(n, 100, 5e5 * reach**3) if 5e5 * reach**3 <= chance.MOST_CHANCE else 0.0
        for n, reach in zip(counts, reaches, strict=True)
    ]
    best = int(np.argmax(expected))
    assert weighing.tolist() == pytest.approx([expected[best], reaches[best], counts[best]])
    assert 3e-4 < weighing[chance.REACH] < 7e-4
    weigh(distances[:0], 0, reaches, 5e5, weighing)
    assert weighing.tolist() == [0.0, 0.0, 0.0]


@BOTH
def test_distances_are_split_along_and_across_the_ewald_sphere(is_compiled):
    rng = np.random.default_rng(2)
    direct = rng.normal(size=(3, 3)) * 20 + np.diag([50.0, 60.0, 70.0])
    reciprocal = np.ascontiguousarray(np.linalg.inv(direct).T)
    q, wavenumber, flatness = rng.uniform(-0.3, 0.3, (40, 3)), 0.97, 3.0
    found = np.empty(40)
    split = kernel(chance.distances_from_lattice, is_compiled=is_compiled)
    split(q, direct, reciprocal, wavenumber, flatness, found)
    index = q @ direct.T
    offset = (np.rint(index) - index) @ reciprocal
    normal = q + np.array([0, 0, wavenumber])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    across = (offset * normal).sum(axis=1)
    along = np.linalg.norm(offset - across[:, None] * normal, axis=1)
    assert found == pytest.approx(np.maximum(along, np.abs(across) / flatness) ** 2, rel=1e-6, abs=1e-12)


def test_chance_puts_peaks_near_lattice_points_as_often_as_the_volume_says():
    rng = np.random.default_rng(3)
    direct = np.diag([40.0, 60.0, 80.0])
    q = rng.uniform(-0.4, 0.4, (40000, 3))
    found = np.empty(len(q))
    chance.distances_from_lattice(q, direct, np.linalg.inv(direct), 1.0, 3.0, found)
    reach = 1e-3
    expected = chance.FLAT_VOLUME * 3.0 * reach**3 * 40 * 60 * 80
    assert (found < reach**2).mean() == pytest.approx(expected, rel=0.2)
