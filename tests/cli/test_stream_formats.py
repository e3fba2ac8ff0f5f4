"""Every format of streamed frames from its sender to the stream file, over real sockets."""

import contextlib
import gzip
import io
import json
import os
import signal
import time
from pathlib import Path

import cbor2
import h5py
import hdf5plugin
import msgpack
import numpy as np
import pytest
import seedee
import tifffile

from braggstream.formats.parts import MAX_PARTS
from braggstream.formats.stream_read import read_stream
from braggstream.simulate.judge import judge
from braggstream.simulate.truth import read_truth
from cli.commands import BRAGGSTREAM, PF8, Beamline, Running, indexamajig, run
from cli.test_indexamajig_files import THAUMATIN, check_thaumatin
from session_fakes.senders import Pusher
from session_fakes.session_process import descendants, eventually

pytestmark = pytest.mark.system

N = 16
SIZE = 800
ONE_PANEL = f"""photon_energy = 9500 eV
clen = 0.1 m
res = 13333.333
adu_per_photon = 1
flag_lessthan = 0
p/min_fs = 0
p/max_fs = {SIZE - 1}
p/min_ss = 0
p/max_ss = {SIZE - 1}
p/corner_x = 404.25
p/corner_y = 396.5
p/fs = -x
p/ss = -y
"""


@pytest.fixture
def one_panel(tmp_path):
    path = tmp_path / "one.geom"
    path.write_text(ONE_PANEL)
    return path


def sent(folder, cell, geometry, *words):
    truth = folder / "truth.h5"
    return ["-g", geometry, "-p", cell, "-n", N, "--truth", truth, "--seed", 4, "--rate", 0, *words]


def right(session, folder):
    """All chunks are there, and all lattices are the true ones."""
    status, summary = session.stop()
    assert status == 0, session.text
    frames = summary["frames"]
    assert (frames["received"], frames["written"], frames["failed"], frames["lost"]) == (N, N, 0, 0)
    judgement = judge(session.stream, read_truth(folder / "truth.h5"))
    assert judgement.n_true_hits > 3
    assert (judgement.n_right, judgement.n_wrong, judgement.n_missed) == (judgement.n_lattices, 0, 0)


@pytest.mark.parametrize(
    ("data_format", "given"),
    [("dectris2", False), ("dectris1", False), ("jungfraujoch", True)],
)
def test_series_of_a_detector(still_set, tmp_path, one_panel, data_format, given):
    """Without a geometry it is made of the start message; workers get what that says."""
    socket = ["--socket", "pub", "--tag", "frames"] if given else ["--socket", "push"]
    taking = ["--zmq-subscribe=frames", "--when-behind=wait"] if given else ["--zmq-pull"]
    with (
        Beamline(
            *sent(tmp_path, still_set.cell, one_panel, *socket, "--data-format", data_format)
        ) as beamline,
        Running(
            tmp_path, f"--zmq-input={beamline.endpoint}", *taking, "-p", still_set.cell, *PF8, "-j", 2,
            *(["-g", one_panel] if given else [f"--data-format={data_format}"]),
            "--copy-header=incident_wavelength",
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(N)
        if data_format != "dectris1":  # It names its series by number, the truth by name.
            right(session, tmp_path)
    chunks = list(read_stream(session.stream))
    wavelengths = [float(dict(chunk.headers)["incident_wavelength"]) for chunk in chunks]
    assert wavelengths == pytest.approx([1.30509] * N, rel=1e-4)
    assert sorted(int(chunk.identity.event[2:]) for chunk in chunks) == list(range(N))
    assert "Series 1" in session.text and f"{N} images of {SIZE} x {SIZE} pixels" in session.text
    assert sum(len(chunk.crystals) for chunk in chunks) > 3


def test_the_geometry_command(still_set, tmp_path, one_panel):
    words = sent(tmp_path, still_set.cell, one_panel, "--socket", "push", "--data-format", "dectris2", "--pool", 1)
    words[words.index("-n") + 1] = 0  # Without end: it stops at once when it is told to.
    with Beamline(*words) as beamline:
        done = run(*BRAGGSTREAM, "geometry", "--zmq-input", beamline.endpoint, "-o", tmp_path / "made.geom")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "made.geom").read_text()
    numbers = {
        name.strip(): value.strip() for name, _, value in (line.partition("=") for line in text.splitlines())
    }
    assert float(numbers["detector/corner_x"]) == pytest.approx(404.25)
    assert float(numbers["detector/corner_y"]) == pytest.approx(396.5)
    assert numbers["detector/max_fs"] == str(SIZE - 1)
    assert float(numbers["clen"].split()[0]) == pytest.approx(0.1)
    assert float(numbers["photon_energy"].split()[0]) == pytest.approx(9500.0)
    (tmp_path / "x").write_bytes(b"nothing")
    assert run(*BRAGGSTREAM, "geometry", "--message", tmp_path / "x").returncode == 2


def file_of(values):
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file["data/data"] = values
    return target.getvalue()


def saved(write, values):
    target = io.BytesIO()
    write(target, values)
    return target.getvalue()


def cbf_of(values):
    lines = [
        "###CBF: VERSION 1.5",
        "--CIF-BINARY-FORMAT-SECTION--",
        f"X-Binary-Size: {values.nbytes}",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        f"X-Binary-Size-Fastest-Dimension: {values.shape[1]}",
        f"X-Binary-Size-Second-Dimension: {values.shape[0]}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + b"\x0c\x1a\x04\xd5" + values.tobytes()


def message_of(values):
    return msgpack.packb({"/data/data": {"type": "<i4", "shape": list(values.shape), "data": values.tobytes()}})


def dectris_of(values):
    array = cbor2.CBORTag(40, [list(values.shape), cbor2.CBORTag(78, values.tobytes())])
    return cbor2.dumps({"type": "image", "series_id": 1, "image_id": 0, "data": {"threshold_1": array}})


def seedee_of(values):
    payload, description = seedee.serialize(values, seedee.COMPRESSION_LZ4)
    return [json.dumps({"_data_format": description}).encode(), bytes(payload)]


FORMATS = {
    "msgpack": message_of,
    "hdf5": file_of,
    "cbf": cbf_of,
    "cbf.gz": lambda values: gzip.compress(cbf_of(values)),
    "tiff": lambda values: saved(tifffile.imwrite, values),
    "npy": lambda values: saved(np.save, values),
    "dectris2": dectris_of,
    "seedee": seedee_of,
}


class Sender(Pusher):
    """Pushes prepared messages, of one part or several."""

    def __init__(self, messages, *, pause_s=0.0):
        super().__init__(messages)
        self.pause_s = pause_s

    def serve(self):
        for message in self.names:
            while not self.is_ending.is_set() and not self.socket.poll(50, 2):
                pass
            self.socket.send_multipart(message if isinstance(message, list) else [message])
            time.sleep(self.pause_s)
        self.is_ending.wait()


def test_each_frame_in_a_format_of_its_own_and_hostile_ones_between(tmp_path):
    """Told by the bytes, frame by frame; after each bad message good frames still come out."""
    geometry = tmp_path / "small.geom"
    geometry.write_text(ONE_PANEL.replace(str(SIZE - 1), "63"))
    values = np.random.default_rng(1).poisson(4, (64, 64)).astype("<i4")
    values[30:32, 30:32] = 200
    messages, n_bad = [], 0
    for name, encode in FORMATS.items():
        whole = encode(values)
        parts = whole if isinstance(whole, list) else [whole]
        bad = [
            [*parts[:-1], parts[-1][: len(parts[-1]) // 2]],
            [b"{", *parts, *[b""] * MAX_PARTS],
            [b"{}", b"{", b""],
        ]
        messages += [parts, *bad, [*parts[:-1], parts[-1]]]
        n_bad += len(bad)
        assert len(parts) == (2 if name == "seedee" else 1)
    with (
        Sender(messages) as sender,
        Running(
            tmp_path, f"--zmq-input={sender.endpoint}", "--zmq-pull", "-g", geometry, "--indexing=none",
            "--peaks=peakfinder8", "--threshold=50", "--min-pix-count=1", "--min-peaks=1",
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(2 * len(FORMATS))
        status, summary = session.stop()
    assert status == 0, session.text
    frames = summary["frames"]
    assert (frames["received"], frames["written"], frames["failed"]) == (5 * len(FORMATS), 2 * len(FORMATS), n_bad)
    assert all(len(chunk.peaks) == 1 for chunk in read_stream(session.stream)), session.text
    assert summary["replaced_workers"] == 0


@pytest.mark.real
def test_thaumatin_stills_as_they_were_recorded(real, tmp_path):
    """Gzipped CBF files of a PILATUS3 6M: the same as the same pixels in HDF5."""
    folder = real / "thaumatin_stills"
    stream = tmp_path / "o.stream"
    done = indexamajig(
        "-i", folder / "files.lst", f"--prefix={folder}/", "-g", folder / "pilatus3_6m.geom",
        "-p", folder / "thaumatin.cell", "-o", stream, *THAUMATIN, "-j", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_thaumatin(stream)


def test_files_in_memory_with_masks_and_cxi_peaks(tmp_path):
    """Everything that a CXI file has, compressed as detectors do it; peaks under the mask are not kept."""
    geometry = tmp_path / "cxi.geom"
    lines = ONE_PANEL.replace(str(SIZE - 1), "63") + "p/mask0_data = /mask\np/mask0_badbits = 0x1\np/dim0 = 0\n"
    geometry.write_text("peak_list = /result\n" + lines + "p/dim1 = ss\np/dim2 = fs\n")
    values = np.random.default_rng(1).poisson(4, (1, 64, 64)).astype("<u4")
    mask = np.zeros((64, 64), "<u4")
    mask[38:43, 38:43] = 1
    places = [(10.0, 12.0), (30.0, 31.0), (40.0, 40.0)]
    for x, y in places:
        values[0, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] += 200
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        packed = hdf5plugin.Bitshuffle(cname="lz4")
        file.create_dataset("data/data", data=values, chunks=values.shape, **packed)
        file.create_dataset("mask", data=mask, chunks=mask.shape, compression="gzip")
        file["result/nPeaks"] = np.array([len(places)])
        for name, column in zip(("peakXPosRaw", "peakYPosRaw"), np.transpose(places), strict=True):
            file.create_dataset(f"result/{name}", data=[column], chunks=(1, len(places)), **packed)
        file["result/peakTotalIntensity"] = np.full((1, len(places)), 1000.0)
    with (
        Sender([target.getvalue()] * 3) as sender,
        Running(
            tmp_path,
            f"--zmq-input={sender.endpoint}",
            "--zmq-pull",
            "-g",
            geometry,
            "--indexing=none",
            "--peaks=cxi",
        ) as session,
    ):
        session.wait_for_chunks(3)
        assert session.stop()[0] == 0
    for chunk in read_stream(session.stream):
        assert sorted(chunk.peaks.fs.tolist()) == [10.5, 30.5]


def start_and_images(n_images):
    """A series whose images mean nothing without its start message."""
    told = {"series_id": 5, "series_unique_id": "S5"}
    stated = {"beam_center_x": 32.0, "beam_center_y": 32.0, "detector_distance": 0.1, "incident_energy": 9500.0}
    stated |= {"pixel_size_x": 1e-4, "pixel_size_y": 1e-4, "image_size_x": 64, "image_size_y": 64}
    values = np.random.default_rng(1).poisson(4, (64, 64)).astype("<u4")
    array = cbor2.CBORTag(40, [[64, 64], cbor2.CBORTag(70, values.tobytes())])
    yield cbor2.dumps({"type": "start"} | told | stated)
    yield cbor2.dumps({"type": "calibration"} | told | {"data": {"pedestal": array}})
    for number in range(n_images):
        yield cbor2.dumps({"type": "image"} | told | {"image_id": number, "data": {"default": array}})
    yield cbor2.dumps({"type": "end"} | told)


def test_workers_made_later_have_the_start_message_too(tmp_path):
    """All workers are killed in mid-series; those in their place know the series."""
    n = 400
    with (
        Sender(list(start_and_images(n)), pause_s=0.005) as sender,
        Running(
            tmp_path, f"--zmq-input={sender.endpoint}", "--zmq-pull", "--data-format=jungfraujoch",
            "--indexing=none", "--peaks=peakfinder8", "-j", 2,
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(20)
        killed = eventually(lambda: len(found := workers_of(session)) == 2 and found)
        for worker in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        eventually(lambda: f"Frames: {n} received" in session.log.read_text())
        status, summary = session.stop()
    frames = summary["frames"]
    assert status == 0, session.text
    assert summary["replaced_workers"] >= 2
    assert (frames["received"], frames["lost"]) == (n, 0)
    assert frames["written"] + frames["failed"] == n and frames["failed"] <= 2, session.text
    assert "Series 5 (S5) has ended." in session.text


def workers_of(session):
    return [pid for pid in descendants(session.process.pid) if process_name(pid).startswith("braggstream-w")]


def process_name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""
