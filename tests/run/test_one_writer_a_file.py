"""The files of a session: one writer each, whole under their names whatever others do to them."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from braggstream.model.errors import UserError
from braggstream.sinks.durable import DurableFile
from braggstream.sinks.file_lock import open_locked
from braggstream.sinks.piece_file import PieceFile, PieceForm
from braggstream.sinks.stream_file import mend_left_file
from braggstream.sources.asapo_acks import Acknowledger
from braggstream.sources.asapo_outage import Outage
from session_fakes.session_process import eventually

LINES = PieceForm(
    head=b"head\n",
    holds_pieces=lambda file: bool(file.seek(0)) or len(file.read()) > len(b"head\n"),
    whole_length=lambda file: file.seek(0) or file.read().rfind(b"\n") + 1,
    n_pieces=lambda file, begin, end: file.seek(begin) * 0 + file.read(end - begin).count(b"\n"),
)


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(tmp_path, said):
    """Makes files, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(name="file", **more):
            file = PieceFile(str(tmp_path / name), "results", form=LINES, say=said.append, **more)
            stack.callback(file.close)
            return file

        yield make


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_earlier_result_is_not_touched_before_there_is_a_piece(tmp_path, opened, said):
    path, begun = tmp_path / "file", []
    path.write_bytes(b"head\nearlier\n")
    before = path.stat()
    opened(begun=lambda: begun.append(path.read_bytes())).close()
    assert path.read_bytes() == b"head\nearlier\n" and path.stat().st_mtime_ns == before.st_mtime_ns
    assert names(tmp_path) == ["file"] and not begun and not said
    file = opened(begun=lambda: begun.append(path.read_bytes()))
    file.write(b"one\n")
    assert begun == [b"head\none\n"] and (tmp_path / "file.previous").read_bytes() == b"head\nearlier\n"
    file.write(b"two\n")
    assert path.read_bytes() == b"head\none\ntwo\n"
    assert said == [f"{path}: what it held is kept as {path}.previous"]


def test_a_file_without_pieces_displaces_no_earlier_result(tmp_path, opened):
    (tmp_path / "file.previous").write_bytes(b"precious")
    (tmp_path / "file").write_bytes(b"head\n")
    opened().write(b"one\n")
    assert (tmp_path / "file").read_bytes() == b"head\none\n"
    assert (tmp_path / "file.previous").read_bytes() == b"precious"


def test_a_first_piece_that_cannot_be_written_leaves_the_earlier_result(tmp_path, opened, monkeypatch):
    (tmp_path / "file").write_bytes(b"head\nearlier\n")
    file = opened()

    def no_room(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_room)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"one\n")
    monkeypatch.undo()
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"head\nearlier\n"
    file.write(b"one\n")
    assert (tmp_path / "file").read_bytes() == b"head\none\n"


HOLD = """
import os, sys, time
from braggstream.sinks.piece_file import PieceFile
file = PieceFile(sys.argv[1], "results")
child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
print(child, flush=True)
time.sleep(60)
"""


def test_the_lock_ends_with_its_process_and_no_child_inherits_it(tmp_path, opened):
    path = tmp_path / "file"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline())
        try:
            for goes_on in (False, True):
                with pytest.raises(UserError) as refused:
                    opened(goes_on=goes_on)
                assert "another run writes this file (process " in str(refused.value)
                assert f"(process {holder.pid} on {os.uname().nodename} since 20" in str(refused.value)
                assert "\n" not in str(refused.value)
            holder.kill()
            holder.wait()
            os.kill(child, 0)
            opened().write(b"one\n")
        finally:
            os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
    assert path.read_bytes() == b"head\none\n"


def test_the_lock_survives_other_uses_of_the_file_and_its_new_name(tmp_path, opened):
    (tmp_path / "file").write_bytes(b"head\nearlier\n")
    first = opened()
    (tmp_path / "file").read_bytes()
    with (tmp_path / "file").open("rb+"):
        pass
    with pytest.raises(UserError, match="another run"):
        opened()
    first.write(b"one\n")
    with pytest.raises(UserError, match="another run"):
        opened()
    first.close()
    opened().write(b"two\n")
    assert (tmp_path / "file.previous").read_bytes() == b"head\none\n"


def test_the_record_names_a_holder_on_another_machine(tmp_path, opened, monkeypatch):
    first = opened()
    monkeypatch.setattr("braggstream.sinks.file_lock._has_lock", lambda process, name: False)
    with pytest.raises(UserError, match="on another machine, or of another user"):
        opened()
    (tmp_path / "file.provenance.json").write_text(
        '{"runs": [{"started": "2026-01-02T03:04", "ended": null, "host": {"name": "node7", "process": 12}}]}'
    )
    with pytest.raises(UserError, match="process 12 on node7 since 2026-01-02T03:04"):
        opened()
    first.close()


def test_a_file_system_without_locks_is_told(tmp_path, opened, said, monkeypatch):
    monkeypatch.setattr(
        "braggstream.sinks.file_lock.fcntl.fcntl", lambda *_: (_ for _ in ()).throw(OSError(37, ""))
    )
    opened().write(b"one\n")
    assert (tmp_path / "file").read_bytes() == b"head\none\n" and "no locks here" in said[0] and len(said) == 1


def removed(path):
    path.unlink()


def moved(path):
    path.rename(path.with_name("elsewhere"))


def replaced(path):
    path.with_name("other").write_bytes(b"something else\n")
    path.with_name("other").rename(path)


def without_its_folder(path):
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize("mishap", [removed, moved, replaced, without_its_folder])
def test_what_was_taken_away_is_written_anew(tmp_path, opened, said, mishap):
    (tmp_path / "run7").mkdir()
    path = tmp_path / "run7" / "file"
    file = opened("run7/file")
    file.write(b"one\n")
    mishap(path)
    file.look(at_name=True)
    file.write(b"two\n")
    file.conclude()
    assert path.read_bytes() == b"head\none\ntwo\n" and file.take_lost() == 0
    assert len([line for line in said if "going on" in line]) == 1
    if mishap is moved:
        assert path.with_name("elsewhere").read_bytes() == b"head\none\n"
    if mishap is replaced:
        assert path.with_name("file.previous").read_bytes() == b"something else\n"
    with pytest.raises(UserError, match="another run"):
        opened("run7/file")


def test_nothing_is_overwritten_to_keep_what_was_put_in_its_place(tmp_path, opened):
    (tmp_path / "file").write_bytes(b"head\nearlier\n")
    file = opened()
    file.write(b"one\n")
    replaced(tmp_path / "file")
    file.look(at_name=True)
    assert (tmp_path / "file.previous").read_bytes() == b"head\nearlier\n"
    assert (tmp_path / "file.previous-2").read_bytes() == b"something else\n"


@pytest.mark.parametrize(
    ("length", "left", "n_lost"), [(0, b"head\n", 3), (3, b"head\n", 3), (12, b"head\none\n", 2)]
)
def test_what_was_cut_out_is_counted(tmp_path, opened, said, length, left, n_lost):
    file = opened()
    for piece in (b"one\n", b"two\n", b"three\n"):
        file.write(piece)
    os.truncate(tmp_path / "file", length)
    file.write(b"four\n")
    assert (tmp_path / "file").read_bytes() == left + b"four\n"
    assert file.take_lost() == n_lost and file.take_lost() == 0
    assert said == [f"{tmp_path}/file was cut short by something else; {n_lost} pieces that this run had written "
                    "are gone; going on."]  # fmt: skip


def test_a_file_that_is_overwritten_in_place_is_begun_anew(tmp_path, opened, said):
    """As `cp` does it: the same file, emptied and filled with something longer."""
    path = tmp_path / "file"
    file = opened()
    file.write(b"one\n")
    path.write_bytes(b"something else, and longer\n")
    file.write(b"two\n")
    assert path.read_bytes() == b"head\ntwo\n" and file.take_lost() == 1
    assert (tmp_path / "file.previous").read_bytes() == b"something else, and longer\n"
    assert "was replaced by something else; 1 pieces that this run had written are gone" in said[-1]


def test_what_something_else_adds_stays(tmp_path, opened, said):
    path = tmp_path / "file"
    file = opened()
    file.write(b"one\n")
    with path.open("ab") as other:
        other.write(b"from elsewhere\n")
    for _ in range(2):
        file.write(b"two\n")
    file.conclude()
    assert path.read_bytes() == b"head\none\nfrom elsewhere\ntwo\ntwo\n" and file.take_lost() == 0
    assert said == [f"{path}: something else writes to this file, too; going on behind that."]


def test_a_name_that_became_another_runs_is_left_alone(tmp_path, opened):
    first = opened()
    first.write(b"one\n")
    (tmp_path / "file").unlink()
    second = opened()
    second.write(b"other\n")
    with pytest.raises(UserError, match="another run"):
        first.write(b"two\n")
    with pytest.raises(UserError, match="another run"):
        first.conclude()
    assert first.take_lost() == 1
    assert (tmp_path / "file").read_bytes() == b"head\nother\n"


def test_nothing_is_on_the_disk_that_is_not_there_under_its_name(tmp_path, opened):
    file = opened()
    durable = DurableFile(str(tmp_path / "file"), lambda: file.standing)
    assert durable.sync() == "done"
    file.write(b"one\n")
    assert durable.sync() == "done"
    moved(tmp_path / "file")
    assert durable.sync() == "away"
    replaced(tmp_path / "file") if (tmp_path / "file").exists() else (tmp_path / "file").write_bytes(b"x" * 99)
    assert durable.sync() == "away"
    file.look(at_name=True)
    assert durable.sync() == "done"
    os.truncate(tmp_path / "file", 0)
    assert durable.sync() == "away"
    file.write(b"two\n")
    assert durable.sync() == "lost" and durable.sync() == "done"
    durable.close()


def test_pipes_and_devices_work_as_before(tmp_path, opened):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    file = opened("pipe")
    file.write(b"one\n")
    file.conclude()
    assert os.read(reader, 99) == b"head\none\n"
    os.close(reader)
    for name in ("/dev/null", "/dev/stdout"):
        with (
            contextlib.closing(PieceFile(name, "results")) as first,
            contextlib.closing(PieceFile(name, "r")) as second,
        ):
            first.write(b"")
            second.write(b"")


def test_a_lock_follows_the_file_to_its_name(tmp_path):
    """A file that is given another name while it is being opened is not the one that was meant."""
    (tmp_path / "file").write_bytes(b"")
    descriptor, is_locked = open_locked(tmp_path / "file", makes=True)
    assert is_locked and os.get_inheritable(descriptor) is False
    (tmp_path / "file").rename(tmp_path / "elsewhere")
    other, is_locked = open_locked(tmp_path / "file", makes=True)
    assert is_locked and os.fstat(other).st_ino != os.fstat(descriptor).st_ino
    os.close(other)
    os.close(descriptor)
    assert open_locked(tmp_path / "nothing", makes=False) is None


def test_a_file_that_another_machine_has_removed_is_begun_anew(tmp_path, opened, said, monkeypatch):
    """NFS: the handle is stale, and nothing can be read back."""
    file = opened()
    file.write(b"one\n")
    true_fstat, stale = os.fstat, true_inode(tmp_path / "file")
    (tmp_path / "file").unlink()

    def fstat(descriptor):
        found = true_fstat(descriptor)
        if found.st_ino == stale:
            raise OSError(errno.ESTALE, "Stale file handle")
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    file.write(b"two\n")
    assert (tmp_path / "file").read_bytes() == b"head\ntwo\n" and file.take_lost() == 1
    assert len(said) == 1 and "1 pieces that this run had written are gone" in said[0]
    file.write(b"three\n")
    assert (tmp_path / "file").read_bytes() == b"head\ntwo\nthree\n"


def true_inode(path):
    return path.stat().st_ino


def test_a_name_that_cannot_be_looked_at_for_a_moment_ends_nothing(opened, monkeypatch):
    file = opened()
    file.write(b"one\n")

    def away(place, found):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("braggstream.sinks.piece_file.is_under", away)
    monkeypatch.setattr("braggstream.sinks.piece_file.LOOK_S", 0.0)
    file.write(b"two\n")
    with pytest.raises(OSError, match="Input/output"):
        file.conclude()
    assert file.take_lost() == 2


STREAM = b"CrystFEL stream format 2.3\n----- Begin chunk -----\nx\n----- End chunk -----\n"
TORN = b"----- Begin chunk -----\nImage filen"


def test_only_what_a_killed_run_has_written_itself_is_mended(tmp_path):
    path = tmp_path / "run.stream"
    path.write_bytes(STREAM + TORN)
    began = time.time()
    os.utime(path, (began - 60, began - 60))
    mend_left_file(str(path), began)
    assert path.read_bytes() == STREAM + TORN
    os.utime(path, (began + 1, began + 1))
    descriptor, _ = open_locked(path, makes=False)
    mend_left_file(str(path), began)
    assert path.read_bytes() == STREAM + TORN
    os.close(descriptor)
    mend_left_file(str(path), began)
    assert path.read_bytes() == STREAM
    mend_left_file(str(tmp_path / "nothing"), began)
    mend_left_file("/dev/null", began)
    assert names(tmp_path) == ["run.stream"]


class Service:
    """Takes acknowledgements."""

    def __init__(self):
        self.acknowledged = []

    def acknowledge(self, stream, group, number):
        self.acknowledged.append(number)

    def interrupt(self):
        pass


def test_messages_are_acknowledged_once_their_file_is_back_and_never_after_a_loss():
    service, answers, asked = Service(), ["away"], []

    def sync():
        asked.append(answers[-1])
        return answers[-1]

    acknowledger = Acknowledger(service, "online", sync=sync, outage=Outage("nowhere", print))
    withdrawn = []
    acknowledger.withdrawn = withdrawn.extend
    acknowledger.add(("run1", 1))
    eventually(lambda: len(asked) >= 2)
    assert service.acknowledged == [] and acknowledger.n_waiting == 1
    answers.append("lost")
    eventually(lambda: withdrawn == [("run1", 1)])
    answers.append("done")
    acknowledger.add(("run1", 2))
    assert acknowledger.close(60.0) == 0
    assert service.acknowledged == [2] and acknowledger.n_done == 1
