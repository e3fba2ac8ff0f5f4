"""Senders that are faster than the workers, and workers that die: every frame is in one row of the ledger."""

import os
import random
import re
import signal
from itertools import pairwise
from math import sqrt
from pathlib import Path

import pytest

from braggstream.run.sampling import MIN_WAITING
from session_fakes.fake_processor import LENGTH_OF_BURSTS, is_burst_hit, is_work_hit
from session_fakes.senders import Publisher, Pusher
from session_fakes.session_process import SessionProcess, eventually

pytestmark = pytest.mark.system


def check_ledger(summary):
    frames = summary["frames"]
    rows = sum(frames[row] for row in ("written", "skipped", "failed", "sampled_out", "in_flight"))
    assert frames["received"] == rows
    assert frames["failed"] == sum(summary["failed_by_reason"].values())
    if frames["sent"] is not None:
        assert frames["sent"] == frames["received"] + frames["lost"]
    return frames


def test_broadcast_that_is_too_fast_is_sampled_without_bias(tmp_path):
    """One worker takes 8 ms a frame, 2 ms apart they come: a quarter at most is processed, and it is a fair one."""
    numbers = range(1, 1201)
    with (
        Publisher([f"work:{n}" for n in numbers], pause_s=0.002) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "subscribe": ["omframe"]},
            run={"n_workers": 1, "when_behind": "sample"},
        ) as session,
    ):
        session.wait_until_settled(len(numbers))
        assert "sampled out (" in session.text and "% processed; hit rate of all " in session.text
        status, summary = session.stop()
    frames = check_ledger(summary)
    assert status == 0 and frames["lost"] == frames["failed"] == 0
    assert frames["received"] == frames["sent"] == len(numbers)
    assert frames["written"] >= MIN_WAITING  # What waits is processed in the end, however slow the worker was.
    assert frames["sampled_out"] > 0
    assert summary["fraction_processed"] == pytest.approx(frames["written"] / len(numbers))
    true_rate = sum(map(is_work_hit, numbers)) / len(numbers)
    found_rate = summary["hits"] / summary["processed"]
    assert abs(found_rate - true_rate) < 4.5 * sqrt(true_rate * (1 - true_rate) / summary["processed"])


def test_bursts_of_hits_that_take_longer_do_not_distort_the_rate(tmp_path):
    """Every hit takes as long as six blank frames: among the processed ones hits are rare, of all they are half."""
    with (
        Publisher([f"burst:{n}" for n in range(2000)], pause_s=0.001) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "subscribe": ["omframe"]},
            run={"n_workers": 1, "when_behind": "sample"},
        ) as session,
    ):
        session.wait_until_settled(2000)
        _, summary = session.stop()
        check_ledger(summary)
        processed = sorted(int(name[6:]) for name in session.names())
    found = summary["rates_of_all_frames"]["hits"]
    assert summary["frames"]["sampled_out"] > 0 and summary["frames"]["written"] >= MIN_WAITING
    assert summary["hits"] / summary["processed"] < found
    # Half-way between two frames, what is known of the one gives way to what is known of the other.
    between = [(b - a, is_burst_hit(a), is_burst_hit(b)) for a, b in pairwise(processed)]
    n_covered = processed[-1] - processed[0]
    assert found == pytest.approx(sum(gap * (one + other) / 2 for gap, one, other in between) / n_covered)
    # Where a burst begins or ends is known as well as the gap there allows.
    doubt = sqrt(sum(gap**2 / 12 for gap, one, other in between if one != other)) / n_covered
    if max(gap for gap, *_ in between) < LENGTH_OF_BURSTS:
        assert found == pytest.approx(0.5, abs=0.02 + 4.0 * doubt)
    assert f"hit rate of all {100 * found:.1f}%" in session.text


def test_newest_frames_are_processed_first(tmp_path):
    with (
        Publisher([f"work:{n}" for n in range(1, 401)], pause_s=0.001) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "subscribe": ["omframe"]},
            run={"n_workers": 1, "when_behind": "sample"},
        ) as session,
    ):
        session.wait_until_settled(400)
        order = [int(name[5:]) for name in session.names()]
        session.stop()
    # The last one does not wait for those that came before it, ...
    assert order[-1] != 400
    # ... and neither does any other: when it is processed, what waits is older, and comes later, the newest first.
    for place, number in enumerate(order):
        waiting = [other for other in order[place:] if other < number]
        assert waiting == sorted(waiting, reverse=True)


def test_slow_workers_let_a_pushing_sender_wait(tmp_path):
    with (
        Pusher([f"work:{n}" for n in range(1, 201)], n_bytes=1 << 16) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "pull": True},
            run={"n_workers": 1, "status_interval_s": 0.2},
        ) as session,
    ):
        eventually(lambda: len(session.names()) == 200)
        told = re.findall(r"Frames: (\d+) received, (\d+) written", session.text)
        assert len(told) > 2
        assert all(int(received) - int(written) <= 3 for received, written in told)  # As many as there are slots.
        frames = check_ledger(session.stop()[1])
        assert frames["sent"] == frames["written"] == 200 and frames["sampled_out"] == 0


def test_fifty_killed_workers_and_every_frame_is_accounted_for(tmp_path):
    names = [f"number:{n}" for n in range(1, 5001)]
    chance = random.Random(4)
    with (
        Pusher(names) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "pull": True}, run={"n_workers": 3}) as session,
    ):
        killed = set()
        while len(killed) < 50:
            due = 90 * len(killed)
            eventually(lambda due=due: session.chunks.exists() and n_chunks(session.chunks) >= due)
            alive = [pid for pid in session.ready_workers() if pid not in killed]
            if alive:
                pid = chance.choice(alive)
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        eventually(lambda: n_chunks(session.chunks) + session.text.count("failed (crash)") >= 5000)
        # Three that live: every dead one is buried, and has been counted.
        eventually(lambda: len(set(session.workers()) - killed) == 3)
        status, summary = session.stop()
    frames = check_ledger(summary)
    assert status == 0
    assert frames["received"] == frames["sent"] == 5000 and frames["lost"] == 0
    assert frames["written"] == 5000 - summary["failed_by_reason"].get("crash", 0) == len(set(session.names()))
    assert summary["replaced_workers"] == 50
    assert len(session.names()) == len(set(session.names()))


def n_chunks(path: Path) -> int:
    return path.read_bytes().count(b"frame ")
