"""What a session does when processes die, hang, or are told to stop: nothing is lost but what the ledger names."""

import json
import os
import signal
import time

import pytest

from braggstream.run.stopping import ECHO_S
from braggstream.run.supervisor import MAX_FRUITLESS
from braggstream.run.worker import _bind_to
from session_fakes.senders import Pusher, Replier
from session_fakes.session_process import SessionProcess, descendants, eventually, is_running

pytestmark = pytest.mark.system

PATIENT = {"run.intake.LAST_REPLIES_S": 20.0}
"""A stopped session waits for replies however long they need."""
STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP]


def files(tmp_path, *names, **run):
    return SessionProcess(tmp_path, names=list(names), run={"n_workers": 2, **run})


def summary_of(session):
    summary = json.loads(session.summary.read_text())
    frames = summary["frames"]
    assert frames["received"] == sum(frames[row] for row in ("written", "skipped", "failed", "in_flight"))
    assert frames["failed"] == sum(summary["failed_by_reason"].values())
    return summary


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_frames_of_a_list(tmp_path, n_workers):
    names = [f"f{n}" for n in range(50)]
    with files(tmp_path, *names, n_workers=n_workers, serial_start=7) as session:
        assert session.wait() == 0
        assert sorted(session.names()) == sorted(names)
        assert sorted(serial for _, serial in session.written()) == list(range(7, 57))


def test_rows_of_the_ledger(tmp_path):
    names = ["a", "crystal", "crystal", "blank", "bad", "bug", "warn", "crash", "hang", "b"]
    output = {"write_non_hits": False}
    run = {"n_workers": 2, "frame_timeout_s": 8.0}  # A worker may have to wait for a processor.
    with SessionProcess(tmp_path, names=names, output=output, run=run) as session:
        assert session.wait() == 0
        summary = summary_of(session)
        assert sorted(session.names()) == ["a", "b", "crystal", "crystal", "warn"]
        assert summary["failed_by_reason"] == {"crash": 1, "decode": 1, "internal": 1, "timeout": 1}
        assert summary["frames"]["skipped"] == 1
        assert (summary["processed"], summary["hits"], summary["indexable"], summary["crystals"]) == (6, 5, 2, 4)
        assert summary["replaced_workers"] == 3  # What a worker dies of is tried twice, what hangs once.
        assert summary["seconds_by_step"] == {"load": 3.0}
        final = "Final: 6 images processed, 5 hits (83.3%), 2 indexable (40.0% of hits, 33.3% overall), 4 crystals."
        lines = session.text.splitlines()
        assert final in lines
        assert "warn // (serial 7): odd" in lines
        assert any(line.startswith("crash //0 (serial 8): failed (crash): worker") for line in lines)
        assert any("failed (timeout): longer than 8 s" in line for line in lines)
        assert any("ZeroDivisionError" in line for line in lines)


def test_large_chunks_arrive_whole(tmp_path):
    with files(tmp_path, "big:3000000", "big:10", "big:5000000") as session:
        assert session.wait() == 0
        sizes = sorted(len(line) for line in session.chunks.read_text().splitlines())
        assert sizes[1] > 3_000_000 and sizes[2] > 5_000_000


def test_worker_is_killed(tmp_path):
    names = [f"slow:0.1{n:02}" for n in range(60)]
    with Replier(names) as sender:
        zmq = {"endpoint": sender.endpoint, "request": "next"}
        with SessionProcess(tmp_path, zmq=zmq, run={"n_workers": 3}) as session:
            n_killed = 0
            for n_done in (5, 15, 25):
                eventually(lambda n=n_done: len(session.names()) > n)
                session.kill_a_worker()
                n_killed += 1
            eventually(lambda: "is replaced" in session.text)
            eventually(lambda: len(session.names()) >= len(names))
            eventually(lambda: len(session.workers()) == 3)
            assert session.stop()[0] == 0
            summary = summary_of(session)
            assert summary["frames"]["received"] == summary["frames"]["written"] == len(names)
            assert len(session.names()) == len(set(session.names()))
            assert summary["replaced_workers"] == n_killed
            assert "tried once again" in session.text


def test_idle_workers_are_killed(tmp_path):
    with Pusher([]) as idle, SessionProcess(tmp_path, zmq={"endpoint": idle.endpoint, "pull": True}) as session:
        for n_killed in range(1, 8):
            session.kill_a_worker()
            eventually(lambda n=n_killed: session.text.count("while idle and is replaced") == n)
        assert session.stop()[0] == 0
        assert summary_of(session)["replaced_workers"] == 7


def test_hung_worker_holds_nothing_up(tmp_path):
    with files(tmp_path, "a", "hang", *"bcdefghij", frame_timeout_s=8.0) as session:
        eventually(lambda: len(session.names()) == 10)
        assert session.wait() == 0
        assert summary_of(session)["failed_by_reason"] == {"timeout": 1}


def test_forking_process_is_killed(tmp_path):
    names = [f"slow:0.02{n:02}" for n in range(60)]
    with files(tmp_path, *names) as session:
        eventually(lambda: len(session.names()) > 5)
        os.kill(session.fork_server(), signal.SIGKILL)
        assert session.wait() == 0
        summary = summary_of(session)
        assert summary["frames"]["received"] == len(names)
        assert summary["frames"]["written"] == len(set(session.names())) == len(names)


def killed_servers(session, n_killed):
    """Kill each process that forks workers as soon as it is there."""
    for _ in range(n_killed):
        server = eventually(session.fork_server)
        os.kill(server, signal.SIGKILL)
        eventually(lambda pid=server: not is_running(pid))


def test_forking_process_is_killed_again_while_it_starts(tmp_path):
    names = [f"slow:0.02{n:02}" for n in range(60)]
    with files(tmp_path, *names) as session:
        eventually(lambda: len(session.names()) > 5)
        killed_servers(session, 3)
        assert session.wait() == 0
        summary = summary_of(session)
        assert summary["frames"]["written"] == len(set(session.names())) == len(names)
        assert session.text.count("was killed by signal 9 (SIGKILL): starting it anew") == 3


def test_forking_process_that_never_gets_ready_has_an_end(tmp_path):
    with SessionProcess(tmp_path, names=["a"], geometry="slow.geom") as session:
        killed_servers(session, MAX_FRUITLESS)
        assert session.wait() == 1
        last = session.text.splitlines()[-1]
        assert last.startswith("indexamajig: workers cannot start: the process that forks them was killed"), last
        assert "Traceback" not in session.text


def processor_seconds(pid):
    """Time that a process has kept a processor busy for."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_forking_process_is_frozen_while_workers_are_replaced(tmp_path):
    """It is killed and started anew, with one line; until then the parent keeps no processor busy."""
    names = [f"slow:0.05{n:02}" for n in range(60)]
    run = {"n_workers": 2, "frame_timeout_s": 5.0}
    constants = {"run.silence.STOPPED_S": 12.0}
    with SessionProcess(tmp_path, names=names, run=run, constants=constants) as session:
        eventually(lambda: len(session.names()) > 5)
        os.kill(session.fork_server(), signal.SIGSTOP)
        for pid in session.workers():
            os.kill(pid, signal.SIGKILL)
        began, used = time.monotonic(), processor_seconds(session.process.pid)
        eventually(lambda: "does not answer any more: starting it anew" in session.text)
        share = (processor_seconds(session.process.pid) - used) / (time.monotonic() - began)
        assert share < 0.1
        assert session.wait() == 0
        assert sorted(session.names()) == sorted(names)


def test_one_signal_ends_a_run_whose_forking_process_is_frozen(tmp_path):
    names = [f"slow:0.05{n:02}" for n in range(1000)]
    with files(tmp_path, *names) as session:
        eventually(lambda: len(session.names()) > 5)
        os.kill(session.fork_server(), signal.SIGSTOP)
        for pid in session.workers():
            os.kill(pid, signal.SIGKILL)
        session.send()
        eventually(lambda: "Stopping; finishing" in session.text)
        assert session.wait() == 0
        assert summary_of(session)["frames"]["in_flight"] == 0


@pytest.mark.parametrize("is_told", [True, False])
def test_run_that_is_frozen_as_a_whole_goes_on(tmp_path, is_told):
    """As batch systems suspend jobs: the time that frames took meanwhile is nobody's fault."""
    names = [f"slow:0.5{n:02}" for n in range(12)]
    run = {"n_workers": 2, "frame_timeout_s": 8.0}
    with SessionProcess(tmp_path, names=names, run=run, constants={"run.supervisor.ABSENT_S": 2.0}) as session:
        eventually(lambda: len(session.names()) > 2)
        family = [session.process.pid, *descendants(session.process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(10.0)  # Longer than a frame may take.
        if is_told:
            session.send(signal.SIGTERM)
        for pid in reversed(family):
            os.kill(pid, signal.SIGCONT)
        assert session.wait() == 0
        summary = summary_of(session)
        assert summary["frames"]["failed"] == summary["replaced_workers"] == 0
        assert is_told or summary["frames"]["written"] == len(names)


@pytest.mark.parametrize("which", [0, 1])
def test_frozen_worker_is_replaced(tmp_path, which):
    names = [f"slow:0.05{n:02}" for n in range(40)]
    with files(tmp_path, *names, frame_timeout_s=8.0) as session:
        eventually(lambda: len(session.names()) > 5)
        os.kill(sorted(session.workers())[which], signal.SIGSTOP)
        assert session.wait() == 0
        summary = summary_of(session)
        assert summary["frames"]["written"] == len(names) - 1
        assert summary["failed_by_reason"] == {"timeout": 1}


def test_parent_is_killed(tmp_path):
    with Pusher([f"slow:{1000 + n}" for n in range(10)]) as sender:
        zmq = {"endpoint": sender.endpoint, "pull": True}
        with SessionProcess(tmp_path, zmq=zmq, run={"n_workers": 3}) as session:
            eventually(lambda: len(session.workers()) == 3)
            family = descendants(session.process.pid)
            assert len(family) == 4
            session.process.kill()
            eventually(lambda: not any(map(is_running, family)))


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signal_finishes_what_is_in_flight(tmp_path, number):
    with Replier([f"slow:0.3{n:02}" for n in range(50)]) as sender:
        zmq = {"endpoint": sender.endpoint, "request": "next"}
        with SessionProcess(tmp_path, zmq=zmq, run={"n_workers": 2}, constants=PATIENT) as session:
            eventually(lambda: len(session.names()) >= 2)
            family = descendants(session.process.pid)
            os.killpg(session.process.pid, number)
            for pid in family:  # As a batch system does, which tells every process of a job.
                os.kill(pid, number)
            assert session.wait() == 0
            summary = summary_of(session)
            assert summary["frames"]["in_flight"] == summary["frames"]["failed"] == 0
            assert len(session.names()) == summary["frames"]["received"] == len(sender.sent)
            assert "Final: " in session.text
            eventually(lambda: not any(map(is_running, family)))


def test_signal_that_comes_twice_at_once_counts_once(tmp_path):
    """`timeout` and batch systems tell the process and then its group, which it is in."""
    with SessionProcess(
        tmp_path, names=["slow:1", "slow:1.5"], run={"n_workers": 2}, constants={"run.stopping.ECHO_S": 20.0}
    ) as session:
        eventually(lambda: session.text.count("working on slow") == 2)
        session.send(signal.SIGTERM)
        time.sleep(0.002)
        session.send(signal.SIGTERM)
        assert session.wait() == 0
        assert sorted(session.names()) == ["slow:1", "slow:1.5"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_stops_at_once(tmp_path, number):
    with files(tmp_path, "a", "hang", "hang") as session:
        eventually(lambda: session.names() == ["a"] and session.text.count("working on hang") == 2)
        family = descendants(session.process.pid)
        session.send(number)
        eventually(lambda: "once more to stop at once" in session.text)
        time.sleep(2 * ECHO_S)
        session.send(number)
        assert session.wait() == 128 + number
        assert summary_of(session)["frames"]["in_flight"] == 2
        eventually(lambda: not any(map(is_running, family)))


def test_signal_during_start(tmp_path):
    with SessionProcess(tmp_path, names=["a"], geometry="slow.geom") as session:
        # Libraries run `uname` while they are imported; signals are heeded before the next process is started.
        server = eventually(session.fork_server)
        session.send(signal.SIGTERM)
        assert session.wait() == 0
        assert "Final: 0 images processed, 0 hits (0.0%)" in session.text
        assert not is_running(server)


def test_user_signal_ends_with_status_1(tmp_path):
    with files(tmp_path, *[f"slow:0.2{n:02}" for n in range(30)]) as session:
        eventually(session.names)
        session.send(signal.SIGUSR1)
        assert session.wait() == 1
        assert summary_of(session)["frames"]["in_flight"] == 0
        assert "Final: " in session.text


def test_nothing_processed(tmp_path):
    with files(tmp_path, "bad", "bad") as session:
        assert session.wait() == 5


def test_workers_cannot_start(tmp_path):
    with SessionProcess(tmp_path, names=["a"], geometry="broken.geom") as session:
        assert session.wait() == 1
        assert "indexamajig: broken.geom:3: no panel" in session.text
        assert "Traceback" not in session.text


def test_results_that_cannot_be_written_end_the_run(tmp_path):
    with files(tmp_path, "a", "broken", *[f"f{n}" for n in range(500)], n_workers=1) as session:
        assert session.wait() == 1
        assert session.text.splitlines()[-1].startswith("indexamajig: ")
        assert "Input/output error" in session.text
        assert summary_of(session)["failed_by_reason"] == {"output": 1}


def test_new_pixel_type_is_compiled_first(tmp_path):
    names = ["a", "type:float64", "type:float64", "b", "type:uint16", "type:complex64", "c"]
    with files(tmp_path, *names) as session:
        assert session.wait() == 0
        summary = summary_of(session)
        assert summary["frames"]["written"] == 6
        assert summary["failed_by_reason"] == {"decode": 1}
        assert session.text.count("Kernels for float64 pixels ready") == 1
        assert "(1 compiled)" in session.text
        assert summary["replaced_workers"] == 0


def test_workers_are_bound_to_processors(tmp_path):
    with files(tmp_path, "hang", "hang", cpu_pin=True) as session:
        workers = eventually(lambda: len(session.workers()) == 2 and session.workers())
        bound = eventually(lambda: all(len(os.sched_getaffinity(pid)) == 1 for pid in workers))
        assert bound
        if len(os.sched_getaffinity(0)) > 1:
            assert len(set().union(*(os.sched_getaffinity(pid) for pid in workers))) == 2
        session.stop_at_once()


def test_processor_that_is_not_there_is_told_and_nothing_else(capfd):
    bound = os.sched_getaffinity(0)
    _bind_to(100_000)
    assert "--cpu-pin: cannot be bound to processor 100000" in capfd.readouterr().err
    assert os.sched_getaffinity(0) == bound
