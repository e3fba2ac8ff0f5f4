"""Good messages of each format, from which a fuzzer starts, and the geometry that reads them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import hdf5plugin
import msgpack
import numpy as np

PANEL = """p/min_fs = 0
p/max_fs = 7
p/min_ss = 0
p/max_ss = 5
p/corner_x = -4
p/corner_y = -3
p/fs = x
p/ss = y
"""
COMMON = "res = 10000\nadu_per_photon = 1\n"
VALUES = np.arange(48).reshape(6, 8)


@dataclass(frozen=True)
class Target:
    """One decoder to be fuzzed."""

    geometry: str
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    """What a mutation may put in: keys and magic numbers."""
    load_peaks: bool = True


def _image(dtype: str) -> dict[str, Any]:
    return {"type": dtype, "shape": [6, 8], "data": VALUES.astype(dtype).tobytes()}


def _msgpack() -> list[bytes]:
    good = {
        "image": _image("<i4"),
        "energy": 9000.0,
        "distance": 85,
        "peaks": {"fs": [1, 2.5], "ss": [3, 4.5], "intensity": [100, 7]},
        "event_id": "run7_3",
        "serial": 12,
    }
    array = {b"nd": True, b"kind": b"", **{key.encode(): value for key, value in _image("<f4").items()}}
    scalar = {b"nd": False, b"type": "<f8", b"data": np.float64(9000).tobytes()}
    column = {"type": "<f8", "shape": [2], "data": np.array([1.0, 2.0]).tobytes()}
    variants = [
        good,
        [good, 1],
        good | {"image": array, "energy": scalar},
        good | {"image": _image("<u2"), "peaks": dict.fromkeys(("fs", "ss", "intensity"), column)},
        good | {"peaks": good["peaks"] | {"panel": ["p", "p"]}},
        good | {"image": _image("|b1"), "energy": "9000"},
        good | {"distance": msgpack.ExtType(5, b"abc"), "event": msgpack.Timestamp(1)},
    ]
    return [msgpack.packb(variant) for variant in variants] + [b"\x80\x04K\x01."]


def _hdf5() -> list[bytes]:
    made = []
    filters = (
        {},
        {"compression": "gzip", "shuffle": True},
        hdf5plugin.Bitshuffle(),
        hdf5plugin.Zstd(),
        hdf5plugin.Blosc(),
    )
    for number, more in enumerate(filters):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver="latest" if number % 2 else "earliest") as file:
            file.create_dataset("image", data=VALUES.astype(("u2", "f4", "u4")[number % 3]), chunks=(6, 8), **more)
            file["energy"] = 9000.0
            peaks = file.create_group("peaks")
            peaks["nPeaks"] = np.array([2])
            for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity"):
                peaks[name] = np.array([[1.0, 2.5, 0.0]])
        made.append(buffer.getvalue())
    return made


TARGETS = {
    "msgpack": Target(
        f"photon_energy = energy eV\nclen = distance mm\n{COMMON}data = image\npeak_list = peaks\n{PANEL}",
        _msgpack,
        (b"image", b"type", b"shape", b"data", b"peaks", b"panel", b"nd", b"<i4", b"\xdd\xff\xff\xff\xff", b"\xc9"),
    ),
    "hdf5": Target(
        f"photon_energy = /energy eV\nclen = 0.1 m\n{COMMON}data = /image\npeak_list = /peaks\n{PANEL}",
        _hdf5,
        (b"TREE", b"SNOD", b"HEAP", b"OHDR", b"FRHP", b"FADB", b"image", b"energy", b"\x89HDF\r\n\x1a\n"),
        load_peaks=False,
    ),
}
