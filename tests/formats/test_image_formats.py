"""CBF, TIFF, NPY and Seedee: as other programs write them, in files and streams, sound and hostile."""

import gzip
import io
import json
import struct
import zlib

import numpy as np
import pytest
import seedee
import tifffile

from braggstream.formats.compressed import Decompressor
from braggstream.formats.geom import parse_geometry
from braggstream.formats.pixel_room import PixelRoom
from braggstream.formats.seedee import seedee_array
from braggstream.formats.tiff import tiff_image
from braggstream.model.errors import FrameError
from formats.image_frames import (
    HEIGHT,
    TEXT,
    WIDTH,
    assert_shows,
    assert_survives,
    load,
    load_file,
    made,
    panel_of,
)

MINI_HEADER = """# Detector: PILATUS 6MF-0109
# Wavelength 1.03320 A
# Detector_distance 0.12000 m
# Beam_xy (1277.00, 1246.00) pixels
"""


def cbf(values, header=MINI_HEADER):
    """As PILATUS detectors write it, through fabio."""
    return (
        fabio_bytes(values)
        .replace(b"_array_data.header_contents\r\n;\r\n", b"")
        .replace(b"--CIF-BINARY-FORMAT-SECTION--", header.encode() + b"--CIF-BINARY-FORMAT-SECTION--", 1)
    )


def fabio_bytes(values):
    from fabio.cbfimage import CbfImage

    target = io.BytesIO()
    target.name = "x.cbf"
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.cbf")
        CbfImage(data=values).write(str(path))
        return path.read_bytes()


def tiff(values, **options):
    target = io.BytesIO()
    tifffile.imwrite(target, values, **options)
    return target.getvalue()


def npy(values):
    target = io.BytesIO()
    np.save(target, values)
    return target.getvalue()


COMPRESSIONS = {
    "none": seedee.COMPRESSION_NONE,
    "deflate": seedee.COMPRESSION_DEFLATE,
    "lz4": seedee.COMPRESSION_LZ4,
    "bitshuffle": seedee.COMPRESSION_BITSHUFFLE,
}


def seedee_message(values, compression="bitshuffle"):
    payload, metadata = seedee.serialize(values, COMPRESSIONS[compression])
    return bytes(payload), json.dumps({"_data_format": metadata, "energy": 9.5, "run": {"distance": 85}}).encode()


def large(dtype):
    """Numbers at the limits of a type, and steps of every size between them."""
    values = made(dtype)
    limits = np.iinfo(dtype)
    # fabio writes steps beyond 32 bits modulo 2^32, so from the lowest value it is not far to the next.
    values[5, 5:13] = [limits.max, 15, 20, limits.min, 1, 40000 % limits.max, limits.max, 0]
    if limits.min == -(1 << 31):
        values[5, 8] += 100
    return values


@pytest.mark.parametrize("name", ["cbf", "auto"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32"])
def test_cbf_as_fabio_writes_it(name, dtype):
    values = large(dtype)
    for payload in (cbf(values), gzip.compress(cbf(values))):
        assert_shows(load(payload, data_format=None if name == "auto" else name), values)


def test_cbf_files_and_their_headers(tmp_path):
    geometry = parse_geometry(
        TEXT.replace("photon_energy = 9000 eV", "wavelength = Wavelength A").replace(
            "clen = 0.1 m", "clen = Detector_distance m"
        )
    )
    (tmp_path / "a.cbf").write_bytes(cbf(made("int32")))
    (tmp_path / "b").write_bytes(gzip.compress(cbf(made("int32"))))
    for name in "a.cbf", "b":
        frame = load_file(tmp_path / name, geometry, copy_headers=("Beam_x", "Detector"))
        assert_shows(frame, made("int32"))
        assert frame.wavelength == pytest.approx(1.0332)
        assert frame.detector.average_camera_length == pytest.approx(0.12)
        assert dict(frame.headers)["Beam_x"] == 1277.0
        assert dict(frame.headers)["Detector"].startswith("PILATUS")


def uncompressed_cbf(values, kind, **fields):
    told = {
        "X-Binary-Size": values.nbytes,
        "X-Binary-Element-Type": f'"{kind}"',
        "X-Binary-Element-Byte-Order": "LITTLE_ENDIAN",
        "X-Binary-Size-Fastest-Dimension": WIDTH,
        "X-Binary-Size-Second-Dimension": HEIGHT,
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "\r\n".join(f"{name}: {value}" for name, value in told.items() if value is not None)
    head = f"###CBF: VERSION 1.5\r\n;\r\n--CIF-BINARY-FORMAT-SECTION--\r\n{lines}\r\n\r\n"
    return head.encode() + b"\x0c\x1a\x04\xd5" + values.tobytes() + b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("<u2", "unsigned 16-bit integer"),
        ("<i4", "signed 32-bit integer"),
        ("<u4", "unsigned 32-bit integer"),
        ("<f4", "signed 32-bit real IEEE"),
        ("<f8", "signed 64-bit real IEEE"),
    ],
)
def test_cbf_without_compression(dtype, kind):
    values = made(dtype)
    values[7, 7] = np.iinfo(dtype).max if "f" not in dtype else np.nan
    frame = load(uncompressed_cbf(values, kind))
    assert np.array_equal(frame.panel_pixels(0), panel_of(values), equal_nan="f" in dtype)
    assert frame.panel_bad(0).any() == ("f" in dtype)


@pytest.mark.parametrize(
    "fields",
    [
        {"X_Binary_Size": 1 << 40},
        {"X_Binary_Size": "many"},
        {"X_Binary_Size": None},
        {"X_Binary_Size_Fastest_Dimension": 1 << 31},
        {"X_Binary_Size_Second_Dimension": 999_999_999},
        {"X_Binary_Size_Second_Dimension": -5},
        {"X_Binary_Element_Byte_Order": "BIG_ENDIAN"},
        {"X_Binary_Element_Type": '"complex 64-bit"'},
        {"Content_Type": 'conversions="x-CBF_PACKED"'},
        {"Content_Type": 'conversions="x-CBF_BYTE_OFFSET"', "X_Binary_Size_Fastest_Dimension": 100_000},
    ],
)
def test_cbf_headers_that_lie(fields):
    assert isinstance(load(uncompressed_cbf(made("<u4"), "unsigned 32-bit integer", **fields)), FrameError)


TIFFS = {
    "plain": {},
    "many strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "deflated": {"compression": "zlib", "rowsperstrip": 9},
    "deflated tiles": {"compression": "zlib", "tile": (16, 16)},
    "big": {"bigtiff": True, "rowsperstrip": 10},
    "big-endian": {"byteorder": ">"},
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiff_as_tifffile_writes_it(name):
    for dtype in ("uint8", "uint16", "int32", "uint32", "float32", "float64"):
        assert_shows(load(tiff(made(dtype), **TIFFS[name])), made(dtype))
        assert_shows(load(tiff(made(dtype), **TIFFS[name]), data_format="tiff"), made(dtype))


def test_tiff_with_differences_of_neighbours():
    """The predictor of TIFF 6.0, section 14, as written down there."""
    values = made("uint16")
    differences = np.diff(values, axis=1, prepend=np.zeros((HEIGHT, 1), "u2")).astype("<u2")
    data = zlib.compress(differences.tobytes())
    tags = [
        (256, 3, WIDTH),
        (257, 3, HEIGHT),
        (258, 3, 16),
        (259, 3, 8),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, HEIGHT),
    ]
    tags += [(279, 4, len(data)), (317, 3, 2)]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, n) for tag, kind, n in tags)
    payload = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + table + bytes(4)
    assert np.array_equal(tifffile.imread(io.BytesIO(tiff(values))), tiff_image(payload, PixelRoom()))


def test_tiff_files_and_what_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(made("uint16")))
    assert_shows(load_file(tmp_path / "a.tif"), made("uint16"))
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert "samples" in str(load(tiff(colours, photometric="rgb")))
    assert isinstance(load(tiff(made("uint16", (10, 10)))), FrameError)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", "<u4", "<f4", "<f8", "?", "<i8"])
def test_npy(tmp_path, dtype):
    for values in (made(dtype), np.asfortranarray(made(dtype))):
        assert_shows(load(npy(values)), values)
    np.save(tmp_path / "a.npy", made(dtype))
    assert_shows(load_file(tmp_path / "a.npy"), made(dtype))


@pytest.mark.parametrize(
    "head",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (41, 61), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (2147483648, 2147483648), }",
        "{'descr': '<u3', 'fortran_order': False, 'shape': (41, 61), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (41, -61), }",
        "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (41, 61), }",
        "[" * 9000,
    ],
)
def test_npy_headers_that_lie(head):
    data = made("<u2").tobytes()
    assert isinstance(load(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + data), FrameError)
    assert isinstance(load(b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 31) + head.encode() + data), FrameError)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8"])
def test_seedee_as_the_official_package_writes_it(compression, dtype):
    values = made(dtype)
    payload, metadata = seedee_message(values, compression)
    for chosen in (None, "seedee"):
        frame = load(payload, metadata=metadata, data_format=chosen)
        assert_shows(frame, values)
        assert (frame.identity.filename, frame.identity.serial) == ("run1/frame_7", 7)


def test_metadata_are_headers():
    geometry = parse_geometry(
        TEXT.replace("= 9000 eV", "= energy keV").replace("clen = 0.1 m", "clen = run/distance mm")
    )
    payload, metadata = seedee_message(made("<u4"))
    frame = load(payload, geometry, metadata=metadata)
    assert frame.detector.average_camera_length == pytest.approx(0.085)
    assert frame.wavelength == pytest.approx(12.398419843 / 9.5)


VECTORS = {
    "bitshuffle, one block": (
        "0000000000000060000020000000002511aa010011cc010011f001002100ff02004100ffff0001000408000f02001e500000000000",
        (6, 8),
        "<u2",
        32008,
    ),
    "bitshuffle, items left over": (
        "000000000000001e000020000000000d43aaccf0000100500000000000080009000a000b000c000d000e00",
        (3, 5),
        "<u2",
        32008,
    ),
    "LZ4, stored": (
        "000000000000001e0000001e0000001e00000100020003000400050006000700080009000a000b000c000d000e00",
        (3, 5),
        "<u2",
        32004,
    ),
}


def described(shape, dtype, compression, changes=()):
    kind = np.dtype(dtype)
    array = {"byteorder": 60, "datatype": ord(kind.kind), "itemsize": kind.itemsize, "ndims": len(shape)}
    array |= {"shape": list(shape), "size": int(np.prod(shape)) * kind.itemsize, "stride": None}
    options = {0: None, 1: [4], 32004: [0], 32008: [0, 2]}[compression]
    found = {"array": array, "compression": compression, "compression_opts": options, "data_format": "hdf5_chunk"}
    found |= {"protocol": "seedee", "version_major": 1, "version_minor": 0}
    for name, value in dict(changes).items():
        (array if name in array else found)[name] = value
    return json.dumps({"_data_format": json.dumps(found)}).encode()


@pytest.mark.parametrize("name", VECTORS)
def test_known_seedee_bytes(name):
    data, shape, dtype, compression = VECTORS[name]
    found = seedee_array(bytes.fromhex(data), described(shape, dtype, compression), Decompressor())
    assert np.array_equal(found, np.arange(np.prod(shape)).reshape(shape))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 1},
        {"size": 1 << 62},
        {"shape": [1 << 31, 1 << 31]},
        {"shape": [0, 8]},
        {"shape": "many"},
        {"ndims": 3},
        {"stride": [1]},
        {"datatype": 99},
        {"datatype": "u"},
        {"itemsize": 16},
        {"byteorder": 61},
        {"compression": 7},
        {"compression_opts": [0, 3]},
        {"version_major": 2},
        {"protocol": ["seedee"]},
        {"data_format": "raw"},
    ],
)
def test_seedee_descriptions_that_lie(changes):
    data, shape, dtype, compression = VECTORS["bitshuffle, one block"]
    with pytest.raises(FrameError):
        seedee_array(bytes.fromhex(data), described(shape, dtype, compression, changes), Decompressor())


@pytest.mark.parametrize(
    "metadata",
    [
        b"{",
        b"[1]",
        b'{"_data_format": {"array": 1}}',
        b'{"_data_format": "[' + b"[" * 60000 + b'"}',
        b'{"_data_format": null}',
        b"[" * 100000,
        b'{"_data_format": "' + b"x" * 100000 + b'"}',
        b'{"_data_format": "{}", "a": ' + b"[" * 5000 + b"}",
    ],
)
def test_hostile_metadata(metadata):
    payload = bytes.fromhex(VECTORS["LZ4, stored"][0])
    assert isinstance(load(payload, metadata=metadata), FrameError)
    assert isinstance(load(payload, metadata=metadata, data_format="seedee"), FrameError)


HOSTILE = {
    "cbf": lambda: (cbf(made("int32")), {}),
    "cbf.gz": lambda: (gzip.compress(cbf(made("int32"))), {}),
    "tiff": lambda: (tiff(made("uint16"), **TIFFS["many strips"]), {}),
    "tiff, deflated": lambda: (tiff(made("uint16"), **TIFFS["deflated tiles"]), {}),
    "tiff, big": lambda: (tiff(made("uint16"), **TIFFS["big"]), {}),
    "npy": lambda: (npy(made("uint16")), {}),
    "seedee": lambda: dict_of(seedee_message(made("<u4"))),
    "seedee, lz4": lambda: dict_of(seedee_message(made("<u2"), "lz4")),
}


def dict_of(pair):
    return pair[0], {"metadata": pair[1]}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_messages(name):
    payload, more = HOSTILE[name]()
    assert_survives(payload, **more)
    chosen = name.partition(",")[0]
    assert isinstance(load(payload[: len(payload) // 2], data_format=chosen, **more), FrameError)


def test_bombs():
    """A thousand times as large, were they decoded."""
    zeros = bytes(1 << 25)
    assert isinstance(load(gzip.compress(b"###CBF: VERSION 1.5\r\n" + zeros, 9)), FrameError)
    data = zlib.compress(zeros, 9)
    tags = [(256, 4, WIDTH), (257, 4, HEIGHT), (258, 3, 8), (259, 3, 8), (273, 4, 8), (278, 4, HEIGHT)]
    tags += [(279, 4, len(data))]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, n) for tag, kind, n in tags)
    frame = load(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + table)
    assert (frame.pixels == 0).all() and frame.pixels.nbytes <= HEIGHT * WIDTH


def test_files_that_are_nothing(tmp_path):
    for content in (b"", b"abc", b"GIF89a" + bytes(100), bytes(1000)):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(FrameError, match="not a format"):
            load_file(tmp_path / "x")
    with pytest.raises(FrameError, match="No such file"):
        load_file(tmp_path / "missing")
    with pytest.raises(FrameError):
        load_file(tmp_path)


def test_masks_and_peaks_that_an_image_has_not():
    masked = parse_geometry(TEXT + "p/mask0_data = /mask\np/mask0_goodbits = 0x1\n")
    assert "names no file" in str(load(npy(made("u2")), masked))
    assert "no peak list" in str(load(npy(made("u2")), load_peaks=True))
    energy = parse_geometry(TEXT.replace("9000 eV", "energy eV"))
    assert "no header energy" in str(load(npy(made("u2")), energy))
