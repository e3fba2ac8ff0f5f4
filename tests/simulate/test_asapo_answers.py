"""The stand-in's answers, one by one, as the real service was seen to give them."""

import json

import pytest

from braggstream.simulate.asapo import AsapoService, AsapoSettings
from simulate import asapo_wire as wire
from simulate.asapo_clients import BEAMTIME, SOURCE
from simulate.asapo_wire import Broker, Wire

pytestmark = pytest.mark.system

MARK = "asapo_finish_stream"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = AsapoSettings(resend_check_s=0.0, beamlines={"p11": BEAMTIME})
    with AsapoService(tmp_path_factory.mktemp("asapo"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def broker(service):
    with Broker(service) as made:
        yield made


@pytest.fixture(scope="module")
def producer(service):
    with Wire(wire.receiver(service)) as made:
        assert made.authorise(service.token(BEAMTIME)) == (0, "")
        yield made


def put(producer, stream, *numbers, **options):
    for number in numbers:
        name = options.get("message", f"processed/{number}")
        sent = {"data": b"abc", "custom": (9, 0, 0)} | options | {"message": name}
        assert producer.ask(wire.DATA, number=number, stream=stream, **sent) == (0, "")


def finish(producer, stream, number, successor="asapo_no_next"):
    meta = json.dumps({"next_stream": successor}).encode()
    answer = producer.ask(
        wire.DATA, number=number, stream=stream, message=MARK, meta=meta, custom=(2, 0, 0), data_size=0
    )
    assert answer == (0, "")


def end(number, highest, successor=""):
    return (409, {"op": "get_record_by_id", "id": number, "id_max": highest, "next_stream": successor})


def ids(broker, stream, group="g", **query):
    """What repeated `next` gives: ids, then holes as (id, highest), until the end, which comes last."""
    found = []
    while True:
        status, answer = broker.get(stream, f"{group}/next", **query)
        if status == 200:
            found.append(answer["_id"])
        elif status == 409 and answer["id"] < answer["id_max"]:
            found.append((answer["id"], answer["id_max"]))
        else:
            return [*found, (status, answer)]


def test_next_to_the_end_and_on_through_a_hole(broker, producer):
    put(producer, "a", 1, 2, 3)
    assert ids(broker, "a") == [1, 2, 3, end(3, 3)]
    put(producer, "a", 5)
    assert ids(broker, "a") == [(4, 5), 5, end(5, 5)]


def test_a_hole_before_the_mark_of_the_end(broker, producer):
    put(producer, "b", 1)
    finish(producer, "b", 4)
    assert ids(broker, "b") == [1, (2, 4), (3, 4), end(3, 3, "asapo_no_next")]


def test_a_finished_stream(broker, producer):
    put(producer, "c", 1)
    finish(producer, "c", 2, "run2")
    assert ids(broker, "c") == [1, end(1, 1, "run2")]
    for path in ("g/next", "0/last", "0/2", "g/groupedlast"):
        assert broker.get("c", path) == end(1, 1, "run2")
    assert broker.get("c", "0/3") == end(3, 2)
    assert broker.get("c", "size") == (200, {"size": 1})


def test_a_mark_that_is_no_longer_the_last_is_a_message(broker, producer):
    put(producer, "d", 1)
    finish(producer, "d", 2)
    put(producer, "d", 3)
    assert ids(broker, "d") == [1, 2, 3, end(3, 3)]


def test_nothing(broker):
    assert broker.get("nothing", "g/next") == end(0, 0)
    assert broker.get("nothing", "0/last") == end(0, 0)
    assert broker.get("nothing", "g/groupedlast") == end(0, 0)
    assert broker.get("nothing", "size") == (200, {"size": 0})
    assert broker.get("nothing", "g/lastack") == (200, {"lastAckId": 0})
    assert broker.get("nothing", "g/nacks") == (200, {"unacknowledged": []})


def test_positions(broker, producer):
    put(producer, "e", 1, 2, 3, 4, 5)
    finish(producer, "e", 6)
    ids(broker, "e")
    assert broker.post("e", "g/resetcounter", value=1) == (200, "")
    assert ids(broker, "e")[0] == 2
    assert broker.post("e", "g/resetcounter", value=100) == (200, "")
    assert ids(broker, "e") == [end(5, 5, "asapo_no_next")]
    assert broker.post("e", "g/resetcounter") == (200, "")
    assert ids(broker, "e")[0] == 1


def test_resends(broker, producer):
    put(producer, "f", 1, 2)
    asked = {"resend_nacks": "true", "delay_ms": 0, "resend_attempts": 2}
    assert sorted(ids(broker, "f", **asked)[:-1]) == [1, 1, 1, 2, 2, 2]
    assert ids(broker, "f", "none", **(asked | {"resend_attempts": 0})) == [1, 2, end(2, 2)]
    assert broker.get("f", "g/next", resend_nacks="true")[0] == 503


def test_resends_wait_for_their_time(tmp_path):
    with (
        AsapoService(tmp_path, AsapoSettings(resend_check_s=3600.0)) as service,
        Wire(wire.receiver(service)) as producer,
        Broker(service) as broker,
    ):
        producer.authorise(service.token(BEAMTIME))
        put(producer, "f", 1, 2, 3)
        asked = {"resend_nacks": "true", "delay_ms": 0, "resend_attempts": 1}
        # Looked for at the first request and at the end of the stream only.
        assert ids(broker, "f", **asked) == [1, 2, 3, 1, 2, 3, end(3, 3)]


def test_negative_acknowledgements(broker, producer):
    put(producer, "h", 1, 2)
    broker.get("h", "g/next")
    assert broker.post("h", "g/1", {"Op": "negackmessage", "Params": {"DelayMs": 0}}) == (200, "")
    assert ids(broker, "h") == [1, 2, end(2, 2)]
    assert broker.post("h", "g/1", {"Op": "negackmessage", "Params": {"DelayMs": "x"}})[0] == 503


def test_acknowledgements(broker, producer):
    put(producer, "i", 1, 2, 3)
    assert broker.post("i", "g/2", {"Op": "ackmessage"}) == (200, "")
    assert broker.post("i", "g/2", {"Op": "ackmessage"})[0] == 400
    assert broker.post("i", "g/777", {"Op": "ackmessage"}) == (200, "")
    assert broker.get("i", "g/lastack") == (200, {"lastAckId": 777})
    assert broker.get("i", "g/nacks", **{"from": 0, "to": 0}) == (200, {"unacknowledged": [1, 3]})
    assert broker.get("i", "g/nacks", **{"from": 3, "to": 3}) == (200, {"unacknowledged": [3]})
    assert broker.get("i", "g/nacks", **{"from": 3, "to": 2})[0] == 503
    assert broker.post("i", "g/1", {"Op": "dance"})[0] == 503
    assert broker.post("i", "g/one", {"Op": "ackmessage"})[0] == 400


def test_last_once_for_a_group(broker, producer):
    put(producer, "j", 1, 2)
    assert broker.get("j", "g/groupedlast")[1]["_id"] == 2
    assert broker.get("j", "g/groupedlast") == end(2, 2)
    put(producer, "j", 3)
    assert broker.get("j", "g/groupedlast")[1]["_id"] == 3


def test_an_incomplete_dataset(broker, producer):
    sent = {"number": 1, "stream": "k", "data": b"abc", "message": "processed/x"}
    assert producer.ask(wire.DATASET, custom=(9, 1, 2), **sent) == (0, "")
    status, answer = broker.get("k", "g/next", dataset="true", minsize=0)
    assert (status, answer["size"], answer["dataset_size"], len(answer["messages"])) == (206, 2, 2, 1)
    assert broker.get("k", "g/next", dataset="true", minsize=0) == end(1, 1)
    assert broker.get("k", "0/1", dataset="true", minsize=1)[0] == 200
    assert broker.get("k", "0/1")[0] == 200
    assert broker.get("k", "0/last", dataset="true", minsize=0) == end(0, 0)
    assert producer.ask(wire.DATASET, custom=(9, 2, 2), **sent) == (0, "")
    assert broker.get("k", "0/last", dataset="true", minsize=0)[0] == 200


def test_deleting(broker, producer, service):
    put(producer, "l", 1)
    body = {"ErrorOnNotExist": True, "DeleteMeta": True}
    with Broker(service, token=service.token(BEAMTIME, ["read"])) as reader:
        assert reader.post("l", "delete", body)[0] == 401
    assert broker.post("l", "delete", body | {"DeleteMeta": False}) == (200, "")
    assert broker.get("l", "size") == (200, {"size": 1})
    assert broker.post("l", "delete", body) == (200, "")
    assert broker.post("l", "delete", body)[0] == 400
    assert broker.post("l", "delete", body | {"ErrorOnNotExist": False}) == (200, "")
    assert broker.post("l", "delete", "{}")[0] == 503


def test_queries(broker, producer):
    for number, hits in enumerate((3, 8, 20), 1):
        put(producer, "queried", number, meta=json.dumps({"hits": hits, "sample": {"name": f"s{number}"}}).encode())
    finish(producer, "queried", 4)

    def found(condition):
        status, answer = broker.post("queried", "0/querymessages", condition)
        return [message["_id"] for message in answer] if status == 200 else status

    assert found("") == [1, 2, 3]
    assert found("meta.hits > 5 order by _id desc") == [3, 2]
    assert found("meta.hits > 5 and not (meta.hits = 20) or _id = 1") == [1, 2]
    assert found("meta.hits between 3 and 8") == [1, 2]
    assert found("meta.hits not between 3 and 8") == [3]
    assert found("meta.sample.name in ('s1', 's3') order by meta.hits desc") == [3, 1]
    assert found("meta.sample.name like 's%' AND size >= 3") == [1, 2, 3]
    assert found("meta.sample.name like '%2'") == [2]
    assert found("meta.nothing = 1") == []
    assert found("meta.hits = '3'") == []
    assert found("meta.hits != '3'") == [1, 2, 3]
    for odd in (
        "meta.hits >",
        "> 5",
        "a = 1 b = 2",
        "(" * 400 + "a = 1",
        "a ~ 1",
        "a = ''''",
        "order by",
        "x" * 5000,
    ):
        assert found(odd) == 400


def test_a_file_that_nobody_is_told_of(service, broker, producer):
    put(producer, "untold", 1, message="processed/untold/1.raw", custom=(5, 0, 0))
    assert broker.get("untold", "size") == (200, {"size": 0})
    assert (service.folder(BEAMTIME) / "processed" / "untold" / "1.raw").read_bytes() == b"abc"


def test_records_have_what_clients_of_all_ages_ask_for(broker, producer):
    put(producer, "m", 1, meta=b'{"x": [1.5, "\xc3\xa4"]}')
    _, record = broker.get("m", "0/1")
    assert record["meta"] == {"x": [1.5, "ä"]}
    for name in ("_id", "size", "timestamp", "buf_id", "dataset_substream", "ingest_mode", "time_id"):
        assert type(record[name]) is int
    assert (record["stream"], record["ib_source"], record["name"]) == ("m", "", "processed/1")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v0.7/beamtime/11001234/eiger/s/size", 400),
        ("/v0.7/beamtime/11001234/eiger/s/size?token=x.y.z", 401),
        ("/v0.8/beamtime/11001234/eiger/s/size?token=TOKEN", 415),
        ("/v0.1/beamtime/11001234/eiger/s/size?token=TOKEN", 200),
        ("/seven/beamtime/11001234/eiger/s/size?token=TOKEN", 400),
        ("/v0.7/beamtime/11009999/eiger/s/size?token=TOKEN", 401),
        ("/v0.7/beamtime/11001234/eiger//size?token=TOKEN", 404),
        ("/v0.7/beamtime/11001234/eiger/s/dance?token=TOKEN", 404),
        ("/v0.7/beamtime/11001234/eiger/s/0/x1?token=TOKEN", 400),
        ("/v0.7/beamtime/11001234/eiger/s/0/meta/2?token=TOKEN", 400),
        ("/v0.7/beamtime/11001234/eiger/s/0/meta/1?token=TOKEN", 409),
        ("/v0.7/beamtime/11001234/eiger/0/streams?token=TOKEN&filter=odd", 409),
        ("/v0.7/beamtime/11001234/eiger/" + "s" * 101 + "/size?token=TOKEN", 400),
        ("/v0.7/beamtime/11001234/" + "e" * 55 + "/s/size?token=TOKEN", 400),
        ("/v0.7/beamtime/11001234/eiger/s/" + "g" * 51 + "/next?token=TOKEN", 400),
        ("/v0.7/beamtime/11001234/eiger/%FF/size?token=TOKEN", 400),
        ("/v0.7/beamtime/11001234/eiger/s/g/next?token=TOKEN&id_key=colour", 400),
        ("/health", 204),
        ("/asapo-discovery/v0.1/asapo-broker?protocol=v0.7", 200),
        ("/v0.1/asapo-file-transfer?protocol=v0.5", 200),
        ("/asapo-discovery/v0.1/asapo-broker?protocol=v0.8", 415),
        ("/asapo-discovery/v0.1/asapo-broker", 400),
        ("/asapo-discovery/v0.2/asapo-broker?protocol=v0.7", 415),
        ("/asapo-discovery/v0.1/version?client=dancer", 500),
        ("/asapo-discovery/health", 204),
        ("/asapo-authorizer/health-check", 204),
        ("/nowhere", 404),
    ],
)
def test_states_of_requests(service, broker, target, status):
    assert broker.raw("GET", target.replace("TOKEN", service.token(BEAMTIME)))[0] == status


def test_new_groups_need_no_token(broker):
    status, group = broker.raw("POST", "/v0.7/creategroup")
    assert (status, len(group)) == (200, 20)
    assert broker.raw("POST", "/v0.8/creategroup")[0] == 415


def test_versions(broker):
    _, answer = broker.raw("GET", "/asapo-discovery/v0.1/version?client=consumer&protocol=v0.5")
    assert answer["clientSupported"] == "yes"
    assert {entry["versionInfo"].split()[0] for entry in answer["supportedProtocols"]} >= {"v0.5", "v0.7"}
    _, answer = broker.raw("GET", "/asapo-discovery/v0.1/version")
    assert (answer["clientSupported"], answer["supportedProtocols"]) == ("", None)


def test_the_authoriser(service, broker):
    def ask(path, body, **headers):
        return broker.raw("POST", f"/asapo-authorizer/{path}", json.dumps(body), headers)

    admin = {"Authorization": f"Bearer {service.admin_token}"}
    wish = {"Subject": {"beamtimeId": BEAMTIME}, "DaysValid": 30, "AccessTypes": ["read", "write"]}
    assert ask("admin/issue", wish)[0] == 401
    status, made = ask("admin/issue", wish, **admin)
    assert (status, made["Sub"], made["AccessTypes"]) == (200, f"bt_{BEAMTIME}", ["read", "write"])
    assert ask("introspect", {"Token": made["Token"]}) == (
        200,
        {"Sub": f"bt_{BEAMTIME}", "AccessTypes": ["read", "write"]},
    )
    words = f"processed%here%step%{BEAMTIME}%%odd%name%{made['Token']}"
    status, known = ask("authorize", {"SourceCredentials": words, "OriginHost": "127.0.0.1:1"})
    assert (status, known["beamtimeId"], known["dataSource"]) == (200, BEAMTIME, "odd%name")
    assert ask("authorize", {"SourceCredentials": "a%b", "OriginHost": "x"})[0] == 400
    raw = ask("authorize", {"SourceCredentials": words.replace("processed", "raw"), "OriginHost": "x"})
    assert raw[0] == 401
    assert ask("admin/revoke", {"Token": made["Token"]}, **admin)[0] == 200
    assert ask("introspect", {"Token": made["Token"]})[0] == 401
    line = ask("admin/issue", wish | {"Subject": {"beamline": "p11"}, "AccessTypes": ["writeraw"]}, **admin)[1]
    words = f"raw%here%step%auto%p11%eiger%{line['Token']}"
    assert ask("authorize", {"SourceCredentials": words, "OriginHost": "x"})[1]["beamtimeId"] == BEAMTIME
    folder = {"Folder": "auto", "BeamtimeId": BEAMTIME, "Token": service.token(BEAMTIME)}
    assert ask("v0.2/folder", folder)[0] == 200
    assert ask("v0.2/folder", folder | {"Token": ""})[0] == 400
    assert ask("v0.2/folder", folder | {"Folder": "/etc"})[0] == 401
    assert ask("v0.2/folder", folder | {"BeamtimeId": "11009999"})[0] == 401
    assert ask("v0.3/folder", folder)[0] == 415


def test_files_are_transferred_from_the_folder_only(service, broker, producer):
    put(producer, "n", 1, message="processed/n/1.raw", custom=(13, 0, 0), data=b"of the file")
    folder = {"Folder": "auto", "BeamtimeId": BEAMTIME, "Token": service.token(BEAMTIME)}
    _, opened = broker.raw("POST", "/asapo-authorizer/v0.2/folder", json.dumps(folder))

    def ask(name, *, cookie=opened, query="", version="v0.2"):
        body = json.dumps({"Folder": "auto", "FileName": name})
        target = f"/{version}/transfer?token=x{query}"
        return broker.raw("POST", target, body, {"Cookie": f"Authorization=Bearer {cookie}"})

    assert ask("processed/n/1.raw") == (200, "of the file")
    assert ask("processed/n/1.raw", query="&sizeonly=true") == (200, {"file_size": 11})
    assert ask("processed/n/2.raw")[0] == 404
    assert ask("processed/n")[0] == 404
    assert ask("../../state.sqlite")[0] == 404
    assert ask("/etc/passwd")[0] == 404
    assert ask("processed/n/1.raw", cookie="x.y.z")[0] == 401
    assert ask("processed/n/1.raw", cookie=service.token(BEAMTIME))[0] == 401
    assert ask("processed/n/1.raw", version="v0.3")[0] == 415
    link = service.folder(BEAMTIME) / "processed" / "n" / "link"
    link.symlink_to("/etc/passwd")
    assert ask("processed/n/link")[0] == 404


def test_the_data_server(service, broker, producer):
    put(producer, "o", 1, data=b"some data")
    _, record = broker.get("o", "0/1")
    slot = record["buf_id"] & (2**64 - 1)
    with Wire(record["source"]) as server:
        assert server.ask(wire.GET_BUFFER, number=slot, data_size=9, version="v0.1") == (0, "")
        assert server.read(9) == b"some data"
        for number, size in ((slot, 8), (slot + 1, 9)):
            assert server.ask(wire.GET_BUFFER, number=number, data_size=size, version="v0.1")[0] == 5
        assert server.ask(wire.GET_BUFFER, number=slot, data_size=9, version="v0.2")[0] == 4
        assert server.answer() is None
    with Wire(record["source"]) as server:
        assert server.ask(wire.DATA, version="v0.1")[0] == 3
        assert server.answer() is None


def test_older_producers(service, broker):
    """Before version 0.6 the credentials have five fields, and more is asked of the receiver itself."""
    with Wire(wire.receiver(service)) as producer:
        words = f"processed%{BEAMTIME}%auto%{SOURCE}%{service.token(BEAMTIME)}".encode()
        assert producer.ask(wire.AUTHORISE, meta=words, version="v0.0") == (0, "")
        old = {"version": "v0.5"}
        put(producer, "old", 1, 2, **old)
        code, info = producer.ask(wire.STREAM_INFO, stream="old", **old)
        assert (code, json.loads(info)["lastId"]) == (0, 2)
        assert json.loads(producer.ask(wire.LAST_STREAM, **old)[1])["name"] == "old"
        meta = {"data": b'{"a":1}', "custom": (9, 12, 0), "stream": "old", "message": "old.meta"}
        assert producer.ask(wire.METADATA, **meta, **old) == (0, "")
        assert producer.ask(wire.GET_METADATA, stream="old", **old) == (0, '{"a":1}')
        assert producer.ask(wire.DELETE, stream="old", custom=(3, 0, 0), **old) == (0, "")
        assert producer.ask(wire.DELETE, stream="old", custom=(3, 0, 0), **old)[0] == 3
        assert producer.answer() is None
    assert broker.get("old", "size") == (200, {"size": 0})


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"custom": (0, 0, 0)}, 3),
        ({"custom": (3, 0, 0)}, 3),
        ({"custom": (1, 0, 0)}, 3),
        ({"custom": (6, 0, 0)}, 3),
        ({"custom": (1 << 40, 0, 0)}, 3),
        ({"message": ""}, 3),
        ({"message": b"\xff"}, 3),
        ({"stream": ""}, 3),
        ({"stream": "s" * 101}, 3),
        ({"number": 2**63}, 3),
        ({"data_size": 2**63}, 3),
        ({"data_size": 2**40}, 3),
        ({"meta_size": 2**40}, 3),
        ({"meta": b"[1]"}, 3),
        ({"meta": b'{"a": NaN}'}, 3),
        ({"meta": b"{" * 500}, 3),
        ({"meta": b'{"a":' * 100 + b"1" + b"}" * 100}, 3),
        ({"op": wire.DATASET, "number": 0, "custom": (9, 1, 2)}, 3),
        ({"op": wire.DATASET, "custom": (9, 3, 2)}, 3),
        ({"op": wire.DATASET, "custom": (9, 0, 2)}, 3),
        ({"op": wire.DATASET, "custom": (9, 1, 2**50)}, 3),
        ({"version": "v0.8"}, 4),
        ({"version": "seven"}, 4),
        ({"op": wire.METADATA, "custom": (9, 4, 0)}, 3),
        ({"custom": (13, 0, 0), "message": "processed/../x"}, 3),
        ({"custom": (13, 0, 0), "message": "raw/x"}, 3),
        ({"custom": (13, 0, 0), "message": "/processed/x"}, 3),
        ({"custom": (13, 0, 0), "message": "processed"}, 3),
        ({"custom": (13, 0, 0), "message": "processed//x"}, 3),
        ({"op": 1}, None),
        ({"op": wire.GET_BUFFER}, None),
        ({"op": 99}, None),
    ],
)
def test_requests_that_the_receiver_refuses(service, request_, code):
    sent = {"op": wire.DATA, "number": 1, "stream": "p", "message": "processed/x", "custom": (9, 0, 0)}
    with Wire(wire.receiver(service)) as producer:
        producer.authorise(service.token(BEAMTIME))
        answer = producer.ask(**(sent | {"data": b"abc"} | request_))
        assert answer is None if code is None else answer[0] == code
        assert producer.answer() is None


def test_there_is_no_automatic_id_after_the_highest(service, producer):
    sent = {"stream": "top", "message": "processed/x", "custom": (9, 0, 0), "data": b"abc"}
    with Wire(wire.receiver(service)) as made:
        made.authorise(service.token(BEAMTIME))
        assert made.ask(wire.DATA, number=2**63 - 1, **sent)[0] == 0
        assert made.ask(wire.DATA, number=0, **sent)[0] == 3


def test_the_receiver_wants_to_know_who_sends(service):
    sent = {"number": 1, "stream": "q", "message": "processed/x", "custom": (9, 0, 0), "data": b"abc"}
    for token, kind in ((None, "processed"), ("x.y.z", "processed"), (service.token(BEAMTIME), "raw"), ("", "raw")):
        with Wire(wire.receiver(service)) as producer:
            answer = producer.ask(wire.DATA, **sent) if token is None else producer.authorise(token, kind=kind)
            assert answer[0] == 6


def test_a_producer_whose_token_was_taken_back(tmp_path):
    settings = AsapoSettings(authorisation_s=0.0)
    with AsapoService(tmp_path, settings) as service, Wire(wire.receiver(service)) as producer:
        token = service.token(BEAMTIME)
        producer.authorise(token)
        put(producer, "r", 1)
        service.revoke(token)
        sent = {"number": 2, "stream": "r", "message": "processed/x", "custom": (9, 0, 0), "data": b"abc"}
        assert producer.ask(wire.DATA, **sent)[0] == 1
