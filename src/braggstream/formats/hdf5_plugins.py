"""Filters of HDF5 that are decoded with the functions of their plugins, outside HDF5's lock and after checks.

A plugin's function takes sizes that the compressed bytes state on trust, so these are compared with what has to
come out first.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.lz4 import DEFAULT_BLOCK_BYTES, HEAD
from braggstream.model.errors import DecodeError

BITSHUFFLE, BLOSC, ZSTD = 32008, 32001, 32015
LIBRARIES = {BLOSC: "libh5blosc", ZSTD: "libh5zstd", BITSHUFFLE: "libh5bshuf"}
REVERSE = 0x100
"""Flag of HDF5's filter functions: decode."""


def decode_by_plugin(code: int, values: tuple[int, ...], data: Any, out: NDArray[np.uint8], *, what: str) -> None:
    """Decode what a filter wrote.

    Parameters
    ----------
    code
        Number of the filter.
    values
        Its parameters.
    data
        The compressed bytes.
    out
        Takes the decoded bytes, exactly as many as it has.
    what
        What the data are called in complaints.

    Raises
    ------
    DecodeError
        The data are damaged, or have another size.
    """
    _check_size(code, values, data, len(out), what=what)
    _by_plugin(code, values, data, out, what=what)


def _check_size(code: int, values: tuple[int, ...], data: Any, n_bytes: int, *, what: str) -> None:
    """Check what the filters' own functions take on trust: the sizes that the compressed bytes state."""
    head = bytes(data[:18])
    stated: int | None = None
    if code == BLOSC and len(head) >= 16:
        stated = int.from_bytes(head[4:8], "little")
        if int.from_bytes(head[12:16], "little") != len(data):
            stated = None
    elif code == ZSTD:
        stated = _zstd_size(head)
    elif code == BITSHUFFLE:
        is_plain = values[4:5] in ((), (0,))
        stated = len(data) if is_plain else _shuffled_size(data)
    if stated != n_bytes:
        raise DecodeError(f"{what}: the compressed bytes state a size of {stated}, expected {n_bytes} bytes")


def _zstd_size(head: bytes) -> int | None:
    """Decoded size that a frame of Zstandard states (RFC 8878, 3.1.1.1); None where it states none."""
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 6:
        return None
    flags = head[4]
    is_single = flags >> 5 & 1
    n_bytes = (is_single, 2, 4, 8)[flags >> 6]
    start = 5 + (1 - is_single) + (0, 1, 2, 4)[flags & 3]
    if not n_bytes or len(head) < start + n_bytes:
        return None
    return int.from_bytes(head[start : start + n_bytes], "little") + (256 if n_bytes == 2 else 0)


def _shuffled_size(data: Any) -> int | None:
    """Decoded size of bitshuffled blocks, whose lengths have to lie within the data; None where they do not."""
    view = memoryview(data)
    if len(view) < HEAD:
        return None
    total, block = int.from_bytes(view[:8], "big"), int.from_bytes(view[8:12], "big") or DEFAULT_BLOCK_BYTES
    at = HEAD
    for _ in range(total // block):
        at += 4 + int.from_bytes(view[at : at + 4], "big")
        if at > len(view):
            return None
    return total


class _FilterClass(ctypes.Structure):
    """What a filter plugin tells of itself (H5Z_class2_t of HDF5)."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("id", ctypes.c_int),
        ("encoder_present", ctypes.c_uint),
        ("decoder_present", ctypes.c_uint),
        ("name", ctypes.c_char_p),
        ("can_apply", ctypes.c_void_p),
        ("set_local", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    )


_FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.c_uint,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_uint),
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.POINTER(ctypes.c_void_p),
)


@cache
def _plugin_function(code: int) -> Callable[..., int]:
    """The filter function of a plugin, as HDF5 itself would call it; ctypes calls it without Python's lock."""
    path = Path(hdf5plugin.__file__).parent / "plugins" / f"{LIBRARIES[code]}.so"
    told = ctypes.CDLL(str(path)).H5PLget_plugin_info
    told.restype = ctypes.POINTER(_FilterClass)
    function: Callable[..., int] = _FUNCTION(told().contents.filter)
    return function


@cache
def _allocator() -> Any:
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    return library


def _by_plugin(code: int, values: tuple[int, ...], data: Any, out: NDArray[np.uint8], *, what: str) -> None:
    """Decode with a plugin's own function, which replaces the buffer that it is given."""
    library, function = _allocator(), _plugin_function(code)
    n_stored = len(data)
    buffer = ctypes.c_void_p(library.malloc(max(1, n_stored)))
    try:
        ctypes.memmove(buffer, np.frombuffer(data, np.uint8).ctypes.data, n_stored)
        size = ctypes.c_size_t(n_stored)
        parameters = (ctypes.c_uint * len(values))(*values)
        n_decoded = function(REVERSE, len(values), parameters, n_stored, ctypes.byref(size), ctypes.byref(buffer))
        if n_decoded != len(out):
            raise DecodeError(f"{what}: the data of filter {code} are damaged")
        ctypes.memmove(out.ctypes.data, buffer, len(out))
    finally:
        library.free(buffer)
