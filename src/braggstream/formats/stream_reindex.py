"""Copying a stream file with some of its crystals indexed another way."""

import re
from collections.abc import Iterable, Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed_file import open_bytes
from braggstream.formats.replaced_file import replacing
from braggstream.formats.stream_header import (
    CHUNK_BEGIN,
    CRYSTAL_BEGIN,
    CRYSTAL_END,
    REFLECTIONS_BEGIN,
    REFLECTIONS_END,
    one_line,
    stream_bytes,
)
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError

MAX_AUDIT_BYTES = 4000
"""Readers refuse a file with more before its geometry than 4090 bytes."""

BUFFER_BYTES = 1 << 20
SAME_AXES = 1e-10
"""Largest difference between axes that were read in two ways [Å⁻¹]."""

_REFLECTION = re.compile(rb"\s*([-+]?\d{1,9})\s+([-+]?\d{1,9})\s+([-+]?\d{1,9})(\s.*)", re.DOTALL)
_AXES = (b"astar = ", b"bstar = ", b"cstar = ")
_CELL = b"Cell parameters "

Axes = NDArray[np.float64]


def reindex_stream(
    source: str | Path,
    target: str | Path,
    *,
    crystals: Iterable[tuple[Axes, bool]],
    operator: NDArray[np.integer],
    audit: Iterable[str] = (),
) -> int:
    """Copy a stream file, crystals indexed another way where that is wished.

    Parameters
    ----------
    source, target
        The file to read, which may be compressed, and the one to write.
    crystals
        Reciprocal axes [Å⁻¹] of crystals of the file, in its order, and whether each is to be reindexed; crystals
        of the file that are not among them are copied as they are.
    operator
        M: the new indices are hkl · M and the new axes M⁻¹ times the old ones; reflections stay where they are.
    audit
        Lines to add before the geometry.

    Returns
    -------
    int
        Crystals that were reindexed.

    Raises
    ------
    UserError
        A file cannot be read or written, or a crystal is not found in it.
    """
    if Path(source).resolve() == Path(target).resolve():
        raise UserError("the stream cannot be written over itself: give another name with -o", path=target)
    writer = _Writer(iter(crystals), operator)
    try:
        with open_bytes(source) as file, replacing(target) as part:
            lines = BufferedReader(cast(RawIOBase, file), BUFFER_BYTES)
            with part.open("wb", buffering=BUFFER_BYTES) as out:
                out.writelines(writer.lines(_with_audit(lines, list(audit))))
            if not writer.has_found_all:
                raise UserError(
                    f"holds crystals that were not found again in {source}: it cannot be used", path=target
                )
    except (OSError, EOFError) as error:
        raise UserError(
            f"cannot copy the stream: {getattr(error, 'strerror', None) or error}", path=target
        ) from None
    return writer.n_reindexed


def _with_audit(file: IO[bytes], audit: list[str]) -> Iterator[bytes]:
    """Put lines before the first one that begins with five dashes, as far as readers can take them."""
    lines = iter(file)
    n_bytes = 0
    for line in lines:
        if line.startswith(b"-----"):
            for text in audit:
                added = stream_bytes(one_line(text))[: max(0, MAX_AUDIT_BYTES - n_bytes)]
                n_bytes += len(added) + 1
                if added:
                    yield added + b"\n"
            yield line
            break
        n_bytes += len(line)
        yield line
    yield from lines


class _Writer:
    """Finds the crystals in the lines of a stream file, and rewrites those that are to be."""

    def __init__(self, crystals: Iterator[tuple[Axes, bool]], operator: NDArray[np.integer]) -> None:
        self._crystals = crystals
        self._expected = next(crystals, None)
        self._operator = np.asarray(operator, np.int64)
        self.n_reindexed = 0

    @property
    def has_found_all(self) -> bool:
        """Whether each crystal was found in the file."""
        return self._expected is None

    def lines(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Give the lines of the new file."""
        begin, end = CRYSTAL_BEGIN.encode(), CRYSTAL_END.encode()
        for line in lines:
            yield line
            if not line.startswith(begin) or line.rstrip(b"\r\n") != begin:
                continue
            held: list[bytes] = []
            for inner in lines:
                held.append(inner)
                if inner.startswith(end) and inner.rstrip(b"\r\n") == end:
                    break
                if inner.startswith((begin, CHUNK_BEGIN.encode())):
                    # The crystal before has no end, and nobody reads it.
                    yield from held
                    held = []
            yield from self._crystal(held)

    def _crystal(self, lines: list[bytes]) -> Iterable[bytes]:
        axes = _axes_of(lines)
        expected = self._expected
        if axes is None or expected is None or np.abs(axes - expected[0]).max() > SAME_AXES:
            return lines
        self._expected = next(self._crystals, None)
        if not expected[1]:
            return lines
        self.n_reindexed += 1
        return self._reindexed(lines, axes)

    def _reindexed(self, lines: list[bytes], axes: Axes) -> Iterator[bytes]:
        in_reflections = False
        columns = self._operator.T.tolist()
        for line in lines:
            if line.startswith(REFLECTIONS_BEGIN.encode()):
                in_reflections = True
            elif line.startswith(REFLECTIONS_END.encode()):
                in_reflections = False
            elif in_reflections and (match := _REFLECTION.fullmatch(line)):
                h, k, ell = int(match[1]), int(match[2]), int(match[3])
                yield b"%4d %4d %4d" % tuple(h * a + k * b + ell * c for a, b, c in columns) + match[4]
                continue
            elif line.startswith(_AXES[2]):
                yield from _cell_lines(np.linalg.inv(self._operator) @ axes)
                continue
            elif line.startswith((_CELL, *_AXES[:2])):
                continue
            yield line


def _axes_of(lines: list[bytes]) -> Axes | None:
    """Rows a*, b*, c* of a crystal [Å⁻¹], in single precision as merging reads them; None where one is missing."""
    found: dict[bytes, list[float]] = {}
    for line in lines:
        if line.startswith(REFLECTIONS_BEGIN.encode()):
            break
        for name in _AXES:
            if line.startswith(name):
                try:
                    found[name] = [float(word) for word in line.removeprefix(name).split()[:3]]
                except ValueError:
                    return None
    rows = [found.get(name, []) for name in _AXES]
    if not all(len(row) == 3 for row in rows):
        return None
    return np.array(rows, np.float32).astype(np.float64) / 10.0


def _cell_lines(axes: Axes) -> Iterator[bytes]:
    cell = UnitCell.from_direct_axes(np.asarray(np.linalg.inv(axes).T, np.float64))
    lengths = " ".join(f"{0.1 * length:7.5f}" for length in cell.parameters[:3])
    angles = " ".join(f"{angle:7.5f}" for angle in cell.parameters[3:])
    yield f"Cell parameters {lengths} nm, {angles} deg\n".encode()
    for name, row in zip(_AXES, axes, strict=True):
        yield name + " ".join(f"{10.0 * part:+9.7f}" for part in row).encode() + b" nm^-1\n"
