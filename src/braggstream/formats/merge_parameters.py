"""The parameters that partial merging found for each crystal: a table that it can start from (`--start-params`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.text_file import read_text_file
from braggstream.model.errors import UserError

MAX_BYTES = 1 << 30
TITLE = "     n              G      B/A^2 flag   R/nm^-1    lambda/A       CC  delta/% filename event"
_LINE = "{n:6d} {scale:14.7g} {b_factor:10.4f} {flag:>4s} {radius:9.6f} {wavelength:11.7f} {cc:8.5f} {delta:8.4f}"
_LEAST_COLUMNS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class CrystalParameters:
    """What partial merging found for a crystal."""

    scale: float
    """G: larger for a stronger crystal."""
    b_factor: float
    """B [Å²]."""
    flag: str
    """`ok`, or why it is left out, in one word."""
    radius: float
    """Profile radius [Å⁻¹]."""
    wavelength: float
    """Wavelength [Å]."""
    cc: float
    """Correlation of its intensities with what the merge says they should be."""
    delta: float
    """ΔCC1/2."""
    filename: str
    event: str


def parameter_lines(crystals: Iterable[CrystalParameters]) -> Iterable[str]:
    """Write the table, a title and a line for each crystal."""
    yield TITLE + "\n"
    for number, one in enumerate(crystals):
        line = _LINE.format(
            n=number,
            scale=one.scale,
            b_factor=one.b_factor,
            flag=one.flag,
            radius=10.0 * one.radius,
            wavelength=one.wavelength,
            cc=one.cc,
            delta=100.0 * one.delta,
        )
        yield f"{line} {one.filename} {one.event}\n"


def read_start_parameters(path: str | Path, n_crystals: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read G and B [Å²] of so many crystals, float64[n_crystals] each; raises `UserError` with the line at fault.

    The first line is a title; of the others the second and third column are read, in the order of the crystals.
    """
    lines = read_text_file(path, "file of start parameters", max_bytes=MAX_BYTES).splitlines()[1:]
    if len(lines) < n_crystals:
        raise UserError(f"{len(lines)} lines of start parameters for {n_crystals} crystals", path=path)
    found = np.empty((2, n_crystals))
    for number, line in enumerate(lines[:n_crystals]):
        words = line.split(None, _LEAST_COLUMNS)
        try:
            found[:, number] = [float(word) for word in words[1:_LEAST_COLUMNS]]
        except ValueError:
            found[0, number] = np.nan
        scale, b_factor = found[:, number].tolist()
        if len(words) < _LEAST_COLUMNS or not (isfinite(scale) and scale > 0.0 and isfinite(b_factor)):
            raise UserError("expected a number, G above 0 and B", path=path, line=number + 2)
    return found[0], found[1]
