"""Numbers for JSON, which knows neither NaN nor infinity."""

from math import isfinite


def finite_or_none(value: float) -> float | None:
    """Give a finite number as it is, and None for NaN and infinity."""
    return float(value) if isfinite(value) else None
