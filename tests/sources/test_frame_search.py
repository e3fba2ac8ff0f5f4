"""The process that looks for frames: damaged files end it, not those who ask; and those who ask can be stopped."""

import os
import signal
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.hdf5_places import FramelessPlace, expand_file
from braggstream.model.settings import FileSourceSettings
from braggstream.sources import frame_search
from braggstream.sources.files import FileSource
from braggstream.sources.frame_search import FrameSearch
from session_fakes.session_process import eventually, is_running

PANEL = (
    "p/min_fs = 0\np/max_fs = 7\np/min_ss = 0\np/max_ss = 5\np/corner_x = -4\np/corner_y = -3\np/fs = x\np/ss = y\n"
)
TEXT = (
    "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"
    f"data = /entry/%\ndim0 = %\ndim1 = ss\ndim2 = fs\n{PANEL}"
)
GEOMETRY = parse_geometry(TEXT)
STANDS = """
import os, sys, time
for line in sys.stdin:
    if "good" in line:
        print('{"parts": ["a"], "lengths": [2]}\\n', flush=True)
    elif "loops" in line:
        import signal
        signal.setitimer(signal.ITIMER_PROF, 0.2)
        while True:
            pass
    elif "crashes" in line:
        print('{"parts": ["a"], "lengths": [1]}', flush=True)
        os.kill(os.getpid(), 11)
    else:
        time.sleep(600)
"""


@pytest.fixture
def write(tmp_path):
    def write_file(name):
        with h5py.File(tmp_path / name, "w") as file:
            file["entry/a"] = np.zeros((2, 6, 8), np.int16)
            file["entry/b ü"] = np.zeros((3, 6, 8), np.int16)
            file["entry/gone"] = h5py.SoftLink("/nowhere")
        return tmp_path / name

    return write_file


@pytest.fixture
def stand_in(monkeypatch):
    """A process that does with files what their names say, in place of the one that reads them."""
    start = subprocess.Popen

    def started(words, **more):
        return start([sys.executable, "-c", STANDS], **more)

    monkeypatch.setattr(frame_search.subprocess, "Popen", started)


def test_it_finds_what_is_found_without_it(write, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/sch\xf6n.h5")
    os.rename(write("f.h5"), odd)
    names = [odd, str(write("g.h5")), str(tmp_path / "none.h5")]
    search = FrameSearch(GEOMETRY)
    for name in names:
        assert list(search.events(name)) == list(expand_file(name, GEOMETRY))
    assert sum(isinstance(found, FramelessPlace) for found in search.events(odd)) == 1
    search.close()


def test_files_that_crash_it_or_keep_it_cost_themselves(write, stand_in):
    search = FrameSearch(GEOMETRY)
    for name, events, what in (
        ("good.h5", ["a//0", "a//1"], None),
        ("loops.h5", [], "does not come to an end"),
        ("crashes.h5", ["a//0"], "crashes over it"),
        ("good2.h5", ["a//0", "a//1"], None),
    ):
        found = list(search.events(str(write(name))))
        assert [event for event in found if isinstance(event, str)] == events
        complaints = [place.complaint for place in found if isinstance(place, FramelessPlace)]
        assert len(complaints) == (what is not None)
        assert what is None or (what in complaints[0] and name in complaints[0])
    search.close()


def test_a_search_that_hangs_is_given_up_when_the_source_is_closed(write, stand_in, tmp_path):
    listed = tmp_path / "l.lst"
    listed.write_text(f"{write('good.h5')}\n{write('sleeps.h5')}\n{write('good2.h5')}\n")
    source = FileSource(FileSourceSettings(list_file=str(listed)), GEOMETRY)
    found, has_two = [], threading.Event()

    def read():
        for slot in source:
            found.append(slot)
            if len(found) == 2:
                has_two.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert has_two.wait(60)
    source.close()
    reader.join(60)
    assert not reader.is_alive() and len(found) >= 2
    assert all(slot.filename.endswith("good.h5") for slot in found)


@pytest.mark.system
def test_list_events_can_be_stopped_while_it_waits_for_a_file(write, tmp_path):
    """The search is stopped by force, as a file system that does not answer would; Ctrl-C ends the command."""
    (tmp_path / "x.geom").write_text(TEXT)
    (tmp_path / "l.lst").write_text(f"{write('f.h5')}\n" * 100_000)
    words = ["list_events", "-i", "l.lst", "-g", "x.geom", "-o", "out.lst"]
    log = tmp_path / "log"
    with log.open("wb") as errors:
        command = subprocess.Popen(
            [sys.executable, "-m", "braggstream", *words], cwd=tmp_path, stderr=errors, start_new_session=True
        )
    try:
        eventually(lambda: "events found" in log.read_text())
        (searcher,) = children(command.pid)
        os.kill(searcher, signal.SIGSTOP)
        os.kill(command.pid, signal.SIGINT)
        assert command.wait(60) == 130
        assert not is_running(searcher)
    finally:
        command.kill()
        command.wait()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]
