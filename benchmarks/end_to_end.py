"""The whole: a sender process, a real socket, `indexamajig` with its workers, a stream file."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from benchmarks.frames import CELL_TEXT, geometry_text

N_FRAMES = 400
LONGEST_S = 300.0


def measure(size: int = 1024, *, n_frames: int = N_FRAMES, n_workers: int = 2) -> dict[str, float]:
    """Frames a second over ZeroMQ: int32 MessagePack, 60 % hits, known cell, two workers beside the sender."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "b.geom").write_text(geometry_text(size))
        (place / "b.cell").write_text(CELL_TEXT)
        endpoint = f"ipc://{place}/frames"
        simulate = [sys.executable, "-m", "braggstream", "simulate", "--serve", endpoint]
        simulate += ["-g", f"{place}/b.geom", "-p", f"{place}/b.cell", "-n", str(n_frames), "--pool", "40"]
        simulate += ["--hit-fraction", "0.6", "--seed", "1", "--truth", f"{place}/truth.h5", "--rate", "0"]
        index = [sys.executable, "-m", "braggstream", "indexamajig", f"--zmq-input={endpoint}"]
        index += ["--zmq-request=next", "--data-format=msgpack", "-g", f"{place}/b.geom", "-p", f"{place}/b.cell"]
        index += ["--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=15", "-j", str(n_workers)]
        index += ["-o", f"{place}/o.stream", f"--json-summary={place}/o.json"]
        with subprocess.Popen(simulate, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sender:
            assert sender.stdout is not None
            while "ready" not in sender.stdout.readline():
                if sender.poll() is not None:
                    raise RuntimeError("the sender ended early")
            with subprocess.Popen(index, stderr=subprocess.DEVNULL) as run:
                said = sender.stdout.read()
                _wait_for_chunks(place / "o.stream", n_frames)
                run.send_signal(signal.SIGINT)
        rate = re.search(r"([0-9.]+) frames/s", said)
        summary = json.loads((place / "o.json").read_text())
        return {
            "frames_per_s": float(rate[1]) if rate else float("nan"),
            "hits": summary["hits"],
            "crystals": summary["crystals"],
        }


def _wait_for_chunks(stream: Path, n_wanted: int) -> None:
    deadline = monotonic() + LONGEST_S
    while monotonic() < deadline:
        if stream.exists() and stream.read_bytes().count(b"----- End chunk -----") >= n_wanted:
            return
        sleep(0.2)
    raise RuntimeError("not all frames were written")
