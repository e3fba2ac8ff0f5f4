"""Pipes that nobody reads or writes: for the log, the stream file, the list of files, and frames."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from braggstream.run.stopping import ECHO_S
from cli.commands import INDEXAMAJIG, PF8, run
from session_fakes.session_process import eventually

pytestmark = pytest.mark.system

SILENT = ["--zmq-input=tcp://127.0.0.1:9", "--zmq-pull", "--indexing=none", "-j", "1"]
"""A sender that is not there."""


@contextlib.contextmanager
def started(*words, **more):
    with subprocess.Popen([*INDEXAMAJIG, *map(str, words)], stdin=subprocess.DEVNULL, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def list_of(still_set, stream):
    return ["-i", still_set.list, "-g", still_set.geometry, "-o", stream, "--indexing=none", "-j", "2", *PF8]


def n_chunks(stream):
    return stream.read_text().count("End chunk") if stream.exists() else 0


@pytest.fixture
def full_pipe():
    """A pipe without room: its two ends."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    yield reading, writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(end)


def test_log_that_nobody_reads_holds_no_run_up_and_one_signal_ends_it(tmp_path, still_set, full_pipe):
    stream = tmp_path / "o.stream"
    words = ["-g", still_set.streamed_geometry, "-o", stream, *SILENT]
    with started(*words, stderr=full_pipe[1]) as process:
        eventually(lambda: stream.exists() and stream.stat().st_size)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


def test_frames_are_written_while_the_log_waits_for_its_reader(tmp_path, still_set, full_pipe):
    reading, writing = full_pipe
    stream = tmp_path / "o.stream"
    with started(*list_of(still_set, stream), stderr=writing) as process:
        os.close(writing)
        eventually(lambda: n_chunks(stream) == still_set.n_frames)
        with os.fdopen(reading, "rb") as pipe:
            lines = pipe.read().lstrip(b"x").decode().splitlines()  # Until the program has ended.
        assert process.wait(120) == 0
    assert lines[0].startswith("... ") and lines[0].endswith("lines were left out here: nobody read this log")
    assert any(line.startswith(f"Final: {still_set.n_frames} images processed") for line in lines)


def test_signal_ends_a_program_that_waits_only_for_the_reader_of_its_log(tmp_path, still_set, full_pipe):
    stream = tmp_path / "o.stream"
    with started(*list_of(still_set, stream), stderr=full_pipe[1]) as process:
        eventually(lambda: n_chunks(stream) == still_set.n_frames)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) in (0, -signal.SIGTERM)
    assert n_chunks(stream) == still_set.n_frames


def test_profile_lines_that_nobody_reads_hold_no_run_up(tmp_path, still_set, full_pipe):
    stream = tmp_path / "o.stream"
    words = [*list_of(still_set, stream), "--profile"]
    with started(*words, stdout=full_pipe[1], stderr=subprocess.PIPE) as process:
        assert b"Final: " in process.stderr.read()
        assert process.wait(120) == 0


def test_stream_pipe_without_a_reader_is_waited_for_until_a_signal(tmp_path, still_set):
    pipe = tmp_path / "o.stream"
    os.mkfifo(pipe)
    with started(*list_of(still_set, pipe), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "waiting for a reader" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


def test_stream_pipe_whose_reader_comes_late(tmp_path, still_set):
    pipe = tmp_path / "o.stream"
    os.mkfifo(pipe)
    with started(*list_of(still_set, pipe), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "waiting for a reader" in line:
                break
        told = threading.Thread(target=process.stderr.read)
        told.start()
        text = pipe.read_text()
        assert process.wait(120) == 0
        told.join()
    assert text.startswith("CrystFEL stream format") and text.count("End chunk") == still_set.n_frames


def test_list_in_a_pipe_without_a_writer_ends_with_one_signal(tmp_path, still_set):
    pipe = tmp_path / "l.lst"
    os.mkfifo(pipe)
    words = ["-i", pipe, "-g", still_set.geometry, "-o", tmp_path / "o.stream", "--indexing=none", "-j", "1"]
    with started(*words, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "Kernels ready" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


def test_list_in_a_pipe_is_read_whole(tmp_path, still_set):
    pipe, stream = tmp_path / "l.lst", tmp_path / "o.stream"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(still_set.list.read_text()))
    writer.start()
    done = run(*INDEXAMAJIG, "-i", pipe, "-g", still_set.geometry, "-o", stream, "--indexing=none", *PF8)
    writer.join()
    assert done.returncode == 0 and n_chunks(stream) == still_set.n_frames, done.stderr


@pytest.mark.parametrize("which", ["geometry", "plain.geom"])
def test_pipe_among_the_frames_is_a_failed_frame(tmp_path, still_set, which):
    """Of geometries whose files have many frames, and one."""
    pipe, stream = tmp_path / "frame.h5", tmp_path / "o.stream"
    os.mkfifo(pipe)
    geometry = still_set.geometry
    if which == "plain.geom":
        geometry = tmp_path / which
        geometry.write_text(still_set.geometry.read_text().replace("dim0 = %", "dim0 = 0"))
    files = tmp_path / "l.lst"
    files.write_text(f"{pipe}\n{still_set.frames} //0\n")
    done = run(*INDEXAMAJIG, "-i", files, "-g", geometry, "-o", stream, "--indexing=none", *PF8)
    assert f"{pipe}: is a pipe, a socket or a device, expected a file" in done.stderr
    assert "1 failed (1 file)" in done.stderr


def test_geometry_in_a_pipe(tmp_path, still_set):
    stream = tmp_path / "o.stream"
    words = ["-i", still_set.list, "-o", stream, "--indexing=none", *PF8]
    done = run("bash", "-c", f'exec "$@" -g <(cat {still_set.geometry})', "bash", *INDEXAMAJIG, *words)
    assert done.returncode == 0 and n_chunks(stream) == still_set.n_frames, done.stderr


STUCK = """
import os, sys
from braggstream.run import stopping
stopping.STUCK_S = 0.2
with stopping.StopSignals():
    print("ready", flush=True)
    os.read(0, 1)
"""


def test_two_signals_end_a_run_that_is_stuck_where_nothing_is_heard():
    """In a write to a pipe that nobody reads, or to a file system that does not answer."""
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(2 * ECHO_S)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
