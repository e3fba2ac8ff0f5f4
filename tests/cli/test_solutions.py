"""From a stream file to a list of lattices and back, as a user does it."""

import numpy as np

from braggstream.formats.stream_read import read_stream
from cli.commands import BRAGGSTREAM, PF8, indexamajig, run


def test_lattices_written_and_used_again(still_set, tmp_path):
    words = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, *PF8]
    first = indexamajig(*words, "-o", tmp_path / "a.stream")
    assert first.returncode == 0, first.stderr
    made = run(*BRAGGSTREAM, "solutions", tmp_path / "a.stream", "-o", tmp_path / "a.sol")
    assert made.returncode == 0, made.stderr
    words += ["--indexing=file", f"--fromfile-input-file={tmp_path / 'a.sol'}", "--no-refine", "--no-retry"]
    second = indexamajig(*words, "-o", tmp_path / "b.stream")
    assert second.returncode == 0, second.stderr
    before, after = (
        {frame.identity.event: frame.crystals for frame in read_stream(tmp_path / f"{name}.stream")}
        for name in "ab"
    )
    assert before.keys() == after.keys()
    assert sum(map(len, before.values())) == sum(map(len, after.values())) > 3
    assert f"{sum(map(len, before.values()))} crystals" in made.stderr
    for event, crystals in before.items():
        for one, other in zip(crystals, after[event], strict=True):
            assert np.allclose(one.reciprocal_axes, other.reciprocal_axes, atol=2e-8, rtol=0)
            assert other.indexed_by == "file"
    shown = run(*BRAGGSTREAM, "solutions", tmp_path / "a.stream")
    assert shown.stdout == (tmp_path / "a.sol").read_text()


def test_faults_are_one_line(still_set, tmp_path):
    words = ["-i", still_set.list, "-g", still_set.geometry, "-o", tmp_path / "o.stream", "--indexing=file"]
    done = indexamajig(*words)
    assert (done.returncode, "--fromfile-input-file" in done.stderr) == (1, True)
    assert not (tmp_path / "o.stream").exists()
    done = indexamajig(*words, "--fromfile-input-file=nowhere.sol")
    assert done.returncode == 1 and "nowhere.sol: cannot read the list of solutions" in done.stderr
    assert not (tmp_path / "o.stream").exists()
    (tmp_path / "bad.sol").write_text("a.h5 //0 1 2 3\n")
    done = indexamajig(*words, f"--fromfile-input-file={tmp_path / 'bad.sol'}")
    assert done.returncode == 1 and "bad.sol:1: has 5 fields" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(*BRAGGSTREAM, "solutions", tmp_path / "bad.sol")
    assert done.returncode == 2 and "is no stream file" in done.stderr
