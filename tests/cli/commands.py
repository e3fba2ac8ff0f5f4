"""Our commands as a user runs them: real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

from session_fakes.session_process import descendants, eventually

BRAGGSTREAM = [sys.executable, "-m", "braggstream"]
INDEXAMAJIG = [*BRAGGSTREAM, "indexamajig"]
PF8 = ["--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=15"]


def run(*words, timeout=200, **more):
    """Run a command to its end."""
    return subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **{"stdin": subprocess.DEVNULL, **more},
    )


def indexamajig(*words, **more):
    """Run `indexamajig` to its end."""
    return run(*INDEXAMAJIG, *words, **more)


def counts(text):
    """Numbers of the last `Frames:` line: received, written, skipped, failed."""
    line = re.findall(r"^Frames: (\d+) received, (\d+) written, (\d+) skipped, (\d+) failed", text, re.MULTILINE)[
        -1
    ]
    return tuple(int(number) for number in line)


class Running:
    """`indexamajig` in the background; ends with the `with` block, whatever happens in it."""

    def __init__(self, folder, *words):
        self.stream = folder / "out.stream"
        self.summary_file = folder / "out.json"
        self.log = folder / "out.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*INDEXAMAJIG, *map(str, words), "-o", str(self.stream), f"--json-summary={self.summary_file}"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def text(self):
        return self.log.read_text()

    def n_chunks(self):
        return self.stream.read_bytes().count(b"----- End chunk -----") if self.stream.exists() else 0

    def wait_for_chunks(self, n_wanted, timeout_s=120):
        eventually(lambda: self.n_chunks() >= n_wanted or self.process.poll() is not None, timeout_s)
        assert self.n_chunks() >= n_wanted, self.text

    def children(self):
        return descendants(self.process.pid)

    def stop(self):
        """End in good order; gives the exit status and the summary."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(180)
        return status, json.loads(self.summary_file.read_text())


class Beamline:
    """`braggstream simulate --serve` in the background."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [*BRAGGSTREAM, "simulate", "--serve", "tcp://127.0.0.1:*", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self.endpoint = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r"ready at (\S+)", line)
            if found:
                self.endpoint = found[1]

    def __enter__(self):
        self._reader.start()
        eventually(lambda: self.endpoint or self.process.poll() is not None)
        assert self.endpoint, self.lines
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)
        self._reader.join(60)
        self.process.stdout.close()
