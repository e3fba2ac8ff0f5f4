"""Merging at scale: made-up stream files of 10^3 to 10^5 crystals, from the text and from the columnar cache.

Each merge is a process of its own, as a user starts it; what is kept is its time on the clock, its time on the
processors (the one to judge by on a busy machine) and its largest memory.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braggstream.formats.geom import read_geometry
from braggstream.formats.number_table import TableLayout
from braggstream.formats.stream_header import (
    CHUNK_BEGIN,
    CHUNK_END,
    CRYSTAL_BEGIN,
    CRYSTAL_END,
    REFLECTIONS_BEGIN,
    REFLECTIONS_END,
    REFLECTIONS_TITLE,
    stream_header,
)
from braggstream.model.cell import UnitCell
from braggstream.model.geometry import Geometry
from braggstream.model.settings import OutputSettings

SIZES = (1_000, 10_000, 100_000)
N_REFLECTIONS = 300
BATCH = 1_000
CELL = UnitCell(a=160.0, b=160.0, c=110.0, alpha=90.0, beta=90.0, gamma=90.0)
HIGHEST = 0.5
"""1/d of the last reflections [Å⁻¹]: 92,000 unique ones in 4/mmm."""
GEOMETRY = "simulate/data/megapixel.geom"
LINES = TableLayout("%4i %4i %4i %10.2f %10.2f %10.2f %10.2f %6.1f %6.1f %s\n")
SYMMETRY = "4/mmm"
BRAGGSTREAM = ("-m", "braggstream")
PROCESS_HKL = (*BRAGGSTREAM, "process_hkl")
READ = """
import sys
from braggstream.formats.stream_columns import read_observations
for block in read_observations(sys.argv[1]):
    pass
"""
ASKED_S = {"stream": 60.0, "cache": 10.0}
"""Seconds for the largest size on two cores."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that was measured."""

    way: str
    n_crystals: int
    file_mb: float
    clock_s: float
    processor_s: float
    memory_mb: float


def measure(n_crystals: int) -> Iterator[Merge]:
    """Merge so many crystals, from the text and from the cache that is made of it."""
    with tempfile.TemporaryDirectory(prefix="merging.") as folder:
        stream, cache, merged = (str(Path(folder, name)) for name in ("a.stream", "a.arrows", "a.hkl"))
        write_stream(stream, n_crystals)
        words = ["-y", SYMMETRY, "-o", merged]
        yield _run("reading only", n_crystals, stream, ["-c", READ, stream])
        yield _run("stream", n_crystals, stream, [*PROCESS_HKL, stream, *words])
        yield _run("stream, scaled", n_crystals, stream, [*PROCESS_HKL, stream, *words, "--scale"])
        yield _run("to cache", n_crystals, stream, [*BRAGGSTREAM, "columns", stream, "-o", cache])
        yield _run("cache", n_crystals, cache, [*PROCESS_HKL, cache, *words])


def _run(way: str, n_crystals: int, path: str, words: list[str]) -> Merge:
    started = time.monotonic()
    pid = os.posix_spawn(sys.executable, [sys.executable, *words], os.environ)
    ended, memory_mb = 0, 0.0
    while not ended:
        # What the system keeps of an ended process counts the memory of its parent too.
        memory_mb = max(memory_mb, _peak_mb(pid))
        time.sleep(0.05)
        ended, status, usage = os.wait4(pid, os.WNOHANG)
    if status:
        raise SystemExit(f"{way} ended with {status}")
    return Merge(
        way=way,
        n_crystals=n_crystals,
        file_mb=Path(path).stat().st_size / 1e6,
        clock_s=time.monotonic() - started,
        processor_s=usage.ru_utime + usage.ru_stime,
        memory_mb=memory_mb,
    )


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return max(
        (int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM")), default=0.0
    )


def write_stream(path: str, n_crystals: int) -> None:
    """Write crystals with random orientations, scales and partialities; the truth is the same for all."""
    import braggstream

    rng = np.random.default_rng(1)
    geometry = read_geometry(Path(braggstream.__file__).parent / GEOMETRY)
    hkl, true = _reflections(rng)
    with Path(path).open("wb") as file:
        file.write(stream_header(geometry.text, OutputSettings(stream_file=path, command_line=("made-up",)), None))
        for first in range(0, n_crystals, BATCH):
            n = min(BATCH, n_crystals - first)
            for number, lines in enumerate(_lists(rng, hkl, true, n, geometry)):
                file.write(_chunk(first + number + 1, _axes(rng), lines))


def _reflections(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    limits = [int(HIGHEST * length) for length in CELL.parameters[:3]]
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), axis=-1).reshape(-1, 3)
    q = np.linalg.norm(hkl @ CELL.reciprocal_axes(), axis=1)
    hkl = hkl[(q > 0) & (q < HIGHEST)]
    h, k, l = np.abs(hkl).T  # noqa: E741
    _, unique = np.unique(np.stack([np.maximum(h, k), np.minimum(h, k), l]), axis=1, return_inverse=True)
    return hkl, rng.exponential(500.0, unique.max() + 1)[unique.ravel()]


def _lists(
    rng: np.random.Generator, hkl: np.ndarray, true: np.ndarray, n_crystals: int, geometry: Geometry
) -> Iterator[bytes]:
    """Write the reflection lists of some crystals at once, and cut them apart: lines are equally long."""
    n = n_crystals * N_REFLECTIONS
    chosen = np.sort(rng.integers(0, len(hkl), (n_crystals, N_REFLECTIONS)), axis=1).ravel()
    scale = np.repeat(np.exp(rng.normal(0.0, 0.4, n_crystals)), N_REFLECTIONS)
    expected = true[chosen] * scale * rng.random(n)
    sigma = np.sqrt(expected + 100.0)
    columns = np.empty((9, n))
    columns[:3] = hkl[chosen].T
    columns[3] = expected + sigma * rng.standard_normal(n)
    columns[4], columns[5], columns[6] = sigma, 0.2 * expected + 30.0, 10.0
    columns[7:] = 1000.0 * rng.random((2, n))
    text = LINES.write(columns, np.zeros(n, np.int32), geometry.panels)
    length = len(text) // n_crystals
    return (text[length * number : length * (number + 1)] for number in range(n_crystals))


def _axes(rng: np.random.Generator) -> np.ndarray:
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return 10.0 * CELL.reciprocal_axes() @ rotation


def _chunk(serial: int, axes: np.ndarray, lines: bytes) -> bytes:
    vectors = (
        f"{name} = {x:+9.7f} {y:+9.7f} {z:+9.7f} nm^-1"
        for name, (x, y, z) in zip(("astar", "bstar", "cstar"), axes, strict=True)
    )
    head = [
        CHUNK_BEGIN,
        "Image filename: made-up.h5",
        f"Event: //{serial}",
        f"Image serial number: {serial}",
        "hit = 1",
        "indexed_by = asdf-nolatt-cell",
        "photon_energy_eV = 9000.000000",
        "beam_divergence = 0.00e+00 rad",
        "beam_bandwidth = 1.00e-08 (fraction)",
        CRYSTAL_BEGIN,
        *vectors,
        "lattice_type = tetragonal",
        "centering = P",
        "unique_axis = c",
        "profile_radius = 0.02000 nm^-1",
        "predict_refine/det_shift x = 0.000 y = 0.000 mm",
        "diffraction_resolution_limit = 5.00 nm^-1 or 2.00 A",
        f"num_reflections = {N_REFLECTIONS}",
        "num_saturated_reflections = 0",
        "num_implausible_reflections = 0",
        REFLECTIONS_BEGIN,
        REFLECTIONS_TITLE,
    ]
    tail = f"{REFLECTIONS_END}\n{CRYSTAL_END}\n{CHUNK_END}\n"
    return "\n".join([*head, ""]).encode() + lines + tail.encode()
