"""Arrays as NumPy saves them (NEP 1), on disk or as a message; never pickled ones."""

import re
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import DecodeError, MismatchError

START = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000

_DESCR = re.compile(r"'descr'\s*:\s*'([<>|=]?[biuf][0-9]{1,2})'")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([0-9, ]*)\)")


def npy_array(payload: memoryview | bytes) -> NDArray[Any]:
    """View the array; its bytes stay where they are.  Raises `DecodeError` or `MismatchError`."""
    if len(payload) < 10 or bytes(payload[:6]) != START or payload[6] not in (1, 2, 3):
        raise DecodeError("the NPY file does not begin as such files do")
    n_size = 2 if payload[6] == 1 else 4
    start = 8 + n_size
    n_head = int.from_bytes(payload[8:start], "little")
    if n_head > MAX_HEADER_BYTES or start + n_head > len(payload):
        raise DecodeError(f"the NPY file's header has {n_head} bytes, at most {MAX_HEADER_BYTES} are taken")
    head = bytes(payload[start : start + n_head]).decode("latin-1")
    descr, order, shape = (pattern.search(head) for pattern in (_DESCR, _ORDER, _SHAPE))
    if descr is None:
        raise MismatchError("the NPY file holds no plain integers or floats (pickled objects are refused)")
    if order is None or shape is None:
        raise DecodeError("the NPY file's header states no shape")
    return _view(payload[start + n_head :], descr[1], shape[1], is_fortran=order[1] == "True")


MAX_DIGITS = 12
"""Longest number in a shape: also beside a zero, which makes an array of no bytes."""


def _view(data: memoryview | bytes, descr: str, shape: str, *, is_fortran: bool) -> NDArray[Any]:
    try:
        dtype = np.dtype(descr)
    except TypeError:
        raise MismatchError(f"the NPY file holds items of type {descr!r}, expected integers or floats") from None
    words = [word for word in shape.replace(" ", "").split(",") if word]
    if any(len(word) > MAX_DIGITS for word in words):
        raise DecodeError(f"the NPY file has the shape {shape[:80]}, which no array has")
    lengths = tuple(map(int, words))
    if not 1 <= len(lengths) <= 8:
        raise MismatchError(f"the NPY file's array has {len(lengths)} axes, expected two or three")
    n_bytes = prod(lengths) * dtype.itemsize
    if n_bytes > len(data):
        raise DecodeError(f"the NPY file has {len(data)} bytes of data, shape {lengths} needs {n_bytes}")
    array = np.frombuffer(data[:n_bytes], dtype)
    return np.ascontiguousarray(array.reshape(lengths[::-1]).T) if is_fortran else array.reshape(lengths)
