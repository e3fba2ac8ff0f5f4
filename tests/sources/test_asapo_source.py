"""The consumers of ASAP::O against a service that answers nonsense, and what the source keeps in mind."""

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.model.settings import AsapoServiceSettings, AsapoSourceSettings
from braggstream.simulate.asapo import AsapoService
from braggstream.simulate.asapo.http import Answer
from braggstream.sources import asapo_bytes
from braggstream.sources.asapo import AsapoSource
from braggstream.sources.asapo_client import StreamInfo
from braggstream.sources.asapo_order import StreamOrder
from braggstream.sources.seen_numbers import SeenNumbers
from session_fakes.session_process import eventually
from simulate.asapo_clients import BEAMTIME, SOURCE, Sender


@pytest.fixture
def service(tmp_path):
    with AsapoService(tmp_path) as running:
        yield running


def make_source(service, *, n_threads=1, **chosen):
    where = AsapoServiceSettings(
        endpoint=service.endpoint, token=service.token(BEAMTIME), beamtime=BEAMTIME, source=SOURCE
    )
    lines = []
    options = {"group": "g", "stream": "run1", "timeout_s": 0.05, **chosen}
    source = AsapoSource(
        AsapoSourceSettings(service=where, **options),
        n_threads=n_threads,
        max_message_bytes=1 << 20,
        known={},
        say=lines.append,
        wake=lambda: None,
    )
    return source, lines


def all_of(source):
    """Everything that a source gives, by number."""
    found = {}

    def is_ended():
        while (received := source.take()) is not None:
            found[received.announcement.number] = received
            source.settled(received.key)
        return source.is_ended

    source.start()
    eventually(is_ended)
    source.close()
    assert source.error is None
    return found


RECORD = {
    "_id": 100, "buf_id": 0, "dataset_substream": 0, "meta": {}, "name": "processed/x", "size": 10,
    "source": "127.0.0.1:1", "timestamp": 1, "stream": "run1", "ingest_mode": 9, "ib_source": "",
}  # fmt: skip
DEEP = b"[" * 100_000 + b"]" * 100_000
HOSTILE = {
    "deep": lambda record: record.replace(b'"meta": {}', b'"meta": {"a":' + DEEP + b"}"),
    "no text": lambda record: record.replace(b"processed/x", b"\xff\xfe"),
    "no object": lambda record: record.replace(b'"meta": {}', b'"meta": [1]'),
    "too large": lambda record: record.replace(b'"size": 10', b'"size": 1152921504606846976'),
    "negative": lambda record: record.replace(b'"size": 10', b'"size": -5'),
    "float": lambda record: record.replace(b'"timestamp": 1', b'"timestamp": 1.5'),
    "no server": lambda record: record.replace(b'"buf_id": 0', b'"buf_id": 5').replace(b"127.0.0.1:1", b":::x"),
    "lines": lambda record: record.replace(b"processed/x", b"a\\nb\\u0000c"),
    "long": lambda record: record.replace(b"processed/x", b"x" * 1_000_000),
    "empty": lambda record: b"",
    "cut off": lambda record: record[:40],
    "not JSON": lambda record: b"\x00" * 1000,
}


def test_good_messages_come_after_nonsense(service, monkeypatch):
    monkeypatch.setattr(asapo_bytes, "PATIENCE_S", 1.0)
    Sender(service).send("run1", *range(1, 4))
    bodies = [change(json.dumps({**RECORD, "_id": 100 + n}).encode()) for n, change in enumerate(HOSTILE.values())]
    answer = service._broker.answer

    def respond(request):
        if request.path[-1] == "next" and bodies:
            return Answer(200, bodies.pop(0))
        return answer(request)

    service._broker.answer = respond
    source, lines = make_source(service, no_data_timeout_s=1.5)
    found = all_of(source)
    assert not bodies
    for number in (1, 2, 3):
        assert bytes(found[number].payload) == f"data {number}".encode() and not found[number].fault
    rest = [received for number, received in found.items() if number >= 100]
    assert all(received.fault and not received.payload for received in rest)
    assert "at most 1048576 are taken" in found[103].fault
    assert source.n_missing >= 2 and any("its record cannot be read" in line for line in lines)
    assert threading.stack_size() == 0


def test_streams_are_chosen_in_the_order_of_their_creation():
    order = StreamOrder(None, follow=False)
    assert order.current() is None and order.is_empty and not order.is_over
    order.listed([StreamInfo(name="a", size=2), StreamInfo(name="b", size=1)])
    assert order.current() == "a" and not order.is_empty
    order.at_end("a", 2)
    assert order.current() == "b"
    order.at_end("b", 1)
    assert order.current() == "b"  # The last one may get more.
    order.listed([StreamInfo(name="a", size=3), StreamInfo(name="b", size=1), StreamInfo(name="c", size=1)])
    assert order.current() == "a"  # It has grown.
    order.at_end("a", 3)
    assert order.current() == "c"
    order.finish("c", "d")
    assert order.current() == "b" and order.names == ("a", "b", "c")
    order["a"].is_owed = True
    assert {order.current() for _ in range(4)} == {"a", "b"}


def test_a_stream_that_is_chosen_is_left_for_its_successor_only_where_that_is_wanted():
    alone, following = StreamOrder("a", follow=False), StreamOrder("a", follow=True)
    assert alone.finish("a", "b") and alone.is_over and alone.current() is None
    assert not alone.finish("a", "b")
    following.finish("a", "b")
    assert not following.is_over and following.current() == "b"
    following.finish("b", "a")
    assert following.is_over  # No circles.


@given(st.lists(st.integers(0, 1 << 64)))
def test_seen_numbers_are_a_set(numbers):
    seen, truth = SeenNumbers(), set()
    for number in numbers:
        assert seen.add(number) == (number not in truth)
        truth.add(number)
    assert len(seen) == len(truth) and all(number in seen for number in truth)
    assert seen.highest == max(truth, default=0)
    assert all((number + 1 in seen) == (number + 1 in truth) for number in truth)
