"""Hostile messages at full rate through a real session: good frames come out, nothing crashes, hangs or grows."""

import re
import threading
import time
from itertools import cycle

import pytest
import zmq

from braggstream.formats.dectris import kind_of
from braggstream.formats.frame_parts import no_frame
from braggstream.run.memory_limits import GROWTH_BYTES
from cli.commands import Running
from fuzz.corpus import BAD, good
from fuzz.seeds import TARGETS
from session_fakes.session_process import eventually

pytestmark = pytest.mark.system

LAST = good("dectris2").replace(b"\x6401HB", b"\x6cthe-last-one")
SERIAL = re.compile(r"^Image serial number: (\d+)", re.MULTILINE)


class Mixed(threading.Thread):
    """Sends bad messages as fast as they are taken, each followed by a good one."""

    def __init__(self, good, bad):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.linger = 0
        self.socket.sndhwm = 10
        self.socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self.socket.last_endpoint.decode()
        self.good, self.bad = good, bad
        self.last = LAST if len(good) > 1 else good[0]
        self.is_done = threading.Event()

    def run(self):
        for message, good_one in zip(self.bad, cycle(self.good), strict=False):
            self.socket.send(message)
            self.socket.send(good_one)
        self.socket.send(self.last)
        self.is_done.wait(300)
        self.socket.close()
        self.context.term()


def anonymous_bytes(pid):
    with open(f"/proc/{pid}/status") as file:
        found = re.search(r"RssAnon:\s+(\d+) kB", file.read())
    return int(found[1]) << 10 if found else 0


SESSIONS = {
    "msgpack": ("msgpack",),
    "hdf5": ("hdf5",),
    "auto": ("npy", "tiff", "cbf", "seedee", "dectris1", "dectris2", "jungfraujoch"),
}
"""Formats that can share a geometry go through one session, which tells them by their bytes."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", SESSIONS)
def test_good_frames_come_out_whatever_comes_between(tmp_path, name):
    formats = SESSIONS[name]
    geometry = tmp_path / "x.geom"
    geometry.write_text(TARGETS[formats[0]].geometry)
    messages = [message for each in formats for message in BAD[each]()]
    series = [message for message in messages if name == "auto" and kind_of(message) in ("start", "end")]
    notes = [message for message in messages if message not in series and no_frame(message)]
    bad = [message for message in messages if message not in series and message not in notes]
    sender = Mixed([good(each) for each in formats], bad + series + notes)
    words = [f"--zmq-input={sender.endpoint}", "--zmq-pull", f"--data-format={name}", "-g", geometry]
    words += ["--indexing=none", "-j2", "--peaks=msgpack" if name == "msgpack" else "--peaks=zaef"]
    with Running(tmp_path, *words) as session:
        sender.start()
        most, deadline = 0, time.monotonic() + 200

        def is_through():
            if name == "auto":
                return session.stream.exists() and b"the-last-one" in session.stream.read_bytes()
            return f"Frames: {2 * len(bad) + len(notes) + 1} received" in session.text

        while not is_through() and time.monotonic() < deadline:
            most = max([most, *map(anonymous_bytes, [session.process.pid, *session.children()])])
            time.sleep(0.2)  # Looking takes a processor, too.
        expected = set(range(2, 2 * len(bad) + 1, 2))  # The good ones: every second message that came.
        eventually(lambda: expected <= set(map(int, SERIAL.findall(session.stream.read_text(errors="replace")))))
        status, summary = session.stop()
        sender.is_done.set()
    frames = summary["frames"]
    assert status == 0 and "Traceback" not in session.text
    n_told = session.text.count("Series ")  # What begins or ends a series is no frame.
    n_left_out = sum(summary["no_frames"].values())
    assert frames["received"] == 2 * len(messages) + 1 - n_told - n_left_out
    assert len(notes) <= n_left_out <= len(notes) + len(series) - n_told
    assert frames["written"] + frames["failed"] == frames["received"]
    assert frames["failed"] > 0.5 * len(bad) and "internal" not in summary["failed_by_reason"]
    assert summary["replaced_workers"] == 0, summary["failed_by_reason"]
    assert most < GROWTH_BYTES + (600 << 20)
    print(f"{name}: {len(bad)} bad messages, {summary['failed_by_reason']}, at most {most >> 20} MiB a process")
