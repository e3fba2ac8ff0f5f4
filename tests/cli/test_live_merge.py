"""`indexamajig --live-merge` as a user runs it: frames from a beamline, the run killed and taken up again."""

import json
import os
import signal
import time

import pytest

from braggstream.cli.indexamajig import understand
from braggstream.cli.process_hkl import run as process_hkl
from braggstream.formats.hkl import read_hkl
from braggstream.model.errors import UserError
from cli.commands import Beamline, Running
from session_fakes.session_process import eventually

GEOMETRY = """photon_energy = beam_energy eV
clen = detector_distance mm
res = 13333.333
adu_per_photon = 1
flag_lessthan = 0
data = detector_data
p/min_fs = 0
p/max_fs = 299
p/min_ss = 0
p/max_ss = 279
p/corner_x = -150.3
p/corner_y = -140.2
p/fs = x
p/ss = y
"""
CELL = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c
a = 79.1 A
b = 79.1 A
c = 37.9 A
al = 90 deg
be = 90 deg
ga = 90 deg
"""
PEAKS = ["--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=10"]
LIVE = ["--live-merge", "-y", "4/mmm", "--no-live-scale", "--live-lowres=20", "--live-highres=4"]


@pytest.fixture
def sample(tmp_path):
    (tmp_path / "d.geom").write_text(GEOMETRY)
    (tmp_path / "c.cell").write_text(CELL)
    return tmp_path


def snapshot(folder):
    path = folder / "out.live.json"
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.system
def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(sample):
    """Real frames over ZeroMQ, `kill -9`, `--append`; then the numbers of the programs that merge offline."""
    geometry, cell = sample / "d.geom", sample / "c.cell"
    sending = ["-g", geometry, "-p", cell, "-n", 0, "--pool", 60, "--seed", 5, "--hit-fraction", 1.0]
    words = ["--zmq-request=next", "-g", geometry, "-p", cell, *PEAKS, "-j", 2, *LIVE]
    with Beamline(*sending, "--d-min", 3.8, "--photon-energy", 12000, "--camera-length", 0.08) as beamline:
        words.append(f"--zmq-input={beamline.endpoint}")
        with Running(sample, *words, "--live-snapshot-every=1") as session:
            eventually(lambda: (snapshot(sample) or {"crystals": {"seen": 0}})["crystals"]["seen"] >= 40)
            os.killpg(session.process.pid, signal.SIGKILL)
            session.process.wait()
        n_before = session.stream.read_bytes().count(b"--- End crystal\n")
        assert n_before >= 40
        goals = ["--goal=multiplicity>9@20-4A", "--goal=completeness>20%@20-4A", "--stop-at-goal", "--append"]
        started = time.monotonic()
        with Running(sample, *words, *goals) as session:
            assert session.process.wait(200) == 0, session.text
            seconds = time.monotonic() - started
    assert "All goals are reached: stopping" in session.text
    assert "crystals are taken from" in session.text or "goes on from" in session.text
    summary = json.loads(session.summary_file.read_text())
    found = summary["live_merge"]
    n_in_stream = session.stream.read_bytes().count(b"--- End crystal\n")
    assert found["crystals"]["seen"] == n_in_stream > n_before
    assert [goal["reached"] for goal in found["goals"]] == [True, True]
    check_offline(session.stream, sample, found)
    assert 0.0 < found["seconds_spent"] < 0.5 * seconds


def check_offline(stream, folder, found):
    """Merge the stream file with `process_hkl`, compare with `compare_hkl`: the same lists, the same figures."""
    for name, more in (("hkl", []), ("hkl1", ["--half=1"]), ("hkl2", ["--half=2"])):
        output = folder / f"offline.{name}"
        assert process_hkl(["-i", str(stream), "-o", str(output), "-y", "4/mmm", *more]) == 0
        live = (folder / f"out.live.{name}").read_text()
        assert output.read_text().partition("End of")[0] == live.partition("End of")[0]
    assert read_hkl(folder / "out.live.hkl").n_measured.sum() >= found["overall"]["measurements"]


def settings_of(sample, *words):
    base = ["-i", "f.lst", "-o", str(sample / "run.stream"), "-g", str(sample / "d.geom")]
    return understand([*base, *words]).run.live_merge


def test_options_become_settings(sample):
    cell = f"--pdb={sample / 'c.cell'}"
    assert settings_of(sample, cell) is None
    found = settings_of(
        sample, cell, "--live-merge", "-y", "4/m", "--no-live-scale", "--live-highres=2", "--goal=cc12>0.5@2A",
        "--goal=multiplicity>9@2A", "--stop-at-goal", "--merge-by=/entry/laser", "--live-ambiguity=k,h,-l",
    )  # fmt: skip
    assert (found.symmetry, found.scale, found.high, found.low) == ("4/m", False, 0.5, None)
    assert found.goals == ("cc12>0.5@2A", "multiplicity>9@2A") and found.stop_at_goal
    assert found.prefix == str(sample / "run.live") and found.checkpoint == f"{found.prefix}.checkpoint"
    headers = understand(
        ["-i", "f", "-o", str(sample / "o"), "-g", str(sample / "d.geom"), cell, "--live-merge", "-y", "1",
         "--merge-by=laser", "--copy-header=other", "--live-checkpoint=none"]
    )  # fmt: skip
    assert headers.settings.frame.copy_headers == ("laser", "other") and headers.run.live_merge.checkpoint is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--live-merge"], "--symmetry"),
        (["--live-merge", "-y", "5/m"], "no point group"),
        (["--goal=cc12>0.9@2A"], "--live-merge"),
        (["--merge-by=laser"], "--live-merge"),
        (["--live-merge", "-y", "4/m", "--goal=cc12"], "--goal=cc12"),
        (["--live-merge", "-y", "4/m", "--stop-at-goal"], "--goal"),
        (["--live-merge", "-y", "4/m", "--live-highres=0"], "--live-highres"),
        (["--live-merge", "-y", "4/m", "--live-highres=3", "--live-lowres=2"], "--live-lowres"),
        (["--live-merge", "-y", "4/m", "--live-polarisation=horiz101"], "polarisation"),
        (["--live-merge", "-y", "4/mmm", "--live-ambiguity=k,h,-l"], "part of the symmetry"),
        (["--live-merge", "-y", "4/m", "--live-ambiguity=k,h"], "operator"),
        (["--live-merge", "-y", "4/m", "--no-refls-in-stream"], "--no-refls-in-stream"),
        (["--live-merge", "-y", "4/m", "--live-prefix=/nowhere/x"], "/nowhere"),
    ],
)
def test_wrong_options_of_live_merging_are_refused_in_one_line(sample, words, complaint):
    with pytest.raises(UserError, match=complaint) as refusal:
        settings_of(sample, f"--pdb={sample / 'c.cell'}", *words)
    assert "\n" not in str(refusal.value)


def test_without_a_cell_there_is_nothing_to_merge(sample):
    with pytest.raises(UserError, match="--find-cell"):
        settings_of(sample, "--live-merge", "-y", "4/m")
    assert settings_of(sample, "--live-merge", "-y", "4/m", "--find-cell").symmetry == "4/m"
