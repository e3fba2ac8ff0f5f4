"""Indexing ambiguities of simulated crystals: resolved where there is one, and left alone where there is none."""

import h5py
import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.formats.stream_columns import read_observations
from braggstream.formats.stream_reindex import reindex_stream
from braggstream.model.errors import UserError
from braggstream.model.index_operators import parse_operator
from braggstream.model.observations import joined
from braggstream.model.point_group import point_group
from braggstream.steps.merging import indexing_choices
from braggstream.steps.merging.ambiguity import resolve_ambiguity
from braggstream.steps.merging.ambiguity_data import comparable_reflections
from braggstream.steps.merging.pair_correlations import pair_correlations
from merging.ambiguous_crystals import ambiguous_crystals, stream_text

SWAP = parse_operator("k,h,-l")


def part_right(labels, truth):
    """Part of right labels; which of the two ways is called the right one is arbitrary."""
    right = float((labels == truth).mean())
    return max(right, 1.0 - right)


def resolved(observations, group="4/m", operator=SWAP, **more):
    data = comparable_reflections([observations], point_group(group), operator)
    return resolve_ambiguity(data, np.random.default_rng(1), **more)


@pytest.fixture(scope="module")
def five_hundred():
    """500 simulated crystals and the truth."""
    return ambiguous_crystals(500)


def test_500_crystals_are_resolved(five_hundred):
    observations, truth = five_hundred
    found = resolved(observations)
    assert found.is_resolved and found.agreement > 0.97
    assert part_right(found.labels, truth) >= 0.99
    f, g = found.passes[-1]
    assert np.nanmean(f) > np.nanmean(g) + 0.3
    assert found.labels.mean() <= 0.5


def test_weak_crystals_are_resolved():
    observations, truth = ambiguous_crystals(500, photons=20.0, seed=2)
    assert np.median(observations.intensity / observations.sigma) < 1.0
    found = resolved(observations)
    assert found.is_resolved and part_right(found.labels, truth) >= 0.95


@pytest.mark.parametrize("seed", [3, 4])
def test_where_there_is_no_ambiguity_nothing_is_reindexed(seed):
    observations, _ = ambiguous_crystals(300, true="4/mmm", seed=seed)
    found = resolved(observations)
    assert not found.is_resolved and 0.5 <= found.agreement < 0.62
    assert not found.labels.any()
    # What f and g look like says nothing by itself.
    f, g = found.passes[-1]
    assert np.nanmean(f) > np.nanmean(g)


@pytest.mark.parametrize("flipped", [0.3, 0.7])
def test_an_operator_that_is_not_its_own_inverse(flipped):
    """There is one right way only: reindexing the others instead would set the two kinds two turns apart."""
    observations, truth = ambiguous_crystals(200, true="222", operator="k,l,h", seed=5, flipped=flipped)
    found = resolved(observations, "222", parse_operator("k,l,h"))
    assert found.is_resolved and (found.labels == truth).mean() >= 0.95


def test_many_crystals_follow_some_of_them(monkeypatch):
    monkeypatch.setattr(indexing_choices, "N_FIRST", 120)
    observations, truth = ambiguous_crystals(300, true="222", operator="k,l,h", seed=5)
    found = resolved(observations, "222", parse_operator("k,l,h"), n_passes=2)
    assert found.is_resolved and (found.labels == truth).mean() >= 0.95


def test_without_an_operator_crystals_are_sorted_only(five_hundred):
    observations, truth = five_hundred
    found = resolved(observations, operator=None)
    assert found.is_resolved and part_right(found.labels, truth) >= 0.95


def test_a_start_that_is_given_decides_which_way_is_kept(five_hundred):
    observations, truth = five_hundred
    for start in (truth, ~truth):
        found = resolved(observations, start=start)
        assert (found.labels == start).mean() > 0.99


def test_correlations_of_pairs(five_hundred):
    observations, truth = five_hundred
    some = observations.between(0, 60)
    data = comparable_reflections([some], point_group("4/m"), SWAP)
    plain, reindexed = pair_correlations(data)
    (member, mate), value = data.images, data.observed[0]
    places = [slice(*data.start[n : n + 2]) for n in range(60)]
    rows = [dict(zip(member[place], value[place], strict=True)) for place in places]
    swapped = [dict(zip(mate[places[n]], row.values(), strict=True)) for n, row in enumerate(rows)]
    for one, other in ((3, 7), (20, 41)):
        for mine, matrix in ((rows[one], plain), (swapped[one], reindexed)):
            common = sorted(set(mine) & set(rows[other]))
            if len(common) < 4:
                assert matrix[one, other] == 0.0
            else:
                wanted = np.corrcoef([mine[n] for n in common], [rows[other][n] for n in common])[0, 1]
                assert matrix[one, other] == pytest.approx(wanted, abs=1e-4)
    alike = truth[:60, None] == truth[None, :60]
    for matrix, fits in ((plain, alike), (reindexed, ~alike)):
        computed = (matrix != 0.0) & ~np.eye(60, dtype=bool)
        assert matrix[fits & computed].mean() > matrix[~fits & computed].mean() + 0.2


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A stream file of 120 ambiguous crystals, and the truth."""
    monkeypatch.chdir(tmp_path)
    observations, truth = ambiguous_crystals(120, seed=6)
    (tmp_path / "in.stream").write_text(stream_text(observations))
    return tmp_path, truth


def positions_of(stream):
    block = joined(list(read_observations(stream)))
    axes = block.crystals.reciprocal_axes[block.crystal]
    return block, np.einsum("ni,nij->nj", block.hkl.astype(np.float64), axes)


def test_the_stream_is_rewritten_and_reflections_stay_where_they_are(made, capsys):
    folder, truth = made
    words = ["-y", "4/m", "-w", "4/mmm", "-o", "out.stream", "--end-assignments=end.txt", "--fg-graph=fg.dat"]
    assert main(["ambigator", "in.stream", *words, "-n", "3", "-j", "4", "--corr-matrix=m.h5", "--ncorr=30"]) == 0
    told = capsys.readouterr().err
    assert "Ambiguity operator: k,h,-l" in told and "of 120 crystals reindexed in out.stream" in told
    labels = np.loadtxt("end.txt") == 1
    assert part_right(labels, truth) >= 0.97
    assert np.loadtxt("fg.dat").shape == (3 * 120, 2)
    before, old = positions_of("in.stream")
    after, new = positions_of("out.stream")
    # Axes are rounded to 1e-7 nm⁻¹ in the file.
    assert new == pytest.approx(old, abs=40 * 2e-8)
    changed = labels[before.crystal]
    assert np.array_equal(after.hkl[~changed], before.hkl[~changed])
    assert np.array_equal(after.hkl[changed], before.hkl[changed].astype(int) @ SWAP)
    assert np.array_equal(after.intensity, before.intensity)
    text = (folder / "out.stream").read_text()
    head = text.partition("----- Begin geometry file")[0].splitlines()
    assert head[-2].startswith("Re-indexed by ambigator ") and head[-1].startswith("ambigator in.stream -y 4/m")
    assert len(text.splitlines()) == len((folder / "in.stream").read_text().splitlines()) + 2
    with h5py.File("m.h5") as file:
        assert file["correlation_matrix"].shape == file["correlation_matrix_reindexed"].shape == (120, 120)
        assert (file["correlation_matrix"][:] != 0).sum(axis=1).max() <= 30
    # All are indexed alike now, so there is nothing left to do.
    assert main(["ambigator", "out.stream", "-y", "4/m", "-w", "4/mmm", "--end-assignments=again.txt"]) == 0
    assert np.loadtxt("again.txt").sum() <= 3


def test_a_threefold_operator_leaves_reflections_where_they_are(made):
    _, _ = made
    np.savetxt("start.txt", np.ones(120), fmt="%d")
    words = ["-y", "222", "--operator=k,l,h", "--start-assignments=start.txt", "-n", "0", "-o", "out.stream"]
    assert main(["ambigator", "in.stream", *words]) == 0
    before, old = positions_of("in.stream")
    after, new = positions_of("out.stream")
    assert np.array_equal(after.hkl, before.hkl[:, [1, 2, 0]])
    assert new == pytest.approx(old, abs=40 * 2e-8)


def test_a_crystal_without_an_end_does_not_stop_the_others(made):
    folder, _ = made
    parts = (folder / "in.stream").read_text().split("--- End crystal\n")
    # The ninth crystal shares a frame with the tenth.
    parts[8:10] = [parts[8] + parts[9]]
    (folder / "in.stream").write_text("--- End crystal\n".join(parts))
    n_read = joined(list(read_observations("in.stream"))).n_crystals
    assert 118 <= n_read < 120
    words = ["-y", "4/m", "-w", "4/mmm", "-o", "out.stream", "--end-assignments=end.txt"]
    assert main(["ambigator", "in.stream", *words]) == 0
    before, old = positions_of("in.stream")
    after, new = positions_of("out.stream")
    changed = (np.loadtxt("end.txt") == 1)[before.crystal]
    assert np.array_equal(after.hkl[changed], before.hkl[changed].astype(int) @ SWAP)
    assert np.array_equal(after.hkl[~changed], before.hkl[~changed]) and new == pytest.approx(old, abs=40 * 2e-8)


def test_crystals_that_are_not_in_the_file_are_told(made):
    crystals = [(np.eye(3) / 50.0, True)]
    with pytest.raises(UserError, match=r"not found again in in\.stream"):
        reindex_stream("in.stream", "out.stream", crystals=crystals, operator=SWAP)


def test_crystals_that_the_reader_leaves_out_do_not_shift_the_assignments(made, capsys):
    folder, truth = made
    parts = (folder / "in.stream").read_text().split("--- Begin crystal\n")
    parts[5] = parts[5].replace("astar = ", "bad = ")
    (folder / "in.stream").write_text("--- Begin crystal\n".join(parts))
    words = ["-y", "4/m", "-w", "4/mmm", "-o", "out.stream", "--end-assignments=end.txt"]
    assert main(["ambigator", "in.stream", *words]) == 0
    assert "a crystal is left out" in capsys.readouterr().err
    labels = np.loadtxt("end.txt") == 1
    assert len(labels) == 119 and part_right(labels, np.delete(truth, 4)) >= 0.97
    before, after = positions_of("in.stream"), positions_of("out.stream")
    assert after[1] == pytest.approx(before[1], abs=40 * 2e-8)


@pytest.mark.golden
def test_the_reference_s_crystals_have_no_ambiguity(golden, capsys):
    # Their true symmetry is 4/mmm; the reference's f and g look convincing there.
    assert main(["ambigator", str(golden / "merging" / "many.stream.xz"), "-y", "4/m", "-w", "4/mmm"]) == 0
    told = capsys.readouterr().err
    agreement = float(told.split("halves of the reflections: ")[1].split(" %")[0])
    assert agreement < 62.0 and "0 of 290 crystals to be reindexed" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-y", "4/m", "-o", "x"], "-o needs a known ambiguity operator"),
        (["-y", "4/m", "-w", "4/mmm", "--operator=k,h,-l"], "give either -w or --operator"),
        (["-y", "222", "-w", "432"], "expected one ambiguity operator, there are 5"),
        (["-y", "4/m", "-w", "4"], "4/m is no subgroup of 4"),
        (["-y", "4/m", "--operator=k,h,-2l"], "its determinant is neither 1 nor -1"),
        (["-y", "4/mmm", "--operator=k,h,-l"], "there is no ambiguity"),
        (["-y", "4/m", "-w", "4/mmm", "-o", "in.stream"], "cannot be written over itself"),
        (["-y", "4/m", "-w", "4/mmm", "--lowres=2", "--highres=3"], "--lowres is not a lower resolution"),
        (["-y", "4/m", "-w", "4/mmm", "--highres=70"], "nothing can be told"),
        (["-y", "4/m", "-w", "4/mmm", "--start-assignments=in.stream"], "in.stream:1: expected 0 or 1"),
        (["-y", "4/m", "-w", "4/mmm", "more.stream"], "expected one stream file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(made, capsys, words, message):
    assert main(["ambigator", "in.stream", *words]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last and last.startswith("ambigator: ")
