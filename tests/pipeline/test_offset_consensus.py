"""What most crystals agree on, among some that are wrong."""

import numpy as np
import pytest

from braggstream.model.geometry import DetectorOffset
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.pipeline.offset_consensus import MAX_KEPT, OffsetConsensus

PIXEL_M, LENGTH_M = 75e-6, 0.1
SCALE = np.array([PIXEL_M, PIXEL_M, LENGTH_M])
TRUE = np.array([3.6, -1.0, 0.01])
SIGMA = np.array([0.03, 0.02, 6e-4])


def estimate(offset, sigma=SIGMA, *, knows_length=True):
    information = np.diag(1.0 / (sigma * SCALE) ** 2)
    if not knows_length:
        information[2, 2] = 0.0
    return OffsetEstimate(offset=offset * SCALE, information=information, camera_length=LENGTH_M)


def collected(*many):
    consensus = OffsetConsensus(PIXEL_M)
    for one in many:
        consensus.add(one)
    return consensus


def right(rng, n, sigma=SIGMA, **more):
    return [estimate(TRUE + sigma * rng.standard_normal(3), sigma, **more) for _ in range(n)]


def test_the_error_is_that_of_a_mean():
    distances = []
    for seed in range(40):
        best = collected(*right(np.random.default_rng(seed), 25, 4 * SIGMA)).best()
        distances.append((best.offset / SCALE - TRUE) / (best.error / SCALE))
    assert 0.75 < np.std(distances) < 1.25


@pytest.mark.parametrize("n_wrong", [5, 20, 40])
def test_crystals_that_are_sure_of_something_else_do_not_count(n_wrong):
    rng = np.random.default_rng(1)
    wrong = [
        estimate(np.append(rng.uniform(-6, 6, 2), rng.uniform(-0.02, 0.02)), SIGMA / 3) for _ in range(n_wrong)
    ]
    best = collected(*wrong, *right(rng, 15)).best()
    assert np.abs(best.offset / SCALE - TRUE) == pytest.approx(0, abs=0.03)
    assert abs(best.offset[2] / LENGTH_M - TRUE[2]) < 6e-4
    assert 12 <= best.n_agreeing <= 17 and best.n_asked == 15 + n_wrong


def test_more_scatter_than_claimed_makes_a_larger_error():
    rng = np.random.default_rng(2)
    claimed = SIGMA / 5
    many = [estimate(TRUE + SIGMA * rng.standard_normal(3), claimed) for _ in range(50)]
    best = collected(*many).best()
    assert best.error[0] / PIXEL_M > 0.5 * SIGMA[0] / np.sqrt(50)


def test_camera_lengths_that_nobody_knows_stay():
    best = collected(*right(np.random.default_rng(3), 10, knows_length=False)).best()
    assert best.offset[2] == 0.0 and best.error[2] == 0.0
    assert np.abs(best.offset[:2] / PIXEL_M - TRUE[:2]).max() < 0.05


def test_nonsense_is_left_out():
    consensus = collected(*right(np.random.default_rng(4), 10))
    expected = consensus.best().offset
    consensus.add(estimate(np.array([np.nan, 0.0, 0.0])))
    consensus.add(OffsetEstimate(offset=np.zeros(3), information=np.full((3, 3), np.inf), camera_length=LENGTH_M))
    assert np.array_equal(consensus.best().offset, expected)
    assert collected().best() is None and collected(estimate(TRUE)).best() is None
    nothing_known = OffsetEstimate(offset=np.zeros(3), information=np.zeros((3, 3)), camera_length=LENGTH_M)
    assert collected(nothing_known, nothing_known).best() is None
    consensus.add(nothing_known)
    assert np.array_equal(consensus.best().offset, expected)


def test_the_last_crystals_count():
    rng = np.random.default_rng(5)
    consensus = collected(*right(rng, MAX_KEPT))
    drifted = np.array([0.5, 0.5, 0.0])
    for _ in range(MAX_KEPT):
        consensus.add(estimate(drifted + SIGMA * rng.standard_normal(3)))
    assert np.abs(consensus.best().offset / SCALE - drifted).max() < 0.02


def test_estimates_survive_as_numbers_and_change_their_place():
    made = right(np.random.default_rng(6), 1)[0]
    again = OffsetEstimate.of_numbers(made.numbers)
    assert again.numbers == made.numbers
    with pytest.raises(ValueError, match="expected 13"):
        OffsetEstimate.of_numbers(made.numbers[:-1])
    moved = made.seen_from(DetectorOffset(x=1e-3, y=-1e-3, z=2e-3))
    assert moved.offset - made.offset == pytest.approx([1e-3, -1e-3, 2e-3])
    assert moved.camera_length == pytest.approx(LENGTH_M - 2e-3)
