"""Numbers as C reads them, checked against the C library itself."""

import ctypes
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braggstream.formats.c_numbers import leading_number, whole_integer, whole_number

libc = ctypes.CDLL(None)
libc.strtod.restype = ctypes.c_double
libc.strtod.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]

number_like = st.text(alphabet="0123456789.+-eExXpPinfaINFAbcty() \t_%", max_size=14)


def c_leading_number(text: str) -> tuple[float, str] | None:
    data = text.encode()
    start = ctypes.c_char_p(data)
    end = ctypes.c_char_p()
    value = libc.strtod(start, ctypes.byref(end))
    rest = end.value or b""
    return None if len(rest) == len(data) else (value, rest.decode())


@given(number_like)
@example("0x1.8p3")
@example("0x")
@example("0x.p1")
@example("-infinity!")
@example("nan(ab_1)z")
@example("1e")
@example("1e+")
@example(".")
@example("  -.5e-3x")
@example("1e999")
@example("-0x1p5000")
def test_agrees_with_the_c_library(text):
    ours, theirs = leading_number(text), c_leading_number(text)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours[1] == theirs[1]
        assert ours[0] == theirs[0] or (math.isnan(ours[0]) and math.isnan(theirs[0]))


def test_whole_number_leaves_nothing_over():
    assert whole_number("9004") == 9004.0
    assert whole_number("9004 ") is None
    assert whole_number("9 keV") is None
    assert whole_number("") is None


@pytest.mark.parametrize(
    ("text", "expected"), [("12", 12), ("-3", -3), ("+4", 4), ("1.5", None), ("", None), ("٣", None)]
)
def test_whole_integer(text, expected):
    assert whole_integer(text) == expected


def test_whole_integer_is_bounded():
    assert whole_integer("9" * 10_000) is None
