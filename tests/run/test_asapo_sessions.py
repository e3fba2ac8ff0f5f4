"""Whole sessions fed by ASAP::O through its official clients: every message once, whatever happens to it."""

import json
import os
import re
import signal

import asapo_consumer
import pytest

from braggstream.simulate.asapo import AsapoService, AsapoSettings
from session_fakes.session_process import SessionProcess, descendants, eventually
from simulate.asapo_clients import BEAMTIME, SOURCE, Sender, consumer, quietly

pytestmark = pytest.mark.system

ORIGIN = re.compile(r"^Image serial number: (\d+)\nheader/str/asapo/stream = (.*)\nframe (\S+) ", re.MULTILINE)


@pytest.fixture
def service(tmp_path):
    with AsapoService(tmp_path / "service", AsapoSettings(resend_check_s=0.1)) as running:
        yield running


@pytest.fixture
def sender(service):
    return Sender(service)


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def send(sender, stream, numbers, name="f"):
    done = []
    for number in numbers:
        sender.producer.send(
            number, f"processed/{stream}/{number}.raw", f"{name}".encode().ljust(64, b"\0"), {"n": number},
            ingest_mode=9, stream=stream, callback=lambda header, error: done.append(error),
        )  # fmt: skip
    eventually(lambda: len(done) == len(numbers))
    assert not any(done)


class AsapoSession(SessionProcess):
    def __init__(self, folder, service, *, token=None, n_workers=2, output=None, run=None, rules=None, **chosen):
        where = {
            "endpoint": service.endpoint,
            "token": service.token(BEAMTIME) if token is None else token,
            "beamtime": BEAMTIME,
            "source": SOURCE,
        }
        options = {"group": "online", "no_data_timeout_s": 1.5, "timeout_s": 0.1, "resend_delay_s": 1.0, **chosen}
        more = {} if rules is None else {"rules": rules}
        super().__init__(
            folder,
            asapo={"service": where, **options},
            output=output or {},
            run={"n_workers": n_workers, **(run or {})},
            **more,
        )

    def messages(self):
        """Stream and number of each chunk, in the order of the file."""
        text = self.chunks.read_text() if self.chunks.exists() else ""
        return [(stream, int(number)) for number, stream, _ in ORIGIN.findall(text)]

    def ended(self):
        """Wait for the end; gives exit status and summary."""
        status = self.wait()
        return status, json.loads(self.summary.read_text())


def numbered(stream, n):
    return [(stream, number) for number in range(1, n + 1)]


def test_streams_are_read_in_the_order_of_their_creation_and_new_ones_as_they_come(tmp_path, service, sender):
    send(sender, "z first", range(1, 6))
    send(sender, "a/second", range(1, 6))
    with AsapoSession(tmp_path, service, n_workers=1, no_data_timeout_s=4.0) as session:
        eventually(lambda: len(session.messages()) == 10)
        assert session.messages() == numbered("z first", 5) + numbered("a/second", 5)
        send(sender, "third", range(1, 4))
        send(sender, "z first", [6])
        status, summary = session.ended()
    assert status == 0, session.text
    assert sorted(session.messages()[10:]) == [("third", 1), ("third", 2), ("third", 3), ("z first", 6)]
    assert summary["frames"]["received"] == summary["frames"]["written"] == 14
    assert summary["asapo"]["streams"]["z first"] == {"taken": 6, "highest": 6}
    assert "No message for 4 s (--no-data-timeout): ending." in session.text


def test_a_finished_stream_ends_the_session_at_once(tmp_path, service, sender):
    send(sender, "run1", range(1, 31))
    sender.finish("run1", 30, "run2")
    send(sender, "run2", range(1, 11))
    with AsapoSession(tmp_path, service, stream="run1", no_data_timeout_s=60.0, n_workers=3) as session:
        status, _ = session.ended()
    assert status == 0
    assert sorted(session.messages()) == numbered("run1", 30)
    assert "Stream run1 is finished, at message 30; run2 follows." in session.text


def test_the_successor_is_followed_where_that_is_wanted(tmp_path, service, sender):
    send(sender, "run1", range(1, 4))
    sender.finish("run1", 3, "run2")
    with AsapoSession(tmp_path, service, stream="run1", follow=True, no_data_timeout_s=60.0) as session:
        eventually(lambda: "Reading stream run2." in session.text)
        send(sender, "run2", range(1, 4))
        sender.finish("run2", 3)
        status, _ = session.ended()
    assert status == 0
    assert sorted(session.messages()) == numbered("run1", 3) + numbered("run2", 3)


def test_an_empty_stream_ends_the_session_unless_it_is_waited_for(tmp_path, service, sender):
    with AsapoSession(tmp_path, service, stream="late", no_data_timeout_s=0.3) as session:
        assert session.wait() == 5
        assert "No message for 0.3 s" in session.text
    with AsapoSession(tmp_path, service, stream="late", wait_for_stream=True) as session:
        eventually(lambda: "Reading stream late" in session.text)
        with pytest.raises(AssertionError):
            eventually(lambda: session.process.poll() is not None, 2.5)
        send(sender, "late", [1, 2])
        assert session.wait() == 0
        assert session.messages() == numbered("late", 2)


def test_sessions_of_one_group_share_the_frames(tmp_path, service, sender):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    options = {"n_workers": 1, "acks": True, "stream": "run1", "wait_for_stream": True, "no_data_timeout_s": 60.0}
    with (
        AsapoSession(tmp_path / "a", service, **options) as one,
        AsapoSession(tmp_path / "b", service, **options) as two,
    ):
        eventually(lambda: all("Reading stream run1" in session.text for session in (one, two)))
        send(sender, "run1", range(1, 61), name="slow:0.05")
        sender.finish("run1", 60)
        assert one.wait() == two.wait() == 0
    assert sorted(one.messages() + two.messages()) == numbered("run1", 60)
    assert min(len(one.messages()), len(two.messages())) > 5
    with AsapoSession(tmp_path, service, no_data_timeout_s=0.2) as later:
        assert later.wait() == 5  # The group has read all.


def test_killed_workers_lose_nothing(tmp_path, service, sender):
    send(sender, "run1", range(1, 81), name="slow:0.02")
    sender.finish("run1", 80)
    with AsapoSession(tmp_path, service, acks=True, resend_delay_s=60.0, n_workers=2) as session:
        for n_done in (5, 20, 35, 50):
            eventually(lambda n=n_done: len(session.messages()) > n and len(session.workers()) == 2)
            session.kill_a_worker()
        status, summary = session.ended()
    assert status == 0, session.text
    assert sorted(session.messages()) == numbered("run1", 80)
    assert summary["replaced_workers"] == 4 and summary["frames"]["failed"] == 0
    assert summary["asapo"]["acknowledged"] == 80
    assert quietly(consumer(service).get_unacknowledged_messages, "online", stream="run1") == []


def test_a_killed_session_goes_on_without_loss_and_without_doubles(tmp_path, service, sender):
    send(sender, "run1", range(1, 61), name="slow:0.06")
    sender.finish("run1", 60)
    options = {"acks": True, "n_workers": 2, "output": {"append": True}}
    with AsapoSession(tmp_path, service, **options) as session:
        eventually(lambda: len(session.messages()) >= 20)
        os.kill(session.process.pid, signal.SIGKILL)
        session.wait()
    with AsapoSession(tmp_path, service, **options) as session:
        status, _ = session.ended()
    assert status == 0, session.text
    assert sorted(session.messages()) == numbered("run1", 60)
    assert quietly(consumer(service).get_unacknowledged_messages, "online", stream="run1") == []


def test_messages_that_another_session_owes_are_waited_for(tmp_path, service, sender):
    send(sender, "run1", range(1, 6))
    sender.finish("run1", 5)
    dead = consumer(service)
    dead.set_resend_nacs(True, 100_000, 3)
    for _ in range(3):
        quietly(dead.get_next, "online", stream="run1")
    owed = "3 messages were handed out to group online before and are not acknowledged"
    with AsapoSession(tmp_path, service, stream="run1", acks=True, resend_delay_s=60.0) as session:
        eventually(lambda: owed in session.text)
        assert session.process.poll() is None
        for number in (1, 2, 3):
            dead.neg_acknowledge("online", number, delay_ms=0, stream="run1")
        assert session.wait() == 0
    assert sorted(session.messages()) == numbered("run1", 5)


def test_chunks_that_are_written_and_not_acknowledged_are_known_again(tmp_path, service, sender):
    send(sender, "run1", range(1, 6))
    sender.finish("run1", 5)
    with AsapoSession(tmp_path, service, stream="run1") as session:
        assert session.wait() == 0
    quietly(consumer(service).reset_lastread_marker, "online", stream="run1")
    send(sender, "run2", [1])
    with AsapoSession(tmp_path, service, acks=True, output={"append": True}) as session:
        _, summary = session.ended()
    assert sorted(session.messages()) == [*numbered("run1", 5), ("run2", 1)]
    assert summary["asapo"]["in_file_already"] == 5 and summary["asapo"]["acknowledged"] == 6
    assert "5 messages were left out: the stream file has their chunks already." in session.text


def test_what_comes_again_is_not_processed_again(tmp_path, service, sender):
    send(sender, "run1", [1, 2], name="slow:1.5")
    send(sender, "run1", range(3, 9))
    with AsapoSession(tmp_path, service, acks=True, resend_delay_s=0.3, no_data_timeout_s=2.0) as session:
        _, summary = session.ended()
    assert sorted(session.messages()) == numbered("run1", 8)
    assert summary["asapo"]["again"] > 0 and summary["frames"]["received"] == 8


def test_a_stopped_session_hands_back_what_it_has_not_processed(tmp_path, service, sender):
    send(sender, "run1", range(1, 31), name="slow:0.2")
    sender.finish("run1", 30)
    with AsapoSession(tmp_path, service, n_workers=1) as session:
        eventually(lambda: len(session.messages()) > 3)
        session.send()
        assert session.wait() == 0
        first = session.messages()
    with AsapoSession(tmp_path, service, n_workers=4) as session:
        assert session.wait() == 0
    assert len(first) < 30
    assert sorted(session.messages()) == numbered("run1", 30)


def test_an_outage_is_ridden_out(tmp_path, service, sender):
    send(sender, "run1", range(1, 41), name="slow:0.08")
    sender.finish("run1", 40)
    with AsapoSession(tmp_path, service, n_workers=1, acks=True) as session:
        eventually(lambda: len(session.messages()) > 5)
        service.stop()
        eventually(lambda: "is away (" in session.text)
        service.start()
        status, summary = session.ended()
    assert status == 0, session.text
    assert sorted(session.messages()) == numbered("run1", 40)
    assert f"ASAP::O at {service.endpoint} is back after" in session.text
    assert summary["asapo"]["acknowledged"] == 40
    assert session.text.count("is away (") <= 3


def test_a_service_that_is_not_there_yet_is_waited_for(tmp_path, service, sender):
    send(sender, "run1", [1])
    service.stop()
    with AsapoSession(tmp_path, service) as session:
        eventually(lambda: "is away (" in session.text)
        service.start()
        assert session.wait() == 0
    assert session.messages() == numbered("run1", 1)


def test_a_protocol_that_is_not_served_ends_the_session_with_one_line(tmp_path, service):
    service.faults.answer_with(415)
    with AsapoSession(tmp_path, service) as session:
        assert session.wait() == 1
    (line,) = [line for line in session.text.splitlines() if line.startswith("indexamajig: ")]
    assert "does not speak this client's protocol" in line


def test_missing_messages_are_asked_for_again_and_counted(tmp_path, service, sender):
    send(sender, "run1", [1, 2, 4, 6])
    with AsapoSession(tmp_path, service, stream="run1", no_data_timeout_s=60.0) as session:
        eventually(lambda: len(session.messages()) == 4)
        send(sender, "run1", [3])
        eventually(lambda: ("run1", 3) in session.messages())
        sender.finish("run1", 6)
        status, summary = session.ended()
    assert status == 0
    assert sorted(number for _, number in session.messages()) == [1, 2, 3, 4, 6]
    assert summary["frames"]["lost"] == summary["asapo"]["undelivered"] == 1
    assert "1 lost before they arrived" in session.text


def test_data_that_left_the_cache_fail_their_frames(tmp_path):
    with AsapoService(tmp_path / "s", AsapoSettings(cache_bytes=256)) as service:
        send(Sender(service), "run1", range(1, 9))
        with AsapoSession(tmp_path, service, acks=True) as session:
            status, summary = session.ended()
    assert status == 0
    frames = summary["frames"]
    assert frames["received"] == 8 and frames["written"] + frames["failed"] == 8 and frames["failed"] >= 4
    assert summary["failed_by_reason"] == {"data": frames["failed"]}
    assert "its data are not to be had" in session.text


def test_data_sets_fail_unless_they_have_one_part(tmp_path, service, sender):
    sender.send("run1", 1, dataset=(1, 2), content=b"a")
    sender.send("run1", 1, dataset=(2, 2), content=b"b")
    sender.send("run1", 2, dataset=(1, 2), content=b"c")
    sender.send("run1", 3, dataset=(1, 1), content=b"d")
    sender.finish("run1", 3)
    with AsapoSession(tmp_path, service, acks=True) as session:
        _, summary = session.ended()
    assert session.messages() == [("run1", 3)]
    assert summary["failed_by_reason"] == {"data": 2} and summary["asapo"]["acknowledged"] == 3
    assert "message 1 // (serial 1): failed (data): a data set of 2 parts: only single" in session.text
    assert "a data set with 1 of 2 parts, incomplete: only single messages are frames" in session.text


def test_hits_go_to_the_output_stream(tmp_path, service, sender):
    for number, name in enumerate(["f", "blank", "f", "bad", "crash", "f"], 1):
        send(sender, "run1", [number], name=name)
    sender.finish("run1", 6, "run2")
    output = {"write_non_hits": False}
    with AsapoSession(tmp_path, service, stream="run1", publish=True, acks=True, output=output) as session:
        status, summary = session.ended()
    assert status == 0, session.text
    assert summary["asapo"]["published"] == {"hits": 3, "placeholders": 3}
    reader = consumer(service, source=f"{SOURCE}_hits")
    found = {}
    with pytest.raises(asapo_consumer.AsapoStreamFinishedError) as end:
        while True:
            data, meta = quietly(reader.get_next, "x", meta_only=False, stream="run1")
            found[meta["_id"]] = (meta["name"], bytes(data[:7]), meta["meta"])
    assert end.value.next_stream == "run2"
    assert found[1] == ("processed/run1_hits/run1-1.data", b"f" + bytes(6), {"n": 1})
    for number in (2, 4, 5):
        assert found[number] == (f"processed/run1_hits/run1-{number}.placeholder", b"SKIPPED", {"n": number})
    assert sorted(found) == [1, 2, 3, 4, 5, 6]


def test_the_token_is_nowhere_to_be_seen(tmp_path, service, sender, monkeypatch):
    token = service.token(BEAMTIME)
    monkeypatch.setenv("BRAGGSTREAM_ASAPO_TOKEN", token)
    send(sender, "run1", range(1, 6), name="slow:0.2")
    with AsapoSession(tmp_path, service, token=token) as session:
        eventually(session.messages)
        for pid in descendants(session.process.pid):
            for place in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{place}", "rb") as file:
                    assert token.encode() not in file.read()
        session.wait()
    assert token not in session.text + session.summary.read_text() + session.chunks.read_text()
