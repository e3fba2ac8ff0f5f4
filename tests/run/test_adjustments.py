"""What a session learns reaches the workers: those that are there, and those that come later."""

import json
import os
import re
import signal

import pytest

from session_fakes.session_process import SessionProcess, eventually


def offsets(session):
    """Name and offset of every chunk, in the order in which they were written."""
    found = re.findall(r"^frame (\S+) .* offset (\S+)", session.chunks.read_text(), re.MULTILINE)
    return [(name, int(offset)) for name, offset in found]


@pytest.mark.system
@pytest.mark.parametrize("n_workers", [1, 3])
def test_frames_after_an_adjustment_have_it(tmp_path, n_workers):
    names = [f"f{n}" for n in range(60)]
    with SessionProcess(tmp_path, names=names, move_after=20, run={"n_workers": n_workers}) as session:
        assert session.wait() == 0
        written = offsets(session)
        assert sorted(name for name, _ in written) == sorted(names)
        seen = json.loads(session.summary.read_text())["seen"]
        assert seen == [[name, offset] for name, offset in written]
        # Frames that were settled at once with it or handed out before keep what they had: two a worker at most,
        # however long a worker that has to wait for a processor takes to give its own back.
        for start, offset in ((20, 1), (40, 2)):
            assert all(got < offset for _, got in written[:start])
            assert sum(got < offset for _, got in written[start:]) <= 2 * n_workers
        assert {got for _, got in written} == {0, 1, 2}


@pytest.mark.system
def test_workers_that_come_later_have_the_present_adjustments(tmp_path):
    names = [f"slow:0.02{n:02}" for n in range(80)]
    with SessionProcess(tmp_path, names=names, move_after=10, run={"n_workers": 2}) as session:
        for n_done in (12, 32):
            eventually(lambda n=n_done: len(session.names()) > n)
            session.kill_a_worker()
        eventually(lambda: len(session.names()) > 52)
        os.kill(session.fork_server(), signal.SIGKILL)
        assert session.wait() == 0
        seen = json.loads(session.summary.read_text())["seen"]
        for number, (_, adjustment) in enumerate(seen):
            assert adjustment in {number // 10, (number - 4) // 10, None}
        assert sum(adjustment is None for _, adjustment in seen) <= 4
        assert seen[-1][1] == 7
