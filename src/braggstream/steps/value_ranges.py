"""Value flags of a geometry file as closed intervals in the pixels' own dtype, so that no pixel is converted."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.geometry import Flag

Interval = tuple[Any, Any]
EMPTY: Interval = (1, 0)
"""No number is in this interval."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class ValueRanges:
    """Which pixel values are good on each panel; `T` is the pixels' dtype."""

    good: NDArray[Any]
    """Smallest and largest good value, T[n_panels, 2]; the first is larger where no value is good."""
    bad: NDArray[Any]
    """Intervals of bad values inside it, T[n_panels, n_intervals, 2]."""
    can_mark: bool
    """Whether some value of this dtype is bad on some panel."""

    @classmethod
    def of(cls, flags: Sequence[Sequence[Flag]], dtype: np.dtype[Any]) -> "ValueRanges":
        """Translate the flags of each panel; NaN and infinity are bad on all panels."""
        good = np.array([_good_range(of_panel, dtype) for of_panel in flags], dtype)
        equal = [
            [_equal_range(flag.value, dtype) for flag in of_panel if flag.kind == "equal"]
            + [_largest(dtype) for flag in of_panel if flag.kind == "largest"]
            for of_panel in flags
        ]
        equal = [[interval for interval in intervals if interval[0] <= interval[1]] for intervals in equal]
        n_intervals = max(map(len, equal), default=0)
        padded = [[*intervals, *[EMPTY] * (n_intervals - len(intervals))] for intervals in equal]
        bad = np.array(padded, dtype).reshape(len(equal), n_intervals, 2)
        unlimited = bool((good == np.array(_limits(dtype), dtype)).all())
        return cls(good=good, bad=bad, can_mark=dtype.kind == "f" or not unlimited or n_intervals > 0)


def _limits(dtype: np.dtype[Any]) -> Interval:
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return float(limits.min), float(limits.max)
    integers = np.iinfo(dtype)
    return integers.min, integers.max


def _largest(dtype: np.dtype[Any]) -> Interval:
    """The interval of the largest number of an integer dtype; of the others it is a number as good as any."""
    return (np.iinfo(dtype).max,) * 2 if dtype.kind in "iu" else EMPTY


def _compared(flag: Flag, dtype: np.dtype[Any]) -> float | int:
    """Give the number that pixels are compared with: whole ones keep their digits where pixels have as many."""
    return float(flag.value) if dtype.kind == "f" else flag.value


def _good_range(flags: Sequence[Flag], dtype: np.dtype[Any]) -> Interval:
    low = max((_compared(flag, dtype) for flag in flags if flag.kind == "lessthan"), default=-inf)
    high = min((_compared(flag, dtype) for flag in flags if flag.kind == "morethan"), default=inf)
    return _range_within(low, high, dtype)


def _range_within(low: int | float, high: int | float, dtype: np.dtype[Any]) -> Interval:
    """Give the smallest and the largest number of the dtype that are in [low, high]."""
    smallest, largest = _limits(dtype)
    if low > largest or high < smallest or low > high:
        return EMPTY
    first = smallest if low <= smallest else _round_up(low, dtype)
    last = largest if high >= largest else -_round_up(-high, dtype) if dtype.kind == "f" else floor(high)
    return (first, last) if first <= last else EMPTY


def _round_up(value: float, dtype: np.dtype[Any]) -> Any:
    if dtype.kind != "f":
        return ceil(value)
    nearest = dtype.type(value)
    # Compared as Python floats: NumPy would round the value to the dtype first.
    return nearest if float(nearest) >= value else np.nextafter(nearest, dtype.type(inf))


def _equal_range(value: int | float, dtype: np.dtype[Any]) -> Interval:
    """Give the interval of numbers that, rounded half to even, equal the flag's value."""
    if dtype.kind != "f" and value == float(_limits(dtype)[1]):
        return _largest(dtype)  # The largest of 64 bits is no float: the nearest one means it.
    if isinstance(value, int):
        if dtype.kind != "f":
            return _range_within(value, value, dtype)
        value = float(value)
    if not isfinite(value):
        return EMPTY
    if value != floor(value):
        nearest = dtype.type(value) if dtype.kind == "f" else None
        return EMPTY if nearest is None else (nearest, nearest)
    if dtype.kind != "f":
        return _range_within(value, value, dtype)
    low, high = value - 0.5, value + 0.5
    if value % 2:
        low, high = float(np.nextafter(low, inf)), float(np.nextafter(high, -inf))
    return _range_within(low, high, dtype)
