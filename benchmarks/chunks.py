"""Compressed frames: ours against HDF5's filters, one thread against one thread."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import h5py
import hdf5plugin
import numpy as np

from braggstream.formats.compressed import Decompressor
from braggstream.formats.hdf5_chunks import ChunkReader, filters_of
from braggstream.kernels import lz4

FILTERS = {
    "bitshuffle/LZ4": hdf5plugin.Bitshuffle(cname="lz4"),
    "LZ4": hdf5plugin.LZ4(),
    "bitshuffle/Zstandard": hdf5plugin.Bitshuffle(cname="zstd"),
    "Zstandard": hdf5plugin.Zstd(),
    "Blosc": hdf5plugin.Blosc(),
    "deflate": {"compression": "gzip", "compression_opts": 1},
}
REPEATS = 10


@dataclass(frozen=True)
class Measured:
    """Least processor and wall time of a frame."""

    name: str
    size: int
    ours_ms: float
    hdf5_ms: float
    """As `dataset[n]` reads it."""
    reused_ms: float
    """As `read_direct` reads it into memory that is used again."""
    ours_wall_ms: float
    hdf5_wall_ms: float


def measure(size: int) -> list[Measured]:
    """Measure frames of `size` x `size` pixels of uint32: photons, and a few pixels without data."""
    lz4.warm_up()
    rng = np.random.default_rng(1)
    values = rng.poisson(3, (1, size, size)).astype(np.uint32)
    values[rng.random(values.shape) < 1e-4] = 0xFFFFFFFF
    rows = []
    with h5py.File(io.BytesIO(), "w") as file:
        for name, options in FILTERS.items():
            made = file.create_dataset(name.replace("/", "-"), data=values, chunks=values.shape, **options)
            rows.append(_compared(name, made, values))
    return rows


def _compared(name: str, made: h5py.Dataset, values: np.ndarray) -> Measured:
    reader, place = ChunkReader(Decompressor()), (0, slice(0, values.shape[1]), slice(0, values.shape[2]))
    target = np.empty_like(values)

    def ours() -> np.ndarray:
        reader._decompressor.room.begin()
        return reader.read(made, place, filters_of(made))

    assert np.array_equal(ours(), values[0])
    times = [_least(what) for what in (ours, lambda: made[0], lambda: made.read_direct(target))]
    return Measured(
        name=name,
        size=values.shape[1],
        ours_ms=times[0][0],
        hdf5_ms=times[1][0],
        reused_ms=times[2][0],
        ours_wall_ms=times[0][1],
        hdf5_wall_ms=times[1][1],
    )


def _least(what: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall time of the fastest of several [ms]."""
    found = []
    for _ in range(REPEATS):
        begun, started = time.process_time(), time.perf_counter()
        what()
        found.append((time.process_time() - begun, time.perf_counter() - started))
    return 1e3 * min(cpu for cpu, _ in found), 1e3 * min(wall for _, wall in found)
