"""A session in a child process, for tests that talk to it with sockets and signals."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from braggstream.run.stopping import ECHO_S

SCRIPT = Path(__file__).with_name("session_script.py")
CHUNK = re.compile(r"^frame (\S+) serial (\d+) worker (\d+) ", re.MULTILINE)


def eventually(condition, timeout_s=120.0):
    """Wait until a condition holds, and give its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("did not happen in time")


def is_running(pid):
    """Whether a process exists and is no zombie."""
    return state_of(pid) not in "ZX"


def state_of(pid):
    """The letter for what a process does: S where it waits for something, Z where it is a zombie, X without any."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def descendants(pid):
    """Every process that a process has started, directly or not; each may end while it is looked at."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in task.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


class SessionProcess:
    """One session; ends with the `with` block, whatever happens in it."""

    def __init__(self, folder, **options):
        self.chunks = folder / "chunks.txt"
        self.summary = folder / "summary.json"
        self.log = folder / "log.txt"
        options["output"] = {"json_summary": str(self.summary), **options.get("output", {})}
        options["run"] = {"status_interval_s": 0.5, **options.get("run", {})}
        with self.log.open("wb") as log:
            path = os.pathsep.join([str(SCRIPT.parents[1]), *filter(None, sys.path)])
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(self.chunks), json.dumps(options)],
                stderr=log,
                stdout=log,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def text(self):
        return self.log.read_text()

    def written(self):
        """Name and serial of every chunk so far."""
        text = self.chunks.read_text() if self.chunks.exists() else ""
        return [(name, int(serial)) for name, serial, _ in CHUNK.findall(text)]

    def chunks_with_workers(self):
        """Name, serial and worker's process of every chunk so far."""
        return CHUNK.findall(self.chunks.read_text())

    def names(self):
        return [name for name, _ in self.written()]

    def kill_a_worker(self):
        """Kill a worker that is ready, and wait until it is dead, so that it is not taken for a living one."""
        pid = eventually(self.ready_workers)[0]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_running(pid))

    def ready_workers(self):
        """Those that wait, for a frame or with one; where some in a row die before, the run is given up."""
        return [pid for pid in self.workers() if state_of(pid) == "S"]

    def workers(self):
        """Process ids of the workers, without those that have died and are not buried yet."""
        return [pid for pid, name in self._family() if name.startswith("braggstream-w")]

    def fork_server(self):
        """Process id of the one that workers are forked from; None before there is one."""
        return next((pid for pid, name in self._family() if name.startswith("braggstream-f")), None)

    def _family(self):
        for pid in filter(is_running, descendants(self.process.pid)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield pid, Path(f"/proc/{pid}/comm").read_text().strip()

    def wait_until_warm(self):
        eventually(lambda: "ready after" in self.text)

    def wait_until_settled(self, n_frames):
        """Wait until so many frames have been received, and none of them waits or is being processed."""
        row = re.compile(rf"^Frames: {n_frames} received(?!.* in flight).*$", re.MULTILINE)
        eventually(lambda: row.search(self.text))

    def send(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def stop_at_once(self, number=signal.SIGINT):
        """Ask twice; the second time not so soon that it counts as an echo.  Gives the exit status."""
        self.send(number)
        eventually(lambda: "Stopping" in self.text)
        time.sleep(2 * ECHO_S)
        self.send(number)
        return self.wait()

    def wait(self, timeout_s=180.0):
        return self.process.wait(timeout_s)

    def stop(self):
        """End in good order; gives the exit status and the summary."""
        self.send(signal.SIGINT)
        status = self.wait()
        return status, json.loads(self.summary.read_text())
