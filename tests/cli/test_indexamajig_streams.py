"""`indexamajig` on real ZeroMQ sockets, as a user runs it."""

import os
import pickle  # noqa: TID251  To show that it is refused.
import re
import signal
from collections import Counter

import h5py
import msgpack
import msgpack_numpy
import numpy as np
import pytest

from braggstream.formats.stream_read import read_stream
from braggstream.model.constants import photon_energy_of
from braggstream.simulate.judge import judge
from braggstream.simulate.truth import read_truth
from cli.commands import PF8, Beamline, Running
from cli.test_indexamajig_files import THAUMATIN, check_thaumatin
from session_fakes.senders import Publisher, Pusher, Replier
from session_fakes.session_process import eventually, is_running

pytestmark = pytest.mark.system

RECEIVING = {
    "rep": ["--zmq-request=next"],
    "pub": ["--zmq-subscribe=frames", "--when-behind=wait"],
    "push": ["--zmq-pull"],
}


@pytest.mark.parametrize(
    ("socket", "data_format", "n_workers"),
    [("rep", "msgpack", 2), ("rep", "hdf5", 1), ("pub", "msgpack", 2), ("push", "msgpack", 2), ("push", "hdf5", 2)],
)
def test_every_frame_once_and_every_lattice_right(still_set, tmp_path, socket, data_format, n_workers):
    n_frames, truth = 20, tmp_path / "truth.h5"
    geometry = still_set.streamed_geometry
    sending = ["-g", geometry, "-p", still_set.cell, "-n", n_frames, "--truth", truth, "--seed", 4]
    sending += ["--socket", socket, "--data-format", data_format, "--rate", 50 if socket == "pub" else 0]
    sending += ["--tag", "frames"] if socket == "pub" else []
    with (
        Beamline(*sending) as beamline,
        Running(
            tmp_path, f"--zmq-input={beamline.endpoint}", *RECEIVING[socket], f"--data-format={data_format}",
            "-g", geometry, "-p", still_set.cell, *PF8, "-j", n_workers,
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(n_frames)
        status, summary = session.stop()
    assert status == 0, session.text
    assert summary["frames"]["received"] == summary["frames"]["written"] == n_frames
    serials = sorted(chunk.identity.serial for chunk in read_stream(session.stream))
    assert serials == list(range(1, n_frames + 1))
    judgement = judge(session.stream, read_truth(truth))
    assert judgement.n_true_hits > 3
    if data_format == "msgpack" or n_workers == 1:  # A file does not say which frame it is.
        assert (judgement.n_right, judgement.n_wrong, judgement.n_missed) == (judgement.n_lattices, 0, 0)


class MessageReplier(Replier):
    """Answers each request with the next of some prepared messages."""

    def __init__(self, messages, **more):
        super().__init__(range(len(messages)), **more)
        self.messages = messages

    def reply(self, name):
        found = self.messages[name]
        return found if isinstance(found, list) else [found]


def om_message(number, peaks, *, frame=None):
    """What an OnDA monitor sends, packed with the library that it uses."""
    n = len(peaks[0])
    message = {
        "peak_list": {
            "num_peaks": n,
            "fs": [float(x) for x in peaks[0]],
            "ss": [float(x) for x in peaks[1]],
            "intensity": [float(x) for x in peaks[2]],
            "num_pixels": [3.0] * n,
            "max_pixel_intensity": [100.0] * n,
            "snr": [9.0] * n,
        },
        "beam_energy": 9000.0,
        "detector_distance": 85.0,
        "event_id": f"run7_{number}",
        "timestamp": np.float32(1.5 + number),
        "source": "exp=mfx123",
        "configuration_file": "monitor.toml",
    }
    if frame is not None:
        message["detector_data"] = frame
    return msgpack.packb(message, default=msgpack_numpy.encode, use_bin_type=True)


@pytest.mark.golden
def test_peak_lists_of_an_om_monitor_without_pixels(golden, tmp_path):
    references = [r for r in read_stream(golden / "streams" / "single-asdf.stream.xz") if r.crystals]
    lists = [(r.peaks.fs - 0.5, r.peaks.ss - 0.5, r.peaks.intensity) for r in references]
    geometry = tmp_path / "om.geom"
    geometry.write_text((golden / "single.zmq.geom").read_text() + "peak_list = peak_list\n")
    with h5py.File(golden / "single.h5", locking=False) as file:
        energy = file["entry/photon_energy"][:]
    messages = []
    for reference, peaks in zip(references, lists, strict=True):
        event = int(reference.identity.event[2:])
        message = msgpack.unpackb(om_message(event, peaks))
        message["beam_energy"] = float(energy[event])
        messages.append(msgpack.packb(message, default=msgpack_numpy.encode))
    with (
        MessageReplier(messages) as monitor,
        Running(
            tmp_path, f"--zmq-input={monitor.endpoint}", "--zmq-request=next", "--data-format=msgpack",
            "-g", geometry, "-p", golden / "single.cell", "--no-image-data", "--peaks=msgpack", "--no-revalidate",
            "--copy-header=timestamp", "--copy-header=source",
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(len(messages))
        status, _ = session.stop()
    assert status == 0, session.text
    chunks = list(read_stream(session.stream))
    assert all(len(chunk.crystals) == 1 for chunk in chunks)
    assert [chunk.identity.event for chunk in chunks] == [f"run7_{r.identity.event[2:]}//" for r in references]
    for chunk in chunks:
        reflections = chunk.crystals[0].reflections
        assert len(reflections) > 100
        assert (reflections.intensity == 0).all() and (reflections.sigma > 0).all()
        assert dict(chunk.headers)["source"] == "exp=mfx123"
        assert "timestamp" in dict(chunk.headers)


ARTICLE_GEOMETRY = """\
photon_energy = beam_energy eV
adu_per_photon = 1
clen = detector_distance mm
res = 5814.0
peak_list = peak_list

thepanel/data = detector_data
thepanel/min_fs = 0
thepanel/max_fs = 2067
thepanel/min_ss = 0
thepanel/max_ss = 2161
thepanel/corner_x = -1034
thepanel/corner_y = -1081
thepanel/fs = x
thepanel/ss = y
"""
"""The example of CrystFEL's article on processing in real time, as it stands there."""


@pytest.mark.parametrize("kind", ["reply", "broadcast"])
def test_the_example_of_the_article(tmp_path, kind):
    """A map and an array of maps, both pixel types, and the peak list, with the article's geometry and options."""
    peaks = {"fs": [100.25, 2000.5], "ss": [50.75, 2100.0], "intensity": [900.0, 800.0]}
    messages = []
    for number, dtype in enumerate(("<i4", "<f4")):
        pixels = np.ones((2162, 2068), dtype)
        for fs, ss in zip(peaks["fs"], peaks["ss"], strict=True):
            pixels[int(ss) - 1 : int(ss) + 2, int(fs) - 1 : int(fs) + 2] = 100
        frame = {
            "beam_energy": 10000.0 + number,
            "detector_distance": 150.0,
            "detector_data": {"type": dtype, "shape": [2162, 2068], "data": pixels.tobytes()},
            "peak_list": peaks,
        }
        messages.append(msgpack.packb([frame, {"another": 1}] if number else frame))
    (tmp_path / "Eiger.geom").write_text(ARTICLE_GEOMETRY)
    sender, words = {
        "reply": (lambda: MessageReplier(messages), ["--zmq-request=next"]),
        "broadcast": (
            lambda: Publisher(range(2), tag="ondaframedata"),
            ["--zmq-subscribe=ondaframedata", "--zmq-subscribe=another"],
        ),
    }[kind]
    with sender() as sending:
        sending.payload = lambda name: messages[name]
        with Running(
            tmp_path, f"--zmq-input={sending.endpoint}", *words, "--data-format=msgpack",
            "-g", tmp_path / "Eiger.geom", "--peaks=msgpack", "--check-hdf5-snr", "-j", 2,
        ) as session:  # fmt: skip
            session.wait_for_chunks(2)
            status, summary = session.stop()
    assert status == 0 and summary["frames"]["written"] == 2, session.text
    chunks = sorted(read_stream(session.stream), key=lambda chunk: chunk.identity.serial)
    assert [round(photon_energy_of(chunk.wavelength)) for chunk in chunks] == [10000, 10001]
    for chunk in chunks:
        assert chunk.average_camera_length == pytest.approx(0.15)
        np.testing.assert_allclose(chunk.peaks.fs, np.add(peaks["fs"], 0.5), atol=0.01)
        np.testing.assert_allclose(chunk.peaks.ss, np.add(peaks["ss"], 0.5), atol=0.01)
        assert (chunk.peaks.intensity == 9 * 99).all()


def small_message(number, **change):
    """A frame of 32 x 32 pixels."""
    image = {"type": "<i4", "shape": [32, 32], "data": bytes(4 * 32 * 32)}
    return msgpack.packb({"detector_data": image, "serial": number} | change)


SMALL_GEOMETRY = (
    "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\ndata = detector_data\n"
    "p/min_fs = 0\np/max_fs = 31\np/min_ss = 0\np/max_ss = 31\np/corner_x = -16\np/corner_y = -16\n"
    "p/fs = x\np/ss = y\n"
)


def hostile_messages():
    """Messages that are no frames, and the reason under which each must be counted."""
    image = {"type": "<i4", "shape": [32, 32], "data": bytes(4096)}
    good = small_message(1)
    rng = np.random.default_rng(1)
    return [
        (b"\x80\x05" + pickle.dumps({"detector_data": 1}, 4)[2:], "decode"),
        (good[:-100], "decode"),
        (rng.bytes(5000), "decode"),
        (b"\x91" * 100000, "decode"),
        (b"\xdd\xff\xff\xff\xff" + bytes(20), "decode"),
        (b"\xdf\xff\xff\xff\xff" + bytes(20), "decode"),
        (msgpack.packb([1, 2, 3] * 20), "decode"),
        (msgpack.packb([]) + bytes(20), "decode"),
        (small_message(2, detector_data=image | {"type": "<c8"}), "geometry"),
        (small_message(2, detector_data=image | {"type": "|O"}), "geometry"),
        (small_message(2, detector_data=image | {"shape": [64, 64]}), "decode"),
        (small_message(2, detector_data=image | {"shape": [1 << 30, 1 << 30]}), "decode"),
        (small_message(2, detector_data=image | {"shape": [-32, -32]}), "decode"),
        (small_message(2, detector_data=image | {"shape": [16, 64]}), "geometry"),
        (small_message(2, detector_data=image | {"shape": "big"}), "decode"),
        (small_message(2, detector_data=[1, 2]), "decode"),
        (small_message(2, detector_data={"type": "<i4"}), "decode"),
        (msgpack.packb({"another_detector": image}), "geometry"),
        (b"\x89HDF\r\n\x1a\n" + rng.bytes(3000), "decode"),
    ]


@pytest.mark.parametrize("kind", ["reply", "broadcast", "push"])
def test_what_is_no_frame_is_counted_and_the_run_goes_on(tmp_path, kind):
    hostile = hostile_messages()
    messages = []
    for number, (message, _) in enumerate(hostile):
        messages += [message, small_message(100 + number)]
    (tmp_path / "small.geom").write_text(SMALL_GEOMETRY)
    names = range(len(messages))
    sender, words = {
        "reply": (lambda: MessageReplier(messages), ["--zmq-request=next"]),
        "broadcast": (lambda: Publisher(names, pause_s=0.02), ["--zmq-subscribe=omframedata"]),
        "push": (lambda: Pusher(names), ["--zmq-pull"]),
    }[kind]
    with sender() as sending:
        sending.payload = lambda name: messages[name]
        with Running(
            tmp_path, f"--zmq-input={sending.endpoint}", *words, "-g", tmp_path / "small.geom",
            "--peaks=peakfinder8", "-j", 2,
        ) as session:  # fmt: skip
            eventually(lambda: session.n_chunks() >= len(hostile))
            status, summary = session.stop()
    assert status == 0, session.text
    assert summary["frames"]["received"] == len(messages)
    assert summary["frames"]["written"] == len(hostile)
    assert summary["failed_by_reason"] == Counter(reason for _, reason in hostile)
    assert "Traceback" not in session.text
    assert "pickle" in session.text


def test_not_a_number_pixels_are_bad(tmp_path):
    frame = np.ones((32, 32), np.float32)
    frame[5:9, 5:9] = np.nan
    frame[20, 20], frame[21, 21] = np.inf, -np.inf
    image = {"type": "<f4", "shape": [32, 32], "data": frame.tobytes()}
    (tmp_path / "small.geom").write_text(SMALL_GEOMETRY)
    with (
        MessageReplier([small_message(1, detector_data=image)]) as sending,
        Running(
            tmp_path, f"--zmq-input={sending.endpoint}", "--zmq-request=next", "-g", tmp_path / "small.geom",
            "--peaks=peakfinder8", "--threshold=0.5",
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(1)
        status, _ = session.stop()
    assert status == 0
    (chunk,) = read_stream(session.stream)
    assert len(chunk.peaks) == 0


def test_killed_worker_costs_one_frame_at_most(still_set, tmp_path):
    sending = ["-g", still_set.streamed_geometry, "-p", still_set.cell, "-n", 300, "--rate", 60]
    with (
        Beamline(*sending, "--truth", tmp_path / "t.h5", "--pool", 10) as beamline,
        Running(
            tmp_path, f"--zmq-input={beamline.endpoint}", "--zmq-request=next", "-g", still_set.streamed_geometry,
            "-p", still_set.cell, *PF8, "-j", 2,
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(20)
        os.kill(next(pid for pid in session.children() if name_of(pid).startswith("braggstream-w")), signal.SIGKILL)
        eventually(lambda: session.n_chunks() + session.text.count(": failed (") >= 300)
        status, summary = session.stop()
    assert status == 0, session.text
    frames = summary["frames"]
    assert frames["received"] == 300 and frames["failed"] <= 1
    assert frames["written"] + frames["failed"] == 300
    assert summary["replaced_workers"] == 1
    serials = Counter(chunk.identity.serial for chunk in read_stream(session.stream))
    assert max(serials.values()) == 1


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def test_killed_parent_leaves_no_process_and_no_torn_chunk(still_set, tmp_path):
    sending = ["-g", still_set.streamed_geometry, "-p", still_set.cell, "-n", 0, "--pool", 5]
    with (
        Beamline(*sending) as beamline,
        Running(
            tmp_path, f"--zmq-input={beamline.endpoint}", "--zmq-request=next", "-g", still_set.streamed_geometry,
            "-p", still_set.cell, *PF8, "-j", 2,
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(10)
        children = session.children()
        os.kill(session.process.pid, signal.SIGKILL)
        eventually(lambda: not any(is_running(pid) for pid in children))
        assert len(children) >= 3
    stream = read_stream(session.stream)
    assert len(list(stream)) >= 10 and not stream.is_torn


@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.4, 0.7])
def test_signal_at_any_time_of_start_up(still_set, tmp_path, delay_s):
    with Running(
        tmp_path, "--zmq-input=tcp://127.0.0.1:9", "--zmq-request=next", "-g", still_set.streamed_geometry, *PF8
    ) as session:
        eventually(session.log.exists)
        signal.sigtimedwait([], delay_s)
        session.process.send_signal(signal.SIGINT)
        session.process.wait(60)
        # Of an interrupt of its own start, before our first lines are run, the interpreter may tell.
        assert not re.search(r"braggstream/(?!__(init|main)__\.py)", session.text.partition("Traceback")[2])
        assert not session.children()


@pytest.mark.real
def test_thaumatin_stills_over_a_socket(real, tmp_path):
    folder = real / "thaumatin_stills"
    with h5py.File(folder / "thaumatin.h5", locking=False) as file:
        paths = []
        file.visititems(lambda name, item: paths.append(name) if getattr(item, "ndim", 0) == 3 else None)
        frames = file[paths[0]][:]
    messages = [
        msgpack.packb({"detector_data": frame, "serial": n}, default=msgpack_numpy.encode)
        for n, frame in enumerate(frames, start=1)
    ]
    with (
        MessageReplier(messages) as sending,
        Running(
            tmp_path, f"--zmq-input={sending.endpoint}", "--zmq-request=next", "--data-format=msgpack",
            "-g", folder / "thaumatin_zmq.geom", "-p", folder / "thaumatin.cell", *THAUMATIN, "-j", 2,
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(len(messages))
        status, _ = session.stop()
    assert status == 0, session.text
    check_thaumatin(session.stream)
