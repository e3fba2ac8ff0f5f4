"""DECTRIS streams and Jungfraujoch's: what real detectors sent, what other encoders write, and damage."""

import hashlib
import io
import json
from pathlib import Path

import cbor2
import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggstream.formats.cbor import MAX_DEPTH, CborReader, Tagged, decode_cbor
from braggstream.formats.compressed import Decompressor
from braggstream.formats.dectris import kind_of, read_series_message
from braggstream.formats.dectris_geometry import geometry_text, start_geometry
from braggstream.formats.geom import parse_geometry
from braggstream.formats.parts import START, join_parts, refused_parts, split_parts
from braggstream.model.errors import DecodeError, FrameError, UserError
from braggstream.model.frame import Frame
from braggstream.model.geometry import Flag
from braggstream.simulate.series_payloads import bslz4
from formats.image_frames import GEOMETRY, HEIGHT, TEXT, WIDTH, assert_shows, assert_survives, load, made, panel_of

REAL = Path(__file__).parents[3] / "shared" / "real"
needs_real = pytest.mark.skipif(not (REAL / "dectris_stream2").exists(), reason="real messages are not here")


def joined(parts):
    return b"".join(join_parts(parts))


def typed(values, tag, algorithm="bslz4"):
    if algorithm == "none":
        data = values.tobytes()
    elif algorithm == "bszstd":
        data = cbor2.CBORTag(
            56500, ["bszstd", values.itemsize, chunk_of(values, hdf5plugin.Bitshuffle(cname="zstd"))]
        )
    elif algorithm == "lz4":
        data = cbor2.CBORTag(56500, ["lz4", 0, framed_lz4(values)])
    else:
        data = cbor2.CBORTag(56500, ["bslz4", values.itemsize, bslz4(values)])
    return cbor2.CBORTag(40, [list(values.shape), cbor2.CBORTag(tag, data)])


def framed_lz4(values):
    return chunk_of(values, hdf5plugin.LZ4(nbytes=1024))


def chunk_of(values, filters):
    with h5py.File(io.BytesIO(), "w") as file:
        stored = file.create_dataset("x", data=values, chunks=values.shape, **filters)
        return bytes(stored.id.read_direct_chunk((0, 0))[1])


def message(kind, series=3, **values):
    told = {"type": kind, "series_id": series, "series_unique_id": f"S{series}"}
    return cbor2.dumps(cbor2.CBORTag(55799, told | values))


def image(channels, number=4, **more):
    more = {"real_time": [10, 1000], "user_data": {"energy": 9.5}} | more
    return message("image", image_id=number, data=channels, **more)


STATED = {
    "beam_center_x": 30.5,
    "beam_center_y": 20.25,
    "detector_translation": [0.0, 0.0, 0.125],
    "image_size_x": WIDTH,
    "image_size_y": HEIGHT,
    "incident_energy": 12000.0,
    "incident_wavelength": 1.0332,
    "pixel_size_x": 1e-4,
    "pixel_size_y": 1e-4,
    "saturation_value": 50000,
    "number_of_images": 10,
}
MASK = np.zeros((HEIGHT, WIDTH), "<u4")
MASK[10, 10:14] = [1, 2, 4, 1 << 30]


def start(series=3, **more):
    values = STATED | {"channels": ["threshold_1", "threshold_2"]}
    values |= {"pixel_mask": {"threshold_1": typed(MASK, 70), "threshold_2": typed(np.zeros_like(MASK), 70)}}
    return message("start", series, **(values | more))


@needs_real
def test_real_messages_of_version_2():
    """EIGER2 R 500K: three channels, checked against the sums that came with them."""
    told = json.loads((REAL / "dectris_stream2" / "truth.json").read_text())
    here = [entry for entry in told if (REAL / "dectris_stream2" / entry["file"]).exists()]
    assert {entry["type"] for entry in here} == {"image", "end"}
    for entry in here:
        payload = (REAL / "dectris_stream2" / entry["file"]).read_bytes()
        found = read_series_message(payload)
        assert (found.kind, found.series) == (entry["type"], entry["series_id"])
        assert kind_of(payload) == entry["type"]
        for name, channel in entry.get("channels", {}).items():
            pixels = found.arrays[name].decode(Decompressor(), what=name)
            assert list(pixels.shape) == channel["shape"] and pixels.dtype == channel["dtype"]
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == channel["sha256"]
            assert int(pixels.sum(dtype=np.uint64)) == channel["sum"]


@needs_real
def test_a_real_frame_as_it_comes_off_the_wire():
    told = json.loads((REAL / "eiger16m_dark" / "truth.json").read_text())
    data = (REAL / "eiger16m_dark" / "frame_sample").read_bytes()
    pixels = Decompressor().decode("bslz4", data, tuple(told["shape"]), told["dtype"], what="frame")
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == told["sha256"]


@needs_real
def test_real_messages_of_version_1():
    """EIGER2 9M; the images were cut, which has to be told."""
    content = (REAL / "dectris_stream1" / "eiger-small.cbors").read_bytes()
    reader = CborReader(content)
    messages = [reader.item() for _ in range(5)]
    found = read_series_message(joined(messages[0]))
    assert (found.kind, found.series) == ("start", 6)
    assert found.values["photon_energy"] == found.values["incident_energy"] == 8041.0
    assert found.values["image_size_x"] == 3108
    assert [kind_of(joined(parts)) for parts in messages] == ["start", "image", "image", "image", "end"]
    cut = read_series_message(joined(messages[1]))
    assert (cut.series, cut.image) == (6, 0)
    with pytest.raises(DecodeError, match="20000 compressed bytes"):
        cut.arrays["image"].decode(Decompressor(), what="image")
    assert kind_of(bytes(messages[4][0])) == "end"  # A single part, as it comes where nothing joins it.


@pytest.mark.parametrize("algorithm", ["bslz4", "lz4", "none", "bszstd"])
@pytest.mark.parametrize(
    ("dtype", "tag"), [("u1", 64), ("<u2", 69), ("<u4", 70), ("<i4", 78), (">u4", 66), ("<f4", 85), ("<i2", 77)]
)
def test_images_of_every_type(algorithm, dtype, tag):
    payload = image({"threshold_1": typed(made(dtype), tag, algorithm)})
    for chosen in (None, "dectris2", "jungfraujoch"):
        frame = load(payload, data_format=chosen)
        assert_shows(frame, made(dtype))
        assert (frame.identity.filename, frame.identity.event) == ("S3", "//4")


def test_channels_are_chosen_with_data():
    first, second = made("<u4"), made("<u4") + 1
    payload = image({"threshold_1": typed(first, 70), "threshold_2": typed(second, 70)})
    assert_shows(load(payload), first)
    assert_shows(load(payload, parse_geometry("data = threshold_2\n" + TEXT)), second)
    assert "there is no image threshold_3" in str(load(payload, parse_geometry("data = threshold_3\n" + TEXT)))


def test_the_start_message_gives_headers_mask_and_numbers():
    geometry = parse_geometry(
        TEXT.replace("9000 eV", "incident_energy eV").replace("clen = 0.1 m", "clen = detector_distance m")
    )
    payload = image({"threshold_1": typed(made("<u4"), 70)})
    frame = load(payload, geometry, start=start(), copy_headers=("energy", "beam_center_x", "real_time"))
    assert frame.wavelength == pytest.approx(12398.4198 / 12000.0, rel=1e-6)
    assert frame.detector.average_camera_length == pytest.approx(0.125)
    assert {"energy": 9.5, "beam_center_x": 30.5, "real_time": 0.01}.items() <= dict(frame.headers).items()
    assert np.array_equal(frame.panel_bad(0) != 0, panel_of(MASK) != 0)
    assert not load(payload, geometry, start=start(), load_masks=False).panel_bad(0).any()
    assert "did not arrive" in str(load(payload, geometry))
    assert "did not arrive" in str(load(payload, geometry, start=start(series=4)))
    assert_shows(load(payload), made("<u4"))  # A geometry that needs no header needs no start message.


def test_bits_of_the_mask_as_the_geometry_says():
    geometry = parse_geometry(TEXT + "p/mask0_data = /mask\np/mask0_badbits = 0x2\n")
    payload = image({"threshold_1": typed(made("<u4"), 70)})
    bad = load(payload, geometry, start=start()).panel_bad(0)
    assert np.array_equal(bad != 0, panel_of(MASK) == 2)
    assert "no pixel mask" in str(load(payload, geometry, start=start(pixel_mask={})))


def test_a_geometry_is_made_of_the_start_message():
    found = read_series_message(start())
    follows, written = start_geometry(found), parse_geometry(geometry_text(found))
    assert written.beam.is_literal and written.is_static and not follows.is_static
    payload = image({"threshold_1": typed(made("<u4"), 70), "threshold_2": typed(made("<u4"), 70)})
    frames = [load(payload, geometry, start=start()) for geometry in (follows, written)]
    for frame in frames:
        detector = frame.detector
        assert (detector.width.tolist(), detector.height.tolist()) == ([WIDTH], [HEIGHT])
        # The beam hits the detector where the message says.
        corner, fs, ss = detector.poses[0]
        assert np.allclose(corner + 30.5 * fs + 20.25 * ss, [0.0, 0.0, 0.125], atol=1e-12)
        # Seen along the beam the first pixel is at the upper left: x points to the left, y up.
        assert corner[0] > 0 and corner[1] > 0 and fs[0] < 0 and ss[1] < 0
        assert detector.max_adu.tolist() == [49999.0]
    moved = start(beam_center_x=40.5)
    assert np.allclose(load(payload, follows, start=moved).detector.poses[0, 0, 0], 40.5e-4)


@pytest.mark.parametrize(
    "change",
    [{"detector_translation": [0, 0, 0]}, {"pixel_size_x": 0.0}, {"image_size_x": "wide"}, {"pixel_size_y": 2e-4}],
)
def test_a_start_message_that_tells_too_little(change):
    with pytest.raises(UserError, match="the start message"):
        start_geometry(read_series_message(start(**change)))


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("uint8", 255), ("uint16", 65535), ("uint32", 2**32 - 1), ("uint64", 2**64 - 1), ("int32", 2**31 - 1)],
)
def test_the_largest_value_of_the_type_is_no_number_of_photons(dtype, largest):
    """Also where the start message names no value for errors, and where a double has not enough digits for it."""
    begun = start(image_dtype=dtype, channels=["threshold_1"], saturation_value=None, pixel_mask={})
    geometry = start_geometry(read_series_message(begun))
    values = np.zeros((HEIGHT, WIDTH), f"<{np.dtype(dtype).str[1:]}")
    values[3, 4], values[3, 5] = largest, largest - 1
    tag = {"uint8": 64, "uint16": 69, "uint32": 70, "uint64": 71, "int32": 78}[dtype]
    frame = load(image({"threshold_1": typed(values, tag)}), geometry, start=begun)
    assert np.argwhere(frame.panel_bad(0)).tolist() == [[3, 4]]
    stated = parse_geometry(geometry_text(read_series_message(begun))).panels[0].flags
    assert geometry.panels[0].flags == (*stated, Flag(kind="largest", value=0))


def test_a_channel_without_a_mask_has_none():
    begun = start(channels=["a", "b", "c"], pixel_mask={"a": typed(MASK, 70), "b": typed(MASK, 70)})
    for channel, n_bad in (("b", 4), ("c", 0)):
        geometry = parse_geometry(TEXT.replace("p/min_fs", f"data = {channel}\np/min_fs", 1))
        values = np.zeros((HEIGHT, WIDTH), "<u4")
        frame = load(image({name: typed(values, 70) for name in "abc"}), geometry, start=begun)
        assert frame.bad.sum() == n_bad


def version_1(pixels, *, encoding="bs32-lz4<", kind="uint32", data=None, series=3, **more):
    told = {"htype": "dimage_d-1.0", "shape": list(pixels.shape[::-1]), "type": kind, "encoding": encoding}
    data = bslz4(pixels) if data is None else data
    parts = [{"htype": "dimage-1.0", "series": series, "frame": 4, "hash": ""}, told | {"size": len(data)} | more]
    times = {"htype": "dconfig-1.0", "start_time": 1, "stop_time": 2, "real_time": 1}
    return joined([json.dumps(parts[0]).encode(), json.dumps(parts[1]).encode(), data, json.dumps(times).encode()])


def start_1(**more):
    told = {"photon_energy": 12000.0, "detector_distance": 0.125, "beam_center_x": 30.5, "beam_center_y": 20.25}
    told |= {"x_pixel_size": 1e-4, "y_pixel_size": 1e-4, "x_pixels_in_detector": WIDTH, "nimages": 10}
    told |= {"y_pixels_in_detector": HEIGHT, "countrate_correction_count_cutoff": 50000} | more
    flat = {"htype": "dflatfield-1.0", "shape": [WIDTH, HEIGHT], "type": "float32"}
    mask = {"htype": "dpixelmask-1.0", "shape": [WIDTH, HEIGHT], "type": "uint32"}
    head = {"htype": "dheader-1.0", "series": 3, "header_detail": "all"}
    parts = [json.dumps(part).encode() for part in (head, told, flat, mask)]
    return joined([*parts[:3], bytes(4 * WIDTH * HEIGHT), parts[3], MASK.tobytes()])


def test_version_1():
    raw_block = framed_lz4(made("<u4")[:1])[16:]  # One block of LZ4 without a frame, as `lz4<` has it.
    assert_shows(load(version_1(made("<u4"))), made("<u4"))
    assert_shows(
        load(version_1(made("<u2"), encoding="bs16-lz4<", kind="uint16"), data_format="dectris1"), made("<u2")
    )
    plain = version_1(made("<u2"), encoding="<", kind="uint16", data=made("<u2").tobytes())
    assert_shows(load(plain), made("<u2"))
    found = read_series_message(version_1(made("<u4")[:1], encoding="lz4<", data=raw_block))
    assert np.array_equal(found.arrays["image"].decode(Decompressor(), what="x"), made("<u4")[:1])
    geometry = start_geometry(read_series_message(start_1()))
    frame = load(version_1(made("<u4")), geometry, start=start_1())
    assert np.array_equal(frame.panel_bad(0) != 0, MASK != 0)
    assert frame.detector.average_camera_length == pytest.approx(0.125)
    assert (frame.identity.filename, frame.identity.event) == ("series_3", "//4")


def test_spots_of_jungfraujoch_are_peaks():
    spots = [{"x": 3.25, "y": 7.5, "I": 100, "indexed": True}, {"x": 5, "y": 6, "I": 4.5}]
    payload = image({"default": typed(made("<i4"), 78)}, spots=spots)
    peaks = load(payload, load_peaks=True).supplied_peaks
    assert (peaks.fs.tolist(), peaks.ss.tolist(), peaks.intensity.tolist()) == ([3.25, 5], [7.5, 6], [100, 4.5])
    broken = image({"default": typed(made("<i4"), 78)}, spots=[{"x": "far"}])
    assert isinstance(load(broken, load_peaks=True), FrameError)


LIES = {
    "no shape": cbor2.CBORTag(40, [[], cbor2.CBORTag(70, b"")]),
    "vast shape": cbor2.CBORTag(40, [[1 << 31, 1 << 31], cbor2.CBORTag(70, b"1234")]),
    "vast and compressed": cbor2.CBORTag(
        40, [[30000, 30000], cbor2.CBORTag(70, cbor2.CBORTag(56500, ["bslz4", 4, b"\0" * 40]))]
    ),
    "negative shape": cbor2.CBORTag(40, [[-41, -61], cbor2.CBORTag(70, b"")]),
    "shape of texts": cbor2.CBORTag(40, [["41", "61"], cbor2.CBORTag(70, b"")]),
    "no tag": [[HEIGHT, WIDTH], b""],
    "another type": cbor2.CBORTag(40, [[HEIGHT, WIDTH], cbor2.CBORTag(87, b"")]),
    "another compression": cbor2.CBORTag(
        40, [[HEIGHT, WIDTH], cbor2.CBORTag(70, cbor2.CBORTag(56500, ["zip", 4, b""]))]
    ),
    "another item size": cbor2.CBORTag(
        40, [[HEIGHT, WIDTH], cbor2.CBORTag(70, cbor2.CBORTag(56500, ["bslz4", 2, bslz4(made("<u4"))]))]
    ),
    "short": cbor2.CBORTag(40, [[HEIGHT, WIDTH], cbor2.CBORTag(70, b"\0" * 100)]),
    "text for bytes": cbor2.CBORTag(40, [[HEIGHT, WIDTH], cbor2.CBORTag(70, "text")]),
    "nothing": None,
}


@pytest.mark.parametrize("name", LIES)
def test_arrays_that_lie(name):
    assert isinstance(load(image({"threshold_1": LIES[name]})), FrameError)
    assert isinstance(load(image({}) if name == "nothing" else image(LIES[name])), FrameError)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xd9\xd9\xf7" * 50000,  # Tags in tags.
        b"\xa1\x64type" + b"\x81" * 100000,  # Arrays in arrays.
        b"\xbf\x64type" + b"\x9f" * 100000,  # The same, of unknown length.
        b"\xa1\x64type\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x64type",
        b"\xa1\x64type\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x64type\x7f\x61a\x61b\xff",
        b"\xa1\x64type\xd8\x1c\xd8\x1d\x00",  # A value that refers to itself.
        b"\xa1\x64type\x9f" + b"\x00" * 500000 + b"\xff",
        b"\xa1\x01\x02",
        b"\xa1\x64typ\xff\x00",
        message("image"),
        message("image", image_id=-1, data={}),
        message("image", image_id="4", data={}),
        message("begin"),
        message("end"),
        message("start"),
    ],
)
def test_hostile_cbor(payload):
    for chosen in ("dectris2", "jungfraujoch", None):
        assert isinstance(load(payload, data_format=chosen), FrameError)
    kind_of(payload)


def test_nesting_is_bounded():
    deep = cbor2.dumps([[1]])
    assert decode_cbor(deep) == [[1]]
    with pytest.raises(DecodeError, match="nested"):
        decode_cbor(b"\x81" * (MAX_DEPTH + 5) + b"\x00")
    with pytest.raises(DecodeError, match="nested"):
        decode_cbor(b"\xc1" * 1000 + b"\x00")


simple = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | st.text()
nested = st.recursive(
    simple | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def plain(found):
    if isinstance(found, memoryview):
        return bytes(found)
    if isinstance(found, list):
        return [plain(item) for item in found]
    if isinstance(found, dict):
        return {name: plain(item) for name, item in found.items()}
    return found


@settings(max_examples=100, deadline=None)
@given(nested)
def test_what_cbor2_writes_is_read(value):
    assert plain(decode_cbor(cbor2.dumps(value))) == value
    assert plain(decode_cbor(cbor2.dumps(value, canonical=True))) == value


def test_tags_and_floats():
    assert decode_cbor(cbor2.dumps(cbor2.CBORTag(7, [1.5, float("inf")]))) == Tagged(7, [1.5, float("inf")])
    assert decode_cbor(b"\xf9\x3e\x00") == 1.5
    assert decode_cbor(b"\xbf\x61a\x9f\x01\x02\xff\xff") == {"a": [1, 2]}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data):
    for payload in (data, b"\xa1" + data, b"\xd9\xd9\xf7" + data, START + data, b"{" + data):
        kind_of(payload)
        assert isinstance(load(payload), Frame | FrameError)
        assert isinstance(load(image({"threshold_1": typed(made("<u4"), 70)}), start=payload), Frame | FrameError)


HOSTILE_PARTS = [
    START,
    START + b"\xff\xff\xff\x7f",
    START + b"\0\0\0\0",
    START + (2).to_bytes(4, "little") + b"\xff" * 16,
    refused_parts(),
    joined([b"{", b"{}", b""]),
    joined([b"[" * 3000, b"{}", b""]),
    joined([b'{"htype": "dimage-1.0"}', b"{}", b""]),
    joined([b'{"htype": "dimage-1.0", "series": 1, "frame": 1}']),
    joined([b'{"htype": "dimage-1.0", "series": 1, "frame": 1}', b"[" * 100000, b""]),
    joined([b'{"htype": "dseries_end-1.0", "series": 1}']),
    joined([b'{"htype": ["dimage-1.0"], "series": 1e400}', b"{}", b""]),
]


@pytest.mark.parametrize("number", range(len(HOSTILE_PARTS)))
def test_hostile_parts(number):
    for chosen in (None, "dectris1", "seedee", "msgpack"):
        assert isinstance(load(HOSTILE_PARTS[number], data_format=chosen), FrameError)
    kind_of(HOSTILE_PARTS[number])


def test_parts_come_apart_again():
    parts = [b"{}", b"", b"abc"]
    assert [bytes(part) for part in split_parts(joined(parts))] == parts


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1 << 31, 1 << 31]},
        {"shape": [WIDTH, -1]},
        {"type": "float128"},
        {"encoding": "bs16-lz4<"},
        {"type": 5},
    ],
)
def test_version_1_that_lies(change):
    assert isinstance(load(version_1(made("<u4"), **change)), FrameError)


def test_damaged_messages():
    assert_survives(image({"threshold_1": typed(made("<u4"), 70)}))
    assert_survives(version_1(made("<u4")), head=60)
    rng = np.random.default_rng(6)
    payload, sound = image({"threshold_1": typed(made("<u4"), 70)}), start()
    for length in rng.integers(0, len(sound), 100):
        assert isinstance(load(payload, start=sound[:length]), Frame | FrameError)
    for place in [*range(60), *rng.integers(0, len(sound), 200)]:
        broken = bytearray(sound)
        broken[place] = int(rng.integers(256))
        assert isinstance(load(payload, GEOMETRY, start=bytes(broken)), Frame | FrameError)
