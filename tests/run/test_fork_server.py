"""The process that forks workers, where the system does not let it."""

import errno
import os
import socket

from braggstream.formats.wire import ForkOrder, Setup, decode_note
from braggstream.model.settings import OutputSettings, Settings
from braggstream.run.fork_server import ForkServer
from braggstream.run.slots import SlotMemory
from braggstream.run.supervisor import MAX_FRUITLESS, Supervisor, WorkersBroken
from session_fakes.session_process import eventually
from session_fakes.session_script import empty_geometry

PROCESSOR = "session_fakes.fake_processor:FakeProcessor"


def make_setup():
    output = OutputSettings(stream_file="out.stream")
    return Setup(processor=PROCESSOR, geometry=empty_geometry(), settings=Settings(), output=output, n_slots=1)


def test_a_worker_that_cannot_be_forked_is_told(monkeypatch):
    def refuse():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link, passed = socket.socketpair()
    memory = SlotMemory.create(1, 4096)
    with ours, theirs, link, passed:
        server = ForkServer(theirs, make_setup(), slots=memory.descriptor, parent=os.getpid())
        server._fork(ForkOrder(worker=3, token=7), os.dup(passed.fileno()))
        note = decode_note(ours.recv(4096))
        assert (note.token, note.pid) == (7, 0)
        assert note.complaint == "cannot be started: Resource temporarily unavailable"
        server._wake.close()
        server._wake_up.close()
    memory.close()


def test_workers_that_cannot_be_forked_are_tried_again_and_not_for_ever(monkeypatch):
    """A real process that forks workers, whose every fork fails."""
    said = []
    memory = SlotMemory.create(1, 4096)
    supervisor = Supervisor(setup=make_setup(), memory=memory, n_workers=1, frame_timeout_s=60.0, say=said.append)
    monkeypatch.setattr("braggstream.run.supervisor.FORK_AGAIN_S", 0.01)
    monkeypatch.setattr("braggstream.run.server_link.FORK_SERVER", "session_fakes.refusing_fork_server")
    supervisor.start()
    try:
        error = eventually(lambda: turned(supervisor))
        assert str(error) == f"workers cannot start: {MAX_FRUITLESS} in a row ended before they were ready"
        told = [line for line in said if "cannot be started: Resource temporarily unavailable" in line]
        assert len(told) == MAX_FRUITLESS and told[0].startswith("Worker 0 cannot"), told
    finally:
        supervisor.close(at_once=True)
        memory.close()


def turned(supervisor):
    """Turn once; gives what ended the supervisor's patience."""
    try:
        supervisor.turn()
    except WorkersBroken as error:
        return error
    return None
