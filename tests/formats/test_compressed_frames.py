"""Compressed arrays come out as HDF5's own filters give them; damaged ones are told and touch nothing else."""

import io
import tracemalloc

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggstream.formats.compressed import Decompressor
from braggstream.formats.geom import parse_geometry
from braggstream.formats.hdf5_chunks import ChunkReader, filters_of, is_read_here
from braggstream.kernels.lz4 import framed_lz4, lz4_block
from braggstream.model.errors import FileError, FrameError
from braggstream.model.frame import FileSlot, Frame, Message
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader

FILTERS = {
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bslz4, other blocks": hdf5plugin.Bitshuffle(nelems=512, cname="lz4"),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle only": hdf5plugin.Bitshuffle(cname="none"),
    "lz4": hdf5plugin.LZ4(),
    "lz4, many blocks": hdf5plugin.LZ4(nbytes=1000),
    "zstd": hdf5plugin.Zstd(),
    "blosc": hdf5plugin.Blosc(),
    "blosc zstd": hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.BITSHUFFLE),
    "gzip": {"compression": "gzip"},
    "gzip and more": {"compression": "gzip", "shuffle": True, "fletcher32": True},
}
CHUNKS = {"a frame": (1, 41, 61), "part of a frame": (1, 10, 20), "several frames": (3, 30, 61)}


def frames(dtype, shape=(3, 41, 61)):
    rng = np.random.default_rng(1)
    values = rng.poisson(3.0, shape)
    values[rng.random(shape) < 0.01] = 255
    return values.astype(dtype)


@pytest.mark.parametrize("name", FILTERS)
def test_chunks_come_out_as_hdf5_reads_them(name):
    reader = ChunkReader(Decompressor())
    with h5py.File(io.BytesIO(), "w") as file:
        for dtype in ("u1", "<u2", ">u4", "<i4", "<f4", "<f8", "<u8", "?"):
            for chunks in CHUNKS.values():
                made = file.create_dataset(f"{dtype}{chunks}", data=frames(dtype), chunks=chunks, **FILTERS[name])
                stages = filters_of(made)
                for place in ((1, slice(0, 41), slice(0, 61)), (slice(0, 3), slice(5, 30), slice(7, 8)), (2, 3, 4)):
                    reader._decompressor.room.begin()
                    assert is_read_here(made, place, stages)
                    found = reader.read(made, place, stages)
                    assert found.dtype == made.dtype and np.array_equal(found, made[place])


def test_chunks_that_were_never_written_and_chunks_written_without_their_filter():
    with h5py.File(io.BytesIO(), "w") as file:
        made = file.create_dataset(
            "image", (2, 8, 8), "<u2", chunks=(1, 8, 8), fillvalue=7, **hdf5plugin.Bitshuffle(cname="lz4")
        )
        plain = np.arange(64, dtype="<u2").reshape(8, 8)
        made.id.write_direct_chunk((1, 0, 0), plain.tobytes(), 1)
        reader, whole = ChunkReader(Decompressor()), (slice(0, 8), slice(0, 8))
        stages = filters_of(made)
        with pytest.raises(FileError, match="/image was never written"):
            reader.read(made, (0, *whole), stages)
        assert np.array_equal(reader.read(made, (1, *whole), stages), plain)


def compressed(name, values):
    """One chunk, and the same bytes as HDF5 stores them."""
    with h5py.File(io.BytesIO(), "w") as file:
        made = file.create_dataset("image", data=values, chunks=values.shape, **FILTERS[name])
        return made.id.read_direct_chunk((0,) * values.ndim)[1]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 60), st.sampled_from(["u1", "u2", "u4", "u8"]))
def test_every_content_survives(data, repeats, dtype):
    """Runs, repeats at all distances and noise: what LZ4 makes matches of."""
    content = data * repeats + data[::-1]
    size = np.dtype(dtype).itemsize
    values = np.frombuffer(content[: len(content) // size * size], dtype)
    if not len(values):
        return
    for name in ("bslz4", "lz4, many blocks"):
        found = Decompressor().decode(name[:5].strip(", "), compressed(name, values), values.shape, dtype, what="x")
        assert np.array_equal(found, values)


@pytest.mark.parametrize("name", ["bslz4", "lz4", "lz4, many blocks"])
def test_damage_is_told_at_every_byte(name):
    """Cut at every length, and with every byte of the frame's head and some of the others changed."""
    values = frames("<u4", (40, 60))
    sound = bytes(compressed(name, values))
    algorithm = name[:5].strip(", ")
    decompressor = Decompressor()

    def decode(data):
        decompressor.room.begin()
        return decompressor.decode(algorithm, data, values.shape, "<u4", what="image")

    assert np.array_equal(decode(sound), values)
    for length in range(len(sound)):
        with pytest.raises(FrameError):
            decode(sound[:length])
    rng = np.random.default_rng(2)
    for place in [*range(24), *rng.integers(0, len(sound), 2000)]:
        broken = bytearray(sound)
        broken[place] ^= 1 << int(rng.integers(8))
        try:
            decode(bytes(broken))
        except FrameError as error:
            assert "\n" not in str(error)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 5000))
def test_random_blocks_stay_within_their_arrays(data, size):
    source = np.frombuffer(bytearray(data), np.uint8)
    guarded = np.full(size + 128, 7, np.uint8)
    n_found = lz4_block(source, 0, len(source), guarded[: size + 64], 0, size)
    assert -1 <= n_found <= size
    assert (guarded[size + 64 :] == 7).all()
    exact = np.full(size + 64, 7, np.uint8)
    lz4_block(source, 0, len(source), exact[:size], 0, size)
    framed_lz4(source, exact[:size])
    assert (exact[size:] == 7).all()


@pytest.mark.parametrize("shape", [(1 << 31,), (1 << 20, 1 << 20), (30000, 30000)])
@pytest.mark.parametrize("algorithm", ["bslz4", "lz4", "deflate", "none", "zip"])
def test_shapes_that_lie_take_no_memory(algorithm, shape):
    n_bytes = int(np.prod(shape, dtype=object)) * 4
    data = n_bytes.to_bytes(8, "big") + (8192).to_bytes(4, "big") + bytes(5000)
    tracemalloc.start()
    with pytest.raises(FrameError):
        Decompressor().decode(algorithm, data, shape, "<u4", what="image")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


GEOMETRY = parse_geometry(
    """photon_energy = 9000 eV
clen = 0.1 m
res = 10000
adu_per_photon = 1
data = /image
dim0 = %
dim1 = ss
dim2 = fs
p/min_fs = 0
p/max_fs = 60
p/min_ss = 0
p/max_ss = 40
p/corner_x = 0
p/corner_y = 0
p/fs = x
p/ss = y
"""
)


def test_frames_of_a_file(tmp_path):
    values = frames("<u4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", data=values, chunks=CHUNKS["a frame"], **FILTERS["bslz4"])
    loader = FrameLoader(GEOMETRY, FrameSettings())
    for _ in range(2):
        for number in (2, 0, 1):
            slot = FileSlot(filename=str(tmp_path / "a.h5"), event=f"//{number}", serial=1)
            assert np.array_equal(loader.from_file(slot).panel_pixels(0), values[number])
    loader.close()


STREAMED = parse_geometry(GEOMETRY.text.replace("dim0 = %", "dim0 = 0"))


def file_with(**options):
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        made = written.create_dataset("image", (1, 41, 61), "<u4", chunks=(1, 41, 61), **options)
        made[0] = frames("<u4")[0]
    return file.getvalue()


def load(payload):
    try:
        return FrameLoader(STREAMED, FrameSettings()).from_message(Message(payload=payload, serial=1))
    except FrameError as error:
        assert "\n" not in str(error)
        return error


def test_streamed_files_may_be_compressed_and_damaged():
    rng = np.random.default_rng(3)
    for name in ("bslz4", "zstd", "blosc", "gzip and more", "bszstd"):
        sound = file_with(**FILTERS[name])
        assert np.array_equal(load(sound).panel_pixels(0), frames("<u4")[0])
        start = sound.find(bytes(compressed(name, frames("<u4")[:1])[:64]))
        assert start > 0
        for place in rng.integers(start, start + 400, 60):
            broken = bytearray(sound)
            broken[place] ^= 1 << int(rng.integers(8))
            assert isinstance(load(bytes(broken)), Frame | FrameError)


def test_a_bomb_in_a_streamed_file():
    """Ten thousand times its size, were it decoded."""
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        made = written.create_dataset("image", (1, 41, 61), "<u4", chunks=(1, 41, 61), compression="gzip")
        import zlib

        engine = zlib.compressobj(9)
        bomb = engine.compress(bytes(1 << 24)) + engine.flush()
        made.id.write_direct_chunk((0, 0, 0), bomb)
    payload = file.getvalue()
    tracemalloc.start()
    assert isinstance(load(payload), FrameError)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_one_frame_of_many_in_a_chunk_is_left_to_hdf5_and_its_cache(tmp_path):
    with h5py.File(io.BytesIO(), "w") as file:
        many = file.create_dataset("many", (16, 40, 60), "u2", chunks=(16, 40, 60), **FILTERS["bslz4"])
        tiles = file.create_dataset("tiles", (16, 40, 60), "u2", chunks=(1, 20, 30), **FILTERS["bslz4"])
        place = (3, slice(0, 40), slice(0, 60))
        assert not is_read_here(many, place, filters_of(many), leaves_small=True)
        assert is_read_here(many, place, filters_of(many))
        assert is_read_here(tiles, place, filters_of(tiles), leaves_small=True)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", data=frames("<u4", (6, 41, 61)), chunks=(6, 41, 61), **FILTERS["bslz4"])
    loader = FrameLoader(GEOMETRY, FrameSettings())
    for number in range(6):
        slot = FileSlot(filename=str(tmp_path / "a.h5"), event=f"//{number}", serial=1)
        assert np.array_equal(loader.from_file(slot).panel_pixels(0), frames("<u4", (6, 41, 61))[number])
    loader.close()
