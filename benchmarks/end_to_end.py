"""The whole: a sender process, a real socket, `indexamajig` with its workers, a stream file."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, sleep

from benchmarks.frames import CELL_TEXT, geometry_text
from benchmarks.memory import MemoryWatch

LONGEST_S = 300.0
PEAK_WORDS = ["--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=15"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is sent, and what is done with it."""

    name: str
    size: int = 1024
    dtype: str = "int32"
    n_hits: int = 24
    """Different hits; with `n_blanks` they are the mix."""
    n_blanks: int = 16
    n_frames: int = 400
    n_workers: int = 2
    words: tuple[str, ...] = ()
    """Further words for `indexamajig`."""
    asked: float | None = None
    """Frames a second that are asked for on two cores."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came out of one run."""

    frames_per_s: float
    """At the sender, from the first frame to the last."""
    hits: int
    crystals: int
    worker_mib: float
    """Largest resident memory of a worker, shared pages included [MiB]."""
    worker_share_mib: float
    """Largest memory of a worker with its share of what it has in common with other processes [MiB]."""


PEAKS_ONLY = ("--indexing=none",)
SCENARIOS = (
    Scenario(name="1M int32, 60 % hits", asked=120.0),
    Scenario(name="1M int32, 60 % hits, one worker", n_workers=1),
    Scenario(name="1M int32, peaks only", words=PEAKS_ONLY, n_frames=800, asked=240.0),
    Scenario(name="1M uint16, 60 % hits", dtype="uint16"),
    Scenario(name="1M float32, 60 % hits", dtype="float32"),
    Scenario(name="4M int32, blank", size=2048, n_hits=0, n_blanks=8, n_frames=200, asked=60.0),
    Scenario(name="4M uint16, 60 % hits", size=2048, dtype="uint16", n_hits=6, n_blanks=4, n_frames=150),
    Scenario(name="4M int32, 60 % hits", size=2048, n_hits=6, n_blanks=4, n_frames=150),
    Scenario(name="4M float32, 60 % hits", size=2048, dtype="float32", n_hits=6, n_blanks=4, n_frames=150),
    Scenario(name="16M uint16, 60 % hits", size=4096, dtype="uint16", n_hits=3, n_blanks=2, n_frames=60),
    Scenario(name="16M int32, 60 % hits", size=4096, n_hits=3, n_blanks=2, n_frames=60),
    Scenario(name="16M float32, 60 % hits", size=4096, dtype="float32", n_hits=3, n_blanks=2, n_frames=60),
)


def measure(scenario: Scenario) -> Run:
    """Run a scenario once."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "b.geom").write_text(geometry_text(scenario.size))
        (place / "b.cell").write_text(CELL_TEXT)
        with subprocess.Popen(_sender(scenario, place), stdout=subprocess.PIPE, text=True) as sender:
            assert sender.stdout is not None
            while sender.stdout.readline().strip() != "ready":
                if sender.poll() is not None:
                    raise RuntimeError("the sender ended early")
            with subprocess.Popen(_indexamajig(scenario, place), stderr=subprocess.DEVNULL) as run:
                watch = MemoryWatch(run.pid)
                stopped = Event()
                watching = Thread(target=watch.until, args=(stopped,))
                watching.start()
                rate = _last_line(sender)
                _wait_for_chunks(place / "o.stream", scenario.n_frames)
                stopped.set()
                watching.join()
                run.send_signal(signal.SIGINT)
        summary = json.loads((place / "o.json").read_text())
    return Run(
        frames_per_s=float(rate),
        hits=summary["hits"],
        crystals=summary["crystals"],
        worker_mib=watch.resident_mib,
        worker_share_mib=watch.share_mib,
    )


def as_row(scenario: Scenario, runs: list[Run]) -> dict:
    """A scenario with its runs, for the kept figures."""
    return {"name": scenario.name, "asked": scenario.asked, "runs": [asdict(run) for run in runs]}


def _sender(scenario: Scenario, place: Path) -> list[str]:
    words = [sys.executable, "-m", "benchmarks.sender", f"ipc://{place}/frames", str(scenario.size)]
    counts = (scenario.n_hits, scenario.n_blanks, scenario.n_frames)
    return [*words, scenario.dtype, *(str(count) for count in counts)]


def _indexamajig(scenario: Scenario, place: Path) -> list[str]:
    words = [sys.executable, "-m", "braggstream", "indexamajig", f"--zmq-input=ipc://{place}/frames"]
    words += ["--zmq-request=next", "--data-format=msgpack", "-g", f"{place}/b.geom", "-p", f"{place}/b.cell"]
    words += [*PEAK_WORDS, "-j", str(scenario.n_workers), *scenario.words]
    return [*words, "-o", f"{place}/o.stream", f"--json-summary={place}/o.json"]


def _last_line(sender: "subprocess.Popen[str]") -> str:
    assert sender.stdout is not None
    said = sender.stdout.read().split()
    if sender.wait() or not said:
        raise RuntimeError("the sender could not send all frames")
    return said[-1]


def _wait_for_chunks(stream: Path, n_wanted: int) -> None:
    deadline = monotonic() + LONGEST_S
    while monotonic() < deadline:
        if stream.exists() and stream.read_bytes().count(b"----- End chunk -----") >= n_wanted:
            return
        sleep(0.2)
    raise RuntimeError("not all frames were written")
