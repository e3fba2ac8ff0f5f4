"""Bad messages of the formats of single images and of DECTRIS detectors."""

import gzip
import json
import struct
import zlib

import cbor2
import numpy as np
import seedee

from fuzz.corpus_parts import MANY, VAST, damaged, noise
from fuzz.seeds import PIXELS, TARGETS, joined

BOMB = 1 << 27
"""Bytes that a bomb unpacks to."""


def bomb() -> bytes:
    """Some hundred kB that unpack to many."""
    return zlib.compress(bytes(BOMB), 1)


def _seeds_damaged(name: str, *, n_cuts: int = 25, n_flips: int = 15) -> list[bytes]:
    return [bad for seed in TARGETS[name].seeds() for bad in damaged(seed, n_cuts=n_cuts, n_flips=n_flips)]


def _npy_header(text: str | bytes, *, length: int | None = None, version: bytes = b"\1\0") -> bytes:
    header = text.encode() if isinstance(text, str) else text
    return (
        b"\x93NUMPY" + version + struct.pack("<H", len(header) if length is None else length) + header + bytes(192)
    )


def bad_npy() -> list[bytes]:
    """Shapes, types and headers that lie; objects, which would be a pickle."""
    usual = "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}"
    headers = [
        usual.format("'<i4'", "False", shape)
        for shape in (
            "(2147483648, 2147483648)",
            "(-6, -8)",
            "(48,)",
            "(6.0, 8)",
            "()",
            "(0, 0)",
            "(0, 8" + "5" * 40 + ")",
            "(6, " + "9" * 5000 + ")",
            "6",
            "(6, 8" + ", 1" * 99 + ")",
        )
    ]
    headers += [
        usual.format(descr, "False", "(6, 8)")
        for descr in ("'O'", "'|V4'", "'<U9'", "[('a', '<i4')]", "4", "'<M8[s]'")
    ]
    headers += [usual.format("'<i4'", order, "(6, 8)") for order in ("2", "'x'", "None", "[]")]
    headers += [
        "",
        "{",
        "[" * 30000,
        "{" * 30000,
        "(" * 30000,
        "-" * 60000,
        "__import__('os')",
        "{'descr': 1}" * 4000,
        "9" * 60000,
    ]
    made = [_npy_header(text) for text in headers]
    made += [
        _npy_header(headers[0], length=65535),
        _npy_header(headers[0], version=b"\x09\0"),
        _npy_header(b"\xff" * 100),
    ]
    return made + _seeds_damaged("npy") + noise(b"\x93NUMPY\1\0")


def _tiff_file(entries: dict[int, tuple[int, int, int]], data: bytes = bytes(192), following: int = 0) -> bytes:
    """A TIFF with one directory: tag -> (type, count, value)."""
    rows = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", following) + data


def bad_tiff() -> list[bytes]:
    """Vast images, strips elsewhere, directories in circles, bombs."""
    n_tags = 9
    start = 8 + 2 + 12 * n_tags + 4
    usual = {
        256: (4, 1, 8),
        257: (4, 1, 6),
        258: (3, 1, 32),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, start),
        277: (3, 1, 1),
        278: (4, 1, 6),
        279: (4, 1, 192),
    }
    other = [
        {256: (4, 1, VAST - 1)},
        {257: (4, 1, VAST - 1)},
        {256: (4, 1, VAST - 1), 257: (4, 1, VAST - 1)},
        {258: (3, 1, 31)},
        {273: (4, 1, VAST)},
        {273: (4, VAST - 1, 8)},
        {279: (4, 1, VAST)},
        {259: (3, 1, 7)},
        {259: (3, 1, 5)},
        {277: (3, 1, 60000)},
        {278: (4, 1, 0)},
        {256: (4, 1, 0)},
        {273: (4, 1, 0)},
        {256: (2, 1, 8)},
        {258: (3, VAST - 1, 8)},
    ]
    made = [_tiff_file(usual | change) for change in other]
    made.append(_tiff_file(usual, following=8))
    packed = bomb()
    for tag in (8, 32946):
        made.append(_tiff_file(usual | {259: (3, 1, tag), 279: (4, 1, len(packed))}, packed))
        vast = {256: (4, 1, 1 << 15), 257: (4, 1, 1 << 15), 278: (4, 1, 1 << 15)}
        made.append(_tiff_file(usual | vast | {259: (3, 1, tag), 279: (4, 1, len(packed))}, packed))
    made += [
        b"II*\0" + struct.pack("<IH", 8, 65535),
        b"II*\0" + struct.pack("<I", VAST),
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
    ]
    return made + _seeds_damaged("tiff") + noise(b"II*\0\x08\0\0\0")


def bad_cbf() -> list[bytes]:
    """Sizes that lie, streams of steps that end, bombs of gzip."""
    seed = TARGETS["cbf"].seeds()[0]
    made = []
    for name in (
        b"X-Binary-Size:",
        b"X-Binary-Size-Fastest-Dimension:",
        b"X-Binary-Size-Second-Dimension:",
        b"X-Binary-Number-of-Elements:",
    ):
        at = seed.index(name) + len(name)
        end = seed.index(b"\r\n", at)
        made += [
            seed[:at] + text + seed[end:]
            for text in (b" 2147483648", b" -1", b" 0", b" x", b"", b" " + b"9" * 5000, b" 1e3", b" 7")
        ]
    made += [
        seed.replace(b"x-CBF_BYTE_OFFSET", word) for word in (b"x-CBF_PACKED", b"x-CBF_CANONICAL", b"x" * 9000, b"")
    ]
    made += [
        seed.replace(b"signed 32-bit integer", b"signed 8-bit integer"),
        seed.replace(b"\x0c\x1a\x04\xd5", b"\x0c\x1a\x04\xd5" * 3),
    ]
    made += [
        gzip.compress(bytes(BOMB), 1),
        gzip.compress(seed + bytes(BOMB), 1),
        gzip.compress(gzip.compress(seed)),
        gzip.compress(seed)[:-9],
    ]
    made += [b"###CBF: VERSION 1.5\r\n" + b"# x\r\n" * MANY]
    return (
        made
        + _seeds_damaged("cbf")
        + noise(b"###CBF: VERSION 1.5\r\n")
        + noise(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", n=20)
    )


def bad_seedee() -> list[bytes]:
    """Descriptions that lie, nested descriptions, bombs."""
    payload, text = seedee.serialize(PIXELS.astype(np.int32), seedee.COMPRESSION_NONE)
    told = json.loads(text)
    array = [
        {"shape": [VAST, VAST]},
        {"shape": [-6, 8]},
        {"shape": []},
        {"shape": ["6", 8]},
        {"itemsize": 8},
        {"itemsize": VAST},
        {"ndims": 9},
        {"datatype": 99},
        {"byteorder": 7},
        {"size": 2**62},
        {"shape": [2**62, 2**62]},
    ]
    changes = [told | {"array": told["array"] | change} for change in array]
    changes += [told | {"compression": code} for code in (1, 32004, 32008, 32015, -1, 2**40, None, "1")]
    changes += [told | {"data_format": value} for value in (None, 5, "", "x" * 5000)]
    made = [joined(json.dumps({"_data_format": json.dumps(change)}).encode(), bytes(payload)) for change in changes]
    deflated = json.dumps({"_data_format": json.dumps(told | {"compression": 1})}).encode()
    texts = [
        b'{"_data_format": ' + b"[" * MANY,
        b'{"_data_format": 5}',
        b'{"_data_format": "' + b"x" * MANY + b'"}',
        b"{}",
        b"[]",
        b"",
    ]
    made += [joined(deflated, bomb()), *(joined(start, bytes(payload)) for start in texts), bytes(payload)]
    return made + _seeds_damaged("seedee") + noise()


def bad_dectris2() -> list[bytes]:
    """CBOR: tags in circles, nesting, lengths and shapes that lie, channels of wrong types."""
    good = cbor2.loads(TARGETS["dectris2"].seeds()[0])
    good = good.value if isinstance(good, cbor2.CBORTag) else good
    plain = PIXELS.astype("<u2").tobytes()

    def image(array: object) -> bytes:
        return cbor2.dumps({**good, "data": {"threshold_1": array}})

    tag = cbor2.CBORTag
    arrays = [
        tag(40, [shape, tag(69, plain)])
        for shape in ([VAST, VAST], [2**62, 2**62], [-6, 8], [6], [], ["6", 8], None, [6, 8, 1], [6.0, 8])
    ]
    arrays += [tag(40, [[6, 8], tag(number, plain)]) for number in (0, 24, 40, 63, 68, 83, 87, 56500, 2**40)]
    arrays += [
        tag(40, [[6, 8], tag(69, tag(56500, packed))])
        for packed in (
            ["bslz4", 2, struct.pack(">QI", 2**62, 8192) + plain],
            ["bslz4", 2, struct.pack(">QI", 96, 2**31) + plain],
            ["lz4", 2, plain],
            ["zstd", 2, plain],
            ["bslz4", 2**40, plain],
            [],
            ["bslz4"],
            None,
            ["bslz4", "2", 5],
            "x",
            [plain] * 3,
        )
    ]
    arrays += [plain, "text", None, 5, {}, [], [[6, 8], plain], tag(40, plain), tag(40, [[6, 8]]), tag(40, None)]
    made = [image(array) for array in arrays]
    for key in good:
        made += [
            cbor2.dumps({**good, key: value})
            for value in (None, -1, 2**64 - 1, 1e308, "x" * 5000, b"\xff" * 9, [], {}, [[[]]])
        ]
        made.append(cbor2.dumps({other: good[other] for other in good if other != key}))
    raw = [
        b"\xc1" * MANY,
        b"\x81" * MANY,
        b"\x9f" * MANY,
        b"\xbf\x61a" * MANY,
        b"\xd8\x1d\x00" * MANY,
        b"\xd8\x1c\x81\xd8\x1d\x00",
        b"\xa1\x64type\x7b" + b"\xff" * 8,
        b"\xa1\x64type\x5b" + b"\xff" * 8,
        b"\xbb" + b"\xff" * 8,
        b"\x9b" + b"\xff" * 8 + b"\0" * 50,
        b"\xba\x80\0\0\0",
        b"\xbf\x64type",
        b"\x5f" + b"\x41a" * MANY,
        b"\xf9\x7e\x00",
        b"\xff",
        b"\x1c",
        b"\xa1\xa0\xa0",
        b"\xa2\x64type\x65image\x64type\x65start",
        b"\xd9\xd9\xf7" * MANY,
        cbor2.dumps({"type": "image", "series_id": 1, "image_id": 1, "x": {str(n): n for n in range(20000)}}),
    ]
    return made + raw + _seeds_damaged("dectris2") + noise(b"\xa5\x64type\x65image")


def bad_jungfraujoch() -> list[bytes]:
    """Lists of spots that are none, or hold anything; what is wrong with images of version 2 is wrong here too."""
    good = cbor2.loads(TARGETS["jungfraujoch"].seeds()[1])
    values = (
        None,
        -1,
        2**64 - 1,
        2**70,
        -(2**70),
        1e308,
        float("nan"),
        "1",
        b"1",
        [],
        {},
        True,
        cbor2.CBORTag(2, b"\xff" * 999),
    )
    lists = [[{"x": value, "y": 1.0, "I": 1}] for value in values] + [[value] for value in values]
    lists += [5, "spots", {}, [{}] * MANY, [[]] * MANY, [{"x": 1.0, "y": 1.0, "I": 1.0}] * MANY]
    made = [cbor2.dumps(good | {"spots": spots}) for spots in lists]
    return made + _seeds_damaged("jungfraujoch")


def bad_dectris1() -> list[bytes]:
    """Multipart JSON: parts that are missing, sizes and encodings that lie, nesting, a table of parts that lies."""
    values = PIXELS.astype("<u2")
    first = {"htype": "dimage-1.0", "series": 3, "frame": 4, "hash": "x"}
    told = {"htype": "dimage_d-1.0", "shape": [8, 6], "type": "uint16", "encoding": "<", "size": values.nbytes}

    def message(one: object, two: object, data: bytes = values.tobytes()) -> bytes:
        return joined(json.dumps(one).encode(), json.dumps(two).encode(), data, b"{}")

    values_of = ([VAST, VAST], [-8, 6], [], ["8", 6], None, {}, [8], 2**62, "x" * 9000, True)
    made = [message(first, told | {key: value}) for key in told for value in values_of]
    made += [message(first | {key: value}, told) for key in first for value in values_of]
    made += [
        message(first, told | {"encoding": word})
        for word in ("lz4<", "bs16-lz4<", "bs8-lz4<", "bs64-lz4>", "bs16-lz4", "lz4", ">", "x")
    ]
    made += [message(first, told, data) for data in (b"", values.tobytes()[:-1], values.tobytes() * 2)]
    vast = struct.pack(">QI", 2**62, 8192) + bytes(96)
    made += [message(first, told | {"encoding": "bs16-lz4<", "size": len(vast)}, vast)]
    made += [
        joined(b"[" * MANY, b"{}"),
        joined(b'{"htype": "dimage-1.0", "a": ' + b"[" * MANY, b"{}"),
        joined(json.dumps(first).encode()),
    ]
    made += [
        joined(*[json.dumps(first).encode()] * 64),
        joined(json.dumps(told).encode(), json.dumps(first).encode(), values.tobytes()),
    ]
    start = joined(b"x")[:8]
    made += [
        start,
        start + b"\0" * 4,
        start + b"\xff" * 4,
        start + struct.pack("<IQ", 1, 2**62),
        start + struct.pack("<IQQ", 2, 2**63, 2**63),
    ]
    return made + _seeds_damaged("dectris1") + noise(b'{"htype": "dimage-1.0"')
