"""Which format a frame is in, told by its first bytes."""

from braggstream.formats import cbf, npy, tiff
from braggstream.formats.announced import MAX_METADATA
from braggstream.formats.dectris import kind_of
from braggstream.formats.dectris_1 import identify_1
from braggstream.formats.hdf5_guard import SIGNATURE
from braggstream.formats.parts import is_joined, split_parts
from braggstream.formats.seedee import is_seedee


def recognize_file(start: bytes) -> str | None:
    """Tell a file's format by its first bytes; None where it is none that is read."""
    for name, beginnings in (
        ("hdf5", (SIGNATURE,)),
        ("cbf", (cbf.GZIP,)),
        ("tiff", tiff.STARTS),
        ("npy", (npy.START,)),
    ):
        if start.startswith(beginnings):
            return name
    return "cbf" if cbf.is_cbf(start) else None


def recognize_message(payload: memoryview | bytes, metadata: bytes = b"") -> str:
    """Tell a message's format by its first bytes and what the service says of it; MessagePack is what is left."""
    if is_seedee(metadata):
        return "seedee"
    if is_joined(payload):
        parts = split_parts(payload)
        if identify_1(parts[0]) is not None:
            return "dectris1"
        return recognize_message(parts[-1], metadata_of(payload))
    if kind_of(payload) is not None:
        return "dectris1" if bytes(payload[:1]) == b"{" else "dectris2"
    return recognize_file(bytes(payload[:16])) or "msgpack"


def metadata_of(payload: memoryview | bytes) -> bytes:
    """Metadata that a sender put into a part of their own, right before the frame; empty where there are none."""
    if not is_joined(payload):
        return b""
    *_, metadata, _ = [memoryview(b""), *split_parts(payload)]
    is_metadata = bytes(metadata[:1]) == b"{" and len(metadata) <= MAX_METADATA and identify_1(metadata) is None
    return bytes(metadata) if is_metadata else b""
