"""Reading CrystFEL's stream files, also compressed (`.xz`, `.gz`) and torn ones."""

import gzip
import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from braggstream.formats.cell import parse_target_cell
from braggstream.formats.compressed_file import open_bytes
from braggstream.formats.geom import parse_geometry
from braggstream.formats.stream_header import (
    CELL_BEGIN,
    CELL_END,
    CHUNK_BEGIN,
    CHUNK_END,
    CRYSTAL_BEGIN,
    CRYSTAL_END,
    GEOMETRY_BEGIN,
    GEOMETRY_END,
    PEAKS_BEGIN,
    PEAKS_END,
    REFLECTIONS_BEGIN,
    REFLECTIONS_END,
    check_first_line,
)
from braggstream.formats.stream_index import ChunkPlace, chunk_places
from braggstream.model.cell import CENTRINGS, LATTICE_TYPES, UnitCell
from braggstream.model.constants import wavelength_of_photon
from braggstream.model.crystal import Crystal, ReflectionTable, Residual
from braggstream.model.errors import UserError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry
from braggstream.model.lazy_sequence import LazySequence, Name
from braggstream.model.observations import Observations
from braggstream.model.peaks import PeakTable
from braggstream.model.result import FrameResult

_N_PEAK_COLUMNS = 5
_N_REFLECTION_COLUMNS = 10


def read_stream(path: str | Path) -> "StreamFile":
    """Open a stream file; raises `UserError` where it is none or cannot be read.

    Iterate over what is returned to get a `FrameResult` for each chunk.
    """
    return StreamFile(Path(path))


class StreamFile(LazySequence[FrameResult]):
    """A stream file: its header, and a `FrameResult` for each chunk, read when it is asked for.

    `for chunk in stream` reads on, as often as wished.  `len(stream)`, `stream[3]`, `stream[-1]`, `stream["//3"]`,
    `stream[10:20]` and `stream.events` look through the file once, and again where it has grown: what follows a
    chunk that is not whole does not count.  Reflections carry no excitation error and no partiality (NaN), for the
    file does not hold them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.command_line = ""
        """The command line of the program that wrote it."""
        self.target_cell: UnitCell | None = None
        """The cell that was expected, if one was given."""
        self.notices: list[str] = []
        """What of the header was not understood, or perhaps not as it is meant, one line each."""
        self.is_torn = False
        """Whether the last chunk was found incomplete; known after iteration."""
        with _open(path) as file:
            self.geometry: Geometry = self._read_header(_Lines(file, path))
            """The geometry that the file holds."""
        self._panels = {panel.name: number for number, panel in enumerate(self.geometry.panels)}
        self._index: tuple[ChunkPlace, ...] | None = None
        self._indexed_bytes = -1

    def __iter__(self) -> Iterator[FrameResult]:
        self.is_torn = False
        with _open(self._path) as file:
            lines = _Lines(file, self._path)
            while (line := lines.next()) is not None:
                if line != CHUNK_BEGIN:
                    continue
                chunk = _ChunkReader(lines, self._panels, self.geometry).read()
                if chunk is None:
                    self.is_torn = True
                    return
                yield chunk

    def _places(self) -> tuple[ChunkPlace, ...]:
        """Where the chunks lie; looked for again where the file has changed its size."""
        try:
            n_bytes = self._path.stat().st_size
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", path=self._path) from None
        if self._index is None or n_bytes != self._indexed_bytes:
            self._index, self._indexed_bytes = tuple(chunk_places(self._path)), n_bytes
        return self._index

    def _names(self) -> Sequence[Name]:
        return [(place.filename, place.event) for place in self._places()]

    def __len__(self) -> int:
        return len(self._places())

    def _made(self, places: Iterable[int]) -> Iterator[FrameResult]:
        index = self._places()
        with open_bytes(self._path) as file:
            for place in places:
                file.seek(index[place].offset)
                text = TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="\n")
                lines = _Lines(text, self._path, number=index[place].line)
                lines.next()
                chunk = _ChunkReader(lines, self._panels, self.geometry).read()
                text.detach()
                if chunk is None:
                    raise UserError("the chunk is not whole", path=self._path, line=index[place].line + 1)
                yield chunk

    def _one(self, place: int) -> FrameResult:
        return next(self._made([place]))

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"": self._path}
        if self._index is not None:
            facts["chunks"] = len(self._index)
        if self.target_cell is not None:
            facts["expected cell"] = self.target_cell.text
        return facts | {"panels": len(self.geometry.panels), "written by": self.command_line or "?"}

    def observations(self) -> Observations:
        """Read all crystals and reflections as columns, which is many times faster than chunk by chunk."""
        from braggstream.formats.observation_files import load_observations

        return load_observations(self._path)

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame, a row for each reflection: see `Observations.to_arrow`."""
        return self.observations().to_pandas()

    def to_arrow(self) -> Any:
        """Give an Arrow table, a row for each reflection: see `Observations.to_arrow`."""
        return self.observations().to_arrow()

    def to_reciprocalspaceship(self, symmetry: str | None = None) -> Any:
        """Give an unmerged `reciprocalspaceship.DataSet`, with the target cell where there is one."""
        return self.observations().to_reciprocalspaceship(self.target_cell, symmetry)

    def _read_header(self, lines: "_Lines") -> Geometry:
        first = lines.next()
        check_first_line(first or "", self._path)
        audit: list[str] = []
        while (line := lines.next()) != GEOMETRY_BEGIN:
            if line is None or line == CHUNK_BEGIN:
                raise UserError("has no geometry, which a stream file must hold", path=self._path)
            audit.append(line)
        self.command_line = next((line for line in audit if not line.startswith("Generated by")), "")
        first_line = lines.number
        geometry = parse_geometry(lines.block(GEOMETRY_END), path=f"{self._path} (geometry from line {first_line})")
        while (line := lines.next()) is not None and line != CHUNK_BEGIN:
            if line == CELL_BEGIN:
                text = lines.block(CELL_END)
                self.target_cell = self._cell_of(text)
        return geometry

    def _cell_of(self, text: str) -> UnitCell | None:
        """Read the cell that was expected; where it is not understood, the crystals do not depend on it."""
        try:
            return parse_target_cell(text, f"{self._path} (target cell)", self.notices.append)
        except UserError as error:
            self.notices.append(f"{error}; the file is read without it")
            return None


class _Lines:
    """Lines of a file without their ends, and their number."""

    def __init__(self, file: IO[str], path: Path, number: int = 0) -> None:
        """Take an open file; `number` lines of it have been read."""
        self._file = file
        self.path = path
        self.number = number

    def next(self) -> str | None:
        """Give the next line; None at the end, also where compressed data end early."""
        try:
            line = self._file.readline(1 << 20)
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
            raise UserError(f"cannot be read: {error}", path=self.path, line=self.number) from None
        if not line:
            return None
        self.number += 1
        return line.rstrip("\r\n")

    def block(self, end: str) -> str:
        """Give the text up to an end marker; raises `UserError` where it is missing."""
        found = self.until(end)
        if found is None:
            raise UserError(f"ends before {end!r}", path=self.path, line=self.number)
        return "\n".join(found) + "\n"

    def until(self, end: str) -> list[str] | None:
        """Give the lines up to an end marker; None where the file or the chunk ends first."""
        found: list[str] = []
        while (line := self.next()) is not None:
            if line == end:
                return found
            if line in {CHUNK_BEGIN, CHUNK_END}:
                return None
            found.append(line)
        return None


class _ChunkReader:
    """Reads one chunk: lines in any order, unknown ones ignored, as CrystFEL's reader does."""

    def __init__(self, lines: _Lines, panels: Mapping[str, int], geometry: Geometry) -> None:
        self._lines = lines
        self._panels = panels
        self._offsets = np.array([(panel.min_fs, panel.min_ss) for panel in geometry.panels], np.float64)
        self._fields: dict[str, str] = {}
        self._headers: list[tuple[str, HeaderValue]] = []
        self._peaks = PeakTable.empty()
        self._inverse_d = np.zeros(0)
        self._crystals: list[Crystal] = []

    def read(self) -> FrameResult | None:
        """Read up to the end marker; None where the chunk is not whole."""
        while (line := self._lines.next()) != CHUNK_END:
            if line is None or line == CHUNK_BEGIN or not self._take(line):
                return None
        return self._result() if {"Image filename", "photon_energy_eV"} <= self._fields.keys() else None

    def _take(self, line: str) -> bool:
        """Take one line, and what belongs to it; tells whether all of it was there."""
        if line == PEAKS_BEGIN:
            rows = self._lines.until(PEAKS_END)
            return rows is not None and self._take_peaks(rows[1:])
        if line == CRYSTAL_BEGIN:
            return self._take_crystal()
        if line.startswith("header/"):
            self._take_header(line)
        else:
            _store(self._fields, line)
        return True

    def _take_header(self, line: str) -> None:
        name, separator, value = line.partition(" = ")
        kind, _, name = name.removeprefix("header/").partition("/")
        types: dict[str, Callable[[str], HeaderValue]] = {"int": int, "float": float, "str": str}
        if separator and kind in types:
            try:
                self._headers.append((name, types[kind](value)))
            except ValueError:
                self._error(f"header {name} is {value!r}")

    def _take_peaks(self, rows: Sequence[str]) -> bool:
        words = [row.split() for row in rows]
        if any(len(row) != _N_PEAK_COLUMNS for row in words):
            self._error("a peak has not five columns")
        known = [row for row in words if row[4] in self._panels]
        numbers = self._numbers([row[:4] for row in known], 4)
        panel = np.array([self._panels[row[4]] for row in known], np.int32)
        offset = self._offsets[panel] if len(panel) else np.zeros((0, 2))
        self._peaks = PeakTable(
            panel=panel, fs=numbers[:, 0] - offset[:, 0], ss=numbers[:, 1] - offset[:, 1], intensity=numbers[:, 3]
        )
        self._inverse_d = numbers[:, 2] / 10.0
        return True

    def _take_crystal(self) -> bool:
        fields: dict[str, str] = {}
        residuals: list[tuple[str, Residual]] = []
        reflections = None
        while (line := self._lines.next()) != CRYSTAL_END:
            if line is None or line in {CHUNK_BEGIN, CHUNK_END}:
                return False
            if line == REFLECTIONS_BEGIN:
                rows = self._lines.until(REFLECTIONS_END)
                if rows is None:
                    return False
                reflections = self._reflections(rows[1:])
            elif line.startswith("predict_refine/") and "residual" in line:
                name, _, value = line.removeprefix("predict_refine/").partition(" = ")
                numbers = self._floats(value.partition("(")[2].rstrip(")"), 3, name)
                residuals.append((name, Residual(excitation=numbers[0], fs=numbers[1], ss=numbers[2])))
            else:
                _store(fields, line)
        self._crystals.append(self._crystal(fields, tuple(residuals), reflections))
        return True

    def _crystal(
        self,
        fields: Mapping[str, str],
        residuals: tuple[tuple[str, Residual], ...],
        reflections: ReflectionTable | None,
    ) -> Crystal:
        missing = [name for name in ("astar", "bstar", "cstar") if name not in fields]
        if missing:
            self._error(f"a crystal has no {', '.join(missing)}")
        axes = np.array([self._floats(fields[name], 3, name) for name in ("astar", "bstar", "cstar")]) / 10.0
        if not abs(np.linalg.det(axes)) > 0:
            self._error("the axes of a crystal span no volume")
        shift = fields.get("predict_refine/det_shift x", "0 y = 0 mm").replace("y =", " ")
        shift_x, shift_y = self._floats(shift, 2, "det_shift")
        lattice, centring = fields.get("lattice_type"), fields.get("centering")
        return Crystal(
            reciprocal_axes=axes,
            lattice_type=next((name for name in LATTICE_TYPES if name == lattice), "triclinic"),
            centring=next((letter for letter in CENTRINGS if letter == centring), "P"),
            unique_axis=fields.get("unique_axis", "?"),
            indexed_by=self._fields.get("indexed_by", "none"),
            profile_radius=self._float(fields.get("profile_radius", "0")) / 10.0,
            det_shift=(shift_x / 1000.0, shift_y / 1000.0),
            residuals=residuals,
            resolution_limit=self._float(fields.get("diffraction_resolution_limit", "0")) / 10.0,
            reflections=reflections,
            n_saturated=int(self._float(fields.get("num_saturated_reflections", "0"))),
            n_implausible=int(self._float(fields.get("num_implausible_reflections", "0"))),
        )

    def _reflections(self, rows: Sequence[str]) -> ReflectionTable:
        words = [row.split() for row in rows]
        if any(len(row) != _N_REFLECTION_COLUMNS for row in words):
            self._error("a reflection has not ten columns")
        known = [row for row in words if row[9] in self._panels]
        numbers = self._numbers([row[:9] for row in known], 9)
        panel = np.array([self._panels[row[9]] for row in known], np.int32)
        offset = self._offsets[panel] if len(panel) else np.zeros((0, 2))
        unknown = np.full(len(known), np.nan)
        return ReflectionTable(
            hkl=numbers[:, :3].astype(np.int32),
            panel=panel,
            fs=numbers[:, 7] - offset[:, 0],
            ss=numbers[:, 8] - offset[:, 1],
            excitation_error=unknown,
            partiality=unknown,
            intensity=numbers[:, 3],
            sigma=numbers[:, 4],
            peak_value=numbers[:, 5],
            background=numbers[:, 6],
        )

    def _result(self) -> FrameResult:
        fields = self._fields
        energy = self._float(fields["photon_energy_eV"])
        return FrameResult(
            identity=FrameIdentity(
                filename=fields["Image filename"],
                event=fields.get("Event", "//"),
                serial=int(self._float(fields.get("Image serial number", "0"))),
            ),
            wavelength=wavelength_of_photon(energy),
            bandwidth=self._float(fields.get("beam_bandwidth", "-1")),
            divergence=self._float(fields.get("beam_divergence", "0")),
            average_camera_length=self._float(fields.get("average_camera_length", "nan")),
            headers=tuple(self._headers),
            peaks=self._peaks,
            peak_inverse_d=self._inverse_d,
            peak_resolution=self._float(fields.get("peak_resolution", "0")) / 10.0,
            is_hit=fields.get("hit", "1") == "1",
            indexed_by=fields.get("indexed_by", "none"),
            n_tries=int(self._float(fields.get("n_indexing_tries", "0"))),
            crystals=tuple(self._crystals),
        )

    def _numbers(self, rows: Sequence[Sequence[str]], n_columns: int) -> np.ndarray:
        try:
            return np.array(rows, np.float64).reshape(len(rows), n_columns)
        except ValueError as error:
            self._error(str(error))

    def _float(self, text: str) -> float:
        return self._floats(text, 1, "a value")[0]

    def _floats(self, text: str, n_wanted: int, what: str) -> list[float]:
        try:
            return [float(word) for word in text.split()[:n_wanted]] + [0.0] * (n_wanted - len(text.split()))
        except ValueError:
            self._error(f"{what} is {text[:60]!r}, expected {n_wanted} numbers")

    def _error(self, message: str) -> NoReturn:
        raise UserError(message, path=self._lines.path, line=self._lines.number)


def _store(fields: dict[str, str], line: str) -> None:
    """Keep a line as name and value, whichever sign separates them."""
    equals, colon = line.find(" = "), line.find(": ")
    if equals >= 0 and (colon < 0 or equals < colon):
        fields.setdefault(line[:equals], line[equals + 3 :])
    elif colon >= 0:
        fields.setdefault(line[:colon], line[colon + 2 :])


def _open(path: Path) -> IO[str]:
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start == b"\xfd7zXZ\x00":
            return lzma.open(path, "rt", encoding="utf-8", errors="surrogateescape")
        if start[:2] == b"\x1f\x8b":
            return gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape")
        return path.open(encoding="utf-8", errors="surrogateescape", newline="\n")
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror or error}", path=path) from None
