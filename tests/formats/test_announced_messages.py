"""What a message service says of a message: names, headers, and that its bytes are not to be had."""

import json

import msgpack
import pytest

from braggstream.formats.announced import STREAM_HEADER, TIME_HEADER, encode_metadata, read_metadata
from braggstream.formats.wire import MessageTask, decode_task, encode
from braggstream.model.errors import DecodeError, FrameError, HeaderError
from braggstream.model.frame import Message, MessageOrigin
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader
from formats.test_hostile_messages import GEOMETRY, GOOD


def load(message, metadata=b"", *, stream="run12", name="processed/run12/f_57.raw", fault="", time=None, **chosen):
    origin = MessageOrigin(stream=stream, number=57, name=name, metadata=metadata, fault=fault, time_s=time)
    loader = FrameLoader(GEOMETRY, FrameSettings(**chosen))
    return loader.from_message(Message(payload=msgpack.packb(message), serial=3, origin=origin))


def test_the_service_decides_the_identity():
    identity = load(GOOD).identity
    assert (identity.filename, identity.event, identity.serial) == ("processed/run12/f_57.raw", "//", 57)
    assert identity.sender_number is None
    assert load(GOOD).headers[-1] == (STREAM_HEADER, "run12")
    assert load(GOOD, stream="a\nb", name="c\nd").headers[-1] == (STREAM_HEADER, "a?b")


def test_the_time_of_the_service_and_all_metadata_are_headers():
    known = b'{"beam": {"flux": 5, "on": true}, "_data_format": "x", "note": "n", "nothing": NaN}'
    headers = load(GOOD, known, time=1763817600.25, copy_headers=("all",), data_format="msgpack").headers
    assert headers[-2:] == ((TIME_HEADER, 1763817600.25), (STREAM_HEADER, "run12"))
    assert {"beam/flux": 5, "beam/on": 1, "note": "n", "event_id": "run7_3"}.items() <= dict(headers).items()
    assert "_data_format" not in dict(headers)


def test_metadata_are_headers_where_the_message_has_none():
    bare = {"image": GOOD["image"], "distance": 85}
    assert load(bare, b'{"energy": 8000.5}').wavelength == pytest.approx(12398.42 / 8000.5, rel=1e-4)
    both = load(GOOD, b'{"energy": 1}', copy_headers=("/beam/flux", "note", "nothing"))
    assert both.wavelength == pytest.approx(12398.42 / 9000, rel=1e-4)
    nested = load(
        GOOD, b'{"beam": {"flux": 5}, "note": "a\\nb"}', copy_headers=("/beam/flux", "note", "beam", "nothing")
    )
    assert nested.headers[-3:-1] == (("/beam/flux", 5), ("note", "a"))


@pytest.mark.parametrize(
    "metadata", [b"", b"{}", b"[]", b"{", b'{"energy": true}', b'{"energy": [1]}', b"[" * 100_000, b"\xff"]
)
def test_metadata_that_do_not_help_fail_the_frame(metadata):
    with pytest.raises(FrameError) as caught:
        load({"image": GOOD["image"], "distance": 85}, metadata)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_missing_bytes_fail_the_frame_with_their_reason():
    with pytest.raises(FrameError, match="no longer in the cache") as caught:
        load(GOOD, fault="its data are no longer in the cache")
    assert caught.value.reason == "data"
    assert not isinstance(caught.value, HeaderError)


def test_metadata_are_bounded():
    assert json.loads(encode_metadata({"a": [1, "x"]})) == {"a": [1, "x"]}
    assert encode_metadata({"a": "x" * (1 << 21)}) == encode_metadata([1]) == b""
    with pytest.raises(DecodeError):
        read_metadata(b'{"a": "' + b"x" * (1 << 21) + b'"}')


def test_origin_crosses_processes():
    origin = MessageOrigin(stream="run 1", number=1 << 40, name="n", metadata=b'{"a": 1}')
    task = MessageTask(serial=1, slot=0, n_bytes=5, origin=origin)
    assert decode_task(encode(task)) == task
