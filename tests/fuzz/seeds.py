"""Good messages of each format, from which a fuzzer starts, and the geometry that reads them."""

import gzip
import io
import itertools
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cbor2
import h5py
import hdf5plugin
import msgpack
import numpy as np
import seedee
import tifffile
from fabio.cbfimage import CbfImage

from braggstream.formats.parts import join_parts

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
            file.create_dataset("image", data=VALUES.astype(("u2", "f4", "i4")[number % 3]), chunks=(6, 8), **more)
            file["energy"] = 9000.0
            peaks = file.create_group("peaks")
            peaks["nPeaks"] = np.array([2])
            for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity"):
                peaks[name] = np.array([[1.0, 2.5, 0.0]])
        made.append(buffer.getvalue())
    return made


# Pixels are of the types whose kernels are there from the start: tests wait for no compilation.
PIXELS = VALUES + 1000 * (VALUES % 7 == 0)


def _cbf() -> list[bytes]:
    made = []
    with TemporaryDirectory() as folder:
        for number, values in enumerate((VALUES, PIXELS - 500, PIXELS * 100_000)):
            path = Path(folder, f"{number}.cbf")
            CbfImage(data=values.astype(np.int32)).write(str(path))
            made.append(path.read_bytes())
    return [*made, gzip.compress(made[0])]


def _tiff() -> list[bytes]:
    made = []
    chosen = (
        {},
        {"compression": "zlib"},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"rowsperstrip": 2},
        {"tile": (16, 16)},
    )
    for number, options in enumerate(chosen):
        target = io.BytesIO()
        tifffile.imwrite(target, PIXELS.astype(("u2", "i4", "f4")[number % 3]), **options)
        made.append(target.getvalue())
    return made


def _npy() -> list[bytes]:
    made = []
    for dtype in ("<i4", ">u2", "f4"):
        for version in ((1, 0), (2, 0)):
            target = io.BytesIO()
            np.lib.format.write_array(target, PIXELS.astype(dtype), version=version)
            made.append(target.getvalue())
    target = io.BytesIO()
    np.save(target, np.asfortranarray(PIXELS.astype(np.int32)))
    return [*made, target.getvalue()]


def joined(*parts: bytes) -> bytes:
    """Parts of a message as a worker gets them."""
    return b"".join(map(bytes, join_parts(parts)))


def _seedee() -> list[bytes]:
    made = []
    names = ("NONE", "DEFLATE", "LZ4", "BITSHUFFLE")
    for name, dtype in itertools.product(names, ("u2", "i4")):
        payload, told = seedee.serialize(PIXELS.astype(dtype), getattr(seedee, f"COMPRESSION_{name}"))
        made.append(joined(json.dumps({"_data_format": told, "number": 1}).encode(), bytes(payload)))
    return made


def _typed_array(values: np.ndarray, algorithm: str | None = None) -> cbor2.CBORTag:
    """A two-dimensional array as DECTRIS packs it: tags 40, 64 and following, and 56500 where it is compressed."""
    tag, data = {"uint16": 69, "uint32": 70, "int32": 78}[values.dtype.name], values.tobytes()
    if algorithm == "bslz4":
        head = struct.pack(">QI", values.nbytes, 8192)
        packed = bytes(hdf5_chunk(values, hdf5plugin.Bitshuffle()))
        data = cbor2.CBORTag(56500, ["bslz4", values.itemsize, packed or head])
    return cbor2.CBORTag(40, [list(values.shape), cbor2.CBORTag(tag, data)])


def hdf5_chunk(values: np.ndarray, filters: Any) -> bytes:
    """The bytes of an array as a filter of HDF5 packs it."""
    with h5py.File(io.BytesIO(), "w") as file:
        return file.create_dataset("x", data=values, chunks=values.shape, **filters).id.read_direct_chunk((0, 0))[1]


def _dectris2() -> list[bytes]:
    series = {"series_id": 3, "series_unique_id": "01HB"}
    images = [
        {"type": "image", **series, "image_id": 4, "series_date": "2026", "data": {"threshold_1": array}}
        for array in (
            _typed_array(PIXELS.astype(np.uint16)),
            _typed_array(PIXELS.astype(np.int32), "bslz4"),
            _typed_array(PIXELS.astype(np.int32)),
        )
    ]
    images[1] |= {"user_data": {"a": [1, 2.5, None]}, "real_time": [1, 1000], "spots": [{"x": 1.0, "y": 2.0}]}
    start = {"type": "start", **series, "beam_center_x": 3.5, "channels": ["threshold_1"], "pixel_mask": {}}
    messages = [*images, start, {"type": "end", **series}]
    return [cbor2.dumps(cbor2.CBORTag(55799, message)) for message in messages]


def _jungfraujoch() -> list[bytes]:
    spots = [{"x": 1.5, "y": 2.5, "I": 100, "maxc": 5, "ice": False}, {"x": 4.0, "y": 3.0, "I": 7.5}]
    array = _typed_array(PIXELS.astype(np.int32), "bslz4")
    image = {
        "type": "image",
        "series_id": 3,
        "image_id": 4,
        "spots": spots,
        "spot_count": 2,
        "data": {"default": array},
    }
    return [cbor2.dumps(cbor2.CBORTag(55799, image)), cbor2.dumps(image | {"spots": [], "bkg_estimate": 1.5})]


def _dectris1() -> list[bytes]:
    values = PIXELS.astype(np.uint16)
    image = {"htype": "dimage-1.0", "series": 3, "frame": 4, "hash": "x"}
    told = {"htype": "dimage_d-1.0", "shape": [8, 6], "type": "uint16", "encoding": "<", "size": values.nbytes}
    times = {"htype": "dconfig-1.0", "start_time": 1, "stop_time": 2, "real_time": 1}
    packed = hdf5_chunk(values, hdf5plugin.Bitshuffle())
    other = told | {"encoding": "bs16-lz4<", "size": len(packed)}
    head = {"htype": "dheader-1.0", "series": 3, "header_detail": "basic"}
    texts = [json.dumps(part).encode() for part in (image, told, times, other, head)]
    return [
        joined(texts[0], texts[1], values.tobytes(), texts[2]),
        joined(texts[0], texts[3], packed, texts[2], b'{"a": 1}'),
        joined(texts[4], json.dumps({"wavelength": 1.0, "nimages": 5}).encode()),
        b'{"htype": "dseries_end-1.0", "series": 3}',
    ]


FIXED = f"photon_energy = 9000 eV\nclen = 0.1 m\n{COMMON}{PANEL}"

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
    "cbf": Target(
        FIXED, _cbf, (b"X-Binary-Size: ", b"x-CBF_BYTE_OFFSET", b"\x0c\x1a\x04\xd5", b"\x80"), load_peaks=False
    ),
    "tiff": Target(FIXED, _tiff, (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0"), load_peaks=False),
    "npy": Target(FIXED, _npy, (b"\x93NUMPY", b"descr", b"fortran_order", b"shape", b"'O'"), load_peaks=False),
    "seedee": Target(FIXED, _seedee, (b"_data_format", b"shape", b"compression", b"32008"), load_peaks=False),
    "dectris2": Target(
        FIXED, _dectris2, (b"\xd9\xdc\xb4", b"\xd8\x28", b"\xd8\x45", b"type", b"image"), load_peaks=False
    ),
    "jungfraujoch": Target(
        FIXED, _jungfraujoch, (b"\x65spots", b"\x61x", b"\x61I", b"\xd8\x28", b"\xd9\xdc\xb4", b"\xc2\x49")
    ),
    "dectris1": Target(
        FIXED, _dectris1, (b"htype", b"dimage-1.0", b"bs16-lz4<", b"shape", b"size"), load_peaks=False
    ),
}
"""Formats by the names that `--data-format` takes."""
