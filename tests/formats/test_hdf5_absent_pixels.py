"""Pixels that were never written, or whose source is missing, are no blank frames: the frame fails and says why."""

import subprocess
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.hdf5_presence import Presence, read_array
from braggstream.model.errors import FileError, FrameError, HeaderError
from braggstream.model.frame import FileSlot, Message
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader

PANEL = (
    "p/min_fs = 0\np/max_fs = 7\np/min_ss = 0\np/max_ss = 5\np/corner_x = -4\np/corner_y = -3\np/fs = x\np/ss = y\n"
)
AXES = "dim0 = %\ndim1 = ss\ndim2 = fs\n"
FRAMES = np.arange(192, dtype=np.uint16).reshape(4, 6, 8)
FILTERS = {
    "plain": {},
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "deflate": {"compression": "gzip"},
    "lzf": {"compression": "lzf"},
}
CHUNKS = {"a frame": (1, 6, 8), "tiles": (1, 2, 2), "all frames": (4, 6, 8), "two frames": (2, 6, 8)}


def geometry(data="/data", axes=AXES, more="", energy="9000 eV"):
    return parse_geometry(
        f"photon_energy = {energy}\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"
        f"data = {data}\n{axes}{more}{PANEL}"
    )


def load(path, number, chosen=None, loader=None, **settings):
    own = loader or FrameLoader(chosen or geometry(), FrameSettings(**settings))
    try:
        return own.from_file(FileSlot(filename=str(path), event=f"//{number}", serial=1)).panel_pixels(0).copy()
    finally:
        if loader is None:
            own.close()


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("chunks", ["a frame", "tiles", "two frames"])
def test_chunks_that_were_never_written(tmp_path, chunks, filters):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("data", FRAMES.shape, np.uint16, chunks=CHUNKS[chunks], **FILTERS[filters])
        made[:2] = FRAMES[:2]
        if chunks == "tiles":
            made[2, :2] = FRAMES[2, :2]  # A part of a frame is no frame.
    assert np.array_equal(load(path, 1), FRAMES[1])
    for number in (2, 3):
        with pytest.raises(FileError, match=rf"f\.h5: chunk \([2{number}], .*of /data was never written"):
            load(path, number)


def test_frames_written_as_fill_values_are_frames(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        for name, chunks in (("a", (1, 6, 8)), ("b", None), ("c", (1, 2, 2))):
            file.create_dataset(name, FRAMES.shape, np.uint16, chunks=chunks)[:] = 0
    for name in "abc":
        assert not load(path, 3, geometry(f"/{name}")).any()


def test_storage_that_was_never_allocated(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", FRAMES.shape, np.uint16)
        file["sound"] = FRAMES
        file.create_dataset("mask", (6, 8), np.uint8)
        file.create_dataset("masks", FRAMES.shape, np.uint8, chunks=(1, 6, 8))[1] = 0
        file.create_dataset("energies", (4,), np.float64, chunks=(1,))[1] = 9000
    with pytest.raises(FileError, match="/data was never written"):
        load(path, 0)
    with pytest.raises(FileError, match="/mask was never written"):
        load(path, 0, geometry("/sound", more="mask0_data = /mask\nmask0_badbits = 1\n"))
    own = geometry("/sound", more="mask0_data = /masks\nmask0_badbits = 1\n")
    assert np.array_equal(load(path, 1, own), FRAMES[1])
    with pytest.raises(FileError, match="of /masks was never written"):
        load(path, 2, own)
    assert np.array_equal(load(path, 1, geometry("/sound", energy="/energies eV")), FRAMES[1])
    with pytest.raises((FileError, HeaderError), match="never written"):
        load(path, 2, geometry("/sound", energy="/energies eV"))
    content = path.read_bytes()
    with pytest.raises(FileError, match="the message: /data was never written"):
        FrameLoader(geometry(axes=AXES.replace("%", "0")), FrameSettings()).from_message(
            Message(payload=content, serial=1)
        )


def test_external_storage(tmp_path):
    raw = tmp_path / "pixels.bin"
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("data", data=FRAMES, external=[(str(raw), 0, FRAMES.nbytes)])
    assert np.array_equal(load(tmp_path / "f.h5", 2), FRAMES[2])
    raw.write_bytes(raw.read_bytes()[:100])
    with pytest.raises(FileError, match=r"pixels\.bin, which has 100 bytes only"):
        load(tmp_path / "f.h5", 2)
    raw.unlink()
    with pytest.raises(FileError, match=r"pixels\.bin, which is missing"):
        load(tmp_path / "f.h5", 2)


def virtual_file(folder, n_files=2, n_frames=2, **options):
    """A master whose frames lie in files beside it, as EIGER's file writer and the EuXFEL have them."""
    layout = h5py.VirtualLayout((n_files * n_frames, 6, 8), np.uint16)
    for number in range(n_files):
        part = FRAMES[number * n_frames : (number + 1) * n_frames]
        with h5py.File(folder / f"data_{number}.h5", "w") as file:
            file.create_dataset("entry/data", data=part, **options)
        source = h5py.VirtualSource(f"data_{number}.h5", "entry/data", part.shape)
        layout[number * n_frames : (number + 1) * n_frames] = source
    with h5py.File(folder / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return folder / "master.h5"


def test_sources_of_virtual_datasets(tmp_path):
    path = virtual_file(tmp_path)
    assert all(np.array_equal(load(path, number), FRAMES[number]) for number in range(4))
    (tmp_path / "data_1.h5").rename(tmp_path / "away")
    loader = FrameLoader(geometry(), FrameSettings())
    assert np.array_equal(load(path, 1, loader=loader), FRAMES[1])
    for number in (2, 3):
        with pytest.raises(FileError, match=r"master\.h5: /data lacks its source: .*data_1\.h5: no such file"):
            load(path, number, loader=loader)
    (tmp_path / "away").rename(tmp_path / "data_1.h5")  # It was late.
    assert np.array_equal(load(path, 2, loader=loader), FRAMES[2])
    loader.close()


@pytest.mark.parametrize("fault", ["truncated", "another dataset", "too short", "never written"])
def test_faulty_sources_of_virtual_datasets(tmp_path, fault):
    path = virtual_file(tmp_path)
    source = tmp_path / "data_1.h5"
    if fault == "truncated":
        source.write_bytes(source.read_bytes()[:600])
    else:
        with h5py.File(source, "w") as file:
            if fault == "another dataset":
                file["entry/pixels"] = FRAMES[:2]
            elif fault == "too short":
                file["entry/data"] = FRAMES[2:3]
            else:
                file.create_dataset("entry/data", (2, 6, 8), np.uint16, chunks=(1, 6, 8))[0] = FRAMES[2]
    assert np.array_equal(load(path, 1), FRAMES[1])
    if fault == "never written":
        assert np.array_equal(load(path, 2), FRAMES[2])
    with pytest.raises(FileError, match=r"lacks its source: .*data_1\.h5"):
        load(path, 3)


def test_gaps_between_modules_are_no_absent_pixels(tmp_path):
    with h5py.File(tmp_path / "modules.h5", "w") as file:
        file["a"], file["b"] = FRAMES[:, :2], FRAMES[:, 4:]
    layout = h5py.VirtualLayout((4, 6, 8), np.uint16)
    layout[:, :2], layout[:, 4:] = (h5py.VirtualSource("modules.h5", name, (4, 2, 8)) for name in ("a", "b"))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_virtual_dataset("data", layout, fillvalue=9)
    expected = FRAMES[3].copy()
    expected[2:4] = 9
    assert np.array_equal(load(tmp_path / "f.h5", 3), expected)


def test_interleaved_sources_and_single_frames(tmp_path):
    """Frames of two writers take turns; other frames are files of their own; one source is in the same file."""
    layout = h5py.VirtualLayout((8, 6, 8), np.uint16)
    for number in range(2):
        with h5py.File(tmp_path / f"w{number}.h5", "w") as file:
            file["d"] = FRAMES[number:4:2]
        layout[number:4:2] = h5py.VirtualSource(f"w{number}.h5", "d", (2, 6, 8))
    for number in (4, 5):
        with h5py.File(tmp_path / f"s{number}.h5", "w") as file:
            file["d"] = FRAMES[number - 4]
        layout[number] = h5py.VirtualSource(f"s{number}.h5", "d", (6, 8))
    layout[6:] = h5py.VirtualSource(".", "own", (2, 6, 8))
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
        file["own"] = FRAMES[2:]
    path = tmp_path / "f.h5"
    order = [0, 1, 2, 3, 0, 1, 2, 3]
    assert all(np.array_equal(load(path, n), FRAMES[kind]) for n, kind in enumerate(order))
    (tmp_path / "w1.h5").unlink()
    (tmp_path / "s4.h5").unlink()
    for number in (0, 2, 5, 6, 7):
        assert np.array_equal(load(path, number), FRAMES[order[number]])
    for number in (1, 3, 4):
        with pytest.raises(FileError, match="no such file"):
            load(path, number)


def test_files_that_are_numbered_by_block(tmp_path):
    """A virtual dataset without end takes block after block from files that a number tells apart."""
    for number in (0, 1, 3):
        with h5py.File(tmp_path / f"b{number}.h5", "w") as file:
            file["d"] = FRAMES[number : number + 1]
    space = h5py.h5s.create_simple((4, 6, 8), (h5py.h5s.UNLIMITED, 6, 8))
    space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 6, 8), (1, 6, 8))
    source = h5py.h5s.create_simple((1, 6, 8))
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_virtual(space, b"b%b.h5", b"d", source)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, create)
    with h5py.File(tmp_path / "f.h5") as file:
        n_frames = file["data"].shape[0]
    for number in range(n_frames):
        if number == 2:
            with pytest.raises(FileError, match=r"b2\.h5: no such file"):
                load(tmp_path / "f.h5", number)
        else:
            assert np.array_equal(load(tmp_path / "f.h5", number), FRAMES[number])


def test_virtual_datasets_of_virtual_datasets(tmp_path):
    inner = virtual_file(tmp_path)
    layout = h5py.VirtualLayout((2, 6, 8), np.uint16)
    layout[:] = h5py.VirtualSource(inner.name, "data", (4, 6, 8))[1:3]
    with h5py.File(tmp_path / "outer.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
        loop = h5py.VirtualLayout((1, 6, 8), np.uint16)
        loop[:] = h5py.VirtualSource("outer.h5", "loop", (1, 6, 8))
        file.create_virtual_dataset("loop", loop)
    assert np.array_equal(load(tmp_path / "outer.h5", 1), FRAMES[2])
    (tmp_path / "data_1.h5").unlink()
    assert np.array_equal(load(tmp_path / "outer.h5", 0), FRAMES[1])
    with pytest.raises(FileError, match=r"data_1\.h5: no such file"):
        load(tmp_path / "outer.h5", 1)


def test_links_to_files_with_datasets_of_one_name(tmp_path):
    """What is known of one file's dataset is not taken for another's."""
    for number, n_written in ((1, 4), (2, 2)):
        with h5py.File(tmp_path / f"data_{number}.h5", "w") as file:
            made = file.create_dataset("entry/data", FRAMES.shape, np.uint16, chunks=(1, 2, 2))
            made[:n_written] = FRAMES[:n_written]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for number in (1, 2):
            file[f"d{number}"] = h5py.ExternalLink(f"data_{number}.h5", "entry/data")
    loader = FrameLoader(geometry("/d%"[:2] + "%"), FrameSettings())
    loader.close()
    with h5py.File(tmp_path / "f.h5") as file:
        presence = Presence()
        assert np.array_equal(read_array(file["d1"], (3, slice(0, 6), slice(0, 8)), presence), FRAMES[3])
        with pytest.raises(FileError, match=r"data_2\.h5: chunk"):
            read_array(file["d2"], (3, slice(0, 6), slice(0, 8)), presence)
        presence.close()


WRITER = """
import sys
import h5py, numpy as np
with h5py.File(sys.argv[1], "w", libver="latest") as file:
    growing = {"chunks": (1, 6, 8), "maxshape": (None, 6, 8)}
    made = file.create_dataset("data", (1, 6, 8), np.uint16, **growing, **eval(sys.argv[2]))
    file.swmr_mode = True
    for line in sys.stdin:
        made.resize((int(line.split()[0]), 6, 8))
        for number in map(int, line.split()[1:]):
            made[number] = np.arange(48).reshape(6, 8) + 48 * number
        made.flush()
        file.flush()
        print("done", flush=True)
"""


@pytest.mark.parametrize("filters", ["plain", "deflate"])
def test_a_file_that_grows_while_it_is_read(tmp_path, filters):
    """A frame that a writer has announced by the length and not written yet is no blank frame (SWMR)."""
    path = tmp_path / "f.h5"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), repr(FILTERS[filters])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def write(line):
        writer.stdin.write(line + "\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "done\n"

    loader = FrameLoader(geometry(), FrameSettings())
    try:
        write("2 0")
        assert np.array_equal(load(path, 0, loader=loader), FRAMES[0])
        with pytest.raises(FileError, match="never written"):
            load(path, 1, loader=loader)
        write("4 1 2")
        assert np.array_equal(load(path, 2, loader=loader), FRAMES[2])
        assert np.array_equal(load(path, 1, loader=loader), FRAMES[1])
        with pytest.raises(FileError, match="never written"):
            load(path, 3, loader=loader)
        with pytest.raises(FrameError, match="reaches"):
            load(path, 4, loader=loader)
    finally:
        loader.close()
        writer.communicate()
    assert np.array_equal(load(path, 2), FRAMES[2])
