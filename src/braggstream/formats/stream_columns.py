"""Reading the crystals of stream files as columns, for merging: many times faster than chunk by chunk.

Compressed files (`.xz`, `.gz`), torn ones and standard input (`-`) are read too.
"""

import gzip
import lzma
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from io import SEEK_END, RawIOBase
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed_file import open_bytes
from braggstream.formats.geom import parse_geometry
from braggstream.formats.stream_header import (
    CHUNK_BEGIN,
    CHUNK_END,
    GEOMETRY_BEGIN,
    GEOMETRY_END,
    check_first_line,
)
from braggstream.kernels import stream_text as text
from braggstream.model.cell import CENTRINGS, LATTICE_TYPES
from braggstream.model.constants import HC_EV_ANGSTROM
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry
from braggstream.model.observations import UNIQUE_AXES, UNKNOWN_AXIS, CrystalTable, Observations, in_blocks

N_CRYSTALS = 4096
PIECE_BYTES = 8 << 20
MAX_CHUNK_BYTES = 1 << 30
MAX_HEADER_BYTES = 16 << 20
MAX_FIRST_LINE = 256
MAX_NOTICES = 20
STANDARD_INPUT = "-"

_END = b"\n" + CHUNK_END.encode()
_OF_CRYSTAL = [*range(text.AXES, text.AXES + 9), text.RADIUS, text.LIMIT, text.SHIFT_X, text.SHIFT_Y]
"""Columns of decimal numbers that stand in a crystal."""
_PROBLEMS = {
    text.BAD_REFLECTION: "expected a reflection (ten columns, indices up to 32767)",
    text.NO_CELL: "the crystal that ends here has no astar, bstar and cstar",
    text.BAD_VALUE: "expected a number",
    text.NO_END: "a crystal begins before the last one has ended",
}


Part = tuple[int, int]
"""Number of a part of a file, from 0, and number of parts."""


def read_observations(
    path: str | Path, *, n_crystals: int = N_CRYSTALS, n_threads: int = 1, part: Part = (0, 1)
) -> "StreamColumns":
    """Open a stream file for merging; iterate over what is returned to get blocks of crystals.

    Parameters
    ----------
    path
        The file; `-` is standard input, which can be read once.
    n_crystals
        Crystals in each block but the last.
    n_threads
        Threads that turn text into numbers; the order of the blocks does not depend on it.
    part
        Part of the file that is read; only files that are not compressed have more than one.

    Raises
    ------
    UserError
        Where it is no stream file, or cannot be read.
    """
    return StreamColumns(path, n_crystals=n_crystals, n_threads=n_threads, part=part)


def observations_of(chunks: bytes) -> Observations | None:
    """Read the crystals of whole chunks, as they stand in a stream file; None where there are none.

    Panels are not told apart, which takes the geometry.
    """
    piece = _Piece(np.frombuffer(chunks, np.uint8), *_name_table(()))
    return piece.observations(()) if piece.counts[text.CRYSTALS] else None


def is_read_once(path: str | Path) -> bool:
    """Tell whether a file can be read only once, from its beginning: standard input, or a pipe."""
    return str(path) == STANDARD_INPUT or (Path(path).exists() and not Path(path).is_file())


class StreamColumns:
    """The crystals of a stream file as blocks of columns."""

    def __init__(
        self, path: str | Path, *, n_crystals: int = N_CRYSTALS, n_threads: int = 1, part: Part = (0, 1)
    ) -> None:
        self.path = path
        self._part = part
        self._n_crystals = n_crystals
        self._n_threads = n_threads
        self.is_read_once = is_read_once(path)
        self._source: IO[bytes] | None = None
        self.audit = ""
        """The lines between the first one and the geometry, each with its line end."""
        self.n_chunks = 0
        self.n_torn = 0
        """Chunks that were not whole: their writer was cut off."""
        self.n_incomplete = 0
        """Chunks without a file name or a photon energy."""
        self.n_left_out = 0
        """Crystals that cannot be used."""
        self.notices: list[str] = []
        """What was left out, one line each, the first ones only; complete after iteration."""
        source = self._opened()
        if self.is_read_once:
            self._source = source
        else:
            source.close()

    def __iter__(self) -> Iterator[Observations]:
        """Read from the beginning; standard input can be read once."""
        self.n_chunks = self.n_torn = self.n_incomplete = self.n_left_out = 0
        self.notices = []
        source = self._source
        if source is None:
            if self.is_read_once:
                raise UserError("cannot be read twice: it is a pipe", path=self.path)
            source = self._opened()
        self._source = None
        if self._part[1] > 1:
            source = self._cut(source)
        try:
            yield from in_blocks(self._pieces(source), self._n_crystals)
        finally:
            source.close()

    def _opened(self) -> IO[bytes]:
        """Open the file and read its header."""
        source = self._open()
        try:
            self._rest = self._read_header(source)
        except BaseException:
            source.close()
            raise
        return source

    def _open(self) -> IO[bytes]:
        if str(self.path) == STANDARD_INPUT:
            return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        try:
            return Path(self.path).open("rb", buffering=0) if self.is_read_once else open_bytes(self.path)
        except OSError as error:
            raise UserError(f"cannot be opened: {error.strerror or error}", path=self.path) from None

    def _read_header(self, source: IO[bytes]) -> bytes:
        """Read up to the end of the geometry; gives what was read beyond."""
        content = b""
        marks = [GEOMETRY_BEGIN.encode(), GEOMETRY_END.encode()]
        while marks[1] not in content:
            more = self._read(source, 1 << 16)
            content += more
            if b"\n" in content or len(content) >= MAX_FIRST_LINE or not more:
                check_first_line(content[:MAX_FIRST_LINE].decode("utf-8", "replace"), self.path)
            if not more or len(content) > MAX_HEADER_BYTES:
                raise UserError("has no geometry, which a stream file must hold", path=self.path)
        head, _, rest = content.partition(marks[1])
        before, begin, geometry = head.decode("utf-8", "replace").replace("\r\n", "\n").partition(marks[0].decode())
        if not begin or CHUNK_BEGIN in before:
            raise UserError("has no geometry, which a stream file must hold", path=self.path)
        self.audit = before.partition("\n")[2]
        self.geometry: Geometry = parse_geometry(
            geometry.removeprefix("\n"), path=f"{self.path} (geometry from line {before.count(chr(10)) + 1})"
        )
        """The geometry that the file holds."""
        self._names = tuple(panel.name for panel in self.geometry.panels)
        self._n_lines, self._n_uncounted = head.count(b"\n"), 0
        self._header_bytes = len(content) - len(rest)
        return rest

    def _cut(self, source: IO[bytes]) -> IO[bytes]:
        """Go to the first chunk of the part that is wanted, and end before the first one of the next."""
        size, after_header = source.seek(0, SEEK_END), self._header_bytes
        number, n_parts = self._part
        begin, end = (
            _next_chunk(source, after_header + (size - after_header) * n // n_parts) for n in (number, number + 1)
        )
        source.seek(begin)
        self._n_lines, self._n_uncounted = 0, begin
        self._rest = b""
        return cast(IO[bytes], _Limited(source, end - begin))

    def _read(self, source: IO[bytes], n_bytes: int) -> bytes:
        try:
            return source.read(n_bytes) or b""
        except (OSError, EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot be read: {reason}", path=self.path) from None

    def _texts(self, source: IO[bytes]) -> Iterator[NDArray[np.uint8]]:
        """Cut the file into pieces of whole chunks; the last piece is what is left."""
        held, wanted = self._rest, PIECE_BYTES
        while True:
            parts, n_bytes = [held], len(held)
            while n_bytes < wanted and (more := self._read(source, wanted - n_bytes)):
                parts.append(more)
                n_bytes += len(more)
            content = b"".join(parts)
            if n_bytes < wanted:
                if content:
                    yield np.frombuffer(content, np.uint8)
                return
            end = content.rfind(_END)
            end = content.find(b"\n", end + 1) + 1 if end >= 0 else 0
            if end == 0:
                held, wanted = content, 2 * wanted
                if wanted > MAX_CHUNK_BYTES:
                    raise UserError(f"there is no {CHUNK_END!r} in {MAX_CHUNK_BYTES // 2} bytes", path=self.path)
                continue
            yield np.frombuffer(content, np.uint8, end)
            held, wanted = content[end:], PIECE_BYTES

    def _pieces(self, source: IO[bytes]) -> Iterator[Observations]:
        names, lengths = _name_table(self._names)

        def read(piece: NDArray[np.uint8]) -> "_Piece":
            return _Piece(piece, names, lengths)

        if self._n_threads == 1:
            for piece in self._texts(source):
                yield from self._taken(read(piece))
            return
        with ThreadPoolExecutor(self._n_threads) as pool:
            waiting: deque[Future[_Piece]] = deque()
            for piece in self._texts(source):
                waiting.append(pool.submit(read, piece))
                if len(waiting) > self._n_threads:
                    yield from self._taken(waiting.popleft().result())
            while waiting:
                yield from self._taken(waiting.popleft().result())

    def _count_lines(self, n_bytes: int) -> int:
        """Count the lines before the part that is read, which is needed only where something is wrong in it."""
        n_lines = 0
        with self._open() as source:
            while n_bytes > 0 and (content := self._read(source, min(n_bytes, PIECE_BYTES))):
                n_bytes -= len(content)
                n_lines += content.count(b"\n")
        return n_lines

    def _taken(self, piece: "_Piece") -> Iterator[Observations]:
        """Count what a piece holds, and give its crystals."""
        counts = piece.counts
        self.n_chunks += int(counts[text.CHUNKS])
        self.n_torn += int(counts[text.TORN])
        self.n_incomplete += int(counts[text.INCOMPLETE])
        self.n_left_out += int(counts[text.PROBLEMS])
        if counts[text.PROBLEMS] and self._n_uncounted:
            self._n_lines += self._count_lines(self._n_uncounted)
            self._n_uncounted = 0
        for line, kind in piece.problems[: counts[text.PROBLEMS]].tolist():
            if len(self.notices) < MAX_NOTICES:
                self.notices.append(f"{self.path}:{self._n_lines + line}: a crystal is left out: {_PROBLEMS[kind]}")
        self._n_lines += int(counts[text.LINES])
        if counts[text.CRYSTALS]:
            yield piece.observations(self._names)


class _Limited(RawIOBase):
    """A file that ends early; closes it when it is closed."""

    def __init__(self, source: IO[bytes], n_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._n_left = n_bytes

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes."""
        content = self._source.read(min(size, self._n_left))
        self._n_left -= len(content)
        return content

    def close(self) -> None:
        """Close the file that it is part of."""
        self._source.close()
        super().close()


def _next_chunk(source: IO[bytes], place: int) -> int:
    """Find the first chunk that begins at or after a place; the end of the file where there is none."""
    mark = b"\n" + CHUNK_BEGIN.encode()
    source.seek(place - 1)
    held = b""
    while more := source.read(1 << 20):
        content = held + more
        found = content.find(mark)
        if found >= 0:
            return source.tell() - len(content) + found + 1
        held = content[-len(mark) :]
    return source.tell()


def observations_of_chunk(chunk: bytes, panel_names: tuple[str, ...]) -> Observations:
    """Give the crystals of one chunk's text, as a reader of the stream file will find them; there may be none."""
    piece = _Piece(np.frombuffer(chunk, np.uint8), *_name_table(panel_names))
    return piece.observations(panel_names)


class _Piece:
    """A piece of the file, read."""

    def __init__(self, data: NDArray[np.uint8], names: NDArray[np.uint8], lengths: NDArray[np.int64]) -> None:
        # No crystal and no observation is shorter; what is not needed of these arrays is never touched.
        most_crystals, most = len(data) // 18 + 2, len(data) // 20 + 2
        numbers = np.empty((most_crystals, text.N_NUMBERS))
        spans = np.empty((most_crystals, text.N_SPANS), np.int64)
        start = np.empty(most_crystals + 1, np.int64)
        hkl, values = np.empty((most, 3), np.int16), np.empty((text.N_VALUES, most), np.float32)
        panel = np.empty(most, np.int16)
        self.problems = np.zeros((MAX_NOTICES, 2), np.int64)
        self.counts = np.zeros(text.N_COUNTS, np.int64)
        text.read_chunks(
            data, names, lengths, numbers, spans, start, hkl, values, panel, self.problems, self.counts
        )
        n, n_observations = self.counts[text.CRYSTALS], self.counts[text.OBSERVATIONS]
        self._numbers, self._start = numbers[:n].copy(), start[: n + 1].copy()
        self._texts = _texts_of(data, spans[:n])
        self._hkl, self._panel = hkl[:n_observations].copy(), panel[:n_observations].copy()
        self._values = values[:, :n_observations].copy()

    def observations(self, panel_names: tuple[str, ...]) -> Observations:
        """Give the crystals in the package's units."""
        texts, values = self._texts, self._values
        numbers = _with_crystals_in_single_precision(self._numbers)
        crystals = CrystalTable(
            filename=texts[0],
            event=tuple(event or "//" for event in texts[1]),
            indexed_by=tuple(method or "none" for method in texts[2]),
            serial=np.nan_to_num(numbers[:, text.SERIAL]).astype(np.int64),
            reciprocal_axes=numbers[:, text.AXES : text.AXES + 9].reshape(-1, 3, 3) / 10.0,
            wavelength=HC_EV_ANGSTROM / numbers[:, text.ENERGY],
            bandwidth=np.nan_to_num(numbers[:, text.BANDWIDTH], nan=-1.0),
            profile_radius=np.nan_to_num(numbers[:, text.RADIUS]) / 10.0,
            resolution_limit=np.nan_to_num(numbers[:, text.LIMIT], nan=np.inf, posinf=np.inf) / 10.0,
            det_shift=np.nan_to_num(numbers[:, text.SHIFT_X : text.SHIFT_Y + 1]) / 1000.0,
            n_saturated=np.nan_to_num(numbers[:, text.SATURATED]).astype(np.int64),
            **_lattices(texts[3], texts[4], texts[5]),
        )
        return Observations(
            crystals=crystals,
            start=self._start,
            hkl=self._hkl,
            intensity=values[text.INTENSITY],
            sigma=values[text.SIGMA],
            peak_value=values[text.PEAK],
            background=values[text.BACKGROUND],
            fs=values[text.FS],
            ss=values[text.SS],
            panel=self._panel,
            panel_names=panel_names,
        )


def _with_crystals_in_single_precision(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round what is a crystal's, not its frame's, as the reference program does, which goes on in double precision.

    Axes have a digit more than single precision holds: without rounding, intensities that are corrected for
    polarisation, scaled or refined differ from the reference's in their last digits.
    """
    rounded = numbers.copy()
    with np.errstate(over="ignore"):
        rounded[:, _OF_CRYSTAL] = numbers[:, _OF_CRYSTAL].astype(np.float32)
    return rounded


def _texts_of(data: NDArray[np.uint8], spans: NDArray[np.int64]) -> list[tuple[str, ...]]:
    content = data.data
    return [
        tuple(
            str(content[begin:end], "utf-8", "surrogateescape") if begin >= 0 else ""
            for begin, end in spans[:, column : column + 2].tolist()
        )
        for column in range(0, text.N_SPANS, 2)
    ]


def _lattices(
    types: tuple[str, ...], centrings: tuple[str, ...], axes: tuple[str, ...]
) -> dict[str, NDArray[np.uint8]]:
    """Numbers of lattice types, centrings and unique axes; a crystal that lacks one of the three is triclinic P."""
    known_types: dict[str, int] = {name: number for number, name in enumerate(LATTICE_TYPES)}
    known_centrings: dict[str, int] = {name: number for number, name in enumerate(CENTRINGS)}
    known_axes = {name: number for number, name in enumerate(UNIQUE_AXES)}
    rows = [
        (known_types.get(kind, 0), known_centrings.get(centring, 0), known_axes.get(axis, UNKNOWN_AXIS))
        if kind and centring and axis
        else (0, 0, UNKNOWN_AXIS)
        for kind, centring, axis in zip(types, centrings, axes, strict=True)
    ]
    table = np.array(rows, np.uint8).reshape(-1, 3)
    return {"lattice_type": table[:, 0], "centring": table[:, 1], "unique_axis": table[:, 2]}


@lru_cache(maxsize=8)
def _name_table(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [name.encode("utf-8", "replace") for name in names]
    lengths = np.array([len(name) for name in encoded], np.int64)
    table = np.zeros((len(names), int(lengths.max(initial=1))), np.uint8)
    for number, name in enumerate(encoded):
        table[number, : len(name)] = np.frombuffer(name, np.uint8)
    return table, lengths
