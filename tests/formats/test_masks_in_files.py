"""Masks and saturation maps: in the frame's file, in files of their own, in streamed files."""

import h5py
import msgpack
import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.model.errors import FileError, MismatchError
from braggstream.model.frame import FileSlot, Message
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader

PANEL = """p/min_fs = 0
p/max_fs = 31
p/min_ss = 0
p/max_ss = 31
p/corner_x = -16
p/corner_y = -16
p/fs = x
p/ss = y
"""
BEAM = "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\ndata = /d\n"
FRAMES = "dim0 = %\ndim1 = ss\ndim2 = fs\n"
STATIC_MASK = "mask0_data = /m2\nmask0_goodbits = 0\nmask0_badbits = 2\n"


@pytest.fixture
def stack(tmp_path):
    """Three frames, a mask for all, a mask for each, a saturation map."""
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as file:
        file["d"] = np.ones((3, 32, 32), np.uint16)
        shared, each = np.zeros((32, 32), np.uint32), np.zeros((3, 32, 32), np.uint8)
        shared[3, 4] = 2
        each[1, 5, 6] = 1
        file["m2"], file["m3"] = shared, each
        file["sat"] = np.full((32, 32), 7.5, np.float32)
    return path


def bad_pixels(frame):
    return np.argwhere(frame.panel_bad(0)).tolist()


def message():
    return Message(payload=msgpack.packb({"/d": {"type": "<u2", "shape": [32, 32], "data": bytes(2048)}}), serial=3)


def test_masks_for_all_frames_and_for_each(stack):
    geometry = parse_geometry(
        BEAM + FRAMES + STATIC_MASK + "mask1_data = /m3\nmask1_badbits = 1\nsaturation_map = /sat\n" + PANEL
    )
    loader = FrameLoader(geometry, FrameSettings())
    found = []
    for event in ("//0", "//1", "//2"):
        frame = loader.from_file(FileSlot(filename=str(stack), event=event, serial=1))
        assert (frame.saturation == 7.5).all()
        found.append(bad_pixels(frame))
    assert found == [[[3, 4]], [[3, 4], [5, 6]], [[3, 4]]]
    without = FrameLoader(geometry, FrameSettings(load_masks=False))
    assert bad_pixels(without.from_file(FileSlot(filename=str(stack), event="//1", serial=1))) == []


def test_masks_of_streamed_frames_come_from_files_of_their_own(stack):
    own = f"mask0_file = {stack}\n{STATIC_MASK}saturation_map = /sat\nsaturation_map_file = {stack}\n"
    loader = FrameLoader(parse_geometry(BEAM + "dim0 = ss\ndim1 = fs\n" + own + PANEL), FrameSettings())
    for _ in range(2):
        frame = loader.from_message(message())
        assert bad_pixels(frame) == [[3, 4]]
        assert (frame.saturation == 7.5).all()


def test_mask_of_a_streamed_frame_without_a_file_is_an_error_of_the_frame(stack):
    loader = FrameLoader(parse_geometry(BEAM + "dim0 = ss\ndim1 = fs\n" + STATIC_MASK + PANEL), FrameSettings())
    with pytest.raises(MismatchError, match="maskN_file"):
        loader.from_message(message())
    missing = "mask0_file = nowhere.h5\n" + STATIC_MASK
    loader = FrameLoader(parse_geometry(BEAM + "dim0 = ss\ndim1 = fs\n" + missing + PANEL), FrameSettings())
    with pytest.raises(FileError, match=r"nowhere\.h5"):
        loader.from_message(message())


def test_streamed_files_hold_masks_with_and_without_the_frame_axis(stack):
    fixed = "dim0 = 1\ndim1 = ss\ndim2 = fs\n"
    both = STATIC_MASK + "mask1_data = /m3\nmask1_badbits = 1\nsaturation_map = /sat\n"
    loader = FrameLoader(parse_geometry(BEAM + fixed + both + PANEL), FrameSettings())
    frame = loader.from_message(Message(payload=stack.read_bytes(), serial=3))
    assert bad_pixels(frame) == [[3, 4], [5, 6]]
    assert (frame.saturation == 7.5).all()


@pytest.fixture
def channels(tmp_path):
    """Frames of two channels, [n, channel, ss, fs], as FileWriter 2024.2 has them, with masks of every form."""
    path = tmp_path / "channels.h5"
    with h5py.File(path, "w") as file:
        file["d"] = np.ones((3, 2, 32, 32), np.uint16)
        plane = np.zeros((32, 32), np.uint32)
        plane[3, 4] = 2
        file["plane"], file["one"], file["frame_one"] = plane, plane[None], plane[None, None]
        file["both"] = np.stack([np.zeros_like(plane), plane])
        file["float"] = np.where(plane, np.nan, 0).astype(np.float32)
    return path


@pytest.mark.parametrize("name", ["plane", "one", "frame_one", "both", "float"])
@pytest.mark.parametrize("channel", [0, 1])
def test_masks_of_frames_with_channels(channels, name, channel):
    axes = f"dim0 = %\ndim1 = {channel}\ndim2 = ss\ndim3 = fs\n"
    saturation = "" if name == "float" else f"saturation_map = /{name}\n"
    geometry = parse_geometry(BEAM + axes + STATIC_MASK.replace("/m2", f"/{name}") + saturation + PANEL)
    loader = FrameLoader(geometry, FrameSettings())
    for event in ("//0", "//2"):
        frame = loader.from_file(FileSlot(filename=str(channels), event=event, serial=1))
        assert bad_pixels(frame) == ([] if name == "both" and channel == 0 else [[3, 4]])
    loader.close()


@pytest.mark.parametrize("axes", [FRAMES, "dim0 = 0\ndim1 = ss\ndim2 = fs\n"])
def test_masks_with_an_axis_of_length_one(stack, channels, axes):
    """`[1, ss, fs]` holds for all frames; beside an image without that axis too."""
    own = f"mask0_file = {channels}\n" + STATIC_MASK
    for name in ("/one", "/plane", "/frame_one"):
        geometry = parse_geometry(BEAM + axes + own.replace("/m2", name) + PANEL)
        loader = FrameLoader(geometry, FrameSettings())
        for event in ("//0", "//2") if "%" in axes else ("//",):
            assert bad_pixels(loader.from_file(FileSlot(filename=str(stack), event=event, serial=1))) == [[3, 4]]
        loader.close()
    flat = parse_geometry(BEAM + "dim0 = ss\ndim1 = fs\n" + own.replace("/m2", "/one") + PANEL)
    assert bad_pixels(FrameLoader(flat, FrameSettings()).from_message(message())) == [[3, 4]]


def test_mask_of_another_shape_is_refused(stack):
    with h5py.File(stack, "a") as file:
        file["small"] = np.zeros((8, 8), np.uint8)
        file["words"] = np.full((32, 32), b"x")
    for path, what in (("/small", "reaches"), ("/words", "expected numbers"), ("/absent", "no dataset /absent")):
        geometry = parse_geometry(BEAM + FRAMES + STATIC_MASK.replace("/m2", path) + PANEL)
        with pytest.raises(MismatchError, match=what):
            FrameLoader(geometry, FrameSettings()).from_file(FileSlot(filename=str(stack), event="//0", serial=1))
