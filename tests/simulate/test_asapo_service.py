"""The stand-in for ASAP::O as the official clients see it."""

import asapo_consumer
import pytest

from braggstream.simulate.asapo import AsapoService
from simulate.asapo_clients import Sender, consumer, quietly, read_all

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with AsapoService(tmp_path_factory.mktemp("asapo")) as running:
        yield running


@pytest.fixture(scope="module")
def sender(service):
    return Sender(service)


def test_messages_pass_from_producer_to_consumer(service, sender):
    assert sender.send("run 1", 1, 2, 3) == [None] * 3
    client = consumer(service)
    data, message = quietly(client.get_next, "online", meta_only=False, stream="run 1")
    assert bytes(data) == b"data 1"
    assert (message["_id"], message["name"], message["meta"]) == (1, "processed/run 1/1.raw", {"n": 1})
    client.acknowledge("online", 1, stream="run 1")
    ids, error = read_all(client, "online", "run 1")
    assert ids == [2, 3]
    assert isinstance(error, asapo_consumer.AsapoEndOfStreamError)
    assert error.id_max == 3
    assert client.get_current_size(stream="run 1") == 3
    assert [stream["name"] for stream in quietly(client.get_stream_list)] == ["run 1"]
