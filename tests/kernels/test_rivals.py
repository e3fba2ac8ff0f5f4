"""Rival lattices: what lies outside of sublattices, between points, and on rods, against naive twins."""

from itertools import product
from math import log10

import numpy as np
import pytest

from braggstream.kernels import rivals
from braggstream.kernels.chance import evidence_of
from braggstream.steps.indexing.sharing import CLASSES, PRIMES

BOTH = pytest.mark.parametrize("is_compiled", [True, False])


def kernel(function, *, is_compiled):
    return function if is_compiled else getattr(function, "py_func", function)


def test_every_sublattice_of_prime_index_is_there_once():
    for p in PRIMES:
        triples = {tuple(row[1:]) for row in CLASSES if row[0] == p}
        assert len(triples) == p * p + p + 1
        # No two of them are multiples of each other.
        multiples = {tuple(factor * number % p for number in t) for t in triples for factor in range(1, p)}
        assert len(multiples) == p**3 - 1


def unsupported(hkl, n_peaks, chance, least):
    """Rows of all sublattices whose outside is no evidence, told plainly."""
    rows = []
    for row, (p, *numbers) in enumerate(CLASSES):
        n_outside = sum(bool(np.dot(numbers, index) % p) for index in hkl)
        n_candidates = n_peaks - (len(hkl) - n_outside)
        part, by_chance = n_outside / max(n_candidates, 1), chance * (1 - 1 / p)
        evidence = 0.0
        if part > by_chance:
            evidence = n_outside * log10(part / by_chance)
            if n_outside < n_candidates:
                evidence += (n_candidates - n_outside) * log10((1 - part) / (1 - by_chance))
        if evidence < least:
            rows.append(row)
    return rows


@BOTH
@pytest.mark.parametrize(
    ("steps", "n", "n_more"), [((1, 1, 1), 20, 5), ((2, 1, 1), 30, 0), ((1, 3, 1), 30, 100), ((1, 1, 13), 12, 3)]
)
def test_sparser_lattices_are_found(is_compiled, steps, n, n_more):
    rng = np.random.default_rng(1)
    hkl = rng.integers(-9, 10, (n, 3)) * np.array(steps)
    hkl[:2] += 1  # Two by chance.
    expected = unsupported(hkl, n + n_more, 0.01, 5.0)
    assert bool(expected) == (max(steps) > 1)
    find = kernel(rivals.find_sparser, is_compiled=is_compiled)
    found = find(hkl, n + n_more, 0.01, 5.0, CLASSES)
    assert found == (expected[0] if expected else -1)


@BOTH
@pytest.mark.parametrize("p", [2, 3, 5])
def test_peaks_between_points_are_counted_by_the_denser_lattice(is_compiled, p):
    rng = np.random.default_rng(2)
    steps = rng.integers(-20, 20, (300, 3)).astype(float)
    steps[:80] = p * steps[:80] + rng.integers(-20, 20, (80, 1)) * np.array([1, p - 1, 0])
    distances = rng.choice([1e-8, 1e-4], 300)
    counts = np.empty(p**3, np.int64)
    best = kernel(rivals.count_classes, is_compiled=is_compiled)(steps, distances, 1e-3, p, counts)
    for numbers in product(range(p), repeat=3):
        key = numbers[0] * p * p + numbers[1] * p + numbers[2]
        if next((number for number in numbers if number), 0) != 1:
            assert counts[key] == 0
            continue
        multiples = [(np.array(numbers) * factor) % p for factor in range(1, p)]
        near = steps[distances < 1e-6]
        assert counts[key] == sum(any((each % p == m).all() for m in multiples) for each in near)
    assert counts[best] == counts.max() > 0


@BOTH
def test_neighbours_are_the_nearest_three(is_compiled):
    rng = np.random.default_rng(3)
    q, is_explained = rng.normal(size=(40, 3)), rng.random(40) < 0.2
    found = np.empty(40, np.bool_)
    kernel(rivals.mark_neighbours, is_compiled=is_compiled)(q, is_explained, found)
    distance = np.linalg.norm(q[:, None] - q[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :3]
    assert found.tolist() == is_explained[nearest].any(axis=1).tolist()
    assert 0 < found.sum() < 40


def support_along(q, direct, direction, reach, *, wavenumber=1.0, flatness=3.0):
    """Evidence for points on rods along one direction, told plainly."""
    reciprocal = np.linalg.inv(direct).T
    rod = direction @ reciprocal
    n_on, n_at, chances = 0, 0, []
    for peak in q:
        index = peak @ direct.T
        offset = (index - np.rint(index)) @ reciprocal
        normal = peak + np.array([0, 0, wavenumber])
        normal /= np.linalg.norm(normal)
        squashed = np.eye(3) - (1 - 1 / flatness) * np.outer(normal, normal)
        short, along = squashed @ offset, squashed @ rod
        unit = along / np.linalg.norm(along)
        if np.linalg.norm(short - (short @ unit) * unit) >= reach:
            continue
        n_on += 1
        across = offset @ normal
        n_at += max(np.linalg.norm(offset - across * normal), abs(across) / flatness) < reach
        chances.append(min(2 * reach / np.linalg.norm(along), 1.0))
    return evidence_of(n_at, n_on, float(np.mean(chances))) if n_on else 0.0


@BOTH
def test_points_have_to_explain_what_rods_do_not(is_compiled):
    rng = np.random.default_rng(4)
    direct = np.array([[40.0, 3.0, 0.0], [0.0, 55.0, 2.0], [4.0, 0.0, 70.0]])
    reciprocal = np.linalg.inv(direct).T
    hkl = rng.integers(-8, 9, (60, 3)).astype(float)
    directions = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    support = kernel(rivals.least_support_along, is_compiled=is_compiled)
    beam = np.array([1.0, 3.0, 8e-4])
    for loose in (False, True):
        index = hkl + np.array([0.0, 0.0, 1.0]) * rng.uniform(-0.5, 0.5, (60, 1)) * loose
        q = index @ reciprocal + rng.normal(size=(60, 3)) * 2e-4
        expected = min(support_along(q, direct, each, 8e-4) for each in directions)
        found = support(q, q @ direct.T, np.ascontiguousarray(reciprocal), directions, beam)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
        assert (found < 5.0) == loose
