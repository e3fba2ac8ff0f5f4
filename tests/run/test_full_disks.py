"""A disk that fills up: the run waits for room, says so, and goes on; no frame is lost, none is written twice."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from braggstream.formats.wire import FrameOutcome
from braggstream.run.patient_output import PatientOutput
from braggstream.sinks.piece_file import PieceFile
from session_fakes.senders import Pusher
from session_fakes.session_process import SessionProcess, eventually

pytestmark = pytest.mark.system

N_SLOTS = 5
"""Of a session with two workers: so many frames are received and not written, at most."""


def test_run_waits_for_room_and_goes_on(tmp_path):
    names = [*[f"f{n}" for n in range(5)], "full", *[f"f{n}" for n in range(5, 300)]]
    with (
        Pusher(names, n_bytes=1 << 16) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "pull": True}, run={"n_workers": 2}) as session,
    ):
        eventually(lambda: "No space left on device: no frames are taken until there is room" in session.text)
        eventually(lambda: "in flight" in session.text)
        n_received = int(re.findall(r"Frames: (\d+) received", session.text)[-1])
        # The others wait with the sender; some come while the worker that has the full one waits for a processor.
        assert n_received < len(names) // 2
        assert int(re.findall(r"(\d+) in flight", session.text)[-1]) <= N_SLOTS
        (tmp_path / "chunks.txt.room").touch()
        eventually(lambda: len(session.names()) == len(names))
        assert session.text.count("There is room again: going on.") == 1
        status, summary = session.stop()
        assert status == 0
        assert summary["frames"]["received"] == summary["frames"]["written"] == len(names)
        assert sorted(session.names()) == sorted(names)


def test_second_signal_ends_a_run_that_waits_for_room(tmp_path):
    with SessionProcess(tmp_path, names=["a", "full", "b"], run={"n_workers": 1}) as session:
        eventually(lambda: "no frames are taken" in session.text)
        assert session.stop_at_once() == 128 + signal.SIGINT
        assert "wait for room (once more to stop without them)" in session.text
        assert "failed (output)" in session.text and session.names() == ["a"]


class Tight:
    """A file on a disk with so much room."""

    def __init__(self, room):
        self.room, self.content = room, b""

    def write(self, piece):
        if len(self.content) + len(piece) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device", "tight")
        self.content += piece


def test_nothing_is_written_twice_where_the_second_file_is_full():
    said, chunks, records = [], Tight(100), Tight(0)
    output = PatientOutput(chunks, records, said.append)
    for serial in range(3):
        output.put(
            FrameOutcome(serial=serial, status="written", chunk=b"c%d" % serial, calibration=b"r%d" % serial)
        )
        assert list(output.settle()) == []
    assert output.is_stuck and output.n_waiting == 3 and chunks.content == b"c0"
    records.room = 100
    eventually(lambda: [outcome.serial for outcome in output.settle()] == [0, 1, 2])
    assert chunks.content == b"c0c1c2" and records.content == b"r0r1r2"
    assert len(said) == 2 and not output.is_stuck


FILL = """
import os, sys
from braggstream.sinks.piece_file import PieceFile
file = PieceFile(sys.argv[1], "the stream file (-o)")
piece, n_written = b"x" * 99_990 + b"the end\\n\\n\\n", 0
try:
    while True:
        file.write(piece)
        n_written += 1
except OSError as error:
    assert error.errno == 28, error
assert os.path.getsize(sys.argv[1]) == n_written * len(piece), "a torn piece"
os.unlink(sys.argv[2])
file.write(piece)
print(n_written, os.path.getsize(sys.argv[1]) // len(piece))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")
def test_small_file_system_that_fills_up(tmp_path):
    """A real one, 1 MiB, in a name space of our own: no piece is torn, and the next one fits when there is room."""
    script = f"""
mount -t tmpfs -o size=1M none {tmp_path} && head -c 200000 /dev/zero > {tmp_path}/other || exit 77
exec {sys.executable} -c '{FILL}' {tmp_path}/file {tmp_path}/other
"""
    words = [
        "unshare",
        *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
        "--mount",
        "sh",
        "-c",
        script,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode in (1, 77) and "assert" not in done.stderr and not done.stdout:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    n_before, n_after = map(int, done.stdout.split())
    assert n_after == n_before + 1 > 5


def test_piece_that_does_not_fit_is_taken_back(tmp_path, monkeypatch):
    """The lowest level: the system writes a part, and then says that there is no room."""
    file = PieceFile(str(tmp_path / "file"), "results")
    file.write(b"whole\n")
    true_write, calls = os.write, []

    def write_a_part(descriptor, data):
        calls.append(len(data))
        if len(calls) == 1:
            return true_write(descriptor, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write_a_part)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"another one\n")
    monkeypatch.undo()
    assert calls == [12, 9] and (tmp_path / "file").read_bytes() == b"whole\n"
    file.write(b"another one\n")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"whole\nanother one\n"
