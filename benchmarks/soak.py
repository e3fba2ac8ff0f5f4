"""Memory of a session at twice the rate that it can keep up with: `python -m benchmarks.soak [SECONDS] [--keep]`.

First a sender that waits shows how many frames a second the workers take; then one that broadcasts, and one that
pushes, offer twice as many.  Each lasts so many seconds (600).  Memory is that of all processes of the session
together, each page counted once (Pss).
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import msgspec
import zmq

from benchmarks.frames import CELL_TEXT, encode, frames, geometry_text

KEPT = Path(__file__).parent / "results" / "soak.json"
SIZE, DTYPE = 1024, "uint16"
CALIBRATION_S = 20.0
PERIOD_S = 1.0
WORDS = ["--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=15", "-j2", "--no-non-hits-in-stream"]
KINDS = {"sample": (zmq.PUB, "--zmq-subscribe="), "wait": (zmq.PUSH, "--zmq-pull")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=600.0)
    parser.add_argument("--keep", action="store_true", help=f"keep the figures in {KEPT.name}")
    chosen = parser.parse_args()
    pool = [encode(frame, DTYPE) for frame in frames(SIZE, n=20, hit_fraction=0.5)]
    print("measuring the rate that can be kept up", flush=True)
    rate = _soak("wait", pool, seconds=CALIBRATION_S, rate=None)["processed_per_s"]
    found = {"frame_mib": len(pool[0]) / 2**20, "sustainable_per_s": rate, "runs": {}}
    for kind in KINDS:
        row = _soak(kind, pool, seconds=chosen.seconds, rate=2.0 * rate)
        found["runs"][kind] = row
        print(
            f"{kind:>8}: {row['seconds']:.0f} s, {row['offered_per_s']:.1f} frames/s offered, "
            f"{row['processed_per_s']:.1f} processed; {row['early_mib']:.0f} MiB early, "
            f"{row['late_mib']:.0f} late, {row['most_mib']:.0f} at most; {row['frames']}",
            flush=True,
        )
    if chosen.keep:
        KEPT.write_text(json.dumps(found, indent=1) + "\n")


def _soak(kind: str, pool: list[bytes], *, seconds: float, rate: float | None) -> dict:
    """Run a session under load; early and late memory are means over a tenth of the time, from a fifth on."""
    with TemporaryDirectory() as folder, _sender(kind, pool, rate, Path(folder)) as sender:
        place = Path(folder)
        (place / "b.geom").write_text(geometry_text(SIZE))
        (place / "b.cell").write_text(CELL_TEXT)
        words = [
            sys.executable,
            "-m",
            "braggstream",
            "indexamajig",
            f"--zmq-input={sender.endpoint}",
            KINDS[kind][1],
        ]
        words += ["-g", f"{place}/b.geom", "-p", f"{place}/b.cell", *WORDS, "-o", f"{place}/o.stream"]
        with subprocess.Popen([*words, f"--json-summary={place}/o.json"], stderr=subprocess.DEVNULL) as run:
            while not (place / "o.stream").exists() or b"Begin chunk" not in (place / "o.stream").read_bytes():
                sleep(0.2)
            started, n_before, samples = monotonic(), sender.n_sent, []
            while monotonic() - started < seconds:
                samples.append(_family_mib(run.pid))
                sleep(PERIOD_S)
            taken, n_offered = monotonic() - started, sender.n_sent - n_before
            run.send_signal(signal.SIGINT)
        summary = json.loads((place / "o.json").read_text())
    tenth = max(1, len(samples) // 10)
    return {
        "seconds": round(taken, 1),
        "offered_per_s": n_offered / taken,
        "processed_per_s": summary["processed"] / taken,
        "fraction_processed": summary["fraction_processed"],
        "hit_rate": summary["hits"] / max(1, summary["processed"]),
        "early_mib": mean(samples[2 * tenth : 3 * tenth] or samples),
        "late_mib": mean(samples[-tenth:]),
        "most_mib": max(samples),
        "frames": summary["frames"],
        "mib_each_minute": [round(mean(samples[at : at + 60]), 1) for at in range(0, len(samples), 60)],
    }


class _Sender(threading.Thread):
    """Sends numbered frames at a rate, or as fast as they are taken."""

    def __init__(self, kind: str, pool: list[bytes], rate: float | None, folder: Path) -> None:
        super().__init__(daemon=True)
        self._pool, self._rate = pool, rate
        self._context = zmq.Context()
        self._socket = self._context.socket(KINDS[kind][0])
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.SNDHWM, 4)
        self.endpoint = f"ipc://{folder}/frames"
        self._socket.bind(self.endpoint)
        self.is_ending = threading.Event()
        self.n_sent = 0

    def run(self) -> None:
        started = monotonic()
        n_due = 0
        while not self.is_ending.is_set():
            if self._rate is not None:
                n_due += 1
                sleep(max(0.0, started + n_due / self._rate - monotonic()))
            if self._socket.poll(100, zmq.POLLOUT):
                self._socket.send_multipart(self._frame(self.n_sent + 1))
                self.n_sent += 1
        self._socket.close()
        self._context.term()

    def _frame(self, number: int) -> list[bytes]:
        message = self._pool[number % len(self._pool)]
        head = msgspec.msgpack.encode({"serial": number})[1:]
        return [b"\x82" + head + message[1:]]


@contextmanager
def _sender(kind: str, pool: list[bytes], rate: float | None, folder: Path) -> Iterator[_Sender]:
    sender = _Sender(kind, pool, rate, folder)
    sender.start()
    yield sender
    sender.is_ending.set()
    sender.join()


def _family_mib(pid: int) -> float:
    """Memory of a process and all below it [MiB]."""
    total = 0.0
    for each in [pid, *_below(pid)]:
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        total += int(found[1]) / 1024 if found else 0.0
    return total


def _below(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_below(child)]
    return found


if __name__ == "__main__":
    main()
