"""`braggstream simulate --asapo` as a program: frames in it, its faults, and what survives `kill -9`."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import asapo_consumer
import numpy as np
import pytest
import seedee

from braggstream.cli.main import main
from braggstream.simulate.truth import read_truth
from session_fakes.session_process import descendants, eventually, is_running
from simulate.asapo_clients import SOURCE, WITH_FILE, Sender, consumer, quietly, read_all
from simulate.simulated_detectors import SQUARE, STREAMED_BEAM

pytestmark = pytest.mark.system

PATIENCE_S = 60.0


@contextlib.contextmanager
def running(folder, *words):
    """The program, once it is ready; `endpoint`, `token` and `process` of it."""
    command = [sys.executable, "-m", "braggstream", "simulate", "--asapo", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            ready, where, told = (process.stdout.readline() for _ in range(3))
            token_file = Path(where.split()[-1])
            service = SimpleNamespace(
                process=process, endpoint=ready.split()[-1], token_file=token_file, command=told
            )
            service.token = lambda *_: token_file.read_text().strip()
            yield service
        finally:
            process.kill()


def stop(service):
    """End the program as a user does; gives its exit status and what it said meanwhile."""
    service.process.send_signal(signal.SIGTERM)
    told, _ = service.process.communicate(timeout=PATIENCE_S)
    return service.process.returncode, told


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Options for a small detector."""
    folder = tmp_path_factory.mktemp("detector")
    assert main(["simulate", "--examples", str(folder)]) == 0
    (folder / "small.geom").write_text(STREAMED_BEAM + SQUARE)
    return ["-g", folder / "small.geom", "-p", folder / "tetragonal.cell", "--pool", "3", "--rate", "0"]


def next_frames(client, stream="run1"):
    """All frames in the order of streams: (stream, data, message) each, until the last stream's end."""
    found = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            data, message = quietly(client.get_next, "g", meta_only=False, stream=stream)
            found.append((stream, bytes(data), message))
        except asapo_consumer.AsapoStreamFinishedError as end:
            if end.next_stream == "asapo_no_next":
                return found
            stream = end.next_stream
        except asapo_consumer.AsapoEndOfStreamError:
            continue
    raise AssertionError(f"no end after {len(found)} frames")


def test_frames_come_in_streams_that_name_each_other(tmp_path, detector):
    words = ["--port", 0, *detector, "-n", 7, "--streams", 2, "--data-format", "seedee", "--truth", "truth.json"]
    words += ["--folder", "state", "--keep-files"]
    with running(tmp_path, *words, "--source", SOURCE) as service:
        assert stat.S_IMODE(service.token_file.stat().st_mode) == 0o600
        assert service.token() not in service.command
        assert f"--asapo-endpoint={service.endpoint}" in service.command
        frames = next_frames(consumer(service, timeout_ms=500))
        status, told = stop(service)
    assert [(stream, message["_id"]) for stream, _, message in frames] == [
        *(("run1", number) for number in (1, 2, 3, 4)),
        *(("run2", number) for number in (1, 2, 3)),
    ]
    truth = read_truth(tmp_path / "truth.json")
    assert [truth.number_in_name(message["name"], "//") for *_, message in frames] == list(range(7))
    image = seedee.deserialize(np.frombuffer(frames[0][1], np.uint8), frames[0][2]["meta"]["_data_format"])
    assert image.shape == (280, 300)
    assert frames[0][2]["meta"]["beam_energy"] == 9500.0
    assert (status, told.split()[:3]) == (0, ["7", "frames", "sent"])
    names = [f"frame-{number}.raw" for number in range(7)]
    assert sorted(path.name for path in tmp_path.glob("state/files/11001234/processed/eiger/run*/*")) == names


def test_frames_end_with_their_service(tmp_path, detector):
    with running(tmp_path, "--port", 0, *detector, "--rate", 50, "-n", 0, "--folder", "state") as service:
        assert str(tmp_path / "state" / "token") in service.command
        client = consumer(service, source="detector", timeout_ms=60_000)
        quietly(client.get_next, "g", stream="run1")
        (sender,) = descendants(service.process.pid)
        service.process.kill()
        eventually(lambda: not is_running(sender))


def test_faults_that_frames_have(tmp_path, detector):
    faults = ["--fault", "hole=2", "--fault", "unfinished", "--fault", "lost-data"]
    with running(tmp_path, "--port", 0, *detector, "-n", 3, "--beamtime", "7", *faults) as service:
        client = consumer(service, beamtime="7", source="detector")
        deadline = time.monotonic() + PATIENCE_S
        while client.get_stream_info("run1")["lastId"] < 3:
            assert time.monotonic() < deadline
        assert read_all(client, "g", "run1", ordered=False)[0] == [1, 3]
        with pytest.raises(asapo_consumer.AsapoDataNotInCacheError):
            client.get_by_id(1, meta_only=False, stream="run1")
        assert not client.get_stream_info("run1")["finished"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("wrong-token", asapo_consumer.AsapoWrongInputError),
        ("old-protocol", asapo_consumer.AsapoUnsupportedClientError),
    ],
)
def test_faults_of_the_service(tmp_path, fault, error):
    with running(tmp_path, "--no-frames", "--port", 0, "--fault", fault) as service:
        client = consumer(service)
        deadline = time.monotonic() + PATIENCE_S
        with pytest.raises(error):
            while time.monotonic() < deadline:
                client.get_current_size(stream="x")
        assert stop(service)[0] == 0
    assert not service.token_file.exists()


def test_outages_come_and_go(tmp_path):
    faults = ["--fault", "outage=0,3", "--fault", "refusal=4,3"]
    wanted = ["out of order", "onnect", ""]
    with running(tmp_path, "--no-frames", "--port", 0, *faults) as service:
        client = consumer(service, timeout_ms=20)
        deadline = time.monotonic() + PATIENCE_S
        while wanted:
            assert time.monotonic() < deadline
            try:
                client.get_current_size(stream="x")
                told = ""
            except asapo_consumer.AsapoUnavailableServiceError as error:
                told = str(error)
            if wanted[0] in told and bool(wanted[0]) == bool(told):
                wanted.pop(0)


def test_nothing_that_was_answered_is_lost_by_kill_9(tmp_path):
    """The program is killed and started again, three times, while the official clients go on."""
    words = ["--no-frames", "--port", free_port(), "--folder", tmp_path / "state"]
    taken, read = [], []
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running(tmp_path, *words))
        token = service.token()
        sender = Sender(service, token=token, timeout_ms=60_000)
        client = consumer(service, token=token, timeout_ms=60_000)
        client.set_resend_nacs(True, 60_000, 3)
        is_done = threading.Event()

        def send():
            number = 0
            while not is_done.is_set():
                number += 1
                error = sender.send("s", number, mode=WITH_FILE)[0]
                assert error is None or type(error).__name__ == "AsapoServerWarning"
                taken.append(number)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            for _ in range(3):
                for _ in range(5):
                    data, message = quietly(client.get_next, "g", meta_only=False, stream="s", ordered=False)
                    assert bytes(data) == f"data {message['_id']}".encode()
                    # An acknowledgement whose answer was lost is refused when it is repeated.
                    with contextlib.suppress(asapo_consumer.AsapoWrongInputError):
                        client.acknowledge("g", message["_id"], stream="s")
                    read.append(message["_id"])
                service.process.kill()
                service.process.wait()
                service = stack.enter_context(running(tmp_path, *words))
        finally:
            is_done.set()
            thread.join()
        late = consumer(service, token=token)
        rest, _ = read_all(late, "g", "s", ordered=False)
        # A position may move without the answer arriving: only those messages come again, when their time has come.
        owed = set(taken) - set(read) - set(rest)
        assert len(owed) <= 3
        assert set(quietly(late.get_unacknowledged_messages, "g", stream="s")) == set(taken) - set(read)
        assert sorted(set(taken)) == taken == list(range(1, len(taken) + 1))
        assert len(read + rest) == len(set(read + rest))
        assert bytes(late.get_by_id(1, meta_only=False, stream="s")[0]) == b"data 1"
        assert late.get_current_size(stream="s") == len(taken)


def test_the_service_has_time_for_200_messages_of_2_mb_a_second(tmp_path):
    """By its processor time, which other programs on this machine do not change much."""
    n_messages, data = 100, np.arange(2_000_000, dtype=np.uint8)
    with running(tmp_path, "--no-frames", "--port", 0) as service:
        sender, client = Sender(service), consumer(service, timeout_ms=5000)
        assert set(sender.send("s", *range(1, n_messages + 1), content=data)) == {None}
        before = processor_seconds(service.process.pid)
        for number in range(1, n_messages + 1):
            content, message = quietly(client.get_next, "g", meta_only=False, stream="s")
            assert (message["_id"], len(content)) == (number, len(data))
            client.acknowledge("g", number, stream="s")
        used = processor_seconds(service.process.pid) - before
    assert used / n_messages < 1 / 200


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_folder_belongs_to_one_service(tmp_path, capsys):
    with running(tmp_path, "--no-frames", "--port", 0, "--folder", tmp_path / "state") as service:
        assert main(["simulate", "--asapo", "--no-frames", "--port", "0", "--folder", str(tmp_path / "state")]) == 2
        assert "is in use" in capsys.readouterr().err
        port = service.endpoint.split(":")[1]
        assert main(["simulate", "--asapo", "--no-frames", "--port", port]) == 2
        assert "cannot be bound" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--asapo"], "--no-frames"),
        (["--asapo", "--no-frames", "--port", "70000"], "--port=70000"),
        (["--asapo", "--no-frames", "--host", "0.0.0.0"], "--host=0.0.0.0"),
        (["--asapo", "--no-frames", "--host", "no.such.host.invalid"], "cannot be bound"),
        (["--asapo", "--no-frames", "--fault", "flood"], "--fault=flood"),
        (["--asapo", "--no-frames", "--fault", "outage=1"], "--fault=outage=1"),
        (["--asapo", "--no-frames", "--streams", "9", "-n", "3"], "--streams=9"),
        (["--asapo", "--no-frames", "-o", "x.h5"], "choose one"),
        (["--asapo", "--no-frames", "--data-format", "dectris2"], "--serve"),
        (["--asapo-send", "127.0.0.1:1", "-g", "GEOM", "-p", "CELL"], "--token-file"),
    ],
)
def test_options_that_cannot_be_served(detector, capsys, words, told):
    files = {"GEOM": str(detector[1]), "CELL": str(detector[3])}
    assert main(["simulate", *(files.get(word, word) for word in words)]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_that_cannot_hold_the_state(tmp_path, capsys):
    (tmp_path / "state.sqlite").write_bytes(b"no database at all " * 100)
    assert main(["simulate", "--asapo", "--no-frames", "--port", "0", "--folder", str(tmp_path)]) == 2
    assert "cannot hold the service's state" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["simulate", "--asapo", "--no-frames", "--port", "0", "--folder", str(tmp_path / "file")]) == 2
    assert "cannot hold the service's state" in capsys.readouterr().err


def test_frames_go_to_a_service_that_is_not_there(tmp_path, detector, capsys):
    (tmp_path / "token").write_text("a.b.c\n")
    words = ["--asapo-send", f"127.0.0.1:{free_port()}", "--token-file", tmp_path / "token", "--patience", "0.3"]
    assert main(["simulate", *map(str, [*words, *detector, "-n", 2])]) == 2
    told = capsys.readouterr().err
    assert "127.0.0.1" in told
    assert "a.b.c" not in told
