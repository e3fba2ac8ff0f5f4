"""`braggstream asapo`: streams, groups, positions, and moving them."""

import asapo_consumer
import pytest

from braggstream.cli import asapo
from braggstream.model.errors import UserError
from braggstream.model.settings import AsapoServiceSettings
from braggstream.simulate.asapo import AsapoService
from braggstream.sources import asapo_groups
from braggstream.sources.asapo_client import StreamInfo
from braggstream.sources.asapo_journal import Journal, known_groups
from simulate.asapo_clients import BEAMTIME, SOURCE, Sender, consumer, quietly, read_all


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with AsapoService(tmp_path / "service") as running:
        sender = Sender(running)
        sender.send("run1", *range(1, 11))
        sender.finish("run1", 10, "run 2")
        sender.send("run 2", *range(1, 6))
        yield running


@pytest.fixture
def command(service, capsys):
    def command(*words, **changed):
        chosen = {"endpoint": service.endpoint, "token": service.token(BEAMTIME), "source": SOURCE, **changed}
        where = [f"--asapo-{name}={value}" for name, value in chosen.items()]
        status = asapo.run([words[0], *where, f"--beamtime={BEAMTIME}", *words[1:]])
        return status, capsys.readouterr().out

    return command


def settings(service):
    return AsapoServiceSettings(
        endpoint=service.endpoint, token=service.token(BEAMTIME), beamtime=BEAMTIME, source=SOURCE
    )


def row(text, *begin):
    """Cells of the line that begins with these."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if cells[: len(begin)] == list(begin):
            return cells
    raise AssertionError(f"no line {begin} in\n{text}")


def test_streams_are_listed_with_their_sizes(command):
    status, text = command("streams")
    assert status == 0
    assert row(text, "run1")[1] == "10" and row(text, "run1")[-1] == "yes, run 2 follows"
    assert row(text, "run 2")[1] == "5" and row(text, "run 2")[-1] == "no"
    assert text.index("run1") < text.index("run 2\n" if "run 2\n" in text else "run 2  ")
    assert "has no streams" in command("streams", source="other")[1]


def test_positions_are_told(command, service):
    reader = consumer(service)
    for _ in range(4):
        quietly(reader.get_next, "online", stream="run1")
    for number in (1, 3):
        reader.acknowledge("online", number, stream="run1")
    _, text = command("position", "--group=online")
    assert row(text, "online", "run1")[2:] == ["10", "4", "2", "the service"]
    assert row(text, "online", "run 2")[2:5] == ["5", "0", "-"]
    assert "run1: not acknowledged: 2, 4" in text
    assert row(command("groups")[1], "online", "run1")[3] == "4"


def test_positions_of_a_service_that_does_not_tell_come_from_the_journal(command, service, monkeypatch):
    monkeypatch.setattr(asapo_groups, "told_by_service", lambda service, stream: None)
    assert "No group is known" in command("groups")[1]
    journal = Journal(settings(service), "online", "run.stream")
    journal.write({"run1": {"taken": 3, "highest": 7}})
    Journal(settings(service), "online", "run.stream").write({"run1": {"taken": 2, "highest": 5}})
    (record,) = known_groups(settings(service))
    assert record.streams["run1"] == {"taken": 5, "highest": 7}
    _, text = command("groups")
    assert row(text, "online", "run1")[3] == "7"
    assert "into " in text and "run.stream" in text
    reader = consumer(service)
    reader.acknowledge("other", 6, stream="run1")
    assert row(command("position", "--group=other")[1], "other", "run1")[3:] == ["6", "5", "its acknowledgements"]
    assert row(command("position", "--group=nobody")[1], "nobody", "run1")[3] == "?"


MOVES = {
    "start": (list(range(1, 11)), "message 1 comes next: 6 messages come again"),
    "4": (list(range(4, 11)), "message 4 comes next: 3 messages come again"),
    "9": ([9, 10], "message 9 comes next: 2 messages are left out"),
    "end": ([], "nothing comes before new messages do: 4 messages are left out"),
}


def test_a_group_is_moved(command, service):
    reader = consumer(service, timeout_ms=1)
    for place, (following, told) in MOVES.items():
        group = f"to-{place}"
        for _ in range(6):
            quietly(reader.get_next, group, stream="run1")
        status, text = command("rewind", f"--group={group}", "--stream=run1", f"--to={place}", "--yes")
        assert status == 0 and told in text and "read to 6 (as the service tells)" in text
        ids, error = read_all(reader, group, "run1")
        assert ids == following and isinstance(error, asapo_consumer.AsapoStreamFinishedError)


def test_all_streams_are_reset(command, service):
    reader = consumer(service, timeout_ms=1)
    read_all(reader, "online", "run1")
    read_all(reader, "online", "run 2")
    status, text = command("reset", "--group=online", "--yes")
    assert status == 0 and "Done: 2 positions of group online moved." in text
    assert read_all(reader, "online", "run1")[0] == list(range(1, 11))
    assert read_all(reader, "online", "run 2")[0] == list(range(1, 6))


def test_nothing_is_moved_unless_somebody_agrees(command, service, monkeypatch):
    reader = consumer(service, timeout_ms=1)
    read_all(reader, "online", "run1")
    with pytest.raises(UserError, match="give --yes"):
        command("reset", "--group=online")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: "n")
    status, text = command("reset", "--group=online")
    assert status == 1 and "Nothing was changed." in text
    assert read_all(reader, "online", "run1")[0] == []
    monkeypatch.setattr("builtins.input", lambda text: "y")
    assert command("reset", "--group=online", "--stream=run1")[0] == 0
    assert len(read_all(reader, "online", "run1")[0]) == 10


@pytest.mark.parametrize("place", ["0", "-1", "x", "1.5", "", "²", "9" * 30])
def test_a_place_that_is_none_is_refused(place):
    with pytest.raises(UserError, match="expected start, end or the number"):
        asapo_groups.wanted_position(place, StreamInfo(name="run1", size=10))


def test_what_cannot_be_is_told_in_one_line(command, service):
    with pytest.raises(UserError, match=r"no such stream .*run 2"):
        command("rewind", "--group=online", "--stream=run3", "--to=end", "--yes")
    with pytest.raises(UserError, match="refused") as caught:
        command("streams", token="not-a-token")
    assert "not-a-token" not in str(caught.value)
    with pytest.raises(UserError, match="Connection refused"):
        command("streams", endpoint="127.0.0.1:1")
