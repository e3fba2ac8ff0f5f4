"""`partialator` at scale: clock, processor time and memory for 10^3 to 10^5 crystals of 300 reflections.

    python -m benchmarks.merging_partialator [--largest N] [--model MODEL] [--stream FILE --crystals N]

Each merge is a process of its own, as a user starts it.  On a busy machine judge by the time on the processors.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

SIZES = (1_000, 10_000, 100_000)
N_REFLECTIONS = 300
ASKED_S, ASKED_MB = 600.0, 8000.0
"""For the largest size, unity, three cycles, two cores."""
N_CYCLES = 3
N_THREADS = 2
WORDS = ["-y", "4/mmm", f"--iterations={N_CYCLES}", "-j", str(N_THREADS), "--no-logs", "--force-radius=0.005"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merging_partialator", description=__doc__)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="leave out larger sets")
    parser.add_argument("--model", default="unity")
    parser.add_argument("--stream", help="measure on this stream and on no other")
    parser.add_argument("--crystals", type=int, default=0, help="crystals in --stream")
    chosen = parser.parse_args()
    print(f"{'crystals':>10} {'clock s':>9} {'processor s':>12} {'µs/obs':>8} {'MB':>8}")
    with tempfile.TemporaryDirectory(prefix="partialator.") as folder:
        if chosen.stream:
            _show(chosen.crystals, _measure(chosen.stream, folder, chosen.model))
            return
        for size in SIZES:
            if size <= chosen.largest:
                _show(size, _measure(_made(folder, size), folder, chosen.model))
    print(f"asked of {SIZES[-1]} with unity: {ASKED_S:g} s, {ASKED_MB:g} MB")


def _made(folder: str, n_crystals: int) -> str:
    from benchmarks.merging import write_stream

    path = str(Path(folder, "made.stream"))
    write_stream(path, n_crystals)
    return path


def _measure(stream: str, folder: str, model: str) -> tuple[float, float, float]:
    """Give clock [s], processor time [s] and largest memory [MB] of a merge."""
    output = str(Path(folder, "merged.hkl"))
    words = ["partialator", stream, "-o", output, *WORDS, f"--model={model}"]
    started = time.monotonic()
    with Path(folder, "log").open("wb") as log:
        actions = [(os.POSIX_SPAWN_DUP2, log.fileno(), 2)]
        line = [sys.executable, "-m", "braggstream", *words]
        pid = os.posix_spawn(sys.executable, line, os.environ, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(Path(folder, "log").read_text()[-2000:])
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def _show(n_crystals: int, measured: tuple[float, float, float]) -> None:
    clock, processor, memory = measured
    per = 1e6 * processor / max(n_crystals * N_REFLECTIONS, 1)
    print(f"{n_crystals:>10} {clock:9.1f} {processor:12.1f} {per:8.2f} {memory:8.0f}", flush=True)


if __name__ == "__main__":
    main()
