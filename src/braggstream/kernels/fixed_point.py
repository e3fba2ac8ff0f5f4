"""Tables of numbers as text, digit for digit what C's printf writes for %f with few decimals."""

from math import copysign, floor

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit

LONGEST = 24
"""Most bytes of a number that is wider than its column."""
LARGEST = 1e13
"""Numbers beyond are not written here: their digits would not be exact."""
SPACE, NEWLINE, POINT, MINUS, ZERO = 32, 10, 46, 45, 48
_SPLITTER = 134217729.0  # 2^27 + 1
_NAN, _INF = (110, 97, 110), (105, 110, 102)


@inline_jit
def _round(value: float, scale: float) -> int:
    """Round value · scale to a whole number as if the product were exact, ties to even; value ≥ 0."""
    whole = floor(value * scale)
    # The product by its two halves (Dekker), for 2 value scale against 2 whole + 1 decides.
    a, b = value, 2.0 * scale
    product = a * b
    high = _SPLITTER * a
    high = high - (high - a)
    low = a - high
    rest = (high * b - product) + low * b
    above = (product - (2.0 * whole + 1.0)) + rest
    number = int(whole)
    if above > 0.0 or (above == 0.0 and number % 2 == 1):
        number += 1
    # The product may have been rounded up to the next whole number.
    elif product - 2.0 * whole + rest < -1.0:
        number -= 1
    return number


@inline_jit
def _write_number(
    value: float, width: int, decimals: int, digits: NDArray[np.uint8], out: NDArray[np.uint8], at: int
) -> int:
    """Write one number, right-aligned in its column; gives where the next byte goes."""
    n = 0
    if value != value or abs(value) == np.inf:  # noqa: PLR0124
        for k in range(2, -1, -1):
            digits[n] = _NAN[k] if value != value else _INF[k]  # noqa: PLR0124
            n += 1
    else:
        number = _round(abs(value), 10.0**decimals)
        for _ in range(decimals):
            digits[n] = ZERO + number % 10
            number //= 10
            n += 1
        if decimals > 0:
            digits[n] = POINT
            n += 1
        while True:
            digits[n] = ZERO + number % 10
            number //= 10
            n += 1
            if number == 0:
                break
    if copysign(1.0, value) < 0.0 and value == value:  # noqa: PLR0124
        digits[n] = MINUS
        n += 1
    for _ in range(width - n):
        out[at] = SPACE
        at += 1
    for k in range(n - 1, -1, -1):
        out[at] = digits[k]
        at += 1
    return at


@jit
def write_table(
    columns: NDArray[np.float64],
    layout: NDArray[np.int64],
    panels: NDArray[np.int32],
    names: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write a table, one line a row, the name of a panel at the end of each.

    Parameters
    ----------
    columns : float64[n_columns, n]
        The numbers.
    layout : int64[n_columns + 1, 3]
        Of each column: spaces before it, width, decimals; of the name only the spaces.
    panels : int32[n]
        Number of the panel of each row.
    names : uint8[n_panels, longest], lengths : int64[n_panels]
        Names of the panels.
    out : uint8[...], written
        The text; long enough for columns of `LONGEST` or their width, whichever is wider.

    Returns
    -------
    int
        Number of bytes; -1 where a number is too large to be written here.
    """
    n_columns, digits = columns.shape[0], np.empty(LONGEST, np.uint8)
    at = 0
    for row in range(columns.shape[1]):
        for column in range(n_columns):
            value = columns[column, row]
            if LARGEST <= abs(value) < np.inf:
                return -1
            for _ in range(layout[column, 0]):
                out[at] = SPACE
                at += 1
            at = _write_number(value, layout[column, 1], layout[column, 2], digits, out, at)
        for _ in range(layout[n_columns, 0]):
            out[at] = SPACE
            at += 1
        panel = panels[row]
        for k in range(lengths[panel]):
            out[at] = names[panel, k]
            at += 1
        out[at] = NEWLINE
        at += 1
    return at


def warm_up() -> None:
    """Compile the kernel for the signature that the formats use."""
    layout, names = np.ones((2, 3), np.int64), np.zeros((1, 1), np.uint8)
    write_table(
        np.zeros((1, 1)), layout, np.zeros(1, np.int32), names, np.ones(1, np.int64), np.empty(64, np.uint8)
    )
