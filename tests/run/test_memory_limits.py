"""A worker takes no more memory than it may, whatever comes; one that has grown is replaced between two frames."""

import subprocess
import sys

import pytest

from session_fakes.senders import Pusher
from session_fakes.session_process import SessionProcess, eventually

BOMB = """
import numpy as np
from braggstream.run.memory_limits import MemoryLimits
MemoryLimits.limit_allocation()
few = np.ones(1 << 20)
try:
    many = np.empty(1 << 33, np.uint8)
except MemoryError:
    print("refused")
"""


def test_vast_allocations_fail():
    done = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


@pytest.mark.system
def test_frames_that_need_vast_memory_fail_alone_and_worker_that_grows_is_replaced(tmp_path):
    names = ["a", "allocate:8", "b", *[f"keep:{n}" for n in range(60)], "c"]
    with (
        Pusher(names) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "pull": True}, run={"n_workers": 1}) as session,
    ):
        eventually(lambda: "c" in session.names())
        status, summary = session.stop()
        assert status == 0
        assert summary["failed_by_reason"] == {"memory": 1}
        assert summary["frames"]["written"] == len(names) - 1
        assert summary["replaced_workers"] == 0 and "is replaced" not in session.text
        assert len({worker for _, _, worker in session.chunks_with_workers()}) == 2
