"""Bad messages of each format: each is refused with a line, and costs nobody but itself."""

import io
import zlib

import h5py
import hdf5plugin
import msgpack

from fuzz.corpus_images import bad_cbf, bad_dectris1, bad_dectris2, bad_jungfraujoch, bad_npy, bad_seedee, bad_tiff
from fuzz.corpus_parts import MANY, VAST, damaged, noise
from fuzz.seeds import TARGETS, VALUES

JUNK = [None, True, -1, VAST, 2**64 - 1, 1e308, float("nan"), "", "x" * 5000, b"", b"\xff" * 50, [], {}, [[]] * 50,
        {"type": "<i4"}, {1: 2}, msgpack.ExtType(1, b"x"), "9000 eV\nFinal: 1 images processed"]  # fmt: skip


def bad_msgpack() -> list[bytes]:
    """MessagePack: lengths and shapes that lie, nesting, every key with values of every other type."""
    good = msgpack.unpackb(TARGETS["msgpack"].seeds()[0])
    image = good["image"]
    shapes = [
        [VAST, VAST],
        [2**40] * 8,
        [-6, -8],
        [48],
        [6, 8, 1],
        [0, 0],
        [6.0, 8.0],
        ["6", "8"],
        [1 << 20, 1 << 20],
        [],
    ]
    types = ["O", "<c8", "V4", "<i4,<i4", "<U5", ">i3", "<M8[s]", "i4" * 500, b"\xff", "|S48", 4]
    made = [good | {key: value} for key in good for value in JUNK]
    made += [good | {"image": image | {"shape": shape}} for shape in shapes]
    made += [good | {"image": image | {"type": name}} for name in types]
    made += [
        good | {"image": image | {"data": data}} for data in (b"", image["data"][:-1], image["data"] * 2, "text", 5)
    ]
    made += [good | {"peaks": good["peaks"] | {key: value}} for key in good["peaks"] for value in JUNK]
    made += [{key: value for key, value in good.items() if key != left_out} for left_out in good]
    raw = [
        b"\x91" * MANY,
        b"\x81\xa1a" * MANY,
        b"\x81\x91" * MANY,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 50,
        b"\x81\xa5image\xc6\xff\xff\xff\xff",
        b"\x81\xa5image\xdb\xff\xff\xff\xff",
        b"\xde\xff\xff" + b"\xa1a\xc0" * 500,
        b"\x81\xa5image" * 5000,
        b"\xc1",
        b"\xc7\xff\x01",
        b"\x80\x05K\x01.",
        msgpack.packb([[good]]),
        msgpack.packb([]),
        b"\xdf\x00\x01\x86\xa0" + b"".join(msgpack.packb(f"k{n}") + b"\xc0" for n in range(MANY)),
    ]
    message = msgpack.packb(good)
    return (
        damaged(message, n_cuts=len(message))
        + noise()
        + noise(b"\x86\xa5image")
        + raw
        + list(map(msgpack.packb, made))
    )


def hdf5_file(**more: object) -> bytes:
    """An HDF5 file as a message, with something else in the place of `image`."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file["energy"] = 9000.0
        for name, what in more.items():
            what(file, name)
    return buffer.getvalue()


def _bomb(file: h5py.File, name: str) -> None:
    """A chunk of 192 bytes whose compressed bytes unpack to 128 MiB."""
    dataset = file.create_dataset(name, (6, 8), "i4", chunks=(6, 8), compression="gzip")
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    dataset.id.write_direct_chunk((0, 0), b"".join(packer.compress(zeros) for _ in range(128)) + packer.flush())


def _vast_chunk(file: h5py.File, name: str) -> None:
    """One chunk of 4 GiB, almost."""
    dataset = file.create_dataset(
        name, (1 << 15, 1 << 15), "i4", chunks=(1 << 15, (1 << 15) - 1), compression="gzip"
    )
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    dataset.id.write_direct_chunk((0, 0), b"".join(packer.compress(zeros) for _ in range(16)) + packer.flush())


def _lying(head: bytes, filters: object) -> object:
    def write(file: h5py.File, name: str) -> None:
        dataset = file.create_dataset(name, (6, 8), "i4", chunks=(6, 8), **filters)
        dataset.id.write_direct_chunk((0, 0), head + bytes(100))

    return write


def _nested(file: h5py.File, name: str) -> None:
    group = file
    for _ in range(200):
        group = group.create_group("g")
    group["loop"] = file["/"]
    file[name] = h5py.SoftLink("/" + "g/" * 200 + "loop/" + "g/" * 200 + "loop/image")


def _outside(file: h5py.File, name: str, way: str) -> None:
    """A link that leads through one to another file, which exists."""
    file["g"] = file["/"]
    file["out"] = h5py.ExternalLink("/proc/self/exe", "/")
    file[name] = h5py.SoftLink(way)


def bad_hdf5() -> list[bytes]:
    """HDF5: bombs, vast chunks, sizes that lie to filters, links in circles and out of the file, wrong types."""
    u8, u4be = (lambda n: n.to_bytes(8, "big")), (lambda n: n.to_bytes(4, "big"))
    blosc = (
        bytes([2, 1, 0x11, 4])
        + (192).to_bytes(4, "little")
        + (192).to_bytes(4, "little")
        + (116).to_bytes(4, "little")
    )
    text = h5py.string_dtype()
    writers = {
        "bomb": _bomb,
        "vast chunk": _vast_chunk,
        "bslz4 of 2^62": _lying(u8(2**62) + u4be(8192), hdf5plugin.Bitshuffle()),
        "bslz4 with a vast block": _lying(u8(192) + u4be(8192) + u4be(2**31), hdf5plugin.Bitshuffle()),
        "lz4": _lying(u8(2**62) + u4be(1 << 30), hdf5plugin.LZ4()),
        "zstd": _lying(b"\x28\xb5\x2f\xfd\xe0" + (2**62).to_bytes(8, "little"), hdf5plugin.Zstd()),
        "blosc": _lying(blosc, hdf5plugin.Blosc()),
        "blosc, smaller than its chunk": _lying(
            blosc.replace((192).to_bytes(4, "little"), b"\x08\0\0\0"), hdf5plugin.Blosc()
        ),
        "gzip": _lying(b"\x78\x9c", {"compression": "gzip"}),
        "nested": _nested,
        "outside": lambda file, name: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/x")),
        "outside, after many dots": lambda file, name: _outside(file, name, "/" + "./" * 600 + "out/x"),
        "outside, after many groups": lambda file, name: _outside(file, name, "/" + "g/" * 300 + "out/x"),
        "loop": lambda file, name: file.__setitem__(name, h5py.SoftLink("/image")),
        "group": lambda file, name: file.create_group(name),
        "text": lambda file, name: file.create_dataset(name, (6, 8), text),
        "compound": lambda file, name: file.create_dataset(name, (6, 8), [("a", "i4"), ("b", "f8")]),
        "nothing": lambda file, name: file.create_dataset(name, data=h5py.Empty("f4")),
        "reference": lambda file, name: file.create_dataset(name, (6, 8), h5py.ref_dtype),
        "rank 32": lambda file, name: file.create_dataset(name, (1,) * 32, "u2"),
        "small": lambda file, name: file.create_dataset(name, data=VALUES[:3]),
        "complex": lambda file, name: file.create_dataset(name, data=VALUES * 1j),
    }
    made = [hdf5_file(image=write) for write in writers.values()]
    seeds = TARGETS["hdf5"].seeds()
    broken = [message for seed in seeds for message in damaged(seed, n_cuts=40, n_flips=20)]
    return made + broken + noise(b"\x89HDF\r\n\x1a\n", n=20)


BAD = {
    "msgpack": bad_msgpack,
    "hdf5": bad_hdf5,
    "npy": bad_npy,
    "tiff": bad_tiff,
    "cbf": bad_cbf,
    "seedee": bad_seedee,
    "dectris2": bad_dectris2,
    "dectris1": bad_dectris1,
    "jungfraujoch": bad_jungfraujoch,
}


def good(name: str) -> bytes:
    """A good frame of a format, without a number of its own."""
    seed = TARGETS[name].seeds()[0]
    if name == "msgpack":
        return msgpack.packb({key: value for key, value in msgpack.unpackb(seed).items() if key != "serial"})
    return seed
