"""No result is destroyed by an ordinary mistake: reruns, two runs at once, files taken away, `--append`."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter

import h5py
import msgpack
import pytest

from braggstream.formats.stream_read import read_stream
from braggstream.simulate.asapo import AsapoService, AsapoSettings
from cli.commands import INDEXAMAJIG, PF8, Beamline, Running, counts, indexamajig
from cli.test_indexamajig_asapo import send_stills
from session_fakes.senders import Replier
from session_fakes.session_process import eventually, is_running
from simulate.asapo_clients import BEAMTIME, SOURCE, consumer, quietly

pytestmark = pytest.mark.system

QUICK = ["--indexing=none", *PF8]


@pytest.fixture
def words(still_set):
    return ["-g", still_set.geometry, "-p", still_set.cell, *PF8]


@pytest.fixture
def many(still_set, tmp_path):
    """A list of 240 frames: the same file under twenty names."""
    names = []
    for number in range(20):
        names.append(tmp_path / f"frames{number}.h5")
        names[-1].symlink_to(still_set.frames)
    (tmp_path / "many.lst").write_text("".join(f"{name}\n" for name in names))
    return tmp_path / "many.lst"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def outputs_in(folder):
    """Everything that a run may write, without what is written beside it."""
    return [
        "-o", folder / "run.stream", f"--reflections-out={folder / 'run.arrows'}",
        "--mille", f"--mille-dir={folder}", f"--harvest-file={folder / 'run.harvest'}",
        "--live-merge", "-y", "4/mmm",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done_once(still_set, tmp_path_factory):
    """The folder of a run that went well."""
    folder = tmp_path_factory.mktemp("done") / "results"
    folder.mkdir()
    words = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, *PF8]
    first = indexamajig(*words, *outputs_in(folder))
    assert first.returncode == 0, first.stderr
    found = contents(folder)
    assert {"run.stream", "run.arrows", "run.harvest", "run.stream.provenance.json", "run.live.hkl"} <= set(found)
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mistake", ["missing file", "empty list", "wrong geometry"])
def test_a_rerun_with_nothing_to_record_leaves_everything(still_set, words, done_once, tmp_path, mistake):
    before = contents(done_once)
    (tmp_path / "wrong.lst").write_text("" if mistake == "empty list" else f"{tmp_path}/nothing.h5\n")
    (tmp_path / "wrong.geom").write_text("photon_energy = 9000 eV\n")
    wrong = ["-g", tmp_path / "wrong.geom"] if mistake == "wrong geometry" else ["-i", tmp_path / "wrong.lst"]
    done = indexamajig("-i", still_set.list, *words, *outputs_in(done_once), *wrong)
    assert done.returncode == (1 if mistake == "wrong geometry" else 5), done.stderr
    assert contents(done_once) == before


@pytest.mark.timeout(900)
def test_what_a_rerun_replaces_is_kept(still_set, words, done_once, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(done_once, folder)
    before = contents(folder)
    again = indexamajig("-i", still_set.list, *words, *outputs_in(folder))
    assert again.returncode == 0, again.stderr
    after = contents(folder)
    for name in ("run.stream", "run.arrows", "run.harvest", "run.live.hkl", "run.live.json"):
        assert after[f"{name}.previous"] == before[name]
        assert len(re.findall(rf"{name}: what it held is kept as .*{name}\.previous$", again.stderr, re.M)) == 1
    assert after["run.stream.previous.provenance.json"] == before["run.stream.provenance.json"]
    n_crystals = after["run.stream"].count(b"\n--- Begin crystal\n")
    assert json.loads(after["run.live.json"])["crystals"]["seen"] == n_crystals > 0
    assert len(list(read_stream(folder / "run.stream"))) == still_set.n_frames
    assert len(list(read_stream(folder / "run.stream.previous"))) == still_set.n_frames


def test_a_second_run_into_the_same_file_is_refused(still_set, tmp_path):
    common = ["-g", still_set.geometry, *QUICK]
    last = tmp_path / "last.h5"
    (tmp_path / "waits.lst").write_text(f"{still_set.frames}\n{last}\n")
    with Running(tmp_path, "-i", tmp_path / "waits.lst", *common, "--wait-for-file=-1") as first:
        first.wait_for_chunks(12)
        for more in ([], ["--append"]):
            second = indexamajig("-i", still_set.list, *common, "-o", first.stream, *more)
            assert second.returncode == 1
            (line,) = [line for line in second.stderr.splitlines() if "another run writes this file" in line]
            assert f"out.stream: another run writes this file (process {first.process.pid} on " in line
        assert first.n_chunks() == 12
        last.symlink_to(still_set.frames)
        assert first.process.wait(300) == 0, first.text
    assert first.n_chunks() == 24
    record = json.loads((tmp_path / "out.stream.provenance.json").read_text())["runs"]
    assert len(record) == 1 and record[0]["exit_status"] == 0
    assert "going on" not in first.text


def test_a_run_that_was_killed_leaves_no_lock(still_set, many, tmp_path):
    common = ["-i", many, "-g", still_set.geometry, *QUICK, "-j", 1]
    with Running(tmp_path, *common) as first:
        first.wait_for_chunks(1)
        first.process.kill()
        first.process.wait()
        n_chunks = first.n_chunks()
        with Running(tmp_path, *common) as second:
            eventually(lambda: (tmp_path / "out.stream.previous").exists() or second.process.poll() is not None)
            second.wait_for_chunks(1)
            assert "another run" not in second.text
    kept = (tmp_path / "out.stream.previous").read_bytes()
    assert kept.count(b"----- End chunk -----\n") >= n_chunks
    assert kept.count(b"----- Begin chunk -----\n") == kept.count(b"----- End chunk -----\n")


@pytest.mark.parametrize("mishap", ["removed", "folder", "cut"])
def test_a_stream_file_that_is_taken_away_while_it_is_written(still_set, many, tmp_path, mishap):
    folder = tmp_path / "results"
    folder.mkdir()
    with Running(folder, "-i", many, "-g", still_set.geometry, *QUICK, "-j", 1) as session:
        session.wait_for_chunks(3)
        if mishap == "cut":
            os.truncate(session.stream, 0)
        elif mishap == "removed":
            session.stream.unlink()
        else:
            folder.rename(tmp_path / "elsewhere")
            session.log = tmp_path / "elsewhere" / "out.log"
        status = session.process.wait(300)
        text = session.text
    written = counts(text)[1]
    assert session.n_chunks() == written
    assert len(re.findall(r"by something else; .* going on\.$", text, re.MULTILINE)) == 1
    if mishap == "cut":
        n_gone = int(re.search(r"; (\d+) pieces that this run had written are gone", text)[1])
        assert status == 1 and n_gone >= 3 and counts(text) == (240, 240 - n_gone, 0, n_gone)
        assert f"{n_gone} chunks that were written are gone" in text
    else:
        assert status == 0 and counts(text) == (240, 240, 0, 0)
    assert session.stream.read_text().startswith("CrystFEL stream format 2.3\n")
    assert len(list(read_stream(session.stream))) == written


def test_a_stream_file_that_cannot_be_put_back_ends_the_run(still_set, many, tmp_path):
    """Its folder is gone, and a file has its name."""
    folder = tmp_path / "results"
    folder.mkdir()
    with Running(folder, "-i", many, "-g", still_set.geometry, *QUICK, "-j", 1) as session:
        session.wait_for_chunks(3)
        folder.rename(tmp_path / "elsewhere")
        folder.touch()
        session.log = tmp_path / "elsewhere" / "out.log"
        assert session.process.wait(300) == 1
    received, written, skipped, failed = counts(session.text)
    assert written == skipped == 0 and received == failed > 3
    assert "Traceback" not in session.text and "results/out.stream" in session.text


def test_only_what_is_on_the_disk_is_acknowledged(still_set, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with AsapoService(tmp_path / "service", AsapoSettings(resend_check_s=0.1)) as service:
        n_frames = send_stills(service, still_set, "run1", n_times=8)
        words = [
            f"--asapo-endpoint={service.endpoint}", f"--asapo-token={service.token(BEAMTIME)}",
            f"--asapo-beamtime={BEAMTIME}", f"--asapo-source={SOURCE}", "--asapo-group=online", "--asapo-acks",
            "-g", still_set.streamed_geometry, *QUICK, "--no-data-timeout=3", "--asapo-resend-delay=1", "-j", 1,
        ]  # fmt: skip
        folder = tmp_path / "results"
        folder.mkdir()
        with Running(folder, *words) as session:
            session.wait_for_chunks(3)
            folder.rename(tmp_path / "elsewhere")
            folder.touch()
            n_moved = (tmp_path / "elsewhere" / "out.stream").read_bytes().count(b"----- End chunk -----")
            session.log = tmp_path / "elsewhere" / "out.log"
            assert session.process.wait(300) == 1, session.text
        owed = quietly(consumer(service).get_unacknowledged_messages, "online", stream="run1")
        assert counts(session.text)[0] - len(owed) <= n_moved and len(owed) > 0
        folder.unlink()
        folder.mkdir()
        with Running(folder, *words) as session:
            assert session.process.wait(300) == 0, session.text
        on_disk = [(tmp_path / "elsewhere" / "out.stream"), session.stream]
        serials = Counter(chunk.identity.serial for path in on_disk for chunk in read_stream(path))
        assert set(serials) == set(range(1, n_frames + 1))
        assert quietly(consumer(service).get_unacknowledged_messages, "online", stream="run1") == []


def test_frames_of_files_are_not_done_twice(still_set, many, tmp_path):
    """`kill -9` twice, each time gone on with."""
    common = ["-i", many, "-g", still_set.geometry, *QUICK, "-j", 2, "--append"]
    n_before = 0
    for _ in range(2):
        with Running(tmp_path, *common) as session:
            session.wait_for_chunks(n_before + 20)
            children = session.children()
            session.process.kill()
            session.process.wait()
            eventually(lambda children=children: not any(map(is_running, children)))
            n_before = session.n_chunks()
    with Running(tmp_path, *common) as session:
        assert session.process.wait(300) == 0, session.text
    frames = [chunk.identity for chunk in read_stream(session.stream)]
    assert len({(frame.filename, frame.event) for frame in frames}) == len(frames) == 240
    # One that was in work when the run was killed gets a new number: there are gaps, and no number is there twice.
    assert len({frame.serial for frame in frames}) == 240
    assert f"{n_before} frames were left out: the stream file has their chunks already." in session.text
    assert counts(session.text) == (240 - n_before, 240 - n_before, 0, 0)
    summary = json.loads(session.summary_file.read_text())
    assert summary["in_file_already"] == n_before
    again = indexamajig(*common, "-o", session.stream)
    assert again.returncode == 0 and "240 frames were left out" in again.stderr


def test_another_geometry_or_cell_is_not_gone_on_with(still_set, words, tmp_path):
    stream = tmp_path / "run.stream"
    assert indexamajig("-i", still_set.list, *words, "-o", stream).returncode == 0
    before = stream.read_bytes()
    text = still_set.geometry.read_text()
    (tmp_path / "same.geom").write_text(f"; the same, with a remark\n\n{text}")
    (tmp_path / "other.geom").write_text(re.sub(r"clen *=", "coffset = 0.001\nclen =", text))
    cell = still_set.cell.read_text()
    (tmp_path / "other.cell").write_text(re.sub(r"(?m)^c = [\d.]+", "c = 45.00", cell))
    refused = {
        "geometry": ["-g", tmp_path / "other.geom"],
        "unit cell": ["-p", tmp_path / "other.cell"],
    }
    for what, more in refused.items():
        done = indexamajig("-i", still_set.list, *words, "-o", stream, "--append", *more)
        assert done.returncode == 1 and stream.read_bytes() == before
        (line,) = [line for line in done.stderr.splitlines() if "--append" in line]
        assert line.startswith(f"indexamajig: {stream}: --append: was made with another {what}: ")
        assert " there, " in line and " now" in line
    done = indexamajig("-i", still_set.list, *words, "-o", stream, "--append", "-g", tmp_path / "same.geom")
    assert done.returncode == 0 and stream.read_bytes() == before, done.stderr


def test_numbers_of_frames_without_a_name_go_on(still_set, tmp_path):
    geometry = still_set.streamed_geometry
    sending = ["-g", geometry, "-p", still_set.cell, "-n", 0, "--pool", 4, "--data-format", "hdf5"]
    with Beamline(*sending) as beamline:
        common = [
            f"--zmq-input={beamline.endpoint}", "--zmq-request=next", "--data-format=hdf5", "-g", geometry, *QUICK,
            "-j", 2, "--append",
        ]  # fmt: skip
        with Running(tmp_path, *common) as session:
            session.wait_for_chunks(10)
            os.killpg(session.process.pid, signal.SIGKILL)
            session.process.wait()
        n_before = session.n_chunks()
        with Running(tmp_path, *common) as session:
            session.wait_for_chunks(n_before + 10)
            status, _ = session.stop()
    assert status == 0, session.text
    names = [(chunk.identity.filename, chunk.identity.event) for chunk in read_stream(session.stream)]
    assert len(names) == len(set(names)) >= 20
    assert all(name == "ZMQdata" for name, _ in names)


def test_what_the_sender_numbered_between_two_runs_is_told(still_set, tmp_path):
    with h5py.File(still_set.frames) as file:
        image, energy = file["entry/data/data"][0], float(file["entry/photon_energy"][0])
    body = {
        "detector_data": {"type": image.dtype.str, "shape": list(image.shape), "data": image.tobytes()},
        "beam_energy": energy, "detector_distance": 80.0,
    }  # fmt: skip

    def run(numbers, *more):
        with Replier([str(number) for number in numbers]) as sender:
            sender.payload = lambda name: msgpack.packb({**body, "serial": int(name)})
            with Running(
                tmp_path, f"--zmq-input={sender.endpoint}", "--zmq-request=next", "--data-format=msgpack",
                "-g", still_set.streamed_geometry, *QUICK, "-j", 1, *more,
            ) as session:  # fmt: skip
                session.wait_for_chunks(numbers[-1] - 990 if not more else 4)
                status, summary = session.stop()
        assert status == 0, session.text
        return session.text, summary

    run([991, 992])
    text, summary = run([996, 997], "--append")
    assert summary["frames"]["lost"] == 0 and summary["not_recorded_before"] == 3
    assert "3 numbers of the sender lie between" in text


@pytest.mark.parametrize("option", ["-g", "-p", "-i"])
def test_what_a_run_reads_is_not_what_it_writes(still_set, words, option):
    named = {"-g": still_set.geometry, "-p": still_set.cell, "-i": still_set.list}[option]
    before = named.read_bytes()
    done = indexamajig("-i", still_set.list, *words, "-o", named)
    assert done.returncode == 1 and named.read_bytes() == before
    assert f"-o {named} would overwrite {named}, which is read" in done.stderr


def test_standard_output_is_gone_on_with_as_the_shell_says(still_set, tmp_path):
    """`-o /dev/stdout >> file`: what the file held stays, and nothing is put beside it."""
    folder = tmp_path / "results"
    folder.mkdir()
    path = folder / "all.stream"
    path.write_text("what was there\n")
    words = ["-i", still_set.list, "-g", still_set.geometry, *QUICK, "-o", "/dev/stdout"]
    with path.open("ab") as out:
        done = subprocess.run([*INDEXAMAJIG, *map(str, words)], stdout=out, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert text.startswith("what was there\nCrystFEL stream format 2.3\n")
    assert text.count("----- End chunk -----\n") == still_set.n_frames
    assert os.listdir(folder) == ["all.stream"]
