"""The stand-in for ASAP::O as the official clients see it."""

import threading

import asapo_consumer
import numpy as np
import pytest

from braggstream.simulate.asapo import AsapoService, AsapoSettings
from simulate.asapo_clients import BEAMTIME, SOURCE, WITH_FILE, Sender, consumer, quietly, read_all

pytestmark = pytest.mark.system

LARGE = 100_000
"""Bytes of a message that is one of ten in memory."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = AsapoSettings(resend_check_s=0.0, cache_bytes=10 * LARGE)
    with AsapoService(tmp_path_factory.mktemp("asapo"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def sender(service):
    return Sender(service)


@pytest.fixture(scope="module")
def client(service):
    return consumer(service)


def raised(call, *words, **options):
    """The error that a client's call ends with."""
    with pytest.raises(asapo_consumer.AsapoConsumerError) as caught:
        quietly(call, *words, **options)
    return caught.value


def test_messages_pass_from_producer_to_consumer(service, sender, client):
    assert sender.send("run 1", 1, 2, 3) == [None] * 3
    data, message = quietly(client.get_next, "online", meta_only=False, stream="run 1")
    assert bytes(data) == b"data 1"
    assert (message["_id"], message["name"], message["meta"]) == (1, "processed/run 1/1.raw", {"n": 1})
    assert (message["size"], message["ingest_mode"], message["stream"]) == (6, 9, "run 1")
    assert read_all(client, "online", "run 1")[0] == [2, 3]
    error = raised(client.get_next, "online", stream="run 1")
    assert isinstance(error, asapo_consumer.AsapoEndOfStreamError)
    assert error.id_max == 3
    assert client.get_current_size(stream="run 1") == 3


def test_names_of_all_kinds(sender, client):
    sender.send("ä/b %2F?#", 1, name="processed/x")
    data, message = quietly(client.get_next, "g/ü %", meta_only=False, stream="ä/b %2F?#")
    assert (bytes(data), message["stream"]) == (b"data 1", "ä/b %2F?#")
    assert read_all(client, "g/ü %", "ä/b %2F?#")[0] == []


def test_consumers_of_a_group_share_its_messages(service, sender):
    sender.send("shared", *range(1, 201))
    found, threads = [], []

    def read():
        ids, _ = read_all(consumer(service, timeout_ms=50), "workers", "shared")
        found.extend(ids)

    for _ in range(4):
        threads.append(threading.Thread(target=read))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 201))
    assert read_all(consumer(service), "others", "shared")[0] == list(range(1, 201))


def test_holes_are_told_once_and_late_messages_are_delivered(service, sender, client):
    sender.send("holes", 1, 4)
    patient = consumer(service, timeout_ms=60_000)
    assert quietly(client.get_next, "a", stream="holes")[1]["_id"] == 1
    error = raised(client.get_next, "a", stream="holes")
    assert isinstance(error, asapo_consumer.AsapoNoDataError)
    assert (error.id, error.id_max) == (2, 4)
    late = threading.Timer(0.05, lambda: sender.send("holes", 3))
    late.start()
    assert quietly(patient.get_next, "a", stream="holes")[1]["_id"] == 3
    late.join()
    assert quietly(client.get_next, "a", stream="holes")[1]["_id"] == 4
    assert isinstance(raised(client.get_next, "a", stream="holes"), asapo_consumer.AsapoEndOfStreamError)
    # In the order of arrival there are no holes.
    assert read_all(client, "b", "holes", ordered=False)[0] == [1, 4, 3]


@pytest.mark.parametrize(("successor", "told"), [(None, "asapo_no_next"), ("next run", "next run")])
def test_a_finished_stream_says_so_to_everybody(sender, client, successor, told):
    stream = f"ended {told}"
    sender.send(stream, 1, 2)
    sender.finish(stream, 2, successor)
    for ordered in (True, False):
        ids, error = read_all(client, f"a{ordered}", stream, ordered=ordered)
        assert ids == [1, 2]
        assert isinstance(error, asapo_consumer.AsapoStreamFinishedError)
        assert (error.id_max, error.next_stream) == (2, told)
    assert isinstance(raised(client.get_last, stream=stream), asapo_consumer.AsapoStreamFinishedError)
    assert client.get_current_size(stream=stream) == 2
    info = client.get_stream_info(stream)
    assert (info["lastId"], info["finished"], info["nextStream"]) == (2, True, successor or "")


def test_a_mark_of_the_end_that_came_early_in_the_order_of_arrival(sender, client):
    sender.send("early end", 1)
    sender.finish("early end", 3)
    sender.send("early end", 2, 3)
    ids, error = read_all(client, "a", "early end", ordered=False)
    assert ids == [1, 2, 3]
    assert isinstance(error, asapo_consumer.AsapoStreamFinishedError)


def test_messages_that_are_not_acknowledged_come_again(sender, client):
    sender.send("again", 1, 2)
    client.set_resend_nacs(True, 0, 2)
    try:
        ids, _ = read_all(client, "a", "again")
        assert sorted(ids) == [1, 1, 1, 2, 2, 2]
        first = quietly(client.get_next, "b", stream="again")[1]["_id"]
        client.acknowledge("b", first, stream="again")
        ids, _ = read_all(client, "b", "again")
        assert ids == [2, 2, 2]
    finally:
        client.set_resend_nacs(False, 0, 0)


def test_a_negative_acknowledgement_brings_a_message_once_more(sender, client):
    sender.send("refused", 1, 2)
    quietly(client.get_next, "a", stream="refused")
    client.neg_acknowledge("a", 1, stream="refused")
    assert read_all(client, "a", "refused")[0] == [1, 2]
    client.neg_acknowledge("a", 2, delay_ms=3_600_000, stream="refused")
    assert read_all(client, "a", "refused")[0] == []


def test_acknowledgements_are_kept_by_group(sender, client):
    sender.send("acks", 1, 2, 3)
    client.acknowledge("a", 1, stream="acks")
    client.acknowledge("a", 3, stream="acks")
    assert quietly(client.get_unacknowledged_messages, "a", stream="acks") == [2]
    assert quietly(client.get_unacknowledged_messages, "b", stream="acks") == [1, 2, 3]
    assert quietly(client.get_unacknowledged_messages, "a", 2, 2, stream="acks") == [2]
    assert quietly(client.get_last_acknowledged_message, "a", stream="acks") == 3
    assert isinstance(raised(client.acknowledge, "a", 3, stream="acks"), asapo_consumer.AsapoWrongInputError)
    none = raised(client.get_last_acknowledged_message, "b", stream="acks")
    assert isinstance(none, asapo_consumer.AsapoNoDataError)


def test_positions_are_moved(sender, client):
    sender.send("moved", 1, 2, 3)
    assert read_all(client, "a", "moved")[0] == [1, 2, 3]
    quietly(client.set_lastread_marker, "a", 1, stream="moved")
    assert read_all(client, "a", "moved")[0] == [2, 3]
    quietly(client.reset_lastread_marker, "a", stream="moved")
    assert read_all(client, "a", "moved")[0] == [1, 2, 3]
    quietly(client.set_lastread_marker, "a", 100, stream="moved")
    assert read_all(client, "a", "moved")[0] == []
    sender.finish("moved", 3)
    assert isinstance(raised(client.get_next, "a", stream="moved"), asapo_consumer.AsapoStreamFinishedError)


def test_the_last_message_again_and_once_for_a_group(sender, client):
    sender.send("last", 1, 2)
    assert [quietly(client.get_last, stream="last")[1]["_id"] for _ in range(2)] == [2, 2]
    assert quietly(client.get_last, stream="last", group_id="a")[1]["_id"] == 2
    assert isinstance(raised(client.get_last, stream="last", group_id="a"), asapo_consumer.AsapoEndOfStreamError)
    sender.send("last", 3)
    assert quietly(client.get_last, stream="last", group_id="a")[1]["_id"] == 3


def test_messages_by_their_ids(sender, client):
    sender.send("by id", 1, 3)
    assert client.get_by_id(3, stream="by id")[1]["_id"] == 3
    assert isinstance(raised(client.get_by_id, 4, stream="by id"), asapo_consumer.AsapoEndOfStreamError)
    hole = raised(client.get_by_id, 2, stream="by id")
    assert isinstance(hole, asapo_consumer.AsapoNoDataError)
    assert (hole.id, hole.id_max) == (2, 3)


def test_streams_are_listed_in_the_order_of_their_creation(service):
    sender, client = Sender(service, source="listed"), consumer(service, source="listed")
    assert quietly(client.get_stream_list) == []
    for stream in ("c", "a", "b"):
        sender.send(stream, 1)
    sender.finish("a", 1, "b")

    def listed(**options):
        return [stream["name"] for stream in quietly(client.get_stream_list, **options)]

    assert listed() == ["c", "a", "b"]
    assert listed(from_stream="a") == ["a", "b"]
    assert listed(from_stream="no such") == []
    assert (listed(filter="finished"), listed(filter="unfinished")) == (["a"], ["c", "b"])
    assert client.get_last_stream()["name"] == "b"
    assert sender.producer.get_stream_info("a")["nextStream"] == "b"
    assert client.get_stream_info("no such")["lastId"] == 0
    assert "listed" in client.get_source_list()


def test_datasets_partial_and_complete(sender, client):
    sender.send("sets", 1, dataset=(1, 2))
    sender.send("sets", 1, dataset=(2, 2))
    sender.send("sets", 2, dataset=(1, 2))
    found = quietly(client.get_next_dataset, "a", stream="sets")
    assert (found["id"], found["expected_size"], len(found["content"])) == (1, 2, 2)
    assert bytes(client.retrieve_data(found["content"][1])) == b"data 1"
    partial = raised(client.get_next_dataset, "a", stream="sets")
    assert isinstance(partial, asapo_consumer.AsapoPartialDataError)
    assert (partial.partial_data["id"], len(partial.partial_data["content"])) == (2, 1)
    assert isinstance(raised(client.get_next_dataset, "a", stream="sets"), asapo_consumer.AsapoEndOfStreamError)
    assert len(client.get_dataset_by_id(2, min_size=1, stream="sets")["content"]) == 1
    assert client.get_dataset_by_id(1, stream="sets", substream=2)["content"][0]["dataset_substream"] == 2
    assert isinstance(
        raised(client.get_dataset_by_id, 2, stream="sets", substream=2), asapo_consumer.AsapoPartialDataError
    )
    assert quietly(client.get_last_dataset, stream="sets")["id"] == 1
    assert quietly(client.get_last_dataset, min_size=1, stream="sets")["id"] == 2
    assert quietly(client.get_current_dataset_count, stream="sets") == 1
    assert quietly(client.get_current_dataset_count, stream="sets", include_incomplete=True) == 2
    sender.send("no sets", 1)
    assert isinstance(
        raised(client.get_current_dataset_count, stream="no sets"), asapo_consumer.AsapoWrongInputError
    )


def test_data_that_have_fallen_out_of_memory_come_from_files_or_not_at_all(service, sender, client):
    data = np.arange(LARGE, dtype=np.uint8)
    assert sender.send("filed", 1, mode=WITH_FILE, content=data) == [None]
    assert sender.send("memory", 1, content=data) == [None]
    assert np.array_equal(client.get_by_id(1, meta_only=False, stream="memory")[0].view(np.uint8), data)
    sender.send("flood", *range(1, 12), content=data)
    assert np.array_equal(client.get_by_id(1, meta_only=False, stream="filed")[0].view(np.uint8), data)
    error = raised(client.get_by_id, 1, meta_only=False, stream="memory")
    assert isinstance(error, asapo_consumer.AsapoDataNotInCacheError)
    assert service.cache.n_bytes <= service.settings.cache_bytes


def test_what_is_sent_twice(service, sender):
    sender.send("twice", 1, mode=WITH_FILE)
    assert [type(error).__name__ for error in sender.send("twice", 1, mode=WITH_FILE)] == ["AsapoServerWarning"]
    other = sender.send("twice", 1, name="processed/other")
    assert [type(error).__name__ for error in other] == ["AsapoWrongInputError"]
    overwritten = sender.send("twice", 2, mode=WITH_FILE, name="processed/twice/1.raw")
    assert "overwritten" in str(overwritten[0])


def test_ids_are_given_where_the_producer_wants_it(sender, client):
    assert sender.send("automatic", 0, 0, 0, name="processed/x") == [None] * 3
    assert read_all(client, "a", "automatic")[0] == [1, 2, 3]


def test_metadata_of_beamtime_and_stream(service, sender, client):
    producer = sender.producer
    assert isinstance(raised(client.get_stream_meta, "meta"), asapo_consumer.AsapoNoDataError)
    assert sender.note(producer.send_stream_meta, '{"a": 1, "b": 1}', stream="meta") is None
    assert sender.note(producer.send_beamtime_meta, '{"c": {"d": 2}}') is None
    assert sender.note(producer.send_stream_meta, '{"b": 2}', mode="update", stream="meta") is None
    assert client.get_stream_meta("meta") == {"a": 1, "b": 2}
    assert client.get_beamtime_meta() == producer.get_beamtime_meta() == {"c": {"d": 2}}
    error = sender.note(producer.send_stream_meta, '{"a": 3}', mode="insert", upsert=False, stream="meta")
    assert "metadata already" in str(error)


def test_messages_are_queried(sender, client):
    sender.send("asked", 1, 2, 3)
    found = quietly(client.query_messages, "meta.n >= 2 order by _id desc", stream="asked")
    assert [message["_id"] for message in found] == [3, 2]
    assert isinstance(
        raised(client.query_messages, "meta.n >=", stream="asked"), asapo_consumer.AsapoWrongInputError
    )


def test_streams_are_deleted(service, sender, client):
    sender.send("gone", 1, 2)
    read_all(client, "a", "gone")
    only_reader = consumer(service, token=service.token(BEAMTIME, ["read"]))
    assert isinstance(raised(only_reader.delete_stream, "gone"), asapo_consumer.AsapoWrongInputError)
    quietly(sender.producer.set_stream_persistent, "gone")
    client.delete_stream("gone")
    assert client.get_current_size(stream="gone") == 0
    assert isinstance(raised(client.delete_stream, "gone"), asapo_consumer.AsapoWrongInputError)
    client.delete_stream("gone", error_on_not_exist=False)
    sender.send("gone", 1)
    assert read_all(client, "a", "gone")[0] == [1]


@pytest.mark.parametrize("kind", ["forged", "of another beamtime", "expired", "revoked"])
def test_wrong_tokens_are_refused(service, kind):
    token = {
        "forged": lambda: service.token(BEAMTIME)[:-2] + "AA",
        "of another beamtime": lambda: service.token("11009999"),
        "expired": lambda: service.token(BEAMTIME, days=-1),
        "revoked": lambda: service.token(BEAMTIME),
    }[kind]()
    if kind == "revoked":
        service.revoke(token)
    client = consumer(service, token=token, timeout_ms=50)
    assert isinstance(raised(client.get_current_size, stream="x"), asapo_consumer.AsapoWrongInputError)
    if kind == "forged":
        refused = Sender(service, token=token).send("x", 1)
        assert [type(error).__name__ for error in refused] == ["AsapoWrongInputError"]


def test_names_that_are_too_long(client):
    for call in (
        lambda: client.get_next("g" * 51, stream="x"),
        lambda: client.get_next("g " * 13, stream="x"),
        lambda: client.get_current_size(stream="s" * 101),
    ):
        assert isinstance(raised(call), asapo_consumer.AsapoWrongInputError)


def test_protocols_out_of_date_and_services_that_are_away(service):
    faults = service.faults
    faults.expired_protocols = frozenset({7})
    client = consumer(service, timeout_ms=50)
    assert isinstance(raised(client.get_next, "a", stream="x"), asapo_consumer.AsapoUnsupportedClientError)
    faults.expired_protocols = frozenset()
    faults.has_no_broker = True
    assert isinstance(raised(client.get_next, "a", stream="x"), asapo_consumer.AsapoUnavailableServiceError)
    faults.has_no_broker = False
    with faults.during(503):
        assert isinstance(raised(client.get_next, "a", stream="x"), asapo_consumer.AsapoUnavailableServiceError)
    with faults.during(500, services=("broker",)):
        error = raised(client.get_next, "a", stream="x")
        assert isinstance(error, asapo_consumer.AsapoInterruptedTransactionError)
    assert isinstance(raised(client.get_next, "a", stream="x"), asapo_consumer.AsapoEndOfStreamError)


def test_groups_are_told_by_our_own_extension(service, sender, client):
    sender.send("told", 1, 2, 3)
    quietly(client.get_next, "a", stream="told")
    client.acknowledge("a", 1, stream="told")
    (group,) = service.group_states(BEAMTIME, SOURCE, "told")
    assert (group["group"], group["position"], group["acknowledged"], group["lastAckId"]) == ("a", 1, 1, 1)


def test_versions_are_told(client, sender):
    info = client.get_version_info()
    assert info["supported"] is True
    assert "v0.7 (current)" in info["server"]
    assert sender.producer.get_version_info()["supported"] is True
