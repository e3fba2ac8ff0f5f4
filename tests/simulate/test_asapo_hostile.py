"""The stand-in under attack: what is no request, lies about its length, or comes too slowly."""

import contextlib
import json
import random
import resource
import socket
import time

import pytest

from braggstream.simulate.asapo import AsapoService, AsapoSettings
from braggstream.simulate.asapo.cache import DataCache
from braggstream.simulate.asapo.settings import Patience
from braggstream.simulate.asapo.tcp import MOST_CONNECTIONS
from simulate import asapo_wire as wire
from simulate.asapo_clients import BEAMTIME
from simulate.asapo_wire import Broker, Wire

pytestmark = pytest.mark.system

MESSAGE = {"stream": "s", "message": "processed/x", "custom": (9, 0, 0), "data": b"abc"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = AsapoSettings(patience=Patience(idle_s=60.0, request_s=1.0), max_data_bytes=400 << 20)
    with AsapoService(tmp_path_factory.mktemp("asapo"), settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _still_serves(service):
    """After each attack, good messages still pass."""
    yield
    with Broker(service) as broker, Wire(wire.receiver(service)) as producer:
        assert producer.authorise(service.token(BEAMTIME)) == (0, "")
        _, before = broker.get("s", "size")
        assert producer.ask(wire.DATA, number=0, **MESSAGE) == (0, "")
        assert broker.get("s", "size") == (200, {"size": before["size"] + 1})


def answer_to(service, sent, *, wait_s=60.0):
    """What the endpoint answers to bytes, until it closes."""
    host, port = service.endpoint.split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=wait_s) as connection:
        connection.sendall(sent)
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    return answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", b"400"),
        (b"\x00\xff\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400"),
        (b"GET nowhere HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno field\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /" + b"x" * 40_000, b"431"),
        (b"GET /?" + b"a&" * 1000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /?a=%FF HTTP/1.1\r\n\r\n", b"400"),
        # A body, or a head, that never becomes complete: given up without an answer.
        (b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc", None),
        (b"GET / HT", None),
    ],
)
def test_what_is_no_request(service, sent, status):
    answer = answer_to(service, sent)
    assert answer == b"" if status is None else answer.startswith(b"HTTP/1.1 " + status)


def test_bytes_that_come_one_by_one(service):
    host, port = service.endpoint.split(":")
    with socket.create_connection((host, int(port))) as connection:
        start = time.monotonic()
        with pytest.raises(OSError):  # Hung up, though each byte came in time.
            while time.monotonic() - start < 60.0:
                connection.sendall(b"x")
                time.sleep(0.02)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[" * 100_000,
        '{"Op":' * 20_000,
        '{"Op":"ackmessage"',
        '{"Op":NaN}',
        '["ackmessage"]',
        '"ackmessage"',
        '{"Op":["ackmessage"]}',
        '{"Op":"negackmessage","Params":{"DelayMs":1e400}}',
        '{"Op":"negackmessage","Params":{"DelayMs":99999999999999999999}}',
        "9" * 5000,
    ],
)
def test_bodies_that_are_not_what_they_should_be(service, body):
    with Broker(service) as broker:
        assert broker.post("x", "g/1", body)[0] == 503
        assert broker.raw("POST", "/asapo-authorizer/introspect", body)[0] == 400


@pytest.mark.parametrize("claims", ["[]", "{}", '{"exp":"never"}', '{"sub":5,"jti":"a","ExtraClaims":{}}', "\xff"])
def test_tokens_with_odd_claims(service, claims):
    """Signed with the right secret, so that the claims are looked at."""
    from base64 import urlsafe_b64encode

    from braggstream.simulate.asapo import tokens

    head = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    body = urlsafe_b64encode(claims.encode("latin-1")).rstrip(b"=").decode()
    secret = service._database.secret
    token = f"{head}.{body}.{tokens._signature(f'{head}.{body}', secret)}"
    with Broker(service, token=token) as broker:
        assert broker.get("x", "size")[0] == 401
    unsigned = urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode() + f".{body}."
    with Broker(service, token=unsigned) as broker:
        assert broker.get("x", "size")[0] == 401


def test_names_that_mean_something_to_a_database(service):
    odd = "x'; DROP TABLE streams; --"
    with Broker(service) as broker, Wire(wire.receiver(service)) as producer:
        producer.authorise(service.token(BEAMTIME))
        assert producer.ask(wire.DATA, number=1, **(MESSAGE | {"stream": odd, "message": "processed/'\"\n"})) == (
            0,
            "",
        )
        assert broker.get(odd, "0/1")[1]["name"] == "processed/'\"\n"


def test_data_that_are_announced_and_never_come(service):
    """Memory is not taken for what a header claims, and all of them are given up in time."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    claims = []
    for number in range(4):
        claims.append(Wire(wire.receiver(service)))
        assert claims[-1].authorise(service.token(BEAMTIME)) == (0, "")
        claims[-1].send(wire.DATA, number=number + 1, **(MESSAGE | {"data_size": 300 << 20, "stream": "huge"}))
    for claim in claims:
        assert claim.answer() in (None, (65535, "too many transfers at a time"))
        claim.socket.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
    with Broker(service) as broker:
        assert broker.get("huge", "size") == (200, {"size": 0})


def test_a_dataset_whose_record_would_be_too_large(service):
    meta = b'{"a":"' + b"x" * 1_000_000 + b'"}'
    sent = {"number": 1, "stream": "vast", "message": "processed/x", "data": b"abc", "meta": meta}
    with Wire(wire.receiver(service)) as producer:
        producer.authorise(service.token(BEAMTIME))
        answers = []
        for part in range(1, 18):
            answers.append(producer.ask(wire.DATASET, custom=(9, part, 17), **sent)[0])
    assert answers == [0] * 16 + [3]


def test_a_full_disk_is_told_and_borne(service):
    with Wire(wire.receiver(service)) as producer, Broker(service) as broker:
        producer.authorise(service.token(BEAMTIME))
        with service._database.look() as db:
            db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}")
        try:
            sent = MESSAGE | {"stream": "full", "meta": b'{"a":"' + b"x" * 200_000 + b'"}'}
            assert producer.ask(wire.DATA, number=1, **sent) == (65535, "the database is unavailable")
            assert broker.get("full", "0/last")[0] == 409
        finally:
            with service._database.look() as db:
                db.execute("PRAGMA max_page_count=1073741823")


def test_a_refusal_arrives_before_the_data_are_read(service):
    """A connection that is closed over unread data is reset, and takes the answer with it."""
    sent = MESSAGE | {"stream": "refused", "custom": (13, 0, 0), "message": "raw/x", "data": bytes(20 << 20)}
    with Wire(wire.receiver(service)) as producer:
        producer.authorise(service.token(BEAMTIME))
        assert producer.ask(wire.DATA, number=1, **sent)[0] == 3
    body = b"x" * 10_000_000
    head = f"POST / HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert answer_to(service, head + body).startswith(b"HTTP/1.1 413")


def test_a_message_cut_at_any_place(service):
    whole = wire.REQUEST.pack(wire.DATA, 1, 3, 7, 9, 0, 0, b"processed/x", b"cut", b"v0.7") + b'{"a":1}abc'
    for length in (0, 1, 8, 2119, 2120, 2121, 2126, 2127, 2129):
        with Wire(wire.receiver(service)) as producer:
            producer.authorise(service.token(BEAMTIME))
            producer.socket.sendall(whole[:length])
            producer.socket.shutdown(socket.SHUT_WR)
            assert producer.answer() is None
    with Broker(service) as broker:
        assert broker.get("cut", "size") == (200, {"size": 0})


def test_random_bytes(service):
    made = random.Random(1)
    with Broker(service) as broker:
        _, record = broker.get("s", "0/last")
    for address in (wire.receiver(service), record["source"], service.endpoint):
        for _ in range(40):
            with Wire(address) as attacker:
                with contextlib.suppress(OSError):  # It may have closed already.
                    attacker.socket.sendall(made.randbytes(made.choice((1, 100, 2120, 5000))))
                    attacker.socket.shutdown(socket.SHUT_WR)
                attacker.read(100_000)


def test_more_connections_than_there_is_room_for(service):
    host, port = service.endpoint.split(":")
    held = []
    try:
        for _ in range(MOST_CONNECTIONS + 20):
            held.append(socket.create_connection((host, int(port)), timeout=60))
        held[-1].settimeout(60)
        assert held[-1].recv(1) == b""
        held[0].sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert held[0].recv(100).startswith(b"HTTP/1.1 204")
    finally:
        for connection in held:
            connection.close()
    deadline = time.monotonic() + 60
    while not answer_to(service, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 204"):
        assert time.monotonic() < deadline


def test_slow_readers_do_not_hold_more_than_the_memory_for_data():
    cache = DataCache(100)
    slot = cache.put(memoryview(bytes(60)))
    with cache.reading(slot, 60) as data:
        assert len(data) == 60
        assert cache.put(memoryview(bytes(60))) == 0
        assert cache.n_bytes == 60
        with cache.reading(slot, 60) as gone:
            assert gone is None
    assert cache.n_bytes == 0
    assert cache.put(memoryview(bytes(60)))
    assert cache.put(memoryview(bytes(101))) == 0


def test_a_reader_that_does_not_read(service):
    with Wire(wire.receiver(service)) as producer, Broker(service) as broker:
        producer.authorise(service.token(BEAMTIME))
        assert producer.ask(wire.DATA, number=1, **(MESSAGE | {"stream": "slow", "data": bytes(20 << 20)}))[0] == 0
        _, record = broker.get("slow", "0/1")
    with Wire(record["source"]) as reader:
        slot = record["buf_id"] & (2**64 - 1)
        reader.send(wire.GET_BUFFER, number=slot, data_size=20 << 20, version="v0.1")
        # Other readers are served meanwhile.
        with Wire(record["source"]) as other:
            assert other.ask(wire.GET_BUFFER, number=slot, data_size=20 << 20, version="v0.1") == (0, "")
            assert len(other.read(20 << 20)) == 20 << 20


def test_a_token_is_never_told(service, capfd):
    token = service.token(BEAMTIME)
    with Broker(service, token=token) as broker:
        broker.get("x", "nowhere/at/all")
        answer = broker.raw("GET", f"/nowhere?token={token}")
    assert token not in json.dumps(answer)
    told = capfd.readouterr()
    assert token not in told.out + told.err
