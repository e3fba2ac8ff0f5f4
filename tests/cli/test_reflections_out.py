"""`indexamajig --reflections-out`: the cache holds what the stream file holds, and survives a kill."""

import os
import signal

import numpy as np
import pyarrow as pa
import pytest

from braggstream.cli.indexamajig import understand
from braggstream.cli.main import main
from braggstream.formats.columns import ColumnsFile
from braggstream.formats.stream_columns import read_observations
from braggstream.model.errors import UserError
from braggstream.model.observations import COLUMNS, joined
from cli.commands import PF8, Running, indexamajig
from session_fakes.session_process import eventually

pytestmark = pytest.mark.system

END = "End of reflections"


def check_same(cache, stream):
    one, other = joined(list(ColumnsFile(cache))), joined(list(read_observations(stream)))
    for name in COLUMNS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    for name in ("event", "reciprocal_axes", "wavelength", "resolution_limit", "centring"):
        assert np.array_equal(getattr(one.crystals, name), getattr(other.crystals, name)), name
    return one.n_crystals


def merged(tmp_path, *paths):
    assert main(["process_hkl", *map(str, paths), "-y", "4/mmm", "-o", str(tmp_path / "a.hkl")]) == 0
    return (tmp_path / "a.hkl").read_text()


@pytest.fixture(scope="module")
def whole(still_set, tmp_path_factory):
    """Stream file and cache of a run that has ended."""
    folder = tmp_path_factory.mktemp("whole")
    stream, cache = folder / "o.stream", folder / "o.arrows"
    words = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, *PF8, "-j", 2]
    done = indexamajig(*words, "-o", stream, f"--reflections-out={cache}")
    assert done.returncode == 0, done.stderr
    return stream, cache


def test_the_cache_merges_as_the_stream_file_does(whole, tmp_path):
    stream, cache = whole
    assert check_same(cache, stream) > 3
    ours, theirs = merged(tmp_path, cache), merged(tmp_path, stream)
    assert ours.split(END)[0] == theirs.split(END)[0] and "--reflections-out" in ours.split(END)[1]


def test_the_cache_of_a_killed_run(whole, still_set, tmp_path):
    cache = tmp_path / "o.arrows"
    frames = tmp_path / "many.lst"
    frames.write_text(still_set.list.read_text() * 200)
    # The cache has reflections also where the stream file is to have none.
    words = ["-i", frames, "-g", still_set.geometry, "-p", still_set.cell, *PF8, "-j", 1, "--no-refls-in-stream"]
    with Running(tmp_path, *words, f"--reflections-out={cache}") as session:
        eventually(lambda: (cache.exists() and cache.stat().st_size > 20_000) or session.process.poll())
        os.kill(session.process.pid, signal.SIGKILL)
        session.process.wait()
    with pa.OSFile(str(cache)) as file:
        assert len(pa.ipc.open_stream(file).schema) > 20
    found, expected = joined(list(ColumnsFile(cache))), joined(list(ColumnsFile(whole[1])))
    in_stream = joined(list(read_observations(session.stream)))
    n = found.n_crystals
    assert 0 < n <= in_stream.n_crystals and found.crystals.event == in_stream.crystals.event[:n]
    assert np.array_equal(found.crystals.reciprocal_axes, in_stream.crystals.reciprocal_axes[:n])
    place = expected.crystals.event.index(found.crystals.event[0])
    assert len(in_stream) == 0 < len(found)
    assert np.array_equal(found.between(0, 1).intensity, expected.between(place, place + 1).intensity)


def test_what_cannot_be_done_is_told(still_set, tmp_path):
    words = ["-i", still_set.list, "-g", still_set.geometry, "-o", tmp_path / "o.stream"]
    for more, message in (
        ([f"--reflections-out={tmp_path}/o.stream"], "o.stream would overwrite"),
        ([f"--reflections-out={tmp_path}/o.parquet"], "name it .arrows"),
        ([f"--reflections-out={tmp_path}/o.arrows", "--cell-parameters-only"], "needs reflections"),
    ):
        with pytest.raises(UserError, match=message):
            understand([*map(str, words), *more])
