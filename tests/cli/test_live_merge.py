"""`indexamajig --live-merge` as a user runs it: frames from a beamline, the run killed and taken up again."""

import json
import os
import signal

import pytest

from braggstream.cli.process_hkl import run as process_hkl
from braggstream.formats.hkl import read_hkl
from cli.commands import Beamline, Running, indexamajig
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
            eventually(lambda: (snapshot(sample) or {"crystals": {"seen": 0}})["crystals"]["seen"] >= 40, 100)
            os.killpg(session.process.pid, signal.SIGKILL)
            session.process.wait()
        n_before = session.stream.read_bytes().count(b"--- End crystal\n")
        assert n_before >= 40
        goals = ["--goal=multiplicity>9@20-4A", "--goal=completeness>20%@20-4A", "--stop-at-goal", "--append"]
        with Running(sample, *words, *goals) as session:
            assert session.process.wait(100) == 0, session.text
    assert "All goals are reached: stopping" in session.text
    assert "crystals are taken from" in session.text or "goes on from" in session.text
    summary = json.loads(session.summary_file.read_text())
    found = summary["live_merge"]
    n_in_stream = session.stream.read_bytes().count(b"--- End crystal\n")
    assert found["crystals"]["seen"] == n_in_stream > n_before
    assert [goal["reached"] for goal in found["goals"]] == [True, True]
    check_offline(session.stream, sample, found)
    assert found["seconds_spent"] < 0.05 * sum(summary["seconds_by_step"].values())


def check_offline(stream, folder, found):
    """Merge the stream file with `process_hkl`, compare with `compare_hkl`: the same lists, the same figures."""
    for name, more in (("hkl", []), ("hkl1", ["--half=1"]), ("hkl2", ["--half=2"])):
        output = folder / f"offline.{name}"
        assert process_hkl(["-i", str(stream), "-o", str(output), "-y", "4/mmm", *more]) == 0
        live = (folder / f"out.live.{name}").read_text()
        assert output.read_text().partition("End of")[0] == live.partition("End of")[0]
    assert read_hkl(folder / "out.live.hkl").n_measured.sum() >= found["overall"]["measurements"]


def test_options_of_live_merging_are_checked_before_anything_is_done(sample):
    base = ["-i", "f.lst", "-o", "x.stream", "-g", sample / "d.geom"]
    with_cell = [*base, "-p", sample / "c.cell"]
    for words, complaint in (
        ([*with_cell, "--live-merge"], "--symmetry"),
        ([*base, "--live-merge", "-y", "4/mmm"], "--find-cell"),
    ):
        done = indexamajig(*words, cwd=sample)
        assert done.returncode == 1 and complaint in done.stderr and "Traceback" not in done.stderr
    assert not (sample / "x.stream").exists()
