"""MessagePack of old and careless senders: one type for texts and bytes, keys and names of every kind."""

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggstream.formats.frame_parts import frames_in, no_frame
from braggstream.formats.geom import parse_geometry
from braggstream.formats.msgpack_lenient import lenient_item, lenient_map
from braggstream.formats.parts import is_joined, join_parts
from braggstream.model.errors import DecodeError, FrameError, HeaderError
from formats.image_frames import TEXT, assert_shows, load, made

GEOMETRY = parse_geometry("data = image\npeak_list = peaks\n" + TEXT)


IMAGE = {"type": "<i4", "shape": list(made("<i4").shape), "data": made("<i4").tobytes()}


def old(message):
    return msgpack.packb(message, default=msgpack_numpy.encode, use_bin_type=False)


def plain(values, name):
    return {"type": name, "shape": list(values.shape), "data": values.tobytes()}


@pytest.mark.parametrize("dtype", ["<i4", "<u2", "<f4", ">u2"])
def test_images_packed_as_texts(dtype):
    """Bytes that are no UTF-8, and bytes that happen to be."""
    for values in (made(dtype), made(dtype) + 60_000 if dtype != ">u2" else made(dtype)):
        assert_shows(load(old({"image": values}), GEOMETRY), values)
        assert_shows(load(old([{"image": values}, 5]), GEOMETRY), values)


def test_headers_and_peaks_packed_as_texts():
    message = {
        "image": made("<i4"),
        "energy": np.float32(9000.25),
        "flux": np.float64(-1.5e300),
        "note": "äöü",
        "latin": "äöü".encode("latin-1"),
        "peaks": {name: np.array([5.5, 200.25]) for name in ("fs", "ss", "intensity")},
    }
    frame = load(old(message), GEOMETRY, load_peaks=True, copy_headers=tuple(message))
    assert frame.supplied_peaks.fs.tolist() == [5.5, 200.25]
    assert dict(frame.headers) == {"energy": 9000.25, "flux": -1.5e300, "note": "äöü"}


def test_keys_that_are_no_utf_8():
    message = {b"\xff\xfe": 1, b"image": plain(made("<i4"), "<i4"), "energy": 5, 7: 8}
    frame = load(old(message), GEOMETRY, copy_headers=("energy",))
    assert_shows(frame, made("<i4"))
    assert dict(frame.headers) == {"energy": 5}


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "int16", "int32", "int64", "float32", "float64"])
def test_types_by_name(name):
    values = made(name)
    assert_shows(load(msgpack.packb({"image": plain(values, name)}), GEOMETRY), values)
    assert_shows(load(msgpack.packb({"image": plain(values, values.dtype.str)}), GEOMETRY), values)


def test_types_that_are_none():
    for name in ("complex64", "uint12", "float8", "object", "|O", "uint128", "intp", ""):
        assert isinstance(load(msgpack.packb({"image": plain(made("<i4"), name)}), GEOMETRY), FrameError)
    flags = made("<i4") > 3
    assert_shows(load(msgpack.packb({"image": plain(flags, "bool")}), GEOMETRY), flags)


def test_truths_are_headers_but_no_numbers():
    message = {"image": plain(made("<i4"), "<i4"), "shutter": True, "laser": False, "pump": np.bool_(True)}
    packed = msgpack.packb(message, default=msgpack_numpy.encode)
    found = load(packed, GEOMETRY, copy_headers=("shutter", "laser", "pump"))
    assert dict(found.headers) == {"shutter": 1, "laser": 0, "pump": 1}
    assert {type(value) for _, value in found.headers} == {int}
    named = load(
        msgpack.packb(message | {"pump": 1, "serial": True, "event": True, "filename": False}), GEOMETRY
    ).identity
    assert (named.filename, named.event, named.serial, named.sender_number) == ("ZMQdata", "//1", 1, None)
    energy = parse_geometry(GEOMETRY.text.replace("9000 eV", "shutter eV"))
    assert isinstance(load(packed, energy), HeaderError)


def test_all_headers_of_a_message():
    more = {f"motor{number:03}": number for number in range(200)}
    message = {"image": made("<i4"), "energy": np.float32(9000.25), "note": "x", "long": "x" * 1000, "list": [1]}
    packed = msgpack.packb(message | more, default=msgpack_numpy.encode)
    headers = dict(load(packed, GEOMETRY, copy_headers=("long", "all")).headers)
    assert list(headers)[:3] == ["long", "energy", "note"] and headers["motor000"] == 0
    assert len(headers) == 1 + 128
    odd = {"a\nb": 1, "c = d": 2, "asapo/stream": "x", "asapo": {"stream": "y"}, "ok": 3}
    assert load(msgpack.packb(odd | {"image": IMAGE}), GEOMETRY, copy_headers=("all",)).headers == (("ok", 3),)
    assert load(packed, GEOMETRY).headers == ()


FRAME = msgpack.packb({"image": IMAGE})


@pytest.mark.parametrize(
    ("parts", "n_frames", "n_ignored"),
    [
        ([b"a tag, as long as it may be", FRAME], 1, 0),
        ([b"", FRAME, b""], 1, 1),
        ([b"\xff" * 20, FRAME], 1, 1),
        ([FRAME, b'{"number": 1, "more": 2}'], 1, 1),
        ([b'{"a": 1}', b'{"b": 2}', FRAME, FRAME], 2, 1),
        ([b'{"a": 1}', FRAME, b'{"b": 2}', FRAME], 2, 0),
        ([FRAME, b"\xff" * 20, b"a text behind a frame", FRAME], 3, 1),
        ([b"neither the first part", b"nor the second is a frame"], 1, 0),
    ],
)
def test_parts_that_are_frames(parts, n_frames, n_ignored):
    frames, n_others = frames_in([memoryview(part) for part in parts])
    assert (len(frames), n_others) == (n_frames, n_ignored)


def karabo():
    """A train of the bridge: two sources, one with an array in a part of its own."""
    head = {"source": "SPB_DET/x:daq", "content": "msgpack", "metadata": {"timestamp": 1.5}}
    array = {
        "source": "SPB_DET/x:daq",
        "content": "array",
        "path": "image.data",
        "dtype": "uint16",
        "shape": [6, 8],
    }
    data = np.zeros((6, 8), "<u2").tobytes()
    return [msgpack.packb(head), msgpack.packb({"a": 1}), msgpack.packb(array), data]


PSI = [b'{"htype": "array-1.0", "type": "uint16", "shape": [6, 8], "frame": 3}', bytes(96)]
SLS = [b'{"jsonversion": 4, "bitmode": 16, "frameIndex": 3, "detshape": [1, 1], "shape": [8, 6]}', bytes(96)]


@pytest.mark.parametrize(
    ("parts", "name"), [(karabo(), "Karabo's bridge"), (PSI, "array-1.0"), (SLS, "slsDetector")]
)
def test_messages_of_others_are_named(parts, name):
    frames, n_ignored = frames_in([memoryview(part) for part in parts])
    assert len(frames) == 1 and n_ignored == 0 and not no_frame(frames[0])
    for chosen in (None, "msgpack"):
        error = load(frames[0], GEOMETRY, data_format=chosen)
        assert isinstance(error, FrameError) and name in str(error) and "as MessagePack or HDF5" in str(error)


def test_karabo_alone():
    payload = msgpack.packb(
        {"SPB_DET_AGIPD1M-1/DET/0CH0:xtdf": {"metadata": {"timestamp.tid": 5}, "image.data": 1}}
    )
    assert "Karabo's bridge" in str(load(payload, GEOMETRY))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=30,
)


@settings(max_examples=150)
@given(values)
def test_the_lenient_decoder_reads_what_msgpack_writes(value):
    assert lenient_item(msgpack.packb(value)) == value


@settings(max_examples=100)
@given(st.dictionaries(st.text(), values, max_size=5))
def test_members_are_found_without_being_decoded(found):
    members = lenient_map(msgpack.packb(found))
    assert {key: lenient_item(raw) for key, raw in members.items()} == found


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes(data):
    for read in (lenient_item, lenient_map):
        try:
            read(data)
        except DecodeError:
            continue
    for start in (b"\x83", b"{", b"\xa5\x64type", b"\xde\x00\x05"):
        assert isinstance(no_frame(start + data), str)
        frames, _ = frames_in([memoryview(start + data), memoryview(data), memoryview(b"{}")])
        assert all(len(frame) for frame in frames)
        assert isinstance(no_frame(b"".join(join_parts([start + data, b""]))), str)
        assert not is_joined(start + data)
    for claim in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 10_000, b"\x81\xc0" * 5_000):
        with pytest.raises(DecodeError):
            lenient_item(claim)


def test_what_nobody_asked_for_may_be_nested_deeply():
    deep = b"\x81\xa1a" * 5000 + b"\x01"
    whole = msgpack.packb({"image": IMAGE, "x": 0})
    assert whole.endswith(b"\xa1x\x00")
    message = whole[:-1] + deep
    for payload in (message, b"\x91" + message):
        assert_shows(load(payload, GEOMETRY, copy_headers=("x", "all")), made("<i4"))
