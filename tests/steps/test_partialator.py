"""Partial merging: values that can be worked out by hand, the reference's outputs, and the simulator's truth."""

import lzma

import numpy as np
import pytest

from braggstream.formats.hkl import read_hkl
from braggstream.formats.stream_columns import read_observations
from braggstream.kernels.crystal_columns import B_FACTOR, FREE, LN_G, SHAPE_BANDWIDTH
from braggstream.model.errors import UserError
from braggstream.model.point_group import point_group
from braggstream.steps.partialator.block import BLOCK, GOOD, packed, unpacked
from braggstream.steps.partialator.crew import Threads
from braggstream.steps.partialator.cycle import PartialMerge
from braggstream.steps.partialator.judging import newly_rejected
from braggstream.steps.partialator.loading import load_crystals
from braggstream.steps.partialator.means import joined
from braggstream.steps.partialator.settings import PartialSettings
from steps.crystal_columns import observations_of


def settings_for(symmetry, **more):
    return PartialSettings(symmetry=point_group(symmetry), **more)


def merge_of(observations, settings, n_threads=1):
    loaded = load_crystals(observations, settings)
    crew = Threads(loaded.blocks, n_threads)
    merge = PartialMerge(loaded, settings, crew=crew, say=lambda _: None)
    merge.run()
    return merge


def lists_of(merge):
    halves = merge.means()
    return merge.lists(np.stack([joined(halves), *halves]))


def merged(crystals, symmetry="1", **more):
    settings = settings_for(
        symmetry, **{"model": "unity", "polarisation": None, "reject_by_half_sets": False, **more}
    )
    return lists_of(merge_of([observations_of(crystals)], settings))[0]


def test_two_measurements_without_scales():
    found = merged([[(1, 0, 0, 100, 1)], [(1, 0, 0, 200, 1)]], scale=False, n_cycles=0)
    assert found.hkl.tolist() == [[1, 0, 0]]
    assert found.intensity == pytest.approx([150.0])
    assert found.sigma == pytest.approx([35.3553], abs=1e-3)
    assert found.n_measured.tolist() == [2]


def test_a_single_measurement_is_not_written():
    assert len(merged([[(1, 0, 0, 100, 1)], [(2, 0, 0, 200, 1)]], scale=False, n_cycles=0)) == 0
    once = merged([[(1, 0, 0, 100, 1)], [(2, 0, 0, 200, 1)]], scale=False, n_cycles=0, min_measurements=1)
    assert once.n_measured.tolist() == [1, 1]


def test_scales_absorb_what_crystals_differ_by():
    first, second = [(1, 0, 0, 100, 1), (19, 0, 0, 50, 1)], [(1, 0, 0, 200, 1), (19, 0, 0, 100, 1)]
    found = merged([first, second], n_cycles=1, hold_free_set=False)
    assert found.intensity == pytest.approx([141.4214, 70.7107], abs=1e-3)
    assert found.sigma == pytest.approx([0, 0], abs=1e-3)


def test_equivalents_are_merged_after_scaling():
    first = [(0, 1, 0, 100, 1), (2, 0, 0, 200, 1), (20, 0, 0, 100, 1)]
    second = [(1, 0, 0, 50, 1), (0, 2, 0, 100, 1), (0, 1, 1, 1, 1), (20, 0, 0, 50, 1)]
    found = merged([first, second], "4", n_cycles=1, hold_free_set=False)
    assert found.hkl.tolist() == [[1, 0, 0], [2, 0, 0], [20, 0, 0]]
    assert found.intensity == pytest.approx([70.7107, 141.4214, 70.7107], abs=1e-3)
    assert found.n_measured.tolist() == [2, 2, 2]


def test_indices_pack_in_the_order_of_lists():
    hkl = np.random.default_rng(0).integers(-600, 600, (500, 3))
    keys = packed(hkl)
    assert unpacked(keys).tolist() == hkl.tolist()
    order = np.lexsort((hkl[:, 2], hkl[:, 1], hkl[:, 0]))
    assert order.tolist() == np.argsort(keys, kind="stable").tolist()


def test_the_free_set_is_that_of_the_generator():
    rows = [(*hkl, 100.0, 1.0) for hkl in np.ndindex(10, 10, 10)]
    loaded = load_crystals([observations_of([rows[::-1], rows])], settings_for("1", model="unity"))
    block = loaded.blocks[0]
    # One draw an observation, in the order of the indices, crystal after crystal.
    draws = np.random.RandomState(4357).randint(0, 2**32, 2000, np.uint32) / 2.0**32
    assert (block.flags & FREE > 0).tolist() == (draws > 0.95).tolist()
    none = load_crystals([observations_of([rows])], settings_for("1", model="unity", hold_free_set=False))
    assert not (none.blocks[0].flags & FREE).any()


def test_crystals_that_are_not_used_are_counted_by_reason():
    few = [(1, 0, 0, 100, 1), (2, 0, 0, 3, 1)]
    wide, low = observations_of([few], radius=0.01), observations_of([few], limit=0.01)
    fine = observations_of([few] * 5)
    settings = settings_for("1", min_resolution=0.1, start_after=2, stop_after=2, max_adu=50)
    loaded = load_crystals([fine, wide, low, fine, fine], settings)
    assert len(loaded.crystals) == 2
    assert loaded.crystals.skipped == {"skipped by --start-after": 2}
    loaded = load_crystals([fine, wide, low, fine, fine], settings_for("1", min_resolution=0.1, max_adu=50))
    assert len(loaded.crystals) == 15
    assert loaded.crystals.skipped == {"profile radius too big": 1, "resolution below --min-res": 1}
    assert loaded.crystals.n_saturated == 15
    assert [len(block) for block in loaded.blocks] == [5, 5, 5]


def test_an_unknown_bandwidth_is_the_geometrys():
    known, unknown = observations_of([[(1, 0, 0, 100, 1)]]), observations_of([[(1, 0, 0, 100, 1)]])
    unknown.crystals.bandwidth[:] = -1
    found = load_crystals([known, unknown], settings_for("1", model="xsphere"), bandwidth=0.004)
    assert [block.shape[0, SHAPE_BANDWIDTH] for block in found.blocks] == [1e-8, 0.004]
    forced = settings_for("1", force_bandwidth=0.01, force_radius=0.0005, force_wavelength=1.5)
    shape = load_crystals([known, unknown], forced).blocks[1].shape[0]
    assert shape[9:].tolist() == [0.0005, 1.5, 0.01]


def test_random_partialities_follow_from_frame_and_indices():
    crystals, *_ = made_set(n=4)
    settings = settings_for("1", model="random", n_cycles=0, reject_by_half_sets=False)
    one, other = (load_crystals([observations_of(crystals)], settings).blocks[0].part for _ in range(2))
    assert one.tolist() == other.tolist()
    assert 0.2 < np.mean(one < 0.3) < 0.4


def test_observations_beyond_the_resolution_are_not_merged():
    rows = [[(1, 0, 0, 100, 1), (50, 0, 0, 100, 1)]] * 2
    near = settings_for("1", model="unity", scale=False, n_cycles=0, push_resolution=0.1)
    part = observations_of(rows, limit=0.2)
    assert lists_of(merge_of([part], near))[0].hkl.tolist() == [[1, 0, 0]]
    far = settings_for("1", model="unity", scale=False, n_cycles=0, push_resolution=0.31)
    assert len(lists_of(merge_of([part], far))[0]) == 2


def test_one_crystal_is_not_enough():
    with pytest.raises(UserError, match="at least 2 are needed"):
        merged([[(1, 0, 0, 100, 1)]])


def test_large_b_factors_leave_crystals_out():
    rng = np.random.default_rng(0)
    hkl = [(h, 0, 1) for h in range(1, 40)]
    true = rng.exponential(1000, len(hkl)) + 100
    s2 = np.array([(h * h + 1) / 1e4 / 4 for h, _, _ in hkl])
    crystals = [
        [(*one, value, 1.0) for one, value in zip(hkl, true * np.exp(-b * s2), strict=True)]
        for b in (0, 1, -1, 0.5, -0.5, 300)
    ]
    settings = settings_for("1", model="unity", polarisation=None, n_cycles=1, reject_by_half_sets=False)
    merge = merge_of([observations_of(crystals)], settings)
    assert merge.status.tolist() == [0, 0, 0, 0, 0, 2]


EDGE = 40.0
"""Of the cell [Å]."""


def test_rejection_is_revisable_by_robust_measures():
    deltas = np.random.default_rng(0).normal(0.01, 0.01, 1000)
    deltas[:3] = [-0.5, -0.2, -0.08]
    before = np.zeros(1000, np.uint8)
    before[500] = 1
    b_factors = np.zeros(1000)
    b_factors[7] = 200
    stays = newly_rejected(before, deltas, b_factors, 100.0)
    assert stays[500] == 1
    # Two standard deviations are wide where a few bad crystals make them.
    assert set(np.flatnonzero(stays).tolist()) == {0, 1, 2, 7, 500}
    again = newly_rejected(before, deltas, b_factors, 100.0, is_revisable=True)
    assert set(np.flatnonzero(again).tolist()) == {0, 1, 2, 7}
    clean = np.random.default_rng(1).normal(0.0, 0.01, 1000)
    assert newly_rejected(before, clean, b_factors * 0, 100.0, is_revisable=True).sum() == 0
    assert newly_rejected(before * 0, clean, b_factors * 0, 100.0).sum() > 10


def made_set(n=60, seed=3, noise=10.0):
    """Crystals with scales and B factors that are known."""
    rng = np.random.default_rng(seed)
    box = np.array([(1 + h, k, m) for h, k, m in np.ndindex(11, 12, 12)])
    true = rng.exponential(1000, len(box))
    s2 = np.sum(box**2, axis=1) / EDGE**2 / 4
    ln_g, b = rng.normal(0, 0.6, n), rng.normal(0, 5, n)
    crystals = []
    for crystal in range(n):
        chosen = rng.choice(len(box), 200, replace=False)
        value = true[chosen] * np.exp(ln_g[crystal] - b[crystal] * s2[chosen]) + rng.normal(0, noise, 200)
        crystals.append([(*box[c], v, noise) for c, v in zip(chosen, value, strict=True)])
    return crystals, box, true, ln_g, b


def test_scales_and_b_factors_are_found():
    crystals, box, true, ln_g, b = made_set()
    settings = settings_for("1", model="unity", polarisation=None, n_cycles=2)
    merge = merge_of([observations_of(crystals, edge=EDGE)], settings)
    found = merge.column(LN_G) - ln_g
    assert np.std(found) < 0.02
    assert np.std(merge.column(B_FACTOR) - b) < 1.0
    whole = lists_of(merge)[0]
    where = np.searchsorted(packed(box), packed(whole.hkl))
    assert np.corrcoef(whole.intensity, true[where])[0, 1] > 0.9995


def test_threads_change_nothing_to_the_last_bit():
    crystals, *_ = made_set()
    parts = [observations_of(crystals[n : n + 7]) for n in range(0, len(crystals), 7)]
    settings = settings_for("1", model="offset", n_cycles=1)
    one, three = (lists_of(merge_of(parts, settings, n_threads))[0] for n_threads in (1, 3))
    assert one.intensity.tobytes() == three.intensity.tobytes()
    assert one.sigma.tobytes() == three.sigma.tobytes()


@pytest.fixture(scope="module")
def many(golden, tmp_path_factory):
    return list(read_observations(golden / "merging" / "many.stream.xz", n_crystals=BLOCK))


def true_intensities(golden):
    with lzma.open(golden / "merging" / "true-intensities.hkl.xz", "rt") as file:
        rows = np.array([line.split() for line in file.readlines()[1:]], float)
    return dict(zip(packed(rows[:, :3]).tolist(), rows[:, 3].tolist(), strict=True))


def correlation_with(truth, found):
    pairs = [
        (value, truth[key])
        for key, value in zip(packed(found.hkl).tolist(), found.intensity, strict=True)
        if key in truth
    ]
    return np.corrcoef(np.array(pairs).T)[0, 1]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("unity0", {"n_cycles": 0, "reject_by_half_sets": False}),
        ("unity", {"n_cycles": 1}),
    ],
)
def test_lists_of_the_reference_to_the_last_digit(golden, many, name, more):
    merge = merge_of(many, settings_for("4/mmm", model="unity", **more))
    for suffix, found in zip(("", "1", "2"), lists_of(merge), strict=True):
        expected = read_hkl(golden / "merging" / f"partialator-{name}.hkl{suffix}.xz")
        assert found.hkl.tolist() == expected.hkl.tolist()
        assert found.n_measured.tolist() == expected.n_measured.tolist()
        assert found.intensity == pytest.approx(expected.intensity, abs=0.0051)
        assert found.sigma == pytest.approx(expected.sigma, abs=0.0051)


@pytest.mark.golden
def test_refined_spheres_agree_with_the_reference_and_with_the_truth(golden, many):
    merge = merge_of(many, settings_for("4/mmm", model="xsphere", n_cycles=1))
    found = lists_of(merge)[0]
    expected = read_hkl(golden / "merging" / "partialator-xsphere.hkl.xz")
    assert np.sum(merge.status != GOOD) == 17
    common, mine, theirs = np.intersect1d(packed(found.hkl), packed(expected.hkl), return_indices=True)
    assert len(common) >= len(expected) - 2
    assert np.corrcoef(found.intensity[mine], expected.intensity[theirs])[0, 1] > 0.99999
    truth = true_intensities(golden)
    assert correlation_with(truth, found) > 0.9965
    assert correlation_with(truth, found) > correlation_with(truth, expected) - 1e-5


@pytest.mark.golden
@pytest.mark.parametrize(
    ("model", "n_cycles", "least"), [("unity", 0, 0.938), ("xsphere", 1, 0.998), ("offset", 1, 0.998)]
)
def test_a_model_of_errors_comes_nearer_to_the_truth(golden, many, model, n_cycles, least):
    truth = true_intensities(golden)
    by_logs = merge_of(many, settings_for("4/mmm", model=model, n_cycles=n_cycles))
    by_errors = merge_of(many, settings_for("4/mmm", model=model, n_cycles=n_cycles, by_errors=True))
    better = correlation_with(truth, lists_of(by_errors)[0])
    assert better > correlation_with(truth, lists_of(by_logs)[0])
    assert better > least
    if model == "xsphere":
        reference = read_hkl(golden / "merging" / "partialator-xsphere.hkl.xz")
        assert better > correlation_with(truth, reference)
    # No gauge drifts: the mean crystal is the unit.
    is_in = by_errors.status == GOOD
    assert np.mean(by_errors.column(LN_G)[is_in]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("noise", [10.0, 1500.0])
def test_true_scales_are_found_by_errors(noise):
    crystals, box, true, ln_g, _ = made_set(n=150, noise=noise)
    merges = []
    for by_errors in (False, True):
        settings = settings_for("1", model="unity", polarisation=None, n_cycles=1, by_errors=by_errors)
        merges.append(merge_of([observations_of(crystals, edge=EDGE)], settings))
    by_logs, found = merges
    whole, other = lists_of(found)[0], lists_of(by_logs)[0]
    assert np.corrcoef(found.column(LN_G), ln_g)[0, 1] > (0.99 if noise < 100 else 0.8)
    where, elsewhere = (np.searchsorted(packed(box), packed(one.hkl)) for one in (whole, other))
    correlation = np.corrcoef(whole.intensity, true[where])[0, 1]
    assert correlation > (0.9995 if noise < 100 else 0.93)
    assert correlation > np.corrcoef(other.intensity, true[elsewhere])[0, 1] - 1e-4
    if noise > 100:
        # Errors are what they say.
        scale = np.sum(true[where] * whole.intensity) / np.sum(true[where] ** 2)
        pull = (whole.intensity - scale * true[where]) / whole.sigma
        assert 0.8 < np.std(pull) < 1.4


def test_the_errors_of_the_reference_stay_possible():
    crystals, *_ = made_set()
    settings = {"model": "unity", "polarisation": None, "n_cycles": 1, "by_errors": True}
    shrunk, plain = (
        lists_of(
            merge_of([observations_of(crystals, edge=EDGE)], settings_for("1", compat_sigma=compat, **settings))
        )
        for compat in (False, True)
    )
    assert shrunk[0].intensity == pytest.approx(plain[0].intensity)
    twice = plain[0].n_measured == 2
    assert np.min(plain[0].sigma[twice]) < 0.1 * np.min(shrunk[0].sigma[twice])
