"""`list_events`: the frames of files as a list that `indexamajig -i` takes."""

import h5py
import numpy as np
import pytest

from braggstream.cli.main import main
from merging.ambiguous_crystals import GEOMETRY


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two HDF5 files with groups of stacks, the geometry, and a file that is no HDF5."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as file:
        file["run/ev_10/data"] = np.zeros((2, 4, 4), np.int16)
        file["run/ev_2/data"] = np.zeros((1, 4, 4), np.int16)
    with h5py.File("two words.h5", "w") as file:
        file["run/x/data"] = np.zeros((101, 4, 4), np.int16)
    (tmp_path / "x.cbf").write_bytes(b"###CBF")
    (tmp_path / "x.geom").write_text(GEOMETRY.replace("data = /data", "data = /run/%/data"))
    return tmp_path


def test_every_frame_is_listed(files, capsys):
    (files / "files.lst").write_text("a.h5\n\ntwo words.h5\nx.cbf\nmissing.h5\n")
    assert main(["list_events", "-i", "files.lst", "-g", "x.geom", "-o", "out.lst"]) == 0
    lines = (files / "out.lst").read_text().splitlines()
    assert lines[:3] == ["a.h5 ev_10//0", "a.h5 ev_10//1", "a.h5 ev_2//0"]
    # Ids are never cut: CrystFEL cuts them at 15 characters.
    assert lines[3:104] == [f"two words.h5 x//{n}" for n in range(101)]
    assert lines[104:] == ["x.cbf //", "missing.h5 //"]
    told = capsys.readouterr().err.splitlines()
    assert told[:3] == ["3 events found in a.h5", "101 events found in two words.h5", "1 events found in x.cbf"]
    assert "missing.h5: there is no such file" in told[3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-g", "x.geom", "-o", "o"], "-i is missing"),
        (["-i", "files.lst", "-o", "o"], "-g is missing"),
        (["-i", "files.lst", "-g", "x.geom"], "-o is missing"),
        (["-i", "a.h5", "-g", "x.geom", "-o", "o"], "a.h5: is an HDF5 file, expected a list of files"),
        (["-i", "files.lst", "-g", "x.geom", "-o", "no/o"], "no/o: cannot write the list"),
        (["-i", "files.lst", "-g", "other.geom", "-o", "o"], "no frames at /other/%"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(files, capsys, words, message):
    (files / "files.lst").write_text("a.h5\n")
    (files / "other.geom").write_text(GEOMETRY.replace("data = /data", "data = /other/%"))
    assert main(["list_events", *words]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last and last.startswith("list_events: ")
