"""The watcher that merges: what it writes and keeps, and what a restart makes of it."""

import json
import os
import signal
from dataclasses import replace

import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.hkl import read_hkl
from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.live_merge_settings import LiveMergeSettings
from braggstream.model.settings import IndexingSettings, OutputSettings, Settings
from braggstream.run import live_merge_watcher
from braggstream.run.live_merge_watcher import LiveMergeWatcher
from braggstream.sinks.live_lists import group_files
from merging.made_crystals import HEADER, TETRAGONAL, MadeCrystals, chunk_text

GEOMETRY = parse_geometry(HEADER.partition("geometry file -----\n")[2].partition("-----")[0], "made.geom")


class Session:
    """A stream file and its watcher; frames are recorded as the session's loop does it."""

    def __init__(self, folder, chunks, *, cell=TETRAGONAL, **more):
        self.chunks = chunks
        self.stream = folder / "run.stream"
        self.prefix = folder / "run.live"
        self.chosen = LiveMergeSettings(
            **{"symmetry": "4/mmm", "prefix": str(self.prefix), "checkpoint": f"{self.prefix}.checkpoint"} | more
        )
        self.settings = Settings(indexing=IndexingSettings(target_cell=cell, find_cell=cell is None))
        self.lines = []

    def begin(self, *, append=False):
        if not append:
            self.stream.write_text(HEADER)
        output = OutputSettings(stream_file=str(self.stream), append=append)
        setup = Setup(processor="", geometry=GEOMETRY, settings=self.settings, output=output)
        self.watcher = LiveMergeWatcher(setup, self.chosen, self.lines.append)
        self.watcher.turn()
        return self.watcher

    def record(self, first, stop):
        for number in range(first, stop):
            chunk = self.chunks[number].encode()
            with self.stream.open("ab") as file:
                file.write(chunk)
            n_crystals = chunk.count(b"--- Begin crystal")
            self.watcher.recorded(FrameOutcome(serial=number, status="written", chunk=chunk, n_crystals=n_crystals))

    def summary(self):
        return json.loads((self.prefix.parent / "run.live.json").read_text())

    def lists(self):
        return {each.name: each.read_bytes() for each in sorted(self.prefix.parent.glob("run.live*.hkl*"))}


@pytest.fixture(scope="module")
def chunks():
    made = MadeCrystals(d_min=4.0, n_observations=120)
    return [
        chunk_text(made.many(number % 3), number, headers=f"header/float/laser = {number % 2:.6f}")
        for number in range(300)
    ]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    before = signal.getsignal(signal.SIGUSR2)
    monkeypatch.setattr(live_merge_watcher, "UPDATE_S", 0.0)
    monkeypatch.setattr(live_merge_watcher, "CHECKPOINT_S", 0.0)
    yield
    signal.signal(signal.SIGUSR2, before)


def test_everything_is_told_and_written(tmp_path, chunks):
    session = Session(tmp_path, chunks, merge_by="laser", goals=("multiplicity>20@4.1A",), n_shells=5)
    watcher = session.begin()
    assert watcher.status_line() == ""
    session.record(0, 50)
    watcher.turn()
    session.record(50, 100)
    assert watcher.turn() == ""
    early = session.summary()
    assert early["crystals"]["seen"] == 99 and len(early["shells"]) == 5
    assert watcher.status_line().startswith("Merged: 99 crystals, ")
    assert "multiplicity>20@4.1A in" in watcher.status_line()
    session.record(100, 300)
    found = watcher.finish()["live_merge"]
    assert found["crystals"] == {
        "seen": 300, "merged": 300, "measurements": 36000, "not_scaled": 0,
        "outliers": found["crystals"]["outliers"], "of_further_groups": 0,
    }  # fmt: skip
    assert set(found["groups"]) == {"0", "1"} and found["differences"][0]["groups"] == ["0", "1"]
    assert [point["crystals"] for point in found["history"]] == [49, 99, 300]
    shells = found["shell_history"][-1]
    assert shells["crystals"] == 300 and len(shells["cc_half"]) == len(shells["high_angstrom"]) == 5
    assert shells["cc_half"] == pytest.approx([row["cc_half"] for row in found["shells"]], rel=1e-4)
    assert "0 against 1: Riso" in watcher.status_line()
    assert session.summary()["overall"] == found["overall"] and found["overall"]["cc_half"] > 0.9
    assert 0.0 < found["seconds_spent"] < 20.0
    names = {f"run.live{group}.{kind}" for group in ("", "-0", "-1") for kind in ("hkl", "hkl1", "hkl2", "mtz")}
    assert names <= {each.name for each in tmp_path.iterdir()}
    merged = read_hkl(tmp_path / "run.live.hkl")
    assert merged.n_measured.sum() == found["overall"]["measurements"]
    assert any("lists are in" in line for line in session.lines)


def test_lists_are_written_on_a_signal_and_from_time_to_time(tmp_path, chunks):
    session = Session(tmp_path, chunks)
    watcher = session.begin()
    session.record(0, 20)
    watcher.turn()
    assert not session.lists()
    os.kill(os.getpid(), signal.SIGUSR2)
    watcher.turn()
    assert set(session.lists()) == {"run.live.hkl", "run.live.hkl1", "run.live.hkl2"}
    watcher.finish()
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    session = Session(tmp_path, chunks, snapshot_every_s=0.0)
    watcher = session.begin()
    session.record(0, 40)
    before = session.lists()
    watcher.turn()
    assert session.lists() != before
    watcher.finish()


def test_a_run_ends_at_its_goals(tmp_path, chunks):
    goals = ("completeness>90@inf-4.2A", "multiplicity>8@inf-4.2A")
    session = Session(tmp_path, chunks, goals=goals, stop_at_goal=True)
    watcher = session.begin()
    for number in range(300):
        session.record(number, number + 1)
        if watcher.turn():
            break
    assert 30 < number < 200 and watcher.turn() == "All goals are reached"
    found = watcher.finish()["live_merge"]
    assert [goal["reached"] for goal in found["goals"]] == [True, True]
    assert found["goals"][1]["value"] == pytest.approx(8.0, abs=0.5)


@pytest.mark.parametrize("scale", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("kept_at", [100, 260])
def test_a_killed_run_goes_on_where_it_was(tmp_path, chunks, scale, kept_at):
    """The checkpoint is older than the stream file, which ends within a chunk that the sink cuts off."""
    whole = Session(tmp_path, chunks, scale=scale)
    whole.begin()
    whole.record(0, 300)
    expected = whole.watcher.finish()["live_merge"], whole.lists()
    folder = tmp_path / "killed"
    folder.mkdir()
    session = Session(folder, chunks, scale=scale)
    watcher = session.begin()
    session.record(0, kept_at)
    watcher.turn()
    watcher.turn = watcher.finish = None  # Killed: nothing more is kept.
    session.record(kept_at, 280)
    watcher._unlisten()
    is_kept = (folder / "run.live.checkpoint").exists()
    again = session.begin(append=True)
    assert is_kept or (scale and kept_at == 100), "as long as crystals are scaled together there is no checkpoint"
    assert any("goes on from" in line for line in session.lines) == is_kept
    session.record(280, 300)
    found = again.finish()["live_merge"], session.lists()
    assert found[0]["crystals"] == expected[0]["crystals"]
    assert found[1] == expected[1]
    assert found[0]["overall"] == expected[0]["overall"]


def test_a_checkpoint_of_something_else_is_not_used(tmp_path, chunks):
    session = Session(tmp_path, chunks, scale=False)
    session.begin()
    session.record(0, 200)
    expected = session.watcher.finish()["live_merge"]["crystals"]["seen"]
    kept = (tmp_path / "run.live.checkpoint").read_bytes()
    other = replace(session.chosen, symmetry="4/m", ambiguity="off")
    for what in ("options", "file", "shorter", "torn", "nonsense"):
        chosen, session.chosen = session.chosen, other if what == "options" else session.chosen
        text = session.stream.read_text()
        if what == "file":
            session.stream.write_text(text.replace("2.3\n", "2.3\nAnother one\n", 1))
        path = tmp_path / "run.live.checkpoint"
        path.write_bytes(kept[:5000] if what == "torn" else b"nonsense" if what == "nonsense" else kept)
        if what == "shorter":
            session.stream.write_text(HEADER + "".join(chunks[:100]))
        session.lines.clear()
        session.begin(append=True)
        assert any("is not used" in line for line in session.lines), what
        n = 99 if what == "shorter" else expected
        assert session.watcher.finish()["live_merge"]["crystals"]["seen"] == n, what
        session.stream.write_text(text)
        session.chosen = chosen


def test_a_cell_that_is_found_later_is_used_from_then_on(tmp_path, chunks):
    session = Session(tmp_path, chunks, cell=None)
    watcher = session.begin()
    session.record(0, 30)
    assert watcher.status_line() == "" and watcher.turn() == ""
    found = Adjustments(number=1, indexing=IndexingSettings(target_cell=TETRAGONAL))
    outcome = FrameOutcome(serial=1, status="written")
    assert watcher.see(outcome, found) is None
    session.record(30, 60)
    summary = watcher.finish()["live_merge"]
    assert summary["crystals"]["seen"] == sum(number % 3 for number in range(60))


def test_groups_whose_names_look_alike_have_files_of_their_own():
    assert group_files("a", ["", "on", "o/n", "o n"]) == {"": "a", "on": "a-on", "o/n": "a-o_n", "o n": "a-o_n-2"}


def test_without_a_cell_nothing_is_merged_and_that_is_told(tmp_path, chunks):
    session = Session(tmp_path, chunks, cell=None)
    session.begin()
    session.record(0, 30)
    assert session.watcher.finish() == {"live_merge": None}
    assert any("nothing was merged" in line for line in session.lines)


def test_what_cannot_be_written_is_told_once_and_the_session_goes_on(tmp_path, chunks):
    session = Session(
        tmp_path, chunks, prefix=str(tmp_path / "gone" / "x"), checkpoint=str(tmp_path / "gone" / "y")
    )
    watcher = session.begin()
    for first in (0, 20, 40):
        session.record(first, first + 20)
        watcher.turn()
    assert watcher.finish()["live_merge"]["crystals"]["seen"] == 60
    complaints = [line for line in session.lines if "cannot write" in line]
    assert 1 <= len(complaints) == len(set(complaints)) <= 3


def test_a_stream_that_is_no_file_is_merged_without_a_checkpoint(tmp_path, chunks):
    os.mkfifo(tmp_path / "run.stream")
    session = Session(tmp_path, chunks)
    setup_stream = session.stream
    reader = os.open(setup_stream, os.O_RDONLY | os.O_NONBLOCK)
    try:
        watcher = session.begin(append=True)
        for number in range(40):
            chunk = chunks[number].encode()
            n_crystals = chunk.count(b"--- Begin crystal")
            watcher.recorded(FrameOutcome(serial=number, status="written", chunk=chunk, n_crystals=n_crystals))
        watcher.turn()
        assert watcher.finish()["live_merge"]["crystals"]["seen"] == sum(n % 3 for n in range(40))
    finally:
        os.close(reader)
    assert not (tmp_path / "run.live.checkpoint").exists()


def test_the_plain_merge_is_that_of_process_hkl(tmp_path, chunks):
    from braggstream.cli.process_hkl import run as process_hkl

    session = Session(tmp_path, chunks, scale=False, polarisation="vert80")
    session.begin()
    session.record(0, 300)
    session.watcher.finish()
    for name, more in (("run.live.hkl", []), ("run.live.hkl1", ["--half=1"]), ("run.live.hkl2", ["--half=2"])):
        output = tmp_path / f"off-{name}"
        words = ["-i", str(session.stream), "-o", str(output), "-y", "4/mmm", "--polarisation=vert80", *more]
        assert process_hkl(words) == 0
        assert output.read_text().partition("End of")[0] == (tmp_path / name).read_text().partition("End of")[0]
