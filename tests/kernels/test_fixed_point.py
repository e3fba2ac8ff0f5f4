"""Numbers as text, digit for digit as Python's formatting, which is C's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.kernels.fixed_point import LONGEST, write_table

NAMES = ["p0", "a_longer_name", "é"]


def written(rows, layout, panels):
    columns = np.ascontiguousarray(np.array(rows, float).T)
    encoded = [name.encode() for name in NAMES]
    lengths = np.array([len(name) for name in encoded])
    names = np.zeros((3, lengths.max()), np.uint8)
    for number, name in enumerate(encoded):
        names[number, : len(name)] = list(name)
    out = np.empty(len(rows) * (len(columns) * (LONGEST + 9) + 30), np.uint8)
    n = write_table(columns, np.array(layout), np.array(panels, np.int32), names, lengths, out)
    return None if n < 0 else out[:n].tobytes().decode()


def one(value, width=10, decimals=2):
    return written([[value]], [[0, width, decimals], [1, 0, 0]], [0])


TIES = [
    0.125,
    0.375,
    0.005,
    0.015,
    1.005,
    2.675,
    0.05,
    0.15,
    0.25,
    0.35,
    2.5,
    3.5,
    1e12 + 0.125,
    0.995,
    9.995,
    99.95,
]
ODD = [
    0.0,
    -0.0,
    -0.001,
    0.004999999999999999,
    1e-300,
    5e-324,
    9999999.995,
    12345678901.235,
    np.inf,
    -np.inf,
    np.nan,
]


@pytest.mark.parametrize("decimals", [0, 1, 2])
@pytest.mark.parametrize("value", TIES + [-tie for tie in TIES] + ODD)
def test_halves_and_odd_numbers(value, decimals):
    assert one(value, decimals=decimals) == f"{value:10.{decimals}f} p0\n"


@given(st.floats(-9.9e12, 9.9e12), st.integers(0, 2))
def test_any_number(value, decimals):
    assert one(value, 6, decimals) == f"{value:6.{decimals}f} p0\n"


@given(st.integers(-(10**9), 10**9), st.integers(-2, 2))
def test_numbers_next_to_halves(number, ulps):
    value = (number + 0.5) / 100
    for _ in range(abs(ulps)):
        value = np.nextafter(value, np.inf if ulps > 0 else -np.inf)
    assert one(float(value)) == f"{value:10.2f} p0\n"


def test_rows_gaps_and_names():
    layout = [[0, 4, 0], [1, 6, 1], [3, 10, 2], [2, 0, 0]]
    rows = [[1, 2.55, -3.125], [-511, 12345678.9, 0]]
    expected = "".join(
        f"{a:4.0f} {b:6.1f}   {c:10.2f}  {NAMES[k]}\n" for (a, b, c), k in zip(rows, [2, 1], strict=True)
    )
    assert written(rows, layout, [2, 1]) == expected
    assert written(np.empty((0, 3)), layout, []) == ""


def test_numbers_with_too_many_digits_are_left_to_others():
    assert one(1e13) is None
    assert one(-2e200) is None
