"""Merging in parts, as machines of a cluster do: the same list, whatever is asked for and wherever it is done."""

import lzma
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.formats.columns import write_columns
from braggstream.formats.hkl import read_hkl
from braggstream.formats.observation_files import open_observations
from braggstream.formats.stream_columns import read_observations
from braggstream.model.errors import UserError
from braggstream.model.merge_settings import ChoiceSettings, MergeSettings
from braggstream.model.observations import joined
from braggstream.pipeline import merge_parts
from braggstream.pipeline.merging import merge_files
from braggstream.run.cluster import merge_on_cluster
from cli.commands import BRAGGSTREAM, run

pytestmark = pytest.mark.golden


class Here:
    """Stands in for a Dask client: what is submitted is done at once."""

    def map(self, function, things, **_):
        return [function(thing) for thing in things]

    def gather(self, results):
        return results

    def scatter(self, thing, **_):
        return thing

    def submit(self, function, *words, **_):
        return Done(function(*words))


class Done:
    def __init__(self, value):
        self.value = value

    def result(self):
        return self.value


@pytest.fixture(scope="module")
def files(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    stream, cache = folder / "many.stream", folder / "many.arrows"
    stream.write_bytes(lzma.decompress((golden / "merging" / "many.stream.xz").read_bytes()))
    write_columns(cache, read_observations(stream, n_crystals=37))
    return str(stream), str(cache)


def test_parts_make_the_whole(files):
    for path in files:
        (whole,) = open_observations(path) if path.endswith("m") else [joined(list(open_observations(path)))]
        for n_parts in (2, 7, 50):
            parts = [block for n in range(n_parts) for block in open_observations(path, part=(n, n_parts))]
            again = joined(parts)
            assert again.crystals.event == whole.crystals.event
            assert np.array_equal(again.intensity, whole.intensity)


def test_what_is_wrong_in_a_part_is_told_with_its_line(files, tmp_path):
    text = Path(files[0]).read_text()
    place = text.index("End of reflections", 2 * len(text) // 3)
    path = tmp_path / "a.stream"
    path.write_text(f"{text[:place]}1 2 3\n{text[place:]}")
    notices = [notice for part in (0, 1, 2, 3) for notice in told_of(path, (part, 4))]
    assert len(notices) == 1 and f"a.stream:{text[:place].count(chr(10)) + 1}: " in notices[0]


def told_of(path, part):
    reader = read_observations(path, part=part)
    assert len(list(reader)) == 1
    return reader.notices


PLAIN = MergeSettings(symmetry="4/mmm")


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        replace(PLAIN, scale=True, min_cc=0.5, min_snr=0.5, min_measurements=1),
        replace(PLAIN, choice=ChoiceSettings(start_after=50, stop_after=80, parity="odd")),
        replace(PLAIN, choice=ChoiceSettings(half=1), histogram_of=(1, 0, 1), push_res=0.05),
    ],
)
def test_the_result_is_that_of_one_machine(files, monkeypatch, settings):
    monkeypatch.setattr(merge_parts, "LEAST_BYTES", 100_000)
    assert len(merge_parts.parts_of(files)) > 60
    ours, theirs = merge_on_cluster(Here(), files, settings), merge_files(files, settings)
    one, other = ours.merged, theirs.merged
    single = merge_files(files, settings, n_threads=1).merged
    assert single.reflections.intensity.tobytes() == other.reflections.intensity.tobytes()
    assert np.array_equal(one.reflections.hkl, other.reflections.hkl) and len(one.reflections) > 1000
    assert np.array_equal(one.reflections.n_measured, other.reflections.n_measured)
    for name in ("intensity", "sigma"):
        assert np.allclose(getattr(one.reflections, name), getattr(other.reflections, name), rtol=1e-9, atol=1e-9)
    assert (one.n_crystals, one.n_observations) == (other.n_crystals, other.n_observations)
    assert [row.event for row in one.rows] == [row.event for row in other.rows]
    assert one.values == pytest.approx(other.values, rel=1e-9) and ours.audit == theirs.audit


def test_the_order_of_arrival_changes_nothing(files):
    (block,) = read_observations(files[0])
    shuffled = np.random.default_rng(3).permutation(block.n_crystals)
    lists = []
    for each in (block, block.take(shuffled)):
        merger = merge_parts.MeanMerger(PLAIN)
        merger.add(each)
        lists.append(merger.merged(n_crystals_seen=290).reflections)
    assert np.array_equal(lists[0].hkl, lists[1].hkl)
    assert np.allclose(lists[0].intensity, lists[1].intensity, rtol=1e-12, atol=1e-9)


CLUSTER = """
import sys
from braggstream.run.cluster import open_cluster
if __name__ == "__main__":
    with open_cluster(n_workers=1) as client:
        print(client.scheduler.address, flush=True)
        sys.stdin.read()
"""


@pytest.mark.system
def test_a_cluster_merges_as_this_machine_does(files, tmp_path):
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    words = ["process_hkl", *files, "-y", "4/mmm", "--odd-only", "-o"]
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as own:
        address = own.stdout.readline().strip()
        done = run(*BRAGGSTREAM, *words, tmp_path / "there.hkl", f"--dask-scheduler={address}")
        own.communicate()
    assert done.returncode == 0, done.stderr
    assert main([*words, str(tmp_path / "here.hkl")]) == 0
    there, here = (read_hkl(tmp_path / name) for name in ("there.hkl", "here.hkl"))
    assert np.array_equal(there.hkl, here.hkl) and np.array_equal(there.intensity, here.intensity)
    assert np.array_equal(there.sigma, here.sigma)


def test_what_a_cluster_cannot_do_is_told(files):
    with pytest.raises(UserError, match="cannot be merged on a cluster"):
        merge_on_cluster(Here(), ["-"], PLAIN)
    with pytest.raises(UserError, match="none: cannot be opened: No such file"):
        merge_on_cluster(Here(), ["none"], PLAIN)
