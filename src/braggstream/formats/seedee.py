"""Seedee arrays, as PETRA III sends them over ASAP::O: the bytes of an HDF5 chunk, and JSON that describes it.

The official library is not used for reading: it ends the process where a JSON type is not as expected, takes
lengths on trust, and decodes only the first of several LZ4 blocks.  It is what the tests write with.
"""

from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.announced import read_metadata
from braggstream.formats.compressed import Decompressor
from braggstream.model.errors import DecodeError, MismatchError

MEMBER = "_data_format"
"""Member of the message's metadata whose text is the array's own metadata."""
MAX_TEXT = 1 << 16

ALGORITHMS = {0: "none", 1: "deflate", 32004: "lz4", 32008: "bslz4"}
"""Names of compressions by their HDF5 filter numbers."""
SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}


class _Array(msgspec.Struct, frozen=True):
    byteorder: int
    datatype: int
    itemsize: int
    ndims: int
    shape: list[int]
    size: int
    stride: Any


class _Description(msgspec.Struct, frozen=True):
    array: _Array
    compression: int
    compression_opts: Any
    data_format: str
    protocol: str
    version_major: int
    version_minor: int


_DECODER = msgspec.json.Decoder(_Description)


def is_seedee(metadata: bytes) -> bool:
    """Whether a message's metadata say that it is a Seedee array."""
    return MEMBER.encode() in metadata


def seedee_array(payload: memoryview | bytes, metadata: bytes, decompressor: Decompressor) -> NDArray[Any]:
    """Decode an array.

    Parameters
    ----------
    payload
        The message.
    metadata
        The message's metadata: JSON with the member `_data_format`.
    decompressor
        Decodes compressed arrays.

    Raises
    ------
    DecodeError, MismatchError
        One of the two is not as it should be.
    """
    found = _description(metadata)
    dtype, shape = _dtype(found.array), _shape(found.array)
    if found.array.size != prod(shape) * dtype.itemsize:
        raise DecodeError(f"the Seedee array states {found.array.size} bytes, its shape {shape} needs others")
    algorithm = ALGORITHMS.get(found.compression)
    if algorithm is None:
        raise MismatchError(f"the Seedee array has the compression {found.compression}, which is not known")
    if algorithm == "none" and found.compression_opts is not None:
        raise DecodeError("the Seedee array is not compressed, but has options for that")
    if algorithm == "bslz4" and found.compression_opts != [0, 2]:
        raise MismatchError(f"the Seedee array has the options {str(found.compression_opts)[:40]}, expected [0, 2]")
    return decompressor.decode(algorithm, payload, shape, dtype, what="the Seedee array")


def _description(metadata: bytes) -> _Description:
    members = read_metadata(metadata)
    if MEMBER not in members:
        raise DecodeError(f"a Seedee array needs metadata with the member {MEMBER}, as ASAP::O messages have")
    text = members[MEMBER]
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise DecodeError(f"{MEMBER} is no text of at most {MAX_TEXT} characters, expected JSON in a text")
    try:
        found = _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as error:
        raise DecodeError(f"{MEMBER} does not describe a Seedee array: {str(error)[:200]}") from None
    version = (found.version_major, found.version_minor)
    if (found.protocol, found.data_format, *version) != ("seedee", "hdf5_chunk", 1, 0):
        raise MismatchError("the Seedee array is not of protocol seedee, format hdf5_chunk, version 1.0")
    return found


def _dtype(array: _Array) -> np.dtype[Any]:
    kind = chr(array.datatype) if 0 < array.datatype < 128 else "?"
    order = {60: "<", 62: ">"}.get(array.byteorder)
    if order is None or array.itemsize not in SIZES.get(kind, ()):
        raise MismatchError(
            f"the Seedee array's items are of type {array.datatype}, size {array.itemsize}, byte order "
            f"{array.byteorder}: expected bool, integers or floats"
        )
    return np.dtype(f"{order}{kind}{array.itemsize}")


def _shape(array: _Array) -> tuple[int, ...]:
    shape = tuple(array.shape)
    if array.stride is not None or len(shape) != array.ndims or not 1 <= len(shape) <= 8:
        raise MismatchError("the Seedee array is not contiguous, or its rank is not that of its shape")
    if not all(0 < length < 1 << 31 for length in shape):
        raise MismatchError(f"the Seedee array has the shape {str(shape)[:80]}, expected lengths above zero")
    return shape
