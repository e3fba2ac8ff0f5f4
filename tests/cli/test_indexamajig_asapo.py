"""`indexamajig` on ASAP::O, as a user runs it: the article's command line, and what it refuses."""

import json
import os
import signal
from math import inf

import h5py
import msgpack
import pytest
import seedee

from braggstream.cli.asapo_choice import asapo_service, asapo_token
from braggstream.cli.indexamajig import understand
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError
from braggstream.simulate.asapo import AsapoService, AsapoSettings
from cli.commands import PF8, Running, indexamajig
from session_fakes.session_process import eventually, is_running
from simulate.asapo_clients import BEAMTIME, CACHE_ONLY, SOURCE, Sender, consumer, quietly

DISTANCE = 80.0
"""The stills' camera length [mm]."""

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def service(tmp_path):
    with AsapoService(tmp_path / "service", AsapoSettings(resend_check_s=0.1)) as running:
        yield running


@pytest.fixture
def article(service, still_set):
    """The article's command line: no stream is named."""
    return [
        f"--asapo-endpoint={service.endpoint}", f"--asapo-token={service.token(BEAMTIME)}",
        f"--asapo-beamtime={BEAMTIME}", f"--asapo-source={SOURCE}", "--asapo-group=online",
        "-g", still_set.streamed_geometry, "-p", still_set.cell, *PF8,
    ]  # fmt: skip


def send_stills(service, still_set, stream, *, n_times=1, in_metadata=False):
    """Send the stills, with their headers in the message or in its metadata; gives the number of messages."""
    sender = Sender(service)
    with h5py.File(still_set.frames) as file:
        images = file["entry/data/data"]
        headers = {"beam_energy": float(file["entry/photon_energy"][0]), "detector_distance": DISTANCE}
        number = 0
        for image in (image for _ in range(n_times) for image in images):
            number += 1
            message = {
                "detector_data": {"type": image.dtype.str, "shape": list(image.shape), "data": image.tobytes()}
            }
            meta = {"energy_hint": 1, **headers} if in_metadata else {}
            body = msgpack.packb(message if in_metadata else {**message, **headers})
            sender.producer.send(
                number, f"processed/{stream}/{number}.msg", body, meta, ingest_mode=CACHE_ONLY, stream=stream
            )
        sender.wait()
    sender.finish(stream, number)
    return number


def test_the_command_line_of_the_article(still_set, service, article, tmp_path):
    n = send_stills(service, still_set, "run 1") + send_stills(service, still_set, "run2", in_metadata=True)
    token = article[1].partition("=")[2]
    words = [*article, "--no-data-timeout=3", "--asapo-acks", "--copy-header=energy_hint", "-j", 2]
    with Running(tmp_path, *words) as session:
        session.wait_for_chunks(1)
        with open(f"/proc/{session.process.pid}/cmdline", "rb") as file:
            assert token.encode() not in file.read()
        assert session.process.wait(200) == 0, session.text
    summary = json.loads(session.summary_file.read_text())
    assert summary["frames"]["written"] == summary["asapo"]["acknowledged"] == n
    chunks = list(read_stream(session.stream))
    found = {(dict(chunk.headers)["asapo/stream"], chunk.identity.serial): chunk for chunk in chunks}
    assert len(found) == len(chunks) == n
    first, second = found["run 1", 3], found["run2", 3]
    assert (first.identity.filename, first.identity.event) == ("processed/run 1/3.msg", "//")
    assert len(first.peaks) == len(second.peaks) and first.wavelength == second.wavelength
    assert dict(second.headers)["energy_hint"] == 1 and "energy_hint" not in dict(first.headers)
    assert sum(bool(chunk.crystals) for chunk in chunks) > n // 4
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "service" not in path.parts]
    assert session.stream in written and len(written) >= 4
    for path in written:
        assert token.encode() not in path.read_bytes(), path
    assert b"--asapo-token=***" in session.stream.read_bytes()


def test_seedee_arrays_with_headers_beside_them(still_set, service, article, tmp_path):
    """Written by the official package; wavelength and camera length come from the metadata."""
    sender = Sender(service)
    with h5py.File(still_set.frames) as file:
        images, energy = file["entry/data/data"][:4], float(file["entry/photon_energy"][0])
    for number, image in enumerate(images, start=1):
        payload, description = seedee.serialize(image, seedee.COMPRESSION_BITSHUFFLE)
        meta = {"_data_format": description, "beam_energy": energy, "detector_distance": DISTANCE}
        sender.producer.send(
            number, f"run3/{number}.seedee", bytes(payload), meta, ingest_mode=CACHE_ONLY, stream="run3"
        )
    sender.wait()
    sender.finish("run3", len(images))
    with Running(tmp_path, *article, "--data-format=seedee", "--no-data-timeout=3") as session:
        assert session.process.wait(200) == 0, session.text
    chunks = sorted(read_stream(session.stream), key=lambda chunk: chunk.identity.serial)
    assert [chunk.identity.filename for chunk in chunks] == [f"run3/{n}.seedee" for n in range(1, 5)]
    assert any(chunk.crystals for chunk in chunks)


def test_a_session_that_is_killed_is_gone_on_with(still_set, service, article, tmp_path):
    n = send_stills(service, still_set, "run1", n_times=3)
    words = [*article, "--asapo-acks", "--asapo-resend-delay=1", "--no-data-timeout=3", "--append", "-j", 2]
    with Running(tmp_path, *words) as session:
        session.wait_for_chunks(10)
        children = session.children()
        os.kill(session.process.pid, signal.SIGKILL)
        session.process.wait()
        eventually(lambda: not any(map(is_running, children)))  # One of them cuts off a torn chunk.
    with Running(tmp_path, *words) as session:
        assert session.process.wait(200) == 0, session.text
    serials = sorted(chunk.identity.serial for chunk in read_stream(session.stream))
    assert serials == list(range(1, n + 1))
    assert quietly(consumer(service).get_unacknowledged_messages, "online", stream="run1") == []


def test_what_is_missing_is_named(still_set, tmp_path, monkeypatch):
    monkeypatch.delenv("BRAGGSTREAM_ASAPO_TOKEN", raising=False)
    given = {"token": "abc", "beamtime": "1", "source": "eiger", "group": "online"}
    words = {f"--asapo-{name}": value for name, value in given.items()}
    base = ["--asapo-endpoint=localhost:1", "-o", "o.stream", "-g", str(still_set.streamed_geometry)]
    for missing in words:
        with pytest.raises(UserError, match=missing):
            understand([*base, *(f"{name}={value}" for name, value in words.items() if name != missing)])
    whole = [*base, *(f"{name}={value}" for name, value in words.items())]
    with pytest.raises(UserError, match="--input and --asapo-endpoint cannot be used together"):
        understand([*whole, "-i", str(still_set.list)])
    with pytest.raises(UserError, match="--asapo-follow is for --asapo-stream"):
        understand([*whole, "--asapo-follow"])
    with pytest.raises(UserError, match="expected HOST:PORT"):
        understand([*whole, "--asapo-endpoint=http://a b"])
    found = understand([*whole, "--asapo-consumer-timeout=100", "--no-data-timeout=inf", "--asapo-output-stream"])
    assert (found.source.timeout_s, found.source.no_data_timeout_s, found.source.publish) == (0.1, inf, True)
    assert found.source.stream is None and found.source.resend_delay_s == 60.0 and not found.source.acks


def test_a_token_that_is_refused_is_told_before_anything_is_written(article, tmp_path):
    article[1] = "--asapo-token=of-another-beamtime"
    refused = indexamajig(*article, "-o", tmp_path / "o.stream")
    assert refused.returncode == 1 and "of-another-beamtime" not in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("indexamajig: --asapo-endpoint=127.0.0.1:")
    assert not (tmp_path / "o.stream").exists()


def test_the_token_comes_from_a_file_or_from_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text(" secret-of-a-file\n")
    options = {"asapo_token": None, "asapo_token_file": None}
    monkeypatch.setenv("BRAGGSTREAM_ASAPO_TOKEN", "secret-of-the-environment")
    assert asapo_token(options) == "secret-of-the-environment"
    assert asapo_token({**options, "asapo_token_file": str(path)}) == "secret-of-a-file"
    assert asapo_token({**options, "asapo_token": "typed"}) == "typed"
    for content in (b"", b"two words", b"\xff\xfe", b"x" * (1 << 17)):
        path.write_bytes(content)
        with pytest.raises(UserError, match="expected one token"):
            asapo_token({**options, "asapo_token_file": str(path)})
    with pytest.raises(UserError, match="cannot be read"):
        asapo_token({**options, "asapo_token_file": str(tmp_path / "none")})
    with pytest.raises(UserError, match="choose one"):
        asapo_token({"asapo_token": "a", "asapo_token_file": str(path)})
    where = {"asapo_endpoint": "h:1", "asapo_beamtime": "1", "asapo_source": "s"}
    assert "secret" not in repr(asapo_service({**options, **where}))
