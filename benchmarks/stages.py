"""Stages of the recipe, one frame after another in one process."""

import statistics
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks.frames import CELL, geometry_text, messages
from braggstream.formats.geom import parse_geometry
from braggstream.formats.stream_write import format_chunk
from braggstream.kernels.warm import warm_up
from braggstream.model.cell import UnitCell
from braggstream.model.frame import Message
from braggstream.model.settings import FrameSettings, IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.recipe import Recipe

N_ROUNDS = 5


@dataclass(frozen=True)
class Measured:
    """Medians of one kind of frame."""

    size: str
    dtype: str
    pass_ms: float
    """One plain pass over the frame: the sum of its pixels."""
    stages_ms: dict[str, float]


def measure(size: int, dtype: str) -> Measured:
    """Measure all stages on hits of size x size pixels of a type."""
    geometry = parse_geometry(geometry_text(size))
    cell: UnitCell = CELL
    settings = Settings(
        peaks=PeakSettings(method="peakfinder8", threshold=10, min_snr=5, min_peaks=15),
        indexing=IndexingSettings(target_cell=cell),
    )
    loader, recipe = FrameLoader(geometry, FrameSettings(data_format="msgpack")), Recipe(geometry, settings)
    warm_up([dtype])
    output = OutputSettings(stream_file="")
    times: dict[str, list[float]] = {}
    passes = []
    for payload in messages(size, dtype) * N_ROUNDS:
        start = perf_counter()
        frame = loader.from_message(Message(payload=payload, serial=1))
        loaded = perf_counter()
        result = recipe.process(frame)
        found = perf_counter()
        format_chunk(result, geometry, output)
        end = perf_counter()
        stages = {"load": loaded - start, **result.timings, "format": end - found, "total": end - start}
        for name, seconds in stages.items():
            times.setdefault(name, []).append(1e3 * seconds)
        start = perf_counter()
        np.add.reduce(frame.pixels)
        passes.append(1e3 * (perf_counter() - start))
    return Measured(
        size=f"{size * size / 1024**2:g}M",
        dtype=dtype,
        pass_ms=statistics.median(passes),
        stages_ms={name: statistics.median(found) for name, found in times.items()},
    )
