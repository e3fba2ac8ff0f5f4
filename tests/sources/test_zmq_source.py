"""One ZeroMQ source against sockets in the same test: tags, parts, questions, news of the connection."""

import time

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import zmq

from braggstream.model.errors import UserError
from braggstream.model.settings import ZmqSourceSettings
from braggstream.sources import zmq as source_module
from braggstream.sources.zmq import ZmqSource


class Bench:
    """A source, the socket of its sender, and what the source says."""

    def __init__(self, kind, n_questions=1, **settings):
        self.context = zmq.Context()
        self.sender = self.context.socket(kind)
        self.sender.linger = 0
        self.sender.bind("tcp://127.0.0.1:*")
        self.said = []
        chosen = ZmqSourceSettings(endpoint=self.sender.last_endpoint.decode(), **settings)
        self.source = ZmqSource(
            chosen, max_message_bytes=1 << 20, n_slots=3, say=self.said.append, n_questions=n_questions
        )

    def __enter__(self):
        self.source.open()
        return self

    def __exit__(self, *_):
        self.source.close()
        self.sender.close()
        self.context.term()

    def turn_until(self, condition, timeout_s=60.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            self.source.turn(n_room=1)
            time.sleep(0.002)

    def receive(self, timeout_s=60.0):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.source.turn(n_room=1)
            payload = self.source.receive()
            if payload is not None:
                return bytes(payload)
            time.sleep(0.002)
        raise AssertionError("nothing came")

    def question(self, timeout_ms=60_000):
        deadline = time.monotonic() + timeout_ms / 1e3
        while time.monotonic() < deadline:
            self.source.turn(n_room=1)
            if self.sender.poll(2):
                return self.sender.recv_multipart()
        return None


class Clock:
    """The time that the source knows of: it stands still until a test moves it."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(source_module, "monotonic", lambda: made.now)
    return made


@pytest.fixture
def subscribed():
    with Bench(zmq.XPUB, subscribe=("om", "omframedata")) as bench:
        bench.turn_until(lambda: bench.sender.poll(0))
        for _ in range(2):
            assert bench.sender.poll(60_000)
            bench.sender.recv()
        yield bench


@pytest.mark.parametrize("tag", [b"om", b"omframedata", b"omframedata-with-a-longer-name"])
def test_parts_before_the_last_are_the_tag(subscribed, tag):
    subscribed.sender.send_multipart([tag, b"more", b"payload"])
    assert subscribed.receive() == b"payload"


def test_longest_subscription_is_cut_off_a_single_part(subscribed):
    subscribed.sender.send(b"omframedata\x81payload")
    assert subscribed.receive() == b"\x81payload"
    subscribed.sender.send(b"om\x81payload")
    assert subscribed.receive() == b"\x81payload"


def test_every_part_that_is_a_frame_is_one(subscribed):
    frames = [msgpack.packb({"number": number, "list": list(range(20))}) for number in range(3)]
    subscribed.sender.send_multipart([b"omframedata", *frames, b"end", b""])
    assert [subscribed.receive() for _ in frames] == frames
    assert subscribed.source.ignored_parts() == 2 and subscribed.source.receive() is None
    subscribed.sender.send_multipart([b"omframedata" + frame for frame in frames])
    assert [subscribed.receive() for _ in frames] == frames


def test_a_frame_that_begins_like_a_subscription_is_left_whole():
    """Whoever subscribes to a beginning of the JSON itself gets all of it."""
    header = b'{"htype": "dheader-1.0", "series": 3, "header_detail": "none"}'
    with Bench(zmq.XPUB, subscribe=('{"htype"',)) as bench:
        bench.turn_until(lambda: bench.sender.poll(0))
        bench.sender.recv()
        bench.sender.send(header)
        assert bench.receive() == header


def test_frames_that_are_here_are_taken_after_the_stop():
    frames = [msgpack.packb({"number": number, "list": list(range(20))}) for number in range(3)]
    with Bench(zmq.PUSH, pull=True) as bench:
        bench.sender.send_multipart(frames)
        bench.sender.send_multipart(frames)
        assert bench.receive() == frames[0]
        bench.source.stop_asking()
        assert bench.source.n_held == 2
        assert [bench.receive() for _ in range(2)] == frames[1:]
        assert bench.source.n_held == 0 and bench.source.receive() is None


def test_empty_subscription_cuts_nothing():
    with Bench(zmq.XPUB, subscribe=("",)) as bench:
        bench.turn_until(lambda: bench.sender.poll(0))
        bench.sender.recv()
        bench.sender.send(b"anything")
        assert bench.receive() == b"anything"


def test_frame_of_a_monitor_that_answers_requests():
    """OM's answer from a ROUTER socket, packed with msgpack_numpy, arrives byte by byte."""
    image = np.arange(12, dtype="<i4").reshape(3, 4)
    answer = msgpack.packb(
        {"detector_data": image, "beam_energy": np.float64(9500.0), "event_id": "e17"},
        default=msgpack_numpy.encode,
        use_bin_type=True,
    )
    with Bench(zmq.ROUTER, request="next") as bench:
        identity, empty, request = bench.question()
        assert (empty, request) == (b"", b"next")
        bench.sender.send_multipart([identity, b"", answer])
        received = msgpack.unpackb(bench.receive(), object_hook=msgpack_numpy.decode, strict_map_key=False)
        assert np.array_equal(received["detector_data"], image)
        assert received["event_id"] == "e17"


def test_asks_once_while_the_reply_may_come():
    with Bench(zmq.ROUTER, request="next", reply_timeout_s=30.0) as bench:
        assert bench.question()
        assert bench.question(300) is None


def test_asks_for_as_many_as_there_is_room_for():
    with Bench(zmq.ROUTER, request="next", reply_timeout_s=30.0, n_questions=3) as bench:
        bench.turn_until(lambda: bench.sender.poll(0))
        assert bench.sender.recv_multipart()
        for _ in range(2):
            bench.source.turn(n_room=3)
        questions = [bench.question() for _ in range(2)]
        assert bench.question(200) is None
        for number in range(3):
            bench.sender.send_multipart([questions[0][0], b"", b"payload of frame %d" % number])
        assert [bench.receive() for _ in range(3)] == [b"payload of frame %d" % number for number in range(3)]


def test_a_lost_reply_costs_one_silence_only(clock):
    """A sender that lets one question fall: after the repetition the frames flow as fast as before."""
    with Bench(zmq.ROUTER, request="next", reply_timeout_s=0.2) as bench:
        assert bench.question()
        clock.now += 0.2
        identity, *_ = bench.question()
        for number in range(5):
            bench.sender.send_multipart([identity, b"", b"payload of frame %d" % number])
            assert bench.receive()
            assert bench.question()
        assert sum("asking again" in line for line in bench.said) == 1


def test_does_not_ask_without_room():
    with Bench(zmq.ROUTER, request="next") as bench:
        for _ in range(50):
            bench.source.turn(n_room=0)
            time.sleep(0.002)
        assert not bench.sender.poll(0)


def test_repeats_a_question_after_growing_intervals(clock):
    with Bench(zmq.ROUTER, request="next", reply_timeout_s=0.1) as bench:
        assert bench.question()
        for interval in (0.1, 0.2, 0.4):
            clock.now += 0.99 * interval
            assert bench.question(100) is None
            clock.now += 0.02 * interval
            assert bench.question()


def test_waits_a_little_after_a_reply_without_a_frame(clock):
    with Bench(zmq.ROUTER, request="next", reply_timeout_s=30.0) as bench:
        identity, *_ = bench.question()
        bench.sender.send_multipart([identity, b"", b"none"])
        assert bench.receive() == b"none"
        assert bench.question(100) is None
        clock.now += 1.01 * source_module.SHORT_PAUSE_S
        assert bench.question()


def test_asks_again_at_once_after_a_broken_connection():
    with Bench(zmq.ROUTER, request="next", reply_timeout_s=30.0) as bench:
        assert bench.question()
        endpoint = bench.sender.last_endpoint
        bench.sender.unbind(endpoint)
        bench.sender.close()
        bench.turn_until(lambda: any("Lost the connection" in line for line in bench.said))
        bench.sender = bench.context.socket(zmq.ROUTER)
        bench.sender.linger = 0
        bench.sender.bind(endpoint)
        assert bench.question()


def test_silence_is_told(monkeypatch):
    monkeypatch.setattr(source_module, "SILENCE_S", 0.1)
    with Bench(zmq.PUSH, pull=True) as bench:
        bench.turn_until(lambda: sum("still waiting" in line for line in bench.said) == 2)
        bench.sender.send(b"frame")
        assert bench.receive() == b"frame"


def test_larger_messages_than_allowed_are_refused():
    with Bench(zmq.PUSH, pull=True) as bench:
        bench.turn_until(lambda: any("Connected" in line for line in bench.said))
        bench.sender.send(bytes((1 << 20) + 1))
        bench.turn_until(lambda: any("Lost the connection" in line for line in bench.said))
        assert bench.source.receive() is None


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:5002", "tcp://", "nonsense://x", "ipc://" + 200 * "x"])
def test_address_that_is_none(endpoint):
    with pytest.raises(UserError, match="--zmq-input="):
        ZmqSource(
            ZmqSourceSettings(endpoint=endpoint, pull=True), max_message_bytes=1, n_slots=1, say=lambda _: None
        )
