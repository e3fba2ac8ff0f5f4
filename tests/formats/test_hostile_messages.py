"""Whatever comes from a socket is a frame or a `FrameError` with one line of text, and takes little memory."""

import io
import tracemalloc

import h5py
import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from braggstream.formats.events import Event, parse_event
from braggstream.formats.frame_list import parse_entry
from braggstream.formats.geom import parse_geometry
from braggstream.model.errors import FrameError
from braggstream.model.frame import Frame, Message
from braggstream.model.settings import FileSourceSettings, FrameSettings
from braggstream.pipeline.loading import FrameLoader


def panel_lines(name, corner_x=-4):
    """A panel of 8 x 6 pixels."""
    return f"""{name}/min_fs = 0
{name}/max_fs = 7
{name}/min_ss = 0
{name}/max_ss = 5
{name}/corner_x = {corner_x}
{name}/corner_y = -3
{name}/fs = x
{name}/ss = y
"""


COMMON = "res = 10000\nadu_per_photon = 1\n"
FIXED = f"photon_energy = 9000 eV\nclen = 0.1 m\n{COMMON}"
GEOMETRY = parse_geometry(
    f"photon_energy = energy eV\nclen = distance mm\n{COMMON}data = image\npeak_list = peaks\n{panel_lines('p')}"
)
FILE_GEOMETRY = parse_geometry(
    f"photon_energy = /energy eV\nclen = 0.1 m\n{COMMON}data = /image\n{panel_lines('p')}"
)
IMAGE = {"type": "<i4", "shape": [6, 8], "data": np.arange(48, dtype="<i4").tobytes()}
GOOD = {
    "image": IMAGE,
    "energy": 9000.0,
    "distance": 85,
    "peaks": {"fs": [1, 2.5], "ss": [3, 4.5], "intensity": [100, 7]},
    "event_id": "run7_3",
    "serial": 12,
}


def load(payload, geometry=GEOMETRY, **more):
    """Load a message; anything but a frame or a `FrameError` fails the test."""
    loader = FrameLoader(geometry, FrameSettings(load_peaks=geometry is GEOMETRY, **more))
    try:
        return loader.from_message(Message(payload=memoryview(payload), serial=1))
    except FrameError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 600
        return error


def test_a_good_message():
    frame = load(msgpack.packb(GOOD))
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.panel_pixels(0), np.arange(48).reshape(6, 8))
    assert frame.supplied_peaks.fs.tolist() == [1.0, 2.5]
    assert (frame.identity.event, frame.identity.serial, frame.identity.sender_number) == ("run7_3//", 12, 12)
    assert dict(frame.headers) == {"energy": 9000.0, "distance": 85}
    assert frame.detector.average_camera_length == pytest.approx(0.085)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "b1"])
def test_pixels_of_every_type_keep_it(order, kind):
    values = (np.arange(48) % 2 if kind == "b1" else np.arange(48)).astype(np.dtype(order + kind))
    image = {b"type": values.dtype.str, b"shape": [6, 8], b"data": values.tobytes(), b"nd": True, b"kind": b""}
    for pad in range(4):  # The image may begin at any address.
        frame = load(msgpack.packb({"pad": "x" * pad} | GOOD | {"image": image}))
        expected = {"f2": np.float32, "b1": np.uint8}.get(kind, np.dtype(kind))
        assert frame.pixels.dtype == expected
        assert frame.pixels.flags.aligned and frame.pixels.flags.writeable
        assert np.array_equal(frame.panel_pixels(0), values.reshape(6, 8))


def test_stacks_of_panels_and_images_larger_than_the_panels():
    values = np.arange(3 * 10 * 12, dtype="<u2").reshape(3, 10, 12)
    image = {"type": "<u2", "shape": list(values.shape), "data": values.tobytes()}
    panels = "".join(
        f"p{n}/dim0 = {n}\n{panel_lines(f'p{n}', 10 * n)}p{n}/min_fs = {n}\np{n}/max_fs = {n + 7}\n"
        f"p{n}/min_ss = 2\np{n}/max_ss = 7\n"
        for n in (2, 0)
    )
    geometry = parse_geometry(f"{FIXED}data = image\ndim1 = ss\ndim2 = fs\n{panels}")
    frame = load(msgpack.packb({"image": image}), geometry)
    assert np.array_equal(frame.panel_pixels(0), values[2, 2:8, 2:10])
    assert np.array_equal(frame.panel_pixels(1), values[0, 2:8, 0:8])


def test_panels_with_data_of_their_own_need_named_peaks():
    panels = "".join(f"{name}/data = {name}\n{panel_lines(name, x)}" for name, x in (("left", -9), ("right", 1)))
    text = f"{FIXED}peak_list = peaks\n{panels}"
    geometry = parse_geometry(text)
    loader = FrameLoader(geometry, FrameSettings(load_peaks=True))
    message = {"left": IMAGE, "right": IMAGE | {"type": "<f4"}, "peaks": GOOD["peaks"]}
    with pytest.raises(FrameError, match="`panel`"):
        loader.from_message(Message(payload=msgpack.packb(message), serial=1))
    named = message | {"peaks": GOOD["peaks"] | {"panel": ["right", "left"]}, "right": IMAGE}
    frame = loader.from_message(Message(payload=msgpack.packb(named), serial=1))
    assert frame.supplied_peaks.panel == ("right", "left")


@settings(max_examples=300)
@given(st.binary(max_size=400))
@example(b"\x91" * 100000)
@example(b"\x81\xa5image" * 5000)
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xdd\xff\xff\xff\xff" + b"\xc0" * 50)
def test_random_bytes(payload):
    assert isinstance(load(payload), FrameError)


@settings(max_examples=300)
@given(st.data())
def test_damaged_messages(data):
    content = bytearray(msgpack.packb(GOOD))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert isinstance(load(bytes(content[:cut])), Frame | FrameError)


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats()
leaves = st.none() | st.booleans() | numbers | st.text(max_size=9) | st.binary(max_size=9)
keys = st.text(max_size=5) | st.integers(0, 9)
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(GOOD)), junk)
@example("distance", 1.34e157)
@example("energy", 1e300)
@example("energy", 5e-324)
def test_junk_in_place_of_each_entry(key, value):
    assert isinstance(load(msgpack.packb(GOOD | {key: value})), Frame | FrameError)


@settings(max_examples=200)
@given(st.sampled_from(["type", "shape", "data"]), junk)
def test_junk_in_the_image(key, value):
    assert isinstance(load(msgpack.packb(GOOD | {"image": IMAGE | {key: value}})), Frame | FrameError)


@settings(max_examples=200)
@given(st.sampled_from(["fs", "ss", "intensity", "panel"]), junk)
def test_junk_in_the_peak_list(key, value):
    assert isinstance(load(msgpack.packb(GOOD | {"peaks": GOOD["peaks"] | {key: value}})), Frame | FrameError)


def test_names_in_a_message_do_not_steer_the_log():
    """Found by fuzzing: the complaint lists the keys that are there, which are the sender's."""
    error = load(msgpack.packb({"a\nFinal: 7 images": 1, "b" * 100_000: 2}))
    assert isinstance(error, FrameError) and "a?Final" in str(error)


def test_claimed_lengths_take_no_memory():
    claims = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa5image\xc6\xff\xff\xff\xff",
        msgpack.packb(GOOD | {"image": IMAGE | {"shape": [1 << 20, 1 << 20]}}),
        msgpack.packb(GOOD | {"image": IMAGE | {"shape": [2**39] * 8}}),
    ]
    tracemalloc.start()
    for payload in claims:
        assert isinstance(load(payload), FrameError)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5e6


def hdf5_bytes():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["image"] = np.arange(48, dtype=np.uint16).reshape(6, 8)
        file["energy"] = 9000.0
        file["outside"] = h5py.ExternalLink("/etc/passwd", "/x")
        file["way"] = h5py.SoftLink("/outside")
        layout = h5py.VirtualLayout((6, 8), np.uint16)
        layout[:] = h5py.VirtualSource("elsewhere.h5", "d", (6, 8))
        file.create_virtual_dataset("virtual", layout)
        file["claim"] = h5py.Empty("f4")
        file.create_dataset("vast", (1 << 20, 1 << 20), np.uint16, chunks=(64, 64))[:64, :64] = 1
        file["loop"] = h5py.SoftLink("/loop")
    return buffer.getvalue()


HDF5 = hdf5_bytes()


def test_a_good_file_in_a_message():
    frame = load(HDF5, FILE_GEOMETRY)
    assert np.array_equal(frame.panel_pixels(0), np.arange(48).reshape(6, 8))


def test_a_file_that_cannot_be_closed():
    """Found by fuzzing: the superblock leads to a driver's block beyond the end, which only closing finds."""
    damaged = bytearray(HDF5)
    assert damaged[48:56] == b"\xff" * 8
    damaged[51] = 0
    error = load(bytes(damaged), FILE_GEOMETRY)
    assert isinstance(error, FrameError) and error.reason == "decode"
    test_a_good_file_in_a_message()


def test_a_file_whose_root_is_no_group():
    """Found by fuzzing: h5py looks for links in whatever it takes for a group."""
    with h5py.File(io.BytesIO(HDF5)) as file:
        place = h5py.h5o.get_info(file["image"].id).addr
    damaged = bytearray(HDF5)
    damaged[64:72] = place.to_bytes(8, "little")  # The address of the root in the superblock.
    error = load(bytes(damaged), FILE_GEOMETRY)
    assert isinstance(error, FrameError)


@pytest.mark.parametrize("path", ["/outside", "/way", "/virtual", "/claim", "/loop", "/absent", "/image/below"])
def test_ways_out_of_a_message_are_refused(path):
    geometry = parse_geometry(FILE_GEOMETRY.text.replace("data = /image", f"data = {path}"))
    assert isinstance(load(HDF5, geometry), FrameError)


def test_vast_datasets_cost_what_the_panels_need():
    geometry = parse_geometry(FILE_GEOMETRY.text.replace("data = /image", "data = /vast"))
    assert isinstance(load(HDF5, geometry), Frame)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_in_messages(data):
    content = bytearray(HDF5)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert isinstance(load(bytes(content[:cut]), FILE_GEOMETRY, data_format="hdf5"), Frame | FrameError)


@given(st.text(max_size=30))
@example("3")
@example("/3")
@example("//1/")
@example("//-1")
@example("a//b")
def test_events_are_read_or_refused(text):
    try:
        event = parse_event(text)
    except FrameError:
        return
    assert parse_event(str(event)) == event


def test_events():
    assert parse_event("//") == Event()
    assert parse_event("run5/evt_2//40/1") == Event(("run5", "evt_2"), (40, 1))
    assert parse_event("data_000001//100").indices == (100,)
    assert Event(("a", "b%")).fill("/x/%/y/%/z") == "/x/a/y/b%/z"
    with pytest.raises(FrameError, match="0 path parts"):
        Event().fill("/x/%")


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("a b.h5 //3\n", ("/pre/a b.h5", "//3")),
        ("a.h5   run//3/4  \r\n", ("/pre/a.h5", "run//3/4")),
        ("a.h5\t//3\n", ("/pre/a.h5", "//3")),
        ("name with blanks.h5\n", ("/pre/name with blanks.h5", None)),
        ("\n", None),
        ("   \r\n", None),
    ],
)
def test_entries_of_lists(line, entry):
    assert parse_entry(line, FileSourceSettings(list_file="", prefix="/pre/")) == entry
