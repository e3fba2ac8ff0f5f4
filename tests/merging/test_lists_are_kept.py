"""What programs write at their end does not destroy what stood there: it is kept, and nothing takes the place of it
where there is nothing to write, or where the writing fails.
"""

import numpy as np
import pytest

import braggstream as bs
from braggstream.cli.main import main
from braggstream.formats.cell import write_cell
from braggstream.formats.stream_reindex import reindex_stream
from braggstream.model.errors import UserError
from merging.ambiguous_crystals import CELL, ambiguous_crystals, stream_text

PRECIOUS = "the result of a week\n"
MERGED = ["-i", "x.hkl", "-y", "4/m"]
COMMANDS = {
    "process_hkl": (["process_hkl", "-i", "x.stream", "-o", "NEW", "-y", "4/m"], "new.hkl"),
    "partialator": (["partialator", "-i", "x.stream", "-o", "NEW", "-y", "4/m", "--model=unity", "-n1"], "new.hkl"),
    "get_hkl": (["get_hkl", *MERGED, "-o", "NEW"], "new.hkl"),
    "get_hkl, MTZ": (["get_hkl", *MERGED, "-o", "NEW", "-p", "x.cell", "--output-format=mtz"], "new.mtz"),
    "get_hkl, XDS": (["get_hkl", *MERGED, "-o", "NEW", "-p", "x.cell", "--output-format=xds"], "new.xds"),
    "get_hkl, Parquet": (["get_hkl", *MERGED, "-o", "NEW"], "new.parquet"),
    "check_hkl": (["check_hkl", "x.hkl", "-y", "4/m", "-p", "x.cell", "--shell-file=NEW"], "new.dat"),
    "ambigator": (["ambigator", "x.stream", "-y", "4/m", "-w", "4/mmm", "-o", "NEW"], "new.stream"),
    "ambigator, list": (["ambigator", "x.stream", "-y", "4/m", "-w", "4/mmm", "--end-assignments=NEW"], "new.txt"),
    "cell_explorer": (["cell_explorer", "x.stream", "--json=NEW"], "new.json"),
    "export": (["export", "x.stream", "-o", "NEW", "-p", "x.cell", "-y", "4/m"], "new.mtz"),
    "export, Parquet": (["export", "x.stream", "-o", "NEW"], "new.parquet"),
    "report": (["report", "--stream=x.stream", "-p", "x.cell", "-o", "NEW"], "new.html"),
    "solutions": (["solutions", "x.stream", "-o", "NEW"], "new.sol"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A stream, a merged list and a cell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.stream").write_text(stream_text(ambiguous_crystals(25)[0]))
    (tmp_path / "x.cell").write_text(write_cell(CELL))
    assert main(["process_hkl", "-i", "x.stream", "-o", "x.hkl", "-y", "4/m"]) == 0
    return tmp_path


@pytest.mark.parametrize("what", COMMANDS)
def test_what_a_file_held_is_kept(folder, capfd, what):
    words, name = COMMANDS[what]
    (folder / name).write_text(PRECIOUS)
    capfd.readouterr()
    assert main([word.replace("NEW", name) for word in words]) == 0, capfd.readouterr().err
    assert (folder / f"{name}.previous").read_text() == PRECIOUS
    assert (folder / name).read_bytes()[:20] != PRECIOUS.encode()[:20]
    told = [line for line in capfd.readouterr().err.splitlines() if f"{name}: what it held is kept as" in line]
    assert len(told) == 1
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_list_without_reflections_does_not_take_the_place_of_one_that_has_some(folder, capfd):
    before = (folder / "x.hkl").read_bytes()
    header = (folder / "x.stream").read_text().partition("----- Begin chunk")[0]
    (folder / "empty.stream").write_text(header)
    for words in (
        ["process_hkl", "-i", "empty.stream", "-o", "x.hkl", "-y", "4/m"],
        ["get_hkl", *MERGED, "-o", "x.hkl", "-p", "x.cell", "--highres=1000"],
    ):
        status = main(words)
        error = capfd.readouterr().err
        assert status != 0 and "x.hkl: there are no reflections to write" in error, error
        assert (folder / "x.hkl").read_bytes() == before and not (folder / "x.hkl.previous").exists()


def test_a_stream_that_cannot_be_copied_leaves_what_was_there(folder):
    (folder / "new.stream").write_text(PRECIOUS)
    no_crystal_of_it = (np.eye(3), True)
    with pytest.raises(UserError, match="were not found again"):
        reindex_stream("x.stream", "new.stream", crystals=[no_crystal_of_it], operator=np.eye(3, dtype=int))
    assert (folder / "new.stream").read_text() == PRECIOUS
    assert sorted(path.name for path in folder.glob("*new*")) == ["new.stream"]


def test_logs_of_partial_merging_are_kept(folder, capfd):
    words = ["partialator", "-i", "x.stream", "-o", "n.hkl", "-y", "4/m", "--model=xsphere", "-n1"]
    words += ["--log-folder=logs"]
    (folder / "logs").mkdir()
    (folder / "logs" / "notes.txt").write_text(PRECIOUS)
    assert main(words) == 0
    first = (folder / "logs" / "pgraph.dat").read_bytes()
    (folder / "logs" / "crystal99-cycle0.log").write_text(PRECIOUS)
    for _ in range(2):
        assert main(words) == 0
        assert "The logs that were in 'logs' are kept in logs/previous" in capfd.readouterr().err
    assert (folder / "logs" / "previous" / "pgraph.dat").read_bytes() == first
    assert (folder / "logs" / "notes.txt").read_text() == PRECIOUS
    assert not list((folder / "logs").glob("*crystal99*"))


def test_streams_written_in_python_are_kept(folder):
    stream = bs.read_stream("x.stream")
    results = list(stream)
    assert bs.write_stream("y.stream", stream.geometry, results) == len(results) > 1
    before = (folder / "y.stream").read_bytes()

    def fails():
        yield results[0]
        raise ValueError("a mistake in a notebook")

    with pytest.raises(ValueError, match="a mistake"):
        bs.write_stream("y.stream", stream.geometry, fails())
    assert (folder / "y.stream").read_bytes() == before
    bs.write_stream("y.stream", stream.geometry, results[:1])
    assert (folder / "y.stream.previous").read_bytes() == before
