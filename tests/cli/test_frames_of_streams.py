"""Every frame that came is a row: series that take turns or end in a burst, frames as parts, heartbeats."""

import json

import cbor2
import msgpack
import pytest
import zmq

from braggstream.formats.stream_read import read_stream
from cli.commands import Running
from cli.test_stream_formats import Sender, file_of
from formats.image_frames import TEXT
from formats.series_messages import end, image, image_1, made, start, start_1
from session_fakes.senders import Replier
from session_fakes.session_process import eventually

pytestmark = pytest.mark.system

FOLLOWS = TEXT.replace("9000 eV", "incident_energy eV").replace("clen = 0.1 m", "clen = detector_distance m")


class Broadcaster(Sender):
    """Sends everything in one burst, once somebody has subscribed."""

    def __init__(self, messages):
        super().__init__(messages)
        self.socket.close()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.sndhwm = 0
        self.socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self.socket.last_endpoint.decode()

    def serve(self):
        while not self.socket.poll(50) and not self.is_ending.is_set():
            pass
        self.socket.recv()
        for message in self.names:
            self.socket.send_multipart(message if isinstance(message, list) else [message])
        self.is_ending.wait()


def session(folder, sender, *words, geometry=FOLLOWS):
    path = folder / "x.geom"
    path.write_text(geometry)
    kind = "--zmq-subscribe=" if isinstance(sender, Broadcaster) else "--zmq-pull"
    words = [f"--zmq-input={sender.endpoint}", kind, "--indexing=none", *words]
    return Running(folder, *words, *(["-g", path] if geometry else []))


def settle(running, n_rows):
    """Wait until so many frames are in rows of the ledger; gives the frames of the summary, and all of it."""

    def n_settled():
        line = [line for line in running.text.splitlines() if line.startswith("Frames:")][-1:]
        return line and f"{n_rows} received" in line[0] and "in flight" not in line[0]

    eventually(n_settled)
    status, summary = running.stop()
    assert status == 0, running.text
    frames = summary["frames"]
    rows = sum(frames[row] for row in ("written", "skipped", "failed", "sampled_out", "in_flight"))
    assert frames["received"] == rows
    return frames, summary


def events(running):
    return sorted((chunk.identity.filename, chunk.identity.event) for chunk in read_stream(running.stream))


def test_what_follows_the_images_of_a_burst_costs_none(tmp_path):
    """The messages are all there before the first worker is: calibration, metadata, end, and the next series."""
    messages = [start(3, number_of_images=20)]
    messages += [image(made(), number) for number in range(20)]
    messages += [cbor2.dumps({"type": kind, "series_id": 3}) for kind in ("calibration", "metadata")]
    messages += [end(3), start(4, number_of_images=20), *(image(made(), n, series=4) for n in range(20)), end(4)]
    with Broadcaster(messages) as sender, session(tmp_path, sender) as running:
        frames, summary = settle(running, 40)
    assert (frames["written"], frames["sampled_out"], frames["lost"], frames["sent"]) == (40, 0, 0, 40)
    assert events(running) == sorted((f"series_{s}", f"//{n}") for s in (3, 4) for n in range(20))
    assert summary["no_frames"] == {"messages of type calibration": 1, "messages of type metadata": 1}


@pytest.mark.parametrize("kind", [Sender, Broadcaster])
def test_series_that_take_turns(tmp_path, kind):
    """Each image has the distance of its own series, and more series than are kept come one after the other."""
    messages = [start(series, detector_distance=0.1 * series, name=f"S{series}") for series in (1, 2)]
    for number in range(10):
        messages += [image(made(), number, series=1, name="S1"), image(made(), number, series=2)]
    for series in range(3, 15):
        messages += [start(series, detector_distance=0.1 * series), image(made(), 0, series=series), end(series)]
    with kind(messages) as sender, session(tmp_path, sender, "-j", 2) as running:
        frames, _ = settle(running, 32)
    assert (frames["written"], frames["lost"]) == (32, 0)
    for chunk in read_stream(running.stream):
        headers = dict(chunk.headers)
        assert float(headers["detector_distance"]) == pytest.approx(0.1 * float(headers["series_id"]))


def test_images_that_were_announced_and_never_came_are_lost(tmp_path):
    """The first two, one in the middle, and the last three of twenty; the next series has no such number."""
    numbers = [number for number in range(2, 17) if number != 9]
    messages = [start(5, number_of_images=20), *(image(made(), n, series=5) for n in numbers), end(5)]
    messages += [start(6), image(made(), 0, series=6), end(6)]
    with Sender(messages) as sender, session(tmp_path, sender) as running:
        frames, _ = settle(running, 15)
    assert (frames["written"], frames["lost"], frames["sent"]) == (15, 6, 21)


def test_starts_that_are_refused(tmp_path):
    """Images are told why, and that it did arrive; those of the next series are processed."""
    broken = cbor2.dumps({"type": "start", "series_id": 7, "pixel_mask": [1, 2]})
    messages = [broken, image(made(), 0, series=7), start(8), image(made(), 0, series=8)]
    with Sender(messages) as sender, session(tmp_path, sender) as running:
        frames, _ = settle(running, 3)
    assert (frames["written"], frames["failed"]) == (1, 2)
    assert "the start message of series 7 was refused: pixel_mask of the start message is no map" in running.text
    assert "did not arrive" not in running.text


def test_several_frames_in_one_message(tmp_path):
    """Each part that is a frame is one; tags in front, and short parts and texts behind, are none."""
    values = made("<i4")
    packed = msgpack.packb({"/data/data": {"type": "<i4", "shape": list(values.shape), "data": values.tobytes()}})
    tag, file = b"a tag that is longer than fifteen bytes", file_of(values)
    metadata = json.dumps({"flux": 3.5}).encode()
    messages = [
        [packed, packed, packed],
        [tag, file, packed],
        [packed, b"end"],
        [file, b""],
        [b"tag", packed, b"this text ends a message"],
        [metadata, packed, file],
        [packed, *image_1(values.astype("<u4"))],
        [tag, packed, packed[: len(packed) // 2]],
    ]
    with Sender(messages) as sender, session(tmp_path, sender, "--copy-header=flux", geometry=TEXT) as running:
        frames, summary = settle(running, 14)
    assert (frames["written"], frames["failed"]) == (13, 1)
    assert summary["no_frames"] == {"parts of messages beside a frame": 3}
    assert sum("flux" in dict(chunk.headers) for chunk in read_stream(running.stream)) == 2


def test_json_in_front_of_every_message(tmp_path):
    """A site's own tag: start, images and end are known behind it, and its members are headers."""

    def tagged(message, **told):
        return [json.dumps({"topic": "detector 1"} | told).encode(), message]

    messages = [tagged(start(3, number_of_images=4))]
    messages += [tagged(image(made(), number), train=900 + number) for number in range(3)] + [tagged(end(3))]
    with Broadcaster(messages) as sender, session(tmp_path, sender, "--copy-header=all") as running:
        frames, _ = settle(running, 3)
    assert (frames["written"], frames["lost"]) == (3, 1)
    headers = sorted(
        (read_headers(chunk) for chunk in read_stream(running.stream)), key=lambda told: told["image_id"]
    )
    assert [told["train"] for told in headers] == [900, 901, 902]
    assert {told["topic"] for told in headers} == {"detector 1"}


def test_replies_of_several_frames(tmp_path):
    """Each reply brings three frames, more than there are slots for one worker."""
    values = made("<i4")
    packed = msgpack.packb({"/data/data": {"type": "int32", "shape": list(values.shape), "data": values.tobytes()}})

    class Three(Replier):
        def reply(self, name):
            return [b"tag", packed, packed, packed]

    path = tmp_path / "x.geom"
    path.write_text(TEXT)
    with (
        Three(["a", "b", "c", "d"]) as sender,
        Running(
            tmp_path, f"--zmq-input={sender.endpoint}", "--zmq-request=next", "--indexing=none", "-g", path
        ) as run,
    ):
        frames, _ = settle(run, 12)
    assert frames["written"] == 12


HEARTBEATS = [
    b"",
    b"alive",
    b'{"htype": "heartbeat-1.0", "n": 1}',
    b'{"status": "idle and waiting"}',
    cbor2.dumps({"type": "heartbeat", "n": 17}),
    cbor2.dumps({"type": "metadata", "series_id": 3}),
    msgpack.packb({"heartbeat": 17, "time": 1.25, "state": "idle"}),
]


@pytest.mark.parametrize("kind", [Sender, Broadcaster])
def test_heartbeats_are_no_frames(tmp_path, kind):
    messages = [start(3), *HEARTBEATS, image(made(), 0), *HEARTBEATS, image(made(), 1), *HEARTBEATS, end(3)]
    with kind(messages) as sender, session(tmp_path, sender) as running:
        frames, summary = settle(running, 2)
    assert (frames["written"], frames["failed"]) == (2, 0)
    assert sum(summary["no_frames"].values()) == 3 * len(HEARTBEATS)
    assert running.text.count("of type heartbeat are no frames") == 1
    assert "Left out, being no frames: " in running.text


def test_series_without_a_geometry(tmp_path):
    """Version 1 with appendices; a series of another size fails, and says why; gaps of 65535 are no counts."""
    values = made("<u2")
    values[20] = 65535
    messages = [start_1(3, appendix=b'{"sample": "lyso"}', phi_start=float("nan")), image_1(values, 0)]
    messages += [start_1(4, x_pixels_in_detector=30), image_1(values[:, :30].copy(), 0, series=4)]
    with (
        Sender(messages) as sender,
        session(
            tmp_path, sender, "--data-format=dectris1", "--copy-header=sample", "--copy-header=nobody",
            "--peaks=peakfinder8", "--threshold=1000", "--min-pix-count=1", geometry="",
        ) as running,
    ):  # fmt: skip
        frames, _ = settle(running, 2)
    assert (frames["written"], frames["failed"]) == (1, 1)
    (chunk,) = read_stream(running.stream)
    assert len(chunk.peaks) == 0
    assert {"sample": "lyso", "series": 3, "frame": 0, "start_time": 7}.items() <= read_headers(chunk).items()
    assert "begin a new session" in running.text
    assert running.text.count("--copy-header=nobody: none of 1 frames has this header") == 1


def read_headers(chunk):
    return {name: value if isinstance(value, str) else float(value) for name, value in dict(chunk.headers).items()}
