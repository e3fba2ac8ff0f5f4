"""Messages of 2 MB through the stand-in for ASAP::O, with the official clients."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import asapo_consumer
import asapo_producer
import numpy as np

BEAMTIME, SOURCE = "11001234", "detector"
N_BYTES, N_READ, N_BOTH = 2_000_000, 150, 400
CACHE_MIB = 1200
MODE = 9
"""Data stay in memory only."""


def cpu_seconds(process: "subprocess.Popen[str]") -> float:
    """Processor time that a process has used [s]."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """A service in a process of its own, a producer and a consumer."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        ready, where, _ = (process.stdout.readline() for _ in range(3))
        token = Path(where.split()[-1]).read_text().strip()
        endpoint = ready.split()[-1]
        self._process = process
        self._data = np.random.default_rng(0).integers(0, 255, N_BYTES, dtype=np.uint8)
        self._producer = asapo_producer.create_producer(
            endpoint, "processed", BEAMTIME, "auto", SOURCE, token, 2, 30_000
        )
        self._producer.set_log_level("none")
        self._consumer = asapo_consumer.create_consumer(endpoint, "auto", False, BEAMTIME, SOURCE, token, 1000)

    def send(self, stream: str, n_messages: int) -> None:
        """Send messages and wait until all are taken."""
        for number in range(1, n_messages + 1):
            self._producer.send(number, f"processed/{stream}/{number}", self._data, ingest_mode=MODE, stream=stream)
            while self._producer.get_requests_queue_size() > 8:
                time.sleep(0.001)
        self._producer.wait_requests_finished(60_000)

    def read(self, group: str, stream: str, n_messages: int) -> int:
        """Read and acknowledge messages; gives how many had fallen out of memory."""
        n_done = n_lost = 0
        while n_done < n_messages:
            try:
                _, message = self._consumer.get_next(group, meta_only=False, stream=stream, ordered=False)
                self._consumer.acknowledge(group, message["_id"], stream=stream)
                n_done += 1
            except asapo_consumer.AsapoEndOfStreamError:
                continue
            except asapo_consumer.AsapoDataNotInCacheError:
                n_done, n_lost = n_done + 1, n_lost + 1
        return n_lost

    def measure(self, what: str, n_messages: int, work: Callable[[], int | None]) -> None:
        """Time some work and print messages a second and the service's processor time."""
        start, before = time.monotonic(), cpu_seconds(self._process)
        outcome = work()
        elapsed, used = time.monotonic() - start, cpu_seconds(self._process) - before
        lost = f", {outcome} had fallen out of memory" if outcome else ""
        print(f"{what}: {n_messages / elapsed:.0f}/s, service {1e3 * used / n_messages:.2f} ms CPU each{lost}")


def main() -> None:
    """Run all measurements."""
    warnings.simplefilter("ignore", DeprecationWarning)
    words = ["simulate", "--asapo", "--no-frames", "--port", "0", "--cache", str(CACHE_MIB)]
    command = [sys.executable, "-m", "braggstream", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            bench = Bench(process)
            bench.send("first", 2)  # Connections are made only now.
            bench.measure("send", N_READ, lambda: bench.send("a", N_READ))
            for number in range(3):
                read = partial(bench.read, f"g{number}", "a", N_READ)
                bench.measure("read, acknowledge", N_READ, read)
            sending = threading.Thread(target=bench.send, args=("b", N_BOTH))
            sending.start()
            bench.measure("read while others are sent", N_BOTH, lambda: bench.read("g", "b", N_BOTH))
            sending.join()
        finally:
            process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
