"""Simulated hits and blank frames as MessagePack messages, the same every time."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import msgspec
import numpy as np

from braggstream.cli.main import main
from braggstream.model.cell import UnitCell

CELL = UnitCell(
    a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", centring="P", unique_axis="c"
)
CELL_TEXT = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
unique_axis = c
centering = P
a = 79.2 A
b = 79.2 A
c = 38.0 A
al = 90 deg
be = 90 deg
ga = 90 deg
"""
N_HITS = 4
SEED = 5


def geometry_text(size: int, *, streamed: bool = True) -> str:
    """A detector of size x size pixels that covers the same angles whatever its size."""
    where = (
        "data = detector_data\ndim0 = ss\ndim1 = fs\n"
        if streamed
        else "data = /entry/data/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
    )
    return (
        f"photon_energy = 9500 eV\nclen = 0.1 m\nadu_per_photon = 1\nres = {10000 * size / 1024}\n{where}"
        f"p/min_fs = 0\np/max_fs = {size - 1}\np/min_ss = 0\np/max_ss = {size - 1}\n"
        f"p/corner_x = {-size / 2}\np/corner_y = {-size / 2}\np/fs = x\np/ss = y\n"
    )


@cache
def frames(size: int, *, n: int, hit_fraction: float) -> np.ndarray:
    """Simulated frames, int32[n, size, size]."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "b.geom").write_text(geometry_text(size, streamed=False))
        (place / "b.cell").write_text(CELL_TEXT)
        words = ["simulate", "-o", f"{place}/b.h5", "-g", f"{place}/b.geom", "-p", f"{place}/b.cell"]
        status = main([*words, "-n", str(n), "--hit-fraction", str(hit_fraction), "--seed", str(SEED)])
        if status:
            raise RuntimeError(f"the simulator ended with status {status}")
        with h5py.File(place / "b.h5") as file:
            found: np.ndarray = file["entry/data/data"][:].astype(np.int32)
    return found


def hits(size: int) -> np.ndarray:
    """Simulated hits, int32[n, size, size]."""
    return frames(size, n=N_HITS, hit_fraction=1.0)


def messages(size: int, dtype: str) -> list[bytes]:
    """The hits as messages of a pixel type."""
    return [encode(frame, dtype) for frame in hits(size)]


def encode(frame: np.ndarray, dtype: str) -> bytes:
    """One frame as a message of a pixel type."""
    pixels = frame.clip(0, 65535).astype(dtype)
    image = {"type": pixels.dtype.str, "shape": list(pixels.shape), "data": pixels.tobytes()}
    return msgspec.msgpack.encode({"detector_data": image})
