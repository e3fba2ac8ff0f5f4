"""Merging one crystal after the other: against plain loops, the reference's lists, and known truth."""

import lzma

import numpy as np
import pytest

from braggstream.formats.hkl import hkl_text
from braggstream.formats.live_checkpoint import checkpoint_bytes, read_checkpoint
from braggstream.formats.stream_tail import read_tail, witness
from braggstream.kernels.live_scale import GAMMA, N_BINS, B, fit_scale
from braggstream.model.half_sets import half_of
from braggstream.model.index_operators import ambiguity_operators
from braggstream.model.point_group import point_group
from braggstream.steps.merging.live_crystals import LiveCrystal
from braggstream.steps.merging.live_input import LiveInput, group_name, split_chunks
from braggstream.steps.merging.live_merge import MOST_GROUPS, LiveMerge
from braggstream.steps.merging.live_state import state_of, take_state
from braggstream.steps.merging.live_sums import FIRST_CAPACITY, LARGEST_INDEX, LiveSums, as_printed
from braggstream.steps.merging.polarisation import parse_polarisation
from merging.made_crystals import HEADER, HEXAGONAL, TETRAGONAL, MadeCrystals, chunk_text


def merge_of(crystals, *, symmetry="4/mmm", cell=TETRAGONAL, **more):
    merge = LiveMerge(cell, point_group(symmetry), **more)
    for crystal in crystals:
        merge.add(crystal)
    return merge


def naive_means(crystals, group, *, half=None):
    """Plain mean, population standard deviation over √n, number: a dictionary and nothing else."""
    values = {}
    for crystal in crystals:
        if half in (None, crystal.half):
            for hkl, value in zip(group.asymmetric(crystal.hkl).tolist(), crystal.observed[0], strict=True):
                values.setdefault(tuple(hkl), []).append(value)
    return {hkl: (np.mean(v), np.std(v) / np.sqrt(len(v)), len(v)) for hkl, v in values.items()}


def correlation_with_truth(merge, made, operators=()):
    """Best correlation over the ways to name the labels."""
    found = merge.reflection_list(least=2)
    best = -1.0
    for operator in (np.eye(3, dtype=int), *operators):
        true = made.truth_of(found.hkl @ operator)
        known = np.isfinite(true)
        best = max(best, np.corrcoef(true[known], found.intensity[known])[0, 1])
    return best


def test_values_are_rounded_as_printf_does():
    random = np.random.default_rng(3)
    values = np.concatenate(
        [
            random.normal(0.0, 1e4, 20000),
            random.integers(-(10**6), 10**6, 20000) / 200.0,  # Ties, exact and nearly so.
            random.integers(-(10**6), 10**6, 20000) / 800.0,
            [0.0, 0.125, 0.375, -0.125, 1.005, 2.675, 1e12, 123456789.125, np.nan, np.inf],
        ]
    )
    written = as_printed(values)
    for value, found in zip(values.tolist(), written.tolist(), strict=True):
        assert f"{value:.2f}" == f"{found:.2f}" and (np.isnan(found) or found == float(f"{value:.2f}"))


def test_reflections_get_rows_in_order_of_arrival_and_keep_them_while_the_table_grows():
    random = np.random.default_rng(4)
    sums = LiveSums(TETRAGONAL, point_group("1"))
    known = {}
    for _ in range(40):
        hkl = random.integers(-40, 41, (1000, 3))
        for indices, row in zip(hkl.tolist(), sums.rows_of(hkl).tolist(), strict=True):
            assert known.setdefault(tuple(indices), len(known)) == row
    assert sums.n_known == len(known) > FIRST_CAPACITY
    assert np.array_equal(sums.members, list(known))
    inverse_d = np.linalg.norm(np.array(list(known)) @ TETRAGONAL.reciprocal_axes(), axis=1)
    assert sums.inverse_d == pytest.approx(inverse_d)


def test_indices_that_are_too_large_have_no_row():
    sums = LiveSums(HEXAGONAL, point_group("6/mmm"))
    hkl = np.array([[LARGEST_INDEX + 1, 0, 0], [2000, -2000, 0], [30000, 3, 3], [5, 3, 3]])
    rows = sums.rows_of(hkl).tolist()
    assert rows[:3] == [-1, -1, -1] and sums.members[rows[3]].tolist() == [5, 3, 3]


@pytest.mark.parametrize("values", [[100.0, 200.0], [100.0, 200.0, 100.0], [100.0]])
def test_the_means_are_those_of_process_hkl(values):
    crystals = [
        LiveCrystal(hkl=np.array([[1, 2, 3]], np.int32), observed=np.array([[v], [1.0]]), half=n % 2)
        for n, v in enumerate(values)
    ]
    found = merge_of(crystals, is_scaled=False).reflection_list(least=2)
    expected = {2: (150.0, 35.36), 3: (133.33, 27.22)}.get(len(values))
    if expected is None:
        assert len(found) == 0
    else:
        assert (found.intensity[0], found.sigma[0], found.n_measured[0]) == (*expected, len(values))


@pytest.mark.parametrize("half", [None, 0, 1])
def test_a_plain_merge_is_the_mean_of_each_half_and_of_all(half):
    made = MadeCrystals()
    crystals = made.many(60)
    merge = merge_of(crystals, is_scaled=False)
    found, expected = merge.reflection_list(half=half), naive_means(crystals, made.group, half=half)
    assert [tuple(hkl) for hkl in found.hkl.tolist()] == sorted(expected)
    mean, sigma, n = np.array([expected[tuple(hkl)] for hkl in found.hkl.tolist()]).T
    assert np.abs(found.intensity - mean).max() <= 0.00501 and np.abs(found.sigma - sigma).max() <= 0.00501
    assert np.array_equal(found.n_measured, n)


def test_the_order_of_arrival_does_not_matter():
    crystals = MadeCrystals().many(80)
    one, other = (merge_of(each, is_scaled=False) for each in (crystals, crystals[::-1]))
    assert hkl_text(one.reflection_list()) == hkl_text(other.reflection_list())


def test_what_cannot_be_a_number_is_left_out():
    hkl = np.array([[1, 0, 0], [2, 0, 0]], np.int32)
    crystal = LiveCrystal(hkl=hkl, observed=np.array([[np.nan, 5.0], [1.0, np.inf]]), half=0)
    for is_scaled in (False, True):
        found = merge_of([crystal, crystal], is_scaled=is_scaled).reflection_list()
        assert np.isfinite(found.intensity).all() and [1, 0, 0] not in found.hkl.tolist()


@pytest.fixture(scope="module")
def reference_crystals(golden):
    """Crystals of the reference's stream."""
    stream = lzma.decompress((golden / "merging" / "many.stream.xz").read_bytes())
    return list(LiveInput(parse_polarisation("horiz"), None).crystals(list(split_chunks(stream))))


@pytest.mark.golden
def test_the_list_is_the_reference_s_own(golden, reference_crystals):
    merge = merge_of(reference_crystals, is_scaled=False)
    reference = lzma.decompress((golden / "merging" / "process_hkl.hkl.xz").read_bytes())
    expected = reference.decode().partition("End of")[0]
    assert hkl_text(merge.reflection_list(least=2)).partition("End of")[0] == expected


@pytest.mark.golden
def test_scaled_the_list_is_nearer_to_the_truth(golden, reference_crystals):
    """The reference reaches 0.926 with plain means, 0.929 with its scaling and 0.940 with `--scale`."""
    lines = lzma.decompress((golden / "merging" / "true-intensities.hkl.xz").read_bytes()).decode().splitlines()
    truth = {tuple(map(int, line.split()[:3])): float(line.split()[3]) for line in lines[1:]}
    merge = merge_of(reference_crystals)
    merge.conclude()
    found = merge.reflection_list(least=2)
    true = np.array([truth.get(tuple(hkl), 0.0) for hkl in found.hkl.tolist()])
    assert np.corrcoef(true[true > 0.0], found.intensity[true > 0.0])[0, 1] > 0.937


def test_a_chunk_gives_its_crystals_as_they_are_printed():
    made = MadeCrystals()
    crystals = made.many(2)
    text = chunk_text(crystals, 7, headers="header/int/laser = 1")
    found = list(LiveInput(None, "laser").crystals([text.encode()]))
    assert [each.half for each in found] == [half_of("made.h5", "//7", n) for n in (1, 2)]
    assert [each.group for each in found] == ["1", "1"]
    for one, other in zip(found, crystals, strict=True):
        assert np.array_equal(one.hkl, other.hkl)
        assert np.array_equal(one.observed.astype(np.float32), np.round(other.observed, 2).astype(np.float32))


def test_groups_are_named_by_value_and_read_from_the_headers_only():
    assert group_name("1.000000") == group_name(" 1") == "1" and group_name("on") == "on"
    reader = LiveInput(None, "laser")
    assert reader._group_of(b"header/float/laser = 0.000000\nnum_peaks = 0\n") == "0"
    assert reader._group_of(b"header/str/laser = pump on\nnum_peaks = 0\n") == "pump on"
    assert reader._group_of(b"x\nnum_peaks = 0\nheader/int/laser = 1\n") == ""
    assert reader._group_of(b"header/int/laser2 = 1\nnum_peaks = 0\n") == ""


def test_too_many_groups_are_counted_and_still_merged_with_all():
    made = MadeCrystals(n_observations=50)
    merge = merge_of([made.one(group=str(n)) for n in range(MOST_GROUPS + 5)], is_scaled=False)
    assert len(merge.n_of_group) == MOST_GROUPS and merge.n_ungrouped == 5
    assert merge.merged()[:, 0].sum() == 50 * (MOST_GROUPS + 5)


@pytest.mark.parametrize(("gamma", "b"), [(np.log(2.0), 0.0), (np.log(2.0), 10.0), (np.log(5.0), 30.0)])
def test_scales_of_exact_data_are_recovered(gamma, b):
    made = MadeCrystals(noise=0.0)
    sums = LiveSums(TETRAGONAL, made.group)
    rows = sums.rows_of(made.unique)
    for half in (0, 1, 0):
        sums.add(rows, made.intensity, np.ones(len(rows)), half=half)
    values = made.intensity * np.exp(gamma - b * made.s2)
    fit = np.empty(4)
    observed = np.array([values, np.full(len(rows), 1e-3)])
    args = (rows, observed, sums.facts, sums.everything, np.zeros((N_BINS, 2)))
    assert fit_scale(*args, np.array([1e-3, 0.0]), fit)
    assert fit[[GAMMA, B]] == pytest.approx([gamma, b], abs=1e-3)


@pytest.mark.parametrize(
    ("more", "short_of_best"),
    [
        ({"noise": 0.05}, 0.0002),
        ({"noise": 0.7}, 0.003),
        ({"noise": 0.25, "partiality_spread": 0.5}, 0.002),
    ],
    ids=["strong", "weak", "partial"],
)
def test_scaling_comes_close_to_knowing_the_scales(more, short_of_best):
    made = MadeCrystals(**more)
    crystals = made.many(500)
    live = correlation_with_truth(merge_of(crystals), made)
    plain = correlation_with_truth(merge_of(crystals, is_scaled=False), made)
    on_scale = []
    for crystal, gamma, b in zip(crystals, made.gammas, made.bs, strict=True):
        s2 = 0.25 * np.linalg.norm(crystal.hkl @ TETRAGONAL.reciprocal_axes(), axis=1) ** 2
        observed = crystal.observed / np.exp(gamma - b * s2)
        on_scale.append(LiveCrystal(hkl=crystal.hkl, observed=observed, half=crystal.half))
    true_scales = correlation_with_truth(merge_of(on_scale, is_scaled=False), made)
    assert live > plain and live > true_scales - short_of_best, (plain, live, true_scales)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_error_of_the_model_is_measured(spread):
    scaling = merge_of(MadeCrystals(noise=0.1, partiality_spread=spread).many(250)).scaling
    assert scaling.model_error == pytest.approx(max(spread, 0.1), abs=0.06)


def test_errors_of_scaled_intensities_are_as_large_as_their_deviations():
    made = MadeCrystals(noise=0.3)
    found = merge_of(made.many(600)).reflection_list(least=2)
    true = made.truth_of(found.hkl)
    z = (found.intensity * (true @ found.intensity / (found.intensity @ found.intensity)) - true) / found.sigma
    assert 0.6 < 1.4826 * np.median(np.abs(z)) < 1.4


def test_memory_depends_on_reflections_only():
    made = MadeCrystals(d_min=4.0, n_observations=150)
    merge = merge_of(made.many(300))
    before = {name: array.nbytes for name, array in state_of(merge)[1].items()}
    assert merge.is_settled
    for crystal in made.many(300):
        merge.add(crystal)
    assert {name: array.nbytes for name, array in state_of(merge)[1].items()} == before


AMBIGUOUS = [("4/m", "4/mmm", TETRAGONAL, 300), ("-3_H", "6/mmm", HEXAGONAL, 500)]


@pytest.mark.parametrize(("symmetry", "apparent", "cell", "n"), AMBIGUOUS, ids=["two ways", "four ways"])
def test_ambiguities_are_resolved_on_the_way(symmetry, apparent, cell, n):
    operators = ambiguity_operators(point_group(apparent), point_group(symmetry))
    made = MadeCrystals(symmetry=symmetry, cell=cell, operators=operators, d_min=3.0, noise=0.7)
    merge = merge_of(made.many(n), symmetry=symmetry, cell=cell, operators=operators)
    ambiguity = merge.ambiguity
    assert ambiguity.outcome == "resolved" and ambiguity.agreement > 0.9
    assert sum(ambiguity.n_of_label) == merge.n_merged and merge.n_merged + merge.n_held == n
    assert merge.n_held < 0.05 * n
    sure = correlation_with_truth(merge, made, operators)
    mixed = correlation_with_truth(merge_of(made.many(n), symmetry=symmetry, cell=cell), made, operators)
    assert sure > 0.99 and mixed < 0.95


def test_labels_of_single_crystals_are_right():
    operators = ambiguity_operators(point_group("4/mmm"), point_group("4/m"))
    made = MadeCrystals(symmetry="4/m", operators=operators, d_min=3.0, noise=1.0, partiality_spread=0.5)
    merge = merge_of(made.many(400), symmetry="4/m", operators=operators)
    assert merge.ambiguity.outcome == "resolved"
    made.labels.clear()
    labels = []
    for crystal in made.many(300):
        before = list(merge.ambiguity.n_of_label)
        merge.ambiguity.pending.take_all()
        merge.add(crystal)
        given = np.flatnonzero(np.array(merge.ambiguity.n_of_label) > before)
        labels.append(int(given[0]) if len(given) == 1 else -1)
    decided = np.array(labels) >= 0
    right = np.mean(np.array(labels)[decided] == np.array(made.labels)[decided])
    assert decided.mean() > 0.8 and max(right, 1.0 - right) > 0.985, (decided.mean(), right)


def test_where_there_is_nothing_to_resolve_crystals_are_merged_as_they_are(monkeypatch):
    from braggstream.steps.merging import live_ambiguity

    monkeypatch.setattr(live_ambiguity, "MOST_CRYSTALS", 250)
    operators = ambiguity_operators(point_group("4/mmm"), point_group("4/m"))
    crystals = MadeCrystals(symmetry="4/mmm", d_min=3.0).many(300)
    merge = merge_of(crystals[:249], symmetry="4/m", operators=operators, is_scaled=False)
    assert merge.n_merged == 0 and merge.n_held == 249, "nothing undecided is merged"
    for crystal in crystals[249:]:
        merge.add(crystal)
    assert merge.ambiguity.outcome == "none" and 0.3 < merge.ambiguity.agreement < 0.7
    plain = merge_of(crystals, symmetry="4/m", is_scaled=False)
    assert hkl_text(merge.reflection_list()) == hkl_text(plain.reflection_list())


def test_a_crystal_that_cannot_be_told_waits_and_is_dropped_when_there_is_no_room(monkeypatch):
    operators = ambiguity_operators(point_group("4/mmm"), point_group("4/m"))
    made = MadeCrystals(symmetry="4/m", operators=operators, d_min=3.0)
    merge = merge_of(made.many(200), symmetry="4/m", operators=operators)
    merge.ambiguity.pending.take_all()
    merge.ambiguity.pending.most = 12
    few = LiveCrystal(hkl=np.array([[1, 2, 3]] * 5, np.int32), observed=np.ones((2, 5)), half=0)
    for _ in range(4):
        merge.add(few)
    assert (len(merge.ambiguity.pending), merge.ambiguity.n_dropped) == (2, 2)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_a_checkpoint_brings_everything_back(tmp_path, is_scaled):
    operators = ambiguity_operators(point_group("4/mmm"), point_group("4/m"))
    made = MadeCrystals(symmetry="4/m", operators=operators, d_min=4.0)
    crystals = [made.one(group="on" if n % 3 else "off") for n in range(330)]
    options = {"symmetry": "4/m", "operators": operators, "is_scaled": is_scaled}
    whole = merge_of(crystals[:300], **options)
    assert whole.is_settled
    path = tmp_path / "state"
    path.write_bytes(checkpoint_bytes(*state_of(whole)))
    again = merge_of([], **options)
    take_state(again, *read_checkpoint(str(path)))
    for crystal in crystals[300:]:
        whole.add(crystal)
        again.add(crystal)
    for group in ("", "on", "off"):
        assert hkl_text(whole.reflection_list(group)) == hkl_text(again.reflection_list(group))
    assert state_of(whole)[0] == state_of(again)[0]


@pytest.mark.parametrize("spoil", [b"", b"nonsense", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, spoil):
    path = tmp_path / "state"
    path.write_bytes(spoil)
    with pytest.raises(ValueError, match=r"checkpoint|archive|data|pickle|truncated|empty"):
        read_checkpoint(str(path))


def test_the_end_of_a_stream_file_is_read_in_whole_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("braggstream.formats.stream_tail._PIECE", 1000)
    crystals = MadeCrystals(n_observations=20).many(12)
    chunks = [chunk_text(crystals[n : n + 1], n) for n in range(12)]
    path = tmp_path / "a.stream"
    path.write_text(HEADER + "".join(chunks) + chunks[0][:300])
    begin = len(HEADER) + len(chunks[0])
    found = [c for piece in read_tail(str(path), begin, path.stat().st_size) for c in split_chunks(piece)]
    assert [c.decode() for c in found] == chunks[1:]
    mark = witness(str(path), begin)
    assert mark == witness(str(path), begin) != witness(str(path), begin + 1)
