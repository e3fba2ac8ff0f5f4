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


def test_the_cache_merges_as_the_stream_file_does(still_set, tmp_path):
    stream, cache = tmp_path / "o.stream", tmp_path / "o.arrows"
    words = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, *PF8, "-j", 2]
    done = indexamajig(*words, "-o", stream, f"--reflections-out={cache}")
    assert done.returncode == 0, done.stderr
    assert check_same(cache, stream) > 3
    ours, theirs = merged(tmp_path, cache), merged(tmp_path, stream)
    assert ours.split(END)[0] == theirs.split(END)[0] and "--reflections-out" in ours.split(END)[1]
    # The cache has reflections also where the stream file is to have none.
    bare = tmp_path / "bare.arrows"
    done = indexamajig(*words, "-o", tmp_path / "b", f"--reflections-out={bare}", "--no-refls-in-stream")
    assert done.returncode == 0, done.stderr
    assert merged(tmp_path, bare).split(END)[0] == ours.split(END)[0]


def test_the_cache_of_a_killed_run(still_set, tmp_path):
    cache = tmp_path / "o.arrows"
    frames = tmp_path / "many.lst"
    frames.write_text(still_set.list.read_text() * 200)
    words = ["-i", frames, "-g", still_set.geometry, "-p", still_set.cell, *PF8, "-j", 1]
    with Running(tmp_path, *words, f"--reflections-out={cache}") as session:
        eventually(lambda: (cache.exists() and cache.stat().st_size > 20_000) or session.process.poll(), 60)
        os.kill(session.process.pid, signal.SIGKILL)
        session.process.wait()
    with pa.OSFile(str(cache)) as file:
        assert len(pa.ipc.open_stream(file).schema) > 20
    blocks = list(ColumnsFile(cache))
    assert blocks
    one, other = joined(blocks), joined(list(read_observations(session.stream)))
    assert 0 < one.n_crystals <= other.n_crystals
    assert one.crystals.event == other.crystals.event[: one.n_crystals]
    assert np.array_equal(one.intensity, other.intensity[: len(one)])


def test_what_cannot_be_done_is_told(still_set, tmp_path):
    words = ["-i", still_set.list, "-g", still_set.geometry, "-o", tmp_path / "o.stream"]
    for more, message in (
        ([f"--reflections-out={tmp_path}/o.stream"], "o.stream would overwrite"),
        ([f"--reflections-out={tmp_path}/o.parquet"], "name it .arrows"),
        ([f"--reflections-out={tmp_path}/o.arrows", "--cell-parameters-only"], "needs reflections"),
    ):
        with pytest.raises(UserError, match=message):
            understand([*map(str, words), *more])
