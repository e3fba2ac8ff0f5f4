"""Global heaps of HDF5 files: the library loops for ever in damaged ones, so each is looked at first."""

import io
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.hdf5_places import FramelessPlace, expand_file
from braggstream.model.errors import FrameError
from braggstream.model.frame import FileSlot, Frame, Message
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader

FIXED = "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"
PANEL = (
    "p/min_fs = 0\np/max_fs = 7\np/min_ss = 0\np/max_ss = 5\np/corner_x = -4\np/corner_y = -3\np/fs = x\np/ss = y\n"
)
ONE = parse_geometry(f"{FIXED}data = /image\n{PANEL}")
STACK = parse_geometry(f"{FIXED}data = /stack\ndim0 = %\ndim1 = ss\ndim2 = fs\n{PANEL}")
IMAGE = np.arange(48, dtype=np.uint16).reshape(6, 8)
TEXT = ("/event_id",)
DAMAGES = {
    "nothing": (0, 0),
    "wraps to nothing": (1, 2**64 - 16),
    "wraps backwards": (1, 2**64 - 48),
    "free space that wraps": (0, 2**64 - 8),
    "beyond the end": (1, 1 << 40),
}
"""Number and size [bytes] of the first object in a heap."""


def sound_file(path):
    """Texts of every kind, a stack, and the stack as a virtual dataset."""
    with h5py.File(path, "w", libver="earliest") as file:
        file["image"], file["stack"] = IMAGE, np.stack([IMAGE, IMAGE + 1])
        file["event_id"] = "run7_3"
        file["texts"] = ["a", "b"]
        file["fixed"] = np.bytes_(b"short")
        layout = h5py.VirtualLayout((2, 6, 8), np.uint16)
        layout[:] = h5py.VirtualSource(".", "stack", (2, 6, 8))
        file.create_virtual_dataset("virtual", layout)
    return path


def heaps(content):
    place = -1
    while (place := content.find(b"GCOL", place + 1)) >= 0:
        yield place


def damaged_file(path, damage):
    """The same with all its heaps damaged."""
    content = bytearray(sound_file(path).read_bytes())
    places = list(heaps(content))
    assert places
    for place in places:
        struct.pack_into("<HHIQ", content, place + 16, DAMAGES[damage][0], 0, 0, DAMAGES[damage][1])
    path.write_bytes(content)
    return path


def load_file(geometry, path, event="//", **settings):
    loader = FrameLoader(geometry, FrameSettings(**settings))
    try:
        return loader.from_file(FileSlot(filename=str(path), event=event, serial=1))
    finally:
        loader.close()


def load_message(geometry, content, **settings):
    return FrameLoader(geometry, FrameSettings(**settings)).from_message(
        Message(payload=memoryview(content), serial=1)
    )


def test_sound_texts_are_read(tmp_path):
    path = sound_file(tmp_path / "sound.h5")
    for frame in (
        load_file(ONE, path, copy_headers=("/event_id", "/fixed")),
        load_message(ONE, path.read_bytes(), copy_headers=("/event_id", "/fixed")),
    ):
        assert frame.headers == (("/event_id", "run7_3"), ("/fixed", "short"))
        assert np.array_equal(frame.panel_pixels(0), IMAGE)
    assert load_file(STACK, path, "//1", copy_headers=("/texts",)).headers == (("/texts", "b"),)
    virtual = parse_geometry(STACK.text.replace("/stack", "/virtual"))
    assert np.array_equal(load_file(virtual, path, "//1").panel_pixels(0), IMAGE + 1)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_text_in_a_damaged_heap_costs_the_text_only(tmp_path, damage):
    path = damaged_file(tmp_path / "damaged.h5", damage)
    for frame in (
        load_file(ONE, path, copy_headers=("/event_id", "/texts", "/fixed")),
        load_message(ONE, path.read_bytes(), copy_headers=("/event_id", "/texts", "/fixed")),
    ):
        assert frame.headers == (("/fixed", "short"),)
        assert np.array_equal(frame.panel_pixels(0), IMAGE)


def test_a_text_that_is_needed_and_lies_in_a_damaged_heap_fails_the_frame(tmp_path):
    path = damaged_file(tmp_path / "damaged.h5", "nothing")
    needed = parse_geometry(ONE.text.replace("9000 eV", "/event_id eV"))
    with pytest.raises(FrameError, match=r"heap at byte [0-9]+ is damaged"):
        load_file(needed, path)
    with pytest.raises(FrameError, match=r"heap at byte [0-9]+ is damaged"):
        load_message(needed, path.read_bytes())


@pytest.mark.parametrize("number", [1, 2])
def test_messages_that_stopped_a_worker(number):
    faults = Path(__file__).parents[3] / "shared/faults"
    if not faults.is_dir():
        pytest.skip("the files are not here")
    geometry = parse_geometry(f"{FIXED}data = detector_data\n{PANEL}")
    content = (faults / f"hangs-{number}.h5").read_bytes()
    frame = load_message(geometry, content, copy_headers=TEXT)
    assert isinstance(frame, Frame) and frame.headers == ()


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_map_of_a_virtual_dataset_lies_in_a_heap_too(tmp_path, damage):
    path = damaged_file(tmp_path / "damaged.h5", damage)
    virtual = parse_geometry(STACK.text.replace("/stack", "/virtual"))
    masked = parse_geometry(STACK.text.replace("dim0", "mask0_data = /virtual\nmask0_badbits = 1\ndim0"))
    for geometry in (virtual, masked):
        with pytest.raises(FrameError, match=r"heap at byte [0-9]+ is damaged"):
            load_file(geometry, path, "//1")
    with pytest.raises(FrameError):
        load_message(parse_geometry(ONE.text.replace("/image", "/virtual")), path.read_bytes())


def test_a_damaged_heap_behind_links(tmp_path):
    damaged_file(tmp_path / "damaged.h5", "nothing")
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["data_1"] = h5py.ExternalLink("damaged.h5", "/virtual")
        file["all"] = h5py.ExternalLink("damaged.h5", "/")
        file["data_2"] = h5py.SoftLink("/all/virtual")
        file["text"] = h5py.SoftLink("/all/event_id")
        file["image"] = IMAGE
    for name in ("/data_1", "/data_2"):
        with pytest.raises(FrameError, match=r"heap at byte [0-9]+ is damaged"):
            load_file(parse_geometry(STACK.text.replace("/stack", name)), tmp_path / "master.h5", "//1")
    assert load_file(ONE, tmp_path / "master.h5", copy_headers=("/text",)).headers == ()


def test_frames_are_not_looked_for_in_a_damaged_heap(tmp_path):
    path = damaged_file(tmp_path / "damaged.h5", "nothing")
    virtual = parse_geometry(STACK.text.replace("/stack", "/virtual"))
    (found,) = expand_file(str(path), virtual)
    assert isinstance(found, FramelessPlace) and "is damaged" in found.complaint


def test_lengths_of_four_bytes(tmp_path):
    """Files may have shorter lengths; their heaps are laid out by them."""
    create = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    create.set_sizes(4, 4)
    path = tmp_path / "short.h5"
    made = h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, fcpl=create)
    with h5py.File(made) as file:
        file["image"] = IMAGE
        file["event_id"] = "run7_3"
    content = bytearray(path.read_bytes())
    assert load_message(ONE, content, copy_headers=TEXT).headers == (("/event_id", "run7_3"),)
    assert load_file(ONE, path, copy_headers=TEXT).headers == (("/event_id", "run7_3"),)
    (place,) = heaps(content)
    head = -(-12 // 8) * 8
    struct.pack_into("<HHII", content, place + head, 0, 0, 0, 0)
    assert load_message(ONE, content, copy_headers=TEXT).headers == ()


def test_many_texts_take_many_heaps(tmp_path):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["image"] = IMAGE
        file["event_id"] = ["x" * n for n in range(1, 1000)]
        file["long"] = "y" * 9000
    found = load_message(ONE, buffer.getvalue(), copy_headers=("/long",))
    assert found.headers == (("/long", "y" * 9000),)
    (tmp_path / "f.h5").write_bytes(buffer.getvalue())
    stacked = parse_geometry(ONE.text)
    assert load_file(stacked, tmp_path / "f.h5", "//700", copy_headers=("/event_id",)).headers == (
        ("/event_id", "x" * 701),
    )
