"""Senders that die within a message, come back, dribble, or claim sizes: sound frames all come through."""

import re
import struct
from pathlib import Path

import pytest

from session_fakes.raw_sender import PATIENCE_S, RawPusher
from session_fakes.senders import Pusher
from session_fakes.session_process import SessionProcess, eventually

pytestmark = pytest.mark.system


def payload(name, n_bytes=1 << 20):
    return name.encode().ljust(n_bytes, b"\0")


def session_of(folder, sender, **run):
    return SessionProcess(folder, zmq={"endpoint": sender.endpoint, "pull": True}, run={"n_workers": 2, **run})


def memory_of(process):
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1]) << 10


def test_sender_dies_within_a_message_and_comes_back(tmp_path):
    """What was sent of the message is dropped; it was never received, and the next sender's frames all are."""
    sender = RawPusher()
    with session_of(tmp_path, sender) as session:
        for number in range(5):
            sender.accept()
            sender.send(payload(f"whole{number}"))
            sender.begin(1 << 20)
            sender.link.sendall(payload("torn")[: 1 << 19])
            eventually(lambda n=number: f"whole{n}" in session.names())
            sender.close()
            eventually(lambda n=number: session.text.count("Lost the connection") == n + 1)
            sender = RawPusher(sender.port)
        sender.close()
        with Pusher([f"after{n}" for n in range(20)], endpoint=sender.endpoint):
            eventually(lambda: len(session.names()) == 25)
            status, summary = session.stop()
    assert status == 0
    assert "torn" not in session.names() and len(set(session.names())) == 25
    assert summary["frames"]["received"] == summary["frames"]["written"] == 25


def test_sender_that_dribbles_holds_nothing_else_up(tmp_path):
    with RawPusher() as sender, session_of(tmp_path, sender, status_interval_s=0.2) as session:
        sender.accept()
        sender.send(payload("fast", 100))
        eventually(lambda: session.names() == ["fast"])
        n_lines, late = session.text.count("images processed"), payload("late")
        sender.begin(len(late))
        # The session goes on meanwhile, and tells how far it is.
        n_sent = sender.dribble(late, 100, lambda: session.text.count("images processed") > n_lines + 1)
        assert session.names() == ["fast"]
        sender.link.sendall(late[n_sent:])
        eventually(lambda: session.names() == ["fast", "late"])
        assert session.stop()[1]["frames"]["written"] == 2


@pytest.mark.parametrize("n_bytes", [(1 << 24) + 1, 1 << 40, 2**63 - 1])
def test_claimed_sizes_take_no_memory(tmp_path, n_bytes):
    """The test's sessions take messages up to 16 MiB; a larger one ends the connection, as ZeroMQ does it."""
    with RawPusher() as sender, session_of(tmp_path, sender) as session:
        sender.accept()
        sender.send(payload("before"))
        eventually(lambda: session.names() == ["before"])
        before = memory_of(session.process)
        sender.begin(n_bytes)
        sender.accept()  # The session has hung up, and connects again.
        sender.send(payload("after"))
        eventually(lambda: session.names() == ["before", "after"])
        assert memory_of(session.process) < before + (32 << 20)
        assert session.stop()[0] == 0


def test_bytes_that_are_no_protocol(tmp_path):
    with RawPusher() as sender, session_of(tmp_path, sender) as session:
        for nonsense in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64, struct.pack(">Q", 0) * 50):
            sender.server.settimeout(PATIENCE_S)
            link, _ = sender.server.accept()
            link.sendall(nonsense)
            link.close()
        sender.accept()
        sender.send(payload("sound"))
        eventually(lambda: session.names() == ["sound"])
        assert session.stop()[0] == 0
