"""Peak search and known-cell indexing on a CUDA device: frames a second of several processes that share it."""

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numba import cuda

from benchmarks.frames import CELL, geometry_text, messages
from braggstream.formats.geom import parse_geometry
from braggstream.kernels.cuda.device import IS_SIMULATED, use_device, why_unavailable
from braggstream.kernels.warm import warm_up
from braggstream.model.frame import Frame, Message
from braggstream.model.settings import FrameSettings, IndexingSettings, PeakSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.peaks import make_peak_finder
from braggstream.steps.view import PeakView

SIZE, DTYPE = 2048, "uint16"
ASKED = 1000.0
"""Frames a second of a device of the H200 class."""
SECONDS = 3.0
PLACES = {
    "both on the device": ("cuda", "cuda"),
    "peaks on the device": ("cuda", "cpu"),
    "processor": ("cpu", "cpu"),
}
"""Where peaks and lattices are looked for."""
N_WORKERS = {"both on the device": (1, 4, 16), "peaks on the device": (16,), "processor": (1, 16)}
SERVICE = "CUDA_MPS_PIPE_DIRECTORY"
"""Where this is set in the environment, processes share the device through NVIDIA's Multi-Process Service."""
PEAKS = PeakSettings(method="peakfinder8", threshold=10, min_snr=5, min_peaks=15)
INDEXING = IndexingSettings(target_cell=CELL)


def why_not() -> str | None:
    """Why nothing can be measured here."""
    return "the simulator's times mean nothing" if IS_SIMULATED else why_unavailable()


def name() -> str:
    """What the device calls itself."""
    found = cuda.get_current_device().name
    return found.decode() if isinstance(found, bytes) else str(found)


@dataclass(frozen=True)
class Measured:
    """Rate of some processes."""

    place: str
    workers: int
    has_service: bool
    frames_per_s: float


def measure() -> Iterator[Measured]:
    """Measure with more and more processes, and the processor alone beside them."""
    payloads = messages(SIZE, DTYPE)
    for place, numbers in N_WORKERS.items():
        for n in numbers:
            if n <= multiprocessing.cpu_count():
                yield Measured(place, n, SERVICE in os.environ, _rate(n, place, payloads))


def deviations() -> dict[str, float]:
    """Largest differences between device and processor: of positions [px]; of intensities and axes, relative."""
    found: dict[str, float] = {"position": 0.0, "intensity": 0.0, "axes": 0.0}
    on_cpu, on_device = _Search("cpu", "cpu"), _Search("cuda", "cuda")
    for frame in _frames(messages(SIZE, DTYPE)):
        (view, axes), (other_view, other_axes) = on_cpu(frame), on_device(frame)
        one, other = view.peaks, other_view.peaks
        if len(one) != len(other) or len(axes) != len(other_axes):
            return dict.fromkeys(found, np.inf)
        found["position"] = max(found["position"], *np.abs(one.fs - other.fs), *np.abs(one.ss - other.ss))
        found["intensity"] = max(found["intensity"], *np.abs(other.intensity / one.intensity - 1.0))
        for a, b in zip(axes, other_axes, strict=True):
            found["axes"] = max(found["axes"], float(np.abs(a - b).max() / np.abs(a).max()))
    return {name: float(value) for name, value in found.items()}


class _Search:
    """Peaks and lattices of frames."""

    def __init__(self, peaks_on: str, lattices_on: str) -> None:
        self._find_peaks = make_peak_finder(replace(PEAKS, device=peaks_on))
        self._find_lattices = make_lattice_finder(replace(INDEXING, device=lattices_on))

    def __call__(self, frame: Frame) -> tuple[PeakView, list[Any]]:
        view = PeakView.of(frame, self._find_peaks(frame), 0.0)
        return view, [crystal.reciprocal_axes for crystal in self._find_lattices(view).crystals]


def _frames(payloads: list[bytes]) -> list[Frame]:
    loader = FrameLoader(parse_geometry(geometry_text(SIZE)), FrameSettings(data_format="msgpack"))
    return [loader.from_message(Message(payload=payload, serial=1)) for payload in payloads]


def _rate(n_workers: int, place: str, payloads: list[bytes]) -> float:
    context = multiprocessing.get_context("spawn")
    ready, counts = context.Barrier(n_workers), context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(number, place, payloads, ready, counts)) for number in range(n_workers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a process of the benchmark failed")
    return sum(counts.get() for _ in workers) / SECONDS


def _work(number: int, place: str, payloads: list[bytes], ready: Any, counts: Any) -> None:
    frames, search = _frames(payloads), _Search(*PLACES[place])
    if "cuda" in PLACES[place]:
        use_device(number)
        warm_up([DTYPE], device="cuda")
    for frame in frames:
        search(frame)
    ready.wait()
    n, end = 0, perf_counter() + SECONDS
    while perf_counter() < end:
        search(frames[n % len(frames)])
        n += 1
    counts.put(n)
