"""What detectors and their users put into messages beside what is wanted: it costs itself and nothing else."""

import contextlib
import io
import json

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggstream.formats.cbor import CborReader
from braggstream.formats.dectris import identify, kind_of, read_series_message, read_spots
from braggstream.formats.dectris_geometry import geometry_text, start_geometry
from braggstream.formats.geom import parse_geometry
from braggstream.formats.parts import join_parts
from braggstream.model.errors import DecodeError, UserError
from braggstream.model.frame import Frame, Message, SeriesStart
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.sources.series import frames_of_messages
from formats.image_frames import HEIGHT, TEXT, WIDTH, assert_shows, load, panel_of
from formats.series_messages import STATED, end, image, image_1, made, start, start_1, typed

nested_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

FOLLOWS = parse_geometry(
    TEXT.replace("9000 eV", "incident_energy eV").replace("clen = 0.1 m", "clen = detector_distance m")
)


def joined(parts):
    return b"".join(join_parts(parts))


def nested(depth):
    found = 1
    for _ in range(depth):
        found = {"deeper": found}
    return found


def in_pieces(*pieces):
    """A text of unknown length, as streaming encoders write it."""
    return b"\x7f" + b"".join(cbor2.dumps(piece) for piece in pieces) + b"\xff"


SPOTS = [{"x": 1.0, "y": 2.0, "I": 3.0, **{f"k{n}": n for n in range(12)}} for _ in range(12_000)]
UNWANTED = {
    "long text": "x" * 100_000,
    "many items": list(range(200_000)),
    "many keys": {str(number): number for number in range(120_000)},
    "deep": nested(40),
    "integer keys": {1: 2, 3: {4: 5}},
    "other keys": {b"bytes": 1},
    "undefined": cbor2.undefined,
    "big number": 2**90,
    "broken array": cbor2.CBORTag(40, [["x"], b""]),
    "spots": SPOTS,
}


@pytest.mark.parametrize("where", ["image", "start"])
@pytest.mark.parametrize("name", UNWANTED)
def test_what_nobody_asked_for_costs_nothing(name, where):
    key = "spots" if name == "spots" else "user_data"
    more = {where: {key: UNWANTED[name]}}
    frame = load(
        image(made(), 4, **more.get("image", {})), FOLLOWS, start=start(**more.get("start", {})),
        copy_headers=("image_id", "beam_center_x"),
    )  # fmt: skip
    assert_shows(frame, made())
    assert {"image_id": 4, "beam_center_x": 30.5}.items() <= dict(frame.headers).items()


def test_what_is_asked_for_and_too_much_is_told():
    loader = FrameLoader(FOLLOWS, FrameSettings(copy_headers=("user_data/0",)))
    begun = SeriesStart(payload=start(), number=1)
    payload = image(made(), user_data=nested(40))
    asks = parse_geometry(FOLLOWS.text.replace("incident_energy eV", "deeper/deeper eV"))
    assert "user_data cannot be understood" in str(load(payload, asks, start=start()))
    for _ in range(2):
        assert isinstance(loader.from_message(Message(payload=payload, serial=1, start=begun)), Frame)
    (line,) = loader.remarks.take()
    assert line.startswith("headers in user_data are left out: ") and "nested" in line
    assert loader.missing_headers == ("user_data/0",)


def test_texts_in_pieces_and_keys_that_are_numbers():
    payload = b"\xa5" + b"".join(
        [
            cbor2.dumps("type"), in_pieces("im", "age"),
            cbor2.dumps("series_id"), cbor2.dumps(3),
            cbor2.dumps("image_id"), cbor2.dumps(1),
            cbor2.dumps("user_data"), cbor2.dumps({7: {1: "seven"}}),
            cbor2.dumps("data"), cbor2.dumps({"default": typed(made())}),
        ]
    )  # fmt: skip
    frame = load(payload, copy_headers=("user_data/7/1", "7/1"))
    assert_shows(frame, made())
    assert dict(frame.headers).items() >= {"user_data/7/1": "seven", "7/1": "seven"}.items()


def test_twelve_thousand_spots_are_peaks():
    geometry = parse_geometry("peak_list = spots\n" + TEXT)
    peaks = load(image(made(), spots=UNWANTED["spots"]), geometry, load_peaks=True).supplied_peaks
    assert len(peaks.fs) == 12_000 and set(peaks.intensity.tolist()) == {3.0}
    assert read_spots(memoryview(cbor2.dumps([]))).shape == (3, 0)


@pytest.mark.parametrize("canonical", [True, False])
def test_keys_in_any_order(canonical):
    told = {"type": "image", "series_id": 3, "series_unique_id": "S", "image_id": 4, "data": {"a": typed(made())}}
    payload = cbor2.dumps(dict(reversed(told.items())), canonical=canonical)
    assert kind_of(payload) == "image" and not payload.startswith(b"\xa5\x64type")
    assert_shows(load(payload), made())
    begun = cbor2.dumps({"type": "start", "series_id": 3, "series_unique_id": "S"} | STATED, canonical=True)
    assert identify(begun).kind == "start" and identify(begun).is_of(identify(payload))
    assert load(payload, FOLLOWS, start=begun).detector.average_camera_length == pytest.approx(0.125)


def test_keys_in_the_order_of_the_alphabet():
    """What tells the kind comes behind a thousand spots."""
    told = {"type": "image", "series_id": 3, "image_id": 4, "data": {"a": typed(made())}, "spots": SPOTS[:1000]}
    payload = cbor2.dumps(dict(sorted(told.items())))
    assert identify(payload).kind == "image"
    assert_shows(load(payload, FOLLOWS, start=start()), made())


def test_images_without_a_unique_id_belong_to_the_start_of_their_number():
    named, other = start(3, name="01HB"), start(4, name="01HC")
    assert_shows(load(image(made()), FOLLOWS, start=named), made())
    assert "did not arrive" in str(load(image(made()), FOLLOWS, start=other))
    assert "did not arrive" in str(load(image(made(), name="01HD"), FOLLOWS, start=named))


def test_frames_among_the_messages_of_two_series():
    """As Python's `open_zmq` gets them."""
    messages = [start(1), start(2), image(made(), 0, series=1), b"alive", image(made(), 0, series=2)]
    messages += [cbor2.dumps({"type": "heartbeat"}), end(1), image(made(), 1, series=3)]
    found = list(frames_of_messages(memoryview(message) for message in messages))
    assert [message.serial for message in found] == [1, 2, 3]
    begun = [message.start and read_series_message(message.start.payload).series for message in found]
    assert begun == [1, 2, None]


def test_arrays_with_the_first_axis_fastest():
    told = {"type": "image", "series_id": 3, "image_id": 0, "data": {"a": typed(made(), order=1040)}}
    assert_shows(load(cbor2.dumps(told)), made())


def test_json_in_front_of_a_frame():
    """A tag, or what a site says of its frames: its members are headers of any format."""
    tag = json.dumps({"topic": "detector", "flux": {"mean": 1.5}}).encode()
    buffer = io.BytesIO()
    np.save(buffer, made())
    for payload in (image(made(), 4), buffer.getvalue()):
        frame = load(joined([tag, payload]), copy_headers=("flux/mean", "topic"))
        assert_shows(frame, made())
        assert {"flux/mean": 1.5, "topic": "detector"}.items() <= dict(frame.headers).items()
    assert kind_of(joined([tag, start()])) == "start"
    assert read_series_message(joined([tag, end()])).kind == "end"


def test_masks_for_some_channels_only():
    mask = np.zeros((HEIGHT, WIDTH), "<u4")
    mask[10, 10:14] = 1
    one, two = {"t1": typed(mask)}, {"t1": typed(mask), "t2": typed(mask)}
    payload = cbor2.dumps(
        {"type": "image", "series_id": 3, "image_id": 0, "data": dict.fromkeys(("t1", "diff"), typed(made()))}
    )
    difference = parse_geometry("data = diff\n" + TEXT)
    assert np.array_equal(load(payload, difference, start=start(pixel_mask=one)).panel_bad(0), panel_of(mask))
    loader = FrameLoader(difference, FrameSettings())
    begun = SeriesStart(payload=start(pixel_mask=two), number=1)
    for _ in range(2):
        frame = loader.from_message(Message(payload=payload, serial=1, start=begun))
        assert not frame.panel_bad(0).any()
    (line,) = loader.remarks.take()
    assert "no pixel mask for channel diff" in line
    wants = parse_geometry("data = diff\n" + TEXT + "p/mask0_data = /mask\np/mask0_badbits = 1\n")
    assert "there is no pixel mask diff" in str(load(payload, wants, start=begun.payload))


@pytest.mark.parametrize("broken", [cbor2.CBORTag(40, [["x"], b""]), None, 5])
def test_a_mask_that_is_broken_fails_frames_that_want_it_only(broken):
    begun = start(pixel_mask={"default": broken})
    assert_shows(load(image(made()), FOLLOWS, start=begun, load_masks=False), made())
    assert "pixel_mask" in str(load(image(made()), FOLLOWS, start=begun))


def test_a_channel_that_is_broken_fails_frames_that_want_it_only():
    told = {"type": "image", "series_id": 3, "image_id": 0, "data": {"a": typed(made()), "b": "nothing"}}
    assert_shows(load(cbor2.dumps(told)), made())
    assert "'b'" in str(load(cbor2.dumps(told), parse_geometry("data = b\n" + TEXT)))


@settings(max_examples=150)
@given(st.lists(nested_values, min_size=1, max_size=3))
def test_any_item_is_passed_over_whole(found):
    content = b"".join(cbor2.dumps(item) for item in found) + b"\x18\x2a"
    reader = CborReader(content)
    reader.skip(len(found))
    assert reader.item() == 42
    loose = CborReader(b"\x9f" + content + b"\xff\xbf\x61a\x5f\x41b\xff\xff\x07")
    loose.skip()
    loose.skip()
    assert loose.item() == 7
    with pytest.raises(DecodeError):
        CborReader(content[:-2]).skip(len(found) + 1)


@settings(max_examples=200)
@given(st.binary(max_size=100))
def test_random_bytes_are_passed_over_or_refused(data):
    with contextlib.suppress(DecodeError):
        CborReader(data).skip()
    with pytest.raises(DecodeError, match="too many items"):
        CborReader(b"\x80" * 50, skips=10).skip(50)


# ---- version 1 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", ["none", "basic"])
@pytest.mark.parametrize("appendix", [b'{"sample": "lyso", "energy": 9.5}', b"as the user likes"])
def test_appendices_of_header_and_image(detail, appendix):
    begun = joined(start_1(detail=detail, appendix=appendix))
    found = read_series_message(begun)
    assert found.kind == "start"
    assert found.values.get("photon_energy") == (None if detail == "none" else 12000.0)
    names = ("sample", "user_data") if appendix[:1] == b"{" else ("user_data",)
    frame = load(joined(image_1(made())), start=begun, copy_headers=names)
    assert_shows(frame, made())
    wanted = {"sample": "lyso"} if appendix[:1] == b"{" else {"user_data": "as the user likes"}
    assert wanted.items() <= dict(frame.headers).items()
    own = load(joined(image_1(made(), appendix=b'{"sample": "thau"}')), start=begun, copy_headers=("sample",))
    assert dict(own.headers)["sample"] == "thau"


def test_numbers_that_json_does_not_have():
    """Python writes them, and detectors that do not know a value."""
    begun = joined(start_1(phi_start=float("nan"), two_theta_start=float("inf")))
    geometry = start_geometry(read_series_message(begun))
    frame = load(joined(image_1(made())), geometry, start=begun)
    assert frame.detector.average_camera_length == pytest.approx(0.125)
    unknown = joined(start_1(detector_distance=float("nan")))
    assert "expected a finite number" in str(load(joined(image_1(made())), geometry, start=unknown))
    with pytest.raises(UserError, match="detector distance"):
        start_geometry(read_series_message(unknown))


def test_times_that_are_broken_cost_themselves():
    assert_shows(load(joined(image_1(made(), config=b"{broken"))), made())
    assert dict(load(joined(image_1(made())), copy_headers=("start_time",)).headers)["start_time"] == 7


# ---- geometries that are made of a start message ----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4", "<u8", "<i4"])
@pytest.mark.parametrize("stated", [True, False])
def test_the_largest_value_of_the_type_is_no_count(dtype, stated):
    values = made(dtype)
    values[5, 6] = np.iinfo(dtype).max
    values[5, 7] = np.iinfo(dtype).max - 1
    begun = start(image_dtype=np.dtype(dtype).name) if stated else start()
    found = read_series_message(begun)
    frame = load(image(values), start_geometry(found), start=begun)
    assert np.argwhere(frame.panel_bad(0)).tolist() == [[5, 6]]
    if stated:
        written = parse_geometry(geometry_text(found))
        assert np.argwhere(load(image(values), written, start=begun).panel_bad(0)).tolist() == [[5, 6]]


def test_depths_of_bits_of_version_1_and_jungfraujoch():
    assert "flag_equal = 65535\n" in geometry_text(read_series_message(joined(start_1(bit_depth_image=16))))
    assert "flag_equal = 4294967295\n" in geometry_text(read_series_message(start(bit_depth_image=32)))
    signed = geometry_text(read_series_message(start(bit_depth_image=32, pixel_signed=True, error_value=-(2**31))))
    assert "flag_equal = -2147483648\n" in signed and "4294967295" not in signed


@pytest.mark.parametrize("value", ["18446744073709551615", "1.8446744073709552e19"])
def test_flags_of_64_bits(value):
    values = made("<u8")
    values[8, 9] = 2**64 - 1
    values[8, 10] = 2**53 + 1
    bad = load(image(values), parse_geometry(TEXT + f"p/flag_equal = {value}\n")).panel_bad(0)
    assert np.argwhere(bad).tolist() == [[7, 7]]
    exact = parse_geometry(TEXT + f"p/flag_equal = {2**53 + 1}\np/flag_morethan = {2**64 - 2}\n")
    assert np.argwhere(load(image(values), exact).panel_bad(0)).tolist() == [[7, 7], [7, 8]]


def test_images_of_another_size_than_the_geometry_was_made_for():
    """Also larger ones, of which the panel would show a part."""
    geometry = start_geometry(read_series_message(start()))
    for shape in ((HEIGHT * 2, WIDTH * 2), (HEIGHT // 2, WIDTH // 2)):
        error = load(image(np.zeros(shape, "<u2")), geometry, start=start())
        assert f"has {shape[1]} x {shape[0]} pixels" in str(error) and "new session" in str(error)
    assert_shows(load(image(made()), start=start()), made())
