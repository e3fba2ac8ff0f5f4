"""From the text that goes into the stream file to crystals that can be merged.

The very bytes of a chunk are read, as programs that merge offline read them: rounding, and what a reader makes of
names, cannot differ.  After a restart the end of the stream file itself is read in the same way.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.stream_columns import observations_of
from braggstream.formats.stream_header import CHUNK_BEGIN
from braggstream.kernels.mean import geometry_factors
from braggstream.model.half_sets import HalfSets
from braggstream.model.observations import Observations
from braggstream.steps.merging.live_crystals import LiveCrystal
from braggstream.steps.merging.polarisation import Polarisation

_BEGIN = CHUNK_BEGIN.encode()
_HEADERS_END = b"\nnum_peaks = "
MAX_NAME = 64
"""Longest name of a group [bytes]."""


class LiveInput:
    """Reads chunks."""

    def __init__(self, polarisation: Polarisation | None, merge_by: str | None) -> None:
        self._polarisation = polarisation
        self._group_line = None if merge_by is None else _header_pattern(merge_by)

    def crystals(self, chunks: Sequence[bytes]) -> Iterator[LiveCrystal]:
        """Give the crystals of chunks; to read many at once costs less."""
        if self._group_line is None:
            yield from self._crystals(b"".join(chunks), "")
            return
        for chunk in chunks:
            yield from self._crystals(chunk, self._group_of(chunk))

    def _crystals(self, text: bytes, group: str) -> Iterator[LiveCrystal]:
        found = observations_of(text)
        if found is None:
            return
        table, is_usable = found.crystals, found.is_usable
        start = np.concatenate(([0], np.cumsum(is_usable)))[found.start].tolist()
        observed = np.array([found.intensity, found.sigma], np.float64) / self._factors(found)
        hkl, observed = found.hkl[is_usable], np.compress(is_usable, observed, axis=1)
        halves = HalfSets().of(zip(table.filename, table.event, table.serial.tolist(), strict=True))
        for number, half in enumerate(halves):
            part = slice(start[number], start[number + 1])
            yield LiveCrystal(hkl=hkl[part], observed=observed[:, part], half=half, group=group)

    def _factors(self, found: Observations) -> NDArray[np.float64]:
        """Polarisation factors, float64[n]."""
        factors, inverse_d = np.ones(len(found)), np.empty(len(found))
        if self._polarisation is not None:
            table, numbers = found.crystals, self._polarisation.numbers
            wavenumber = 1.0 / table.wavelength
            geometry_factors(found.hkl, found.start, table.reciprocal_axes, wavenumber, numbers, factors, inverse_d)
        return factors

    def _group_of(self, chunk: bytes) -> str:
        """Name of a chunk's group; empty where it has none."""
        if self._group_line is None:
            return ""
        match = self._group_line.search(chunk, 0, max(chunk.find(_HEADERS_END), 0))
        return "" if match is None else group_name(match[1][:MAX_NAME].decode("utf-8", "replace"))


def group_name(value: str) -> str:
    """Name a group after a header's value: `1.000000` and `1` are the same one."""
    value = value.strip()
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _header_pattern(key: str) -> re.Pattern[bytes]:
    return re.compile(rb"^header/(?:float|int|str)/" + re.escape(key.encode()) + rb" = (.*)$", re.MULTILINE)


def split_chunks(text: bytes) -> Iterator[bytes]:
    """Cut a text at the beginnings of its chunks."""
    at = text.find(_BEGIN)
    while at >= 0:
        following = text.find(b"\n" + _BEGIN, at)
        end = len(text) if following < 0 else following + 1
        yield text[at:end]
        at = following + 1 if following >= 0 else -1
