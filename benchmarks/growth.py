"""How the cost of a hit grows: with the peaks that are used, and with the volume of the cell."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter

import numpy as np

from benchmarks.frames import CELL, SEED, encode, geometry_text
from braggstream.formats.geom import parse_geometry
from braggstream.formats.stream_write import format_chunk
from braggstream.model.cell import UnitCell
from braggstream.model.frame import Frame, Message
from braggstream.model.geometry import Geometry
from braggstream.model.peaks import SuppliedPeaks
from braggstream.model.settings import FrameSettings, IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.recipe import Recipe
from braggstream.simulate.frames import Simulator
from braggstream.simulate.settings import CrystalSettings, SampleSettings, SimulationSettings

SIZE = 1024
N_FRAMES = 12
PEAKS = (25, 50, 100, 200, 400)
VOLUMES = (1.0, 4.0, 16.0, 34.0)
"""Of the cell, in units of the benchmarks' cell, 238,000 Å³; the last is nearly that of 117 x 223 x 309 Å."""
USUAL_PEAKS = 200
FOUND = PeakSettings(method="peakfinder8", threshold=10, min_snr=5)
SUPPLIED = PeakSettings(method="msgpack", revalidate=False, half_pixel_shift=False)


def measure() -> dict[str, list[dict]]:
    """Medians [ms] by number of peaks and by volume of the cell."""
    hits = list(_hits(CELL))
    return {
        "peaks": [{"peaks": n, **_medians(hits, CELL, n)} for n in PEAKS],
        "volume": [{"volume": scale, **_of_volume(scale)} for scale in VOLUMES],
    }


def _of_volume(scale: float) -> dict[str, float]:
    factor = scale ** (1.0 / 3.0)
    cell = replace(CELL, a=CELL.a * factor, b=CELL.b * factor, c=CELL.c * factor)
    return _medians(list(_hits(cell)), cell, USUAL_PEAKS)


def _medians(hits: list[Frame], cell: UnitCell, n_peaks: int) -> dict[str, float]:
    """Medians of the stages that come after the peak search [ms], and the part of the hits that is indexed."""
    geometry = _geometry()
    recipe = Recipe(geometry, Settings(peaks=SUPPLIED, indexing=IndexingSettings(target_cell=cell)))
    times: dict[str, list[float]] = {}
    n_indexed = 0
    for number, hit in enumerate([hits[0], *hits]):
        assert hit.supplied_peaks is not None
        result = recipe.process(replace(hit, supplied_peaks=_strongest(hit.supplied_peaks, n_peaks)))
        start = perf_counter()
        format_chunk(result, geometry, OutputSettings(stream_file=""))
        stages = {**result.timings, "format": perf_counter() - start}
        if number:
            n_indexed += bool(result.crystals)
            for name, seconds in stages.items():
                times.setdefault(name, []).append(1e3 * seconds)
    medians = {name: statistics.median(found) for name, found in times.items() if name != "peaks"}
    return {**medians, "indexed": n_indexed / len(hits)}


def _hits(cell: UnitCell) -> Iterator[Frame]:
    """Hits with the peaks that were found in them as supplied ones."""
    geometry = _geometry()
    finder = Recipe(geometry, Settings(peaks=FOUND, indexing=IndexingSettings(methods=("none",))))
    settings = SimulationSettings(
        seed=SEED, crystal=CrystalSettings(photons=20000.0), sample=SampleSettings(hit_fraction=1.0)
    )
    simulator = Simulator(geometry, cell, settings)
    for number in range(N_FRAMES):
        loader = FrameLoader(geometry, FrameSettings(data_format="msgpack"))
        message = encode(simulator.frame(number).values.reshape(SIZE, SIZE), "int32")
        frame = loader.from_message(Message(payload=message, serial=number + 1))
        peaks = finder.process(frame).peaks
        yield replace(frame, supplied_peaks=SuppliedPeaks(fs=peaks.fs, ss=peaks.ss, intensity=peaks.intensity))


def _strongest(peaks: SuppliedPeaks, n: int) -> SuppliedPeaks:
    order = np.argsort(-peaks.intensity)[:n]
    return SuppliedPeaks(fs=peaks.fs[order], ss=peaks.ss[order], intensity=peaks.intensity[order])


def _geometry() -> Geometry:
    return parse_geometry(geometry_text(SIZE))
