"""The sender with real sockets of all three kinds."""

import io
import itertools
import threading
import time
from types import SimpleNamespace

import h5py
import msgpack
import msgpack_numpy
import numpy as np
import pytest
import zmq

from braggstream.model.errors import UserError
from braggstream.simulate import beamline as beamline_module
from braggstream.simulate.beamline import Beamline, Schedule
from braggstream.simulate.frames import Simulator
from braggstream.simulate.payloads import MAKERS
from braggstream.simulate.pool import make_pool, pool_size, streamed_truth
from braggstream.simulate.settings import (
    BeamlineSettings,
    BeamSettings,
    CrystalSettings,
    SampleSettings,
    SimulationSettings,
)
from session_fakes.session_process import eventually
from simulate.simulated_detectors import FILE_AXES, SQUARE, STREAMED_BEAM, TWO_TILTED, cell, geometry

HDF5_BEAM = STREAMED_BEAM.replace("data = detector_data", "data = /image").replace("peak_list = peak_list\n", "")
SETTINGS = SimulationSettings(
    crystal=CrystalSettings(d_min=3.0),
    sample=SampleSettings(hit_fraction=1.0),
    beam=BeamSettings(photon_energy=12000.0, camera_length=0.08),
)


@pytest.fixture(scope="module")
def simulator():
    return Simulator(geometry(STREAMED_BEAM + SQUARE), cell(), SETTINGS)


@pytest.fixture(scope="module")
def payloads(simulator):
    return make_pool(simulator, "msgpack", 3)[0]


class Sending:
    """A beamline that sends in a thread of its own, and a socket that is connected to it."""

    def __init__(self, payloads, kind, say=lambda _line: None, **settings):
        self.stop, self.say = threading.Event(), say
        self.beamline = Beamline(BeamlineSettings(socket=kind, **settings))
        self.context = zmq.Context()
        self.socket = self.context.socket({"rep": zmq.REQ, "pub": zmq.SUB, "push": zmq.PULL}[kind])
        self.socket.setsockopt(zmq.RCVTIMEO, 60_000)
        self.socket.connect(self.beamline.endpoint)
        self.thread = threading.Thread(target=self._run, args=(payloads,))
        self.sent = None

    def _run(self, payloads):
        self.sent = self.beamline.send(payloads, self.stop.is_set, say=self.say)
        self.beamline.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close(linger=0)
        self.thread.join(60)
        self.context.term()
        assert not self.thread.is_alive()


def decode(message):
    return msgpack.unpackb(message, object_hook=msgpack_numpy.decode)


def test_requests_are_answered_each_with_the_next_frame(simulator, payloads, monkeypatch):
    monkeypatch.setattr(beamline_module, "END_PATIENCE_S", 1000.0)
    with Sending(payloads, "rep", rate=0, n_frames=7) as sending:
        for number in range(7):
            sending.socket.send(b"next")
            frame = decode(sending.socket.recv())
            assert (frame["filename"], frame["event"], frame["serial"]) == ("simulated", number, number + 1)
            expected = simulator.frame(number % 3).values.reshape(280, 300)
            assert np.array_equal(frame["detector_data"], expected)
            assert frame["beam_energy"] == pytest.approx(12000.0)
            assert frame["detector_distance"] == pytest.approx(80.0)
        sending.socket.send(b"next")
        sending.thread.join(60)
        assert not sending.thread.is_alive(), "one more request tells the sender that the last reply arrived"
    assert sending.sent.is_complete and sending.sent.n_frames == 7


def test_broadcasts_begin_with_the_first_subscriber_and_carry_the_tag(payloads):
    with Sending(payloads, "pub", rate=50, n_frames=5, tag="omframedata") as sending:
        sending.socket.setsockopt(zmq.SUBSCRIBE, b"omframe")
        for number in range(5):
            tag, message = sending.socket.recv_multipart()
            assert tag == b"omframedata" and decode(message)["event"] == number
    assert sending.sent.is_complete


def test_every_frame_is_handed_out_even_to_a_slow_receiver(payloads):
    with Sending(payloads, "push", rate=0, n_frames=120) as sending:
        events = []
        for _ in range(120):
            events.append(decode(sending.socket.recv())["event"])
            time.sleep(0.001)
    assert events == list(range(120))
    assert sending.sent.is_complete


def test_the_rate_is_kept(payloads):
    with Sending(payloads, "push", rate=100, n_frames=51) as sending:
        for _ in range(51):
            sending.socket.recv()
    # The first frame may be late, where the thread has to wait for a processor; the others make up for it.
    assert sending.sent.seconds > 0.5 - beamline_module.LATE_LIMIT_S


class Clock:
    """A time that passes while one sleeps, and when a test moves it."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_short_delays_are_caught_up_and_long_ones_are_not(monkeypatch):
    clock, times = Clock(), []
    monkeypatch.setattr(beamline_module, "time", clock)
    schedule = Schedule(100.0)
    for number in range(81):
        schedule.wait(lambda: False)
        times.append(clock.now)
        clock.now += {20: 0.035, 60: beamline_module.LATE_LIMIT_S + 0.5}.get(number, 0.001)
    assert times[50] - times[0] == pytest.approx(0.5)
    assert min(np.diff(times[61:])) == pytest.approx(0.01)


def test_a_slow_receiver_is_not_flooded_after_a_pause(payloads):
    with Sending(payloads, "rep", rate=100, n_frames=20) as sending:
        times = []
        for number in range(20):
            sending.socket.send(b"next")
            sending.socket.recv()
            times.append(time.monotonic())
            if number == 5:
                time.sleep(0.5)
        sending.socket.send(b"next")
    assert times[-1] - times[8] > 0.08, "frames are 10 ms apart again"


def test_nobody_takes_a_frame(payloads):
    for kind in ("rep", "push"):
        beamline = Beamline(BeamlineSettings(socket=kind, n_frames=3, patience_s=0.3, rate=0))
        sent = beamline.send(payloads)
        beamline.close(wait=False)
        assert not sent.is_complete and sent.n_frames == 0


@pytest.mark.parametrize("kind", ["rep", "push", "pub"])
def test_a_receiver_that_compiles_for_long_gets_its_frames(payloads, kind, monkeypatch):
    """Nobody has to come within a minute: an hour passes here with each look at the clock."""
    hours, lines = itertools.count(), []
    clock = SimpleNamespace(monotonic=lambda: 3600.0 * next(hours), sleep=time.sleep)
    monkeypatch.setattr(beamline_module, "time", clock)
    with Sending(payloads, kind, rate=0, n_frames=3, say=lines.append) as sending:
        if kind == "rep":
            eventually(lambda: len(lines) > 2)
        if kind == "pub":
            sending.socket.subscribe(b"")
        for _ in range(3):
            if kind == "rep":
                sending.socket.send(b"next")
            assert sending.socket.recv_multipart()
    assert sending.sent.n_frames == 3
    assert kind != "rep" or lines[0].startswith("nobody has taken a frame for")


def test_told_to_stop(payloads):
    with Sending(payloads, "rep", rate=0, n_frames=0) as sending:
        for _ in range(4):
            sending.socket.send(b"next")
            sending.socket.recv()
        sending.stop.set()
    assert sending.sent.n_frames == 4 and not sending.sent.is_complete


def test_an_address_that_cannot_be_bound_is_told():
    first = Beamline(BeamlineSettings())
    try:
        for address in (first.endpoint, "tcp://nowhere", "nonsense", "tcp://256.1.1.1:1"):
            with pytest.raises(UserError, match="--serve="):
                Beamline(BeamlineSettings(endpoint=address))
    finally:
        first.close()


def test_peaks_are_those_of_the_frame(simulator, payloads):
    frame = decode(payloads[1].message(1))
    peaks, strong = frame["peak_list"], simulator.frame(1).strong
    assert (
        peaks["num_peaks"] == len(peaks["fs"]) == len(peaks["ss"]) == len(peaks["intensity"]) == len(strong.fs) > 10
    )
    image = frame["detector_data"]
    brightest = 0
    for fs, ss in zip(peaks["fs"], peaks["ss"], strict=True):
        x, y = round(fs), round(ss)
        around = image[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        brightest += image[y, x] >= 0.5 * around.max()
    assert brightest > 0.8 * len(strong.fs), "positions count from the centre of the first pixel"


def test_a_whole_hdf5_file_is_a_message():
    made = Simulator(geometry(HDF5_BEAM + SQUARE), cell(), SETTINGS)
    payload = MAKERS["hdf5"](made).encode(made.frame(2))
    with h5py.File(io.BytesIO(payload.message(5))) as file:
        assert np.array_equal(file["/image"][()].ravel(), made.frame(2).values)
        assert file["beam_energy"][()] == pytest.approx(12000.0)


def test_more_than_fifteen_entries_fit_in_a_message():
    rows = [f"p{n}/data = image{n}\n" + SQUARE.replace("p/", f"p{n}/") for n in range(20)]
    made = Simulator(
        geometry(STREAMED_BEAM.replace("data = detector_data\n", "") + "".join(rows)), cell(), SETTINGS
    )
    frame = decode(MAKERS["msgpack"](made).encode(made.frame(0)).message(0))
    assert len(frame) == 3 + 2 + 20 and frame["image19"].shape == (280, 300)


@pytest.mark.parametrize("data_format", ["msgpack", "hdf5"])
@pytest.mark.parametrize("axes", [FILE_AXES, "data = /%/image\n"])
def test_a_geometry_of_files_does_not_suit_messages(data_format, axes):
    text = STREAMED_BEAM.replace("data = detector_data\n", axes) + TWO_TILTED
    made = Simulator(geometry(text), cell(), SETTINGS)
    with pytest.raises(UserError, match="'%'"):
        make_pool(made, data_format, 1)


def test_the_pool_is_bounded_by_memory(simulator):
    assert pool_size(simulator, 10, None) == 10
    assert pool_size(simulator, 0, None) == pool_size(simulator, 10**8, None) == (1 << 29) // (4 * 84_000)
    assert pool_size(simulator, 10, 4) == 4


def test_streamed_truth_follows_the_pool(simulator):
    truths = make_pool(simulator, "msgpack", 2)[1]
    truth = streamed_truth(simulator, 5, truths)
    assert truth.owns("simulated") and truth.number("//4") == 4
    assert truth.frame(4) is truths[0] and truth.frame(3) is truths[1]
