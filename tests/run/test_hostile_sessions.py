"""Hostile messages at full rate through a real session: good frames come out, nothing crashes, hangs or grows."""

import re
import threading
import time

import pytest
import zmq

from braggstream.run.memory_limits import GROWTH_BYTES
from cli.commands import Running
from fuzz.corpus import BAD, good
from fuzz.seeds import TARGETS
from session_fakes.session_process import eventually

pytestmark = pytest.mark.system

NUMBER = re.compile(r"^header/int//?number = (\d+)", re.MULTILINE)


class Mixed(threading.Thread):
    """Sends bad messages as fast as they are taken, each followed by a good one."""

    def __init__(self, name, bad):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.linger = 0
        self.socket.sndhwm = 10
        self.socket.bind("tcp://127.0.0.1:*")
        self.endpoint = self.socket.last_endpoint.decode()
        self.name_of_format, self.bad = name, bad
        self.is_done = threading.Event()

    def run(self):
        for number, message in enumerate(self.bad):
            self.socket.send(message)
            self.socket.send(good(self.name_of_format, number))
        self.is_done.wait(100)
        self.socket.close()
        self.context.term()


def anonymous_bytes(pid):
    with open(f"/proc/{pid}/status") as file:
        found = re.search(r"RssAnon:\s+(\d+) kB", file.read())
    return int(found[1]) << 10 if found else 0


@pytest.mark.parametrize("name", sorted(BAD))
def test_good_frames_come_out_whatever_comes_between(tmp_path, name):
    geometry = tmp_path / "x.geom"
    geometry.write_text(TARGETS[name].geometry)
    bad = BAD[name]()
    sender = Mixed(name, bad)
    header = "/number" if name == "hdf5" else "number"
    words = [
        f"--zmq-input={sender.endpoint}",
        "--zmq-pull",
        f"--data-format={name}",
        "-g",
        geometry,
        "--indexing=none",
        "--peaks=msgpack" if name == "msgpack" else "--peaks=zaef",
        f"--copy-header={header}",
        "-j2",
    ]
    with Running(tmp_path, *words) as session:
        sender.start()
        most, deadline = 0, time.monotonic() + 90
        while session.n_chunks() < len(bad) and time.monotonic() < deadline:
            most = max([most, *map(anonymous_bytes, [session.process.pid, *session.children()])])
            time.sleep(0.2)  # Looking takes a processor, too.
        eventually(lambda: set(map(int, NUMBER.findall(session.stream.read_text()))) == set(range(len(bad))))
        status, summary = session.stop()
        sender.is_done.set()
    frames = summary["frames"]
    assert status == 0 and "Traceback" not in session.text
    assert frames["received"] == 2 * len(bad)
    assert frames["written"] + frames["failed"] == frames["received"]
    assert frames["failed"] > 0.5 * len(bad) and "internal" not in summary["failed_by_reason"]
    assert summary["replaced_workers"] == 0, summary["failed_by_reason"]
    assert most < GROWTH_BYTES + (600 << 20)
    print(f"{name}: {len(bad)} bad messages, {summary['failed_by_reason']}, at most {most >> 20} MiB a process")
