"""Whole sessions fed through ZeroMQ sockets: every frame exactly once, whatever the sender does."""

import pytest
import zmq

from session_fakes.senders import Publisher, Pusher, Replier
from session_fakes.session_process import SessionProcess, eventually

pytestmark = pytest.mark.system

N_QUESTIONS = 2
"""Under way at the same time, for one worker and for two."""


def names(n):
    return [f"f{number}" for number in range(n)]


def check_all_once(session, expected):
    """Every frame has one chunk, serials run without a gap, the ledger agrees."""
    eventually(lambda: len(session.names()) >= len(expected))
    status, summary = session.stop()
    assert status == 0
    assert sorted(session.names()) == sorted(expected)
    assert sorted(serial for _, serial in session.written()) == list(range(1, len(expected) + 1))
    frames = summary["frames"]
    assert frames["received"] == frames["written"] == len(expected)
    assert frames["skipped"] == frames["failed"] == frames["in_flight"] == frames["lost"] == 0
    assert f"Final: {len(expected)} images processed, {len(expected)} hits (100.0%), 0 indexable" in session.text


@pytest.mark.parametrize("n_workers", [1, 2, 4])
@pytest.mark.parametrize("kind", [zmq.REP, zmq.ROUTER])
def test_requested_frames_come_once(tmp_path, n_workers, kind):
    with (
        Replier(names(60), kind=kind) as sender,
        SessionProcess(
            tmp_path, zmq={"endpoint": sender.endpoint, "request": "next"}, run={"n_workers": n_workers}
        ) as session,
    ):
        check_all_once(session, sender.names)
        assert set(sender.requests) == {b"next"}


@pytest.mark.parametrize("n_workers", [1, 4])
@pytest.mark.parametrize("glue", [True, False])
def test_broadcast_frames_come_once(tmp_path, n_workers, glue):
    with (
        Publisher(names(60), glue=glue) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "subscribe": ["other", "omframe", "omframedata"]},
            run={"n_workers": n_workers},
        ) as session,
    ):
        check_all_once(session, sender.names)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_pushed_frames_come_once(tmp_path, n_workers):
    with (
        Pusher(names(60)) as sender,
        SessionProcess(
            tmp_path, zmq={"endpoint": sender.endpoint, "pull": True}, run={"n_workers": n_workers}
        ) as session,
    ):
        check_all_once(session, sender.names)


def test_lost_reply_is_asked_for_again(tmp_path):
    options = {"request": "next", "reply_timeout_s": 0.3}
    with (
        Replier(names(20), lose={5, 6, 12}) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, **options}) as session,
    ):
        check_all_once(session, sender.names)
        assert "asking again" in session.text


def test_late_replies_are_taken(tmp_path):
    """A sender without frames lets several questions pile up, and then answers them all."""
    options = {"request": "next", "reply_timeout_s": 0.1}
    with (
        LateReplier(names(30)) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, **options}) as session,
    ):
        check_all_once(session, sender.names)


class LateReplier(Replier):
    def serve(self):
        questions = []
        while len(questions) < 4 and not self.is_ending.is_set():
            if self.socket.poll(50):
                questions.append(self.socket.recv_multipart()[:-1])
        for envelope in questions:
            name = self.names[len(self.sent)]
            self.socket.send_multipart([*envelope, self.payload(name)])
            self.sent.append(name)
        every_name, self.names = self.names, self.names[len(self.sent) :]
        super().serve()
        self.names = every_name


@pytest.mark.parametrize("sender_kind", [Replier, Pusher])
def test_sender_is_started_anew(tmp_path, sender_kind):
    zmq_options = {"request": "next"} if sender_kind is Replier else {"pull": True}
    with sender_kind(["a", "b", "c"]) as sender:
        endpoint = sender.endpoint
        session = SessionProcess(tmp_path, zmq={"endpoint": endpoint, **zmq_options})
        with session:
            eventually(lambda: len(session.names()) == 3)
            sender.__exit__()
            sender.__exit__ = lambda *_: None
            eventually(lambda: "Lost the connection" in session.text)
            with sender_kind(["d", "e"], endpoint=endpoint):
                check_all_once(session, ["a", "b", "c", "d", "e"])


def test_sender_starts_after_the_session(tmp_path):
    with Replier([]) as first:
        endpoint = first.endpoint
    with SessionProcess(tmp_path, zmq={"endpoint": endpoint, "request": "next"}) as session:
        session.wait_until_warm()
        with Replier(names(3), endpoint=endpoint) as sender:
            check_all_once(session, sender.names)
            assert len(sender.requests) <= 3 + N_QUESTIONS


def test_what_was_asked_for_is_taken_after_the_stop(tmp_path):
    """The sender answers when the session has begun to stop."""
    with (
        StopHearingReplier(["a", "b"]) as sender,
        SessionProcess(
            tmp_path,
            zmq={"endpoint": sender.endpoint, "request": "next"},
            constants={"run.intake.LAST_REPLIES_S": 20.0},
        ) as session,
    ):
        sender.session = session
        eventually(lambda: len(sender.requests) == N_QUESTIONS)
        status, summary = session.stop()
    assert status == 0
    assert session.names() == ["a", "b"]
    assert summary["frames"]["received"] == summary["frames"]["written"] == 2


class StopHearingReplier(Replier):
    def serve(self):
        while len(self.requests) < N_QUESTIONS and not self.is_ending.is_set():
            if self.socket.poll(50):
                self.requests.append(self.socket.recv_multipart()[:-1])
        while "Stopping" not in self.session.text and not self.is_ending.wait(0.002):
            pass
        for envelope, name in zip(self.requests, self.names, strict=True):
            self.socket.send_multipart([*envelope, self.payload(name)])


def test_messages_grow(tmp_path):
    with (
        GrowingPusher(names(12)) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "pull": True}) as session,
    ):
        check_all_once(session, sender.names)


class GrowingPusher(Pusher):
    def payload(self, name):
        # Of up to 15 bytes it would be no frame.
        return name.encode().ljust(max(16, 64 * 4 ** int(name[1:]) % (1 << 24)), b"\0")


def test_reply_of_several_parts(tmp_path):
    class Tagging(Replier):
        def reply(self, name):
            return [b"a tag that is longer than a tag should be", self.payload(name)]

    with (
        Tagging(names(5)) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "request": "next"}) as session,
    ):
        check_all_once(session, sender.names)


def test_replies_that_are_no_frames_are_counted(tmp_path):
    class Refusing(Replier):
        def reply(self, name):
            return [b""] if name == "empty" else [b"bad: no frame, but an apology of some length"]

    with (
        Refusing(["empty", "bad", "bad"]) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "request": "next"}) as session,
    ):
        eventually(lambda: len(sender.sent) == 3)
        eventually(lambda: session.text.count("failed (decode)") == 2)
        status, summary = session.stop()
        assert status == 0
        assert summary["frames"]["received"] == 3
        assert summary["failed_by_reason"] == {"decode": 2}


def test_gaps_in_the_senders_numbers_are_lost_frames(tmp_path):
    numbers = [f"number:{n}" for n in (10, 11, 14, 13, 20)]
    with (
        Pusher(numbers) as sender,
        SessionProcess(tmp_path, zmq={"endpoint": sender.endpoint, "pull": True}, run={"n_workers": 2}) as session,
    ):
        eventually(lambda: len(session.names()) == 5)
        _, summary = session.stop()
        assert summary["frames"]["lost"] == 6


@pytest.mark.parametrize("endpoint", ["127.0.0.1:5002", "tcp://", "nonsense://x", "tcp://127.0.0.1:notaport"])
def test_bad_endpoint(tmp_path, endpoint):
    with SessionProcess(tmp_path, zmq={"endpoint": endpoint, "request": "next"}) as session:
        assert session.wait() == 1
        assert session.text.count("\n") == 1
        assert f"--zmq-input={endpoint}" in session.text
