"""Sessions under limits of the system: one line that names the limit, and a documented status, no traceback."""

import os

import pytest

from cli.commands import INDEXAMAJIG, PF8, run
from session_fakes.senders import Pusher
from session_fakes.session_process import SessionProcess, eventually

pytestmark = pytest.mark.system


def limited(limits, *words):
    """Run a command under limits as the shell has them, soft and hard."""
    return run("bash", "-c", f'ulimit {limits} && exec "$@"', "bash", *words)


def run_of(still_set, tmp_path):
    words = ["-i", still_set.list, "-g", still_set.geometry, "-o", tmp_path / "o.stream", "-j", "2"]
    return [*INDEXAMAJIG, *words, "--indexing=none", *PF8]


def check_refusal(done, *texts):
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("indexamajig: ") and all(text in last for text in texts), done.stderr


@pytest.mark.parametrize("most", [9, 12, 16])
def test_too_few_open_files(still_set, tmp_path, most):
    done = limited(f"-n {most}", *run_of(still_set, tmp_path))
    check_refusal(done, "-j 2: about", f"{most} allowed", "ulimit -n")


def test_enough_open_files_for_a_list_and_not_for_a_stream(still_set, tmp_path):
    assert limited("-n 24", *run_of(still_set, tmp_path)).returncode == 0
    words = ["--zmq-input=tcp://127.0.0.1:9", "--zmq-pull", "-g", still_set.geometry, "-o", tmp_path / "o.stream"]
    done = limited("-n 24", *INDEXAMAJIG, *words, "-j", "2")
    check_refusal(done, "-j 2: about", "24 allowed", "ulimit -n")


def test_files_that_may_not_be_large(still_set, tmp_path):
    """Shared memory counts as a file; a list of files needs none, and its own results are not that large."""
    assert limited("-f 20000", *run_of(still_set, tmp_path)).returncode == 0
    words = ["--zmq-input=tcp://127.0.0.1:9", "--zmq-pull", "-g", still_set.geometry, "-o", tmp_path / "o.stream"]
    check_refusal(limited("-f 20000", *INDEXAMAJIG, *words), "File too large (ulimit -f is 20000 KiB)")


def test_stream_file_that_may_not_grow(still_set, tmp_path):
    done = limited("-f 20", *run_of(still_set, tmp_path))
    check_refusal(done, "File too large")


def test_large_messages_leave_no_memory_behind(tmp_path):
    """Of a whole run: what the messages took is given back when their frames are done."""
    constants = {"run.slots.KEPT_BYTES": 1 << 20}
    with (
        Pusher([f"f{n}" for n in range(8)], n_bytes=8 << 20) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "pull": True},
            run={"n_workers": 2},
            constants=constants,
        ) as session,
    ):
        eventually(lambda: len(session.names()) == 8)
        eventually(lambda: slot_bytes(session.process.pid) == 0)
        assert session.stop()[0] == 0


def slot_bytes(pid):
    """Memory that the slots of a session take."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        if "braggstream-slots" in os.readlink(f"/proc/{pid}/fd/{number}"):
            return os.stat(f"/proc/{pid}/fd/{number}").st_blocks * 512
    raise AssertionError("a session without slots")
