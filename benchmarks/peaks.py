"""Peak searches, bad pixels included: `python -m benchmarks.peaks` prints milliseconds a frame, and plain passes.

A plain pass is the sum of the frame's pixels in their own type.  Times are those of the processor, so that other
programs on the machine count as little as they can; the smallest and the median of the rounds are given.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time

import msgspec
import numpy as np

from benchmarks.frames import geometry_text, hits
from braggstream.formats.geom import parse_geometry
from braggstream.kernels.warm import warm_up
from braggstream.model.frame import Message
from braggstream.model.settings import FrameSettings, PeakSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.steps.peaks import make_peak_finder

SIZES = (1024, 2048, 4096)
DTYPES = ("uint16", "int32", "float32")
ROUND_PIXELS = 128 * 1024**2
"""So many pixels are searched for each figure."""
METHODS = {
    "zaef": PeakSettings(threshold=30, min_squared_gradient=2000, min_snr=5),
    "peakfinder8": PeakSettings(method="peakfinder8", threshold=10, min_snr=5),
    "pf8 fast": PeakSettings(method="peakfinder8", threshold=10, min_snr=5, fast=True),
    "peakfinder9": PeakSettings(method="peakfinder9", min_sig=2, min_snr=5),
}
FLAGS = "flag_lessthan = 0\nflag_morethan = 60000\n"
GAIN, READ_NOISE = 1.37, 0.5
"""Float frames are no whole numbers, as after a calibration [detector units per photon, detector units]."""


@dataclass(frozen=True)
class Figure:
    """One row: smallest and median time [ms]."""

    size: str
    dtype: str
    stage: str
    least_ms: float
    median_ms: float
    pass_ms: float
    n_peaks: int = 0

    @property
    def passes(self) -> float:
        """Plain passes that the smallest time makes."""
        return self.least_ms / self.pass_ms


def measure(size: int, dtype: str) -> list[Figure]:
    """Measure loading with bad pixels, and each search, on a simulated hit of size x size pixels."""
    warm_up([dtype])
    loader = FrameLoader(parse_geometry(FLAGS + geometry_text(size)), FrameSettings(data_format="msgpack"))
    message = Message(payload=_message(size, dtype), serial=1)
    frame = loader.from_message(message)
    n_rounds = max(10, ROUND_PIXELS // size**2)
    pass_ms, _ = _time(lambda: np.add.reduce(frame.pixels, dtype=frame.pixels.dtype), n_rounds)
    label = f"{size * size / 1024**2:g}M"
    rows = [Figure(label, dtype, "load, bad", *_time(lambda: loader.from_message(message), n_rounds), pass_ms)]
    for name, chosen in METHODS.items():
        find_peaks = make_peak_finder(chosen)
        n_peaks = len(find_peaks(frame))
        rows.append(Figure(label, dtype, name, *_time(lambda: find_peaks(frame), n_rounds), pass_ms, n_peaks))  # noqa: B023
    return rows


def _message(size: int, dtype: str) -> bytes:
    image = hits(size)[0].clip(0, 65535)
    if np.dtype(dtype).kind == "f":
        image = image * GAIN + np.random.default_rng(1).normal(0, READ_NOISE, image.shape)
        image[image < 0] = 0
    data = image.astype(dtype).tobytes()
    return msgspec.msgpack.encode(
        {"detector_data": {"type": np.dtype(dtype).str, "shape": [size, size], "data": data}}
    )


def _time(call: Callable[[], object], n_rounds: int) -> tuple[float, float]:
    call()
    times = []
    for _ in range(n_rounds):
        start = thread_time()
        call()
        times.append(1e3 * (thread_time() - start))
    return min(times), statistics.median(times)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peaks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1M frames only")
    chosen = parser.parse_args()
    print(f"{'frame':>14} {'stage':>12} {'least ms':>9} {'median':>8} {'passes':>8} {'peaks':>6}")
    for size in SIZES[:1] if chosen.quick else SIZES:
        for dtype in DTYPES:
            for row in measure(size, dtype):
                print(
                    f"{row.size:>6} {dtype:>7} {row.stage:>12} {row.least_ms:9.3f} {row.median_ms:8.3f}"
                    f" {row.passes:8.2f} {row.n_peaks:6d}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
