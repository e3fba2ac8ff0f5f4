"""Runs in which files, parts of files, or all frames fail: what is told, and how the run ends."""

import os
import re
import signal
import threading
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest
import zmq

from cli.commands import PF8, Running, counts, indexamajig
from session_fakes.session_process import descendants, eventually, is_running

pytestmark = pytest.mark.system

PANEL = """p/min_fs = 0
p/max_fs = 31
p/min_ss = 0
p/max_ss = 31
p/corner_x = -16
p/corner_y = -16
p/fs = x
p/ss = y
"""
BEAM = "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"
STACK = f"{BEAM}data = /entry/data/%\ndim0 = %\ndim1 = ss\ndim2 = fs\n{PANEL}"
WORDS = [*PF8, "--indexing=none"]


@pytest.fixture
def folder(tmp_path):
    """A master file with frames, a dangling link and a truncated file behind another; a file of 150 frames."""
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["data"] = np.zeros((2, 32, 32), np.uint16)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "part.h5").read_bytes()[:1200])
    with h5py.File(tmp_path / "master.h5", "w") as file:
        for name, target in (("a", "part.h5"), ("b", "gone.h5"), ("c", "cut.h5"), ("d", "part.h5")):
            file[f"entry/data/{name}"] = h5py.ExternalLink(target, "/data")
        late = h5py.VirtualLayout((1, 32, 32), np.uint16)
        late[:] = h5py.VirtualSource("late.h5", "data", (1, 32, 32))
        file.create_virtual_dataset("entry/data/e", late)
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file.create_dataset("entry/data/x", (150, 32, 32), np.uint16, chunks=(1, 32, 32))[:] = 0
    (tmp_path / "x.geom").write_text(STACK)
    for name in ("master", "many"):
        (tmp_path / f"{name}.lst").write_text(f"{tmp_path}/{name}.h5\n")
    return tmp_path


def run(folder, *more, listed="many", geometry=None):
    if geometry is not None:
        (folder / "x.geom").write_text(geometry)
    words = ["-i", folder / f"{listed}.lst", "-g", folder / "x.geom", "-o", folder / "o.stream", *WORDS]
    done = indexamajig(*words, *more, "-j", 2)
    assert "Traceback" not in done.stderr
    return done


def test_parts_of_a_master_file_without_frames_are_rows_and_show_in_the_status(folder):
    done = run(folder, listed="master")
    assert counts(done.stderr) == (7, 4, 0, 3)
    assert done.returncode == 6, done.stderr
    for place, what in (("b//", "gone.h5"), ("c//", "cut.h5"), ("e//0", "late.h5: no such file")):
        (line,) = [line for line in done.stderr.splitlines() if f"master.h5 {place} (serial" in line]
        assert "failed (file)" in line and what in line
    text = (folder / "o.stream").read_text()
    assert sorted(re.findall(r"^Event: (.*)", text, re.MULTILINE)) == ["a//0", "a//1", "d//0", "d//1"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"max_fs = 31": "max_fs = 63"}, "panel p reaches from 0 to 63"),
        ({"9000 eV": "/entry/energy eV"}, "no dataset /entry/energy"),
        ({"dim0": "mask0_data = /entry/mask\nmask0_badbits = 1\ndim0"}, "no dataset /entry/mask"),
    ],
)
def test_a_run_in_which_every_frame_fails_says_what_there_is_and_ends(folder, change, what):
    (old, new) = next(iter(change.items()))
    done = run(folder, geometry=STACK.replace(old, new))
    assert done.returncode == 5, done.stderr
    n_received, *n_others, n_failed = counts(done.stderr)
    assert 100 <= n_received == n_failed < 150 and n_others == [0, 0]
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("No frame could be processed so far.")]
    assert "many.h5 holds /entry/data/x (150, 32, 32) uint16." in told and what in done.stderr
    assert "--keep-going" in done.stderr
    going = run(folder, "--keep-going")
    assert counts(going.stderr) == (150, 0, 0, 150) and going.returncode == 5


def test_few_frames_that_all_fail(folder):
    (folder / "few.lst").write_text(f"{folder}/many.h5 x//1\n{folder}/many.h5 x//2\n")
    done = run(folder, listed="few", geometry=STACK.replace("max_ss = 31", "max_ss = 99"))
    assert done.returncode == 5 and counts(done.stderr) == (2, 0, 0, 2)
    assert done.stderr.count("many.h5 holds /entry/data/x (150, 32, 32) uint16.") == 1


def test_one_good_frame_is_reason_to_go_on(folder):
    """Even if most fail: the frames after the first good one are counted, and no more."""
    lines = [f"{folder}/part.h5 //0", *(f"{folder}/none{number}.h5" for number in range(130))]
    (folder / "odd.lst").write_text("\n".join(lines))
    done = run(folder, listed="odd", geometry=STACK.replace("/entry/data/%", "/data"))
    assert counts(done.stderr) == (131, 1, 0, 130) and done.returncode == 6
    assert "--keep-going" not in done.stderr


def test_a_run_can_be_stopped_while_its_files_are_searched(folder):
    """The search stands still, as over a file system that does not answer; one SIGINT ends the run."""
    (folder / "long.lst").write_text(f"{folder}/many.h5\n" * 3000)
    words = ["-i", folder / "long.lst", "-g", folder / "x.geom", *WORDS]
    with Running(folder, *words) as running:
        searcher = eventually(lambda: next(filter(is_searcher, descendants(running.process.pid)), None))
        os.kill(searcher, signal.SIGSTOP)
        eventually(lambda: "Kernels ready" in running.log.read_text())
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(120) == 0
        assert not is_running(searcher)
        assert "Stopping" in running.log.read_text()


def is_searcher(pid):
    try:
        return b"frame_search" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Pushed(threading.Thread):
    """Pushes one message again and again."""

    def __init__(self, payload):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.payload, self.is_done = payload, threading.Event()

    def run(self):
        while not self.is_done.is_set():
            if self.socket.poll(100, zmq.POLLOUT):
                self.socket.send(self.payload)
        self.socket.close()
        self.context.term()


def test_a_stream_in_which_every_frame_fails(folder):
    image = {"type": "<u2", "shape": [16, 32], "data": bytes(1024)}
    sender = Pushed(msgpack.packb({"image": image, "energy": 9000.0}))
    sender.start()
    try:
        (folder / "x.geom").write_text(f"{BEAM}data = pixels\n{PANEL}")
        done = indexamajig(
            f"--zmq-input={sender.endpoint}", "--zmq-pull", "-g", folder / "x.geom", "-o", folder / "o.stream",
            *WORDS, "-j", 2,
        )  # fmt: skip
    finally:
        sender.is_done.set()
        sender.join(20)
    assert done.returncode == 5 and "Traceback" not in done.stderr, done.stderr
    n_received, *n_others, n_failed = counts(done.stderr)
    assert 100 <= n_received == n_failed and n_others == [0, 0]
    assert "The message holds energy, image (16, 32) uint16." in done.stderr
