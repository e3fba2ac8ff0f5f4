"""The columnar cache: observations in an Arrow stream, one row a crystal, which merging reads many times faster.

It is written beside the stream file (`indexamajig --reflections-out`), batch after batch.  A file whose writer was
killed is read up to its last whole batch.  What Arrow's and other tools made of such a file is read too: Arrow
streams and Parquet files with these columns.

Observations are lists in their crystal's row: `hkl` (three numbers each), `intensity`, `sigma`, `peak_value`,
`background`, `fs`, `ss` and `panel`, as `Observations` has them; the names of the panels are in the metadata.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.observation_files import COLUMNAR_MAGIC
from braggstream.formats.replaced_file import replacing
from braggstream.model.cell import CENTRINGS, LATTICE_TYPES
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.observations import COLUMNS, UNIQUE_AXES, CrystalTable, Observations, in_blocks

STREAM_MAGIC, PARQUET_MAGIC = COLUMNAR_MAGIC
END_OF_STREAM = STREAM_MAGIC + bytes(4)
FORMAT, PANELS, AUDIT = b"braggstream.format", b"braggstream.panels", b"braggstream.audit"
FORMAT_NAME = b"observations 1"
MAX_PANELS = 32767

_WORDS: dict[str, Sequence[str]] = {
    "lattice_type": LATTICE_TYPES,
    "centring": CENTRINGS,
    "unique_axis": UNIQUE_AXES,
}
"""Columns that are numbers in `CrystalTable` and words here."""


def arrow() -> Any:
    """Import Arrow; raises `MissingExtraError` where it is not there."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise MissingExtraError(library="pyarrow", extra="tables", purpose="a columnar cache") from None
    return pa


def observation_schema(panel_names: Sequence[str], audit: str) -> Any:
    """Columns of the cache, with the names of the panels and what is known of the data's making."""
    pa = arrow()
    number, text = pa.float64(), pa.string()
    kinds = {
        "filename": text,
        "event": text,
        "indexed_by": text,
        "serial": pa.int64(),
        "reciprocal_axes": pa.list_(number, 9),
        "det_shift": pa.list_(number, 2),
        "n_saturated": pa.int64(),
        **dict.fromkeys(_WORDS, text),
    }
    columns = [(field.name, kinds.get(field.name, number)) for field in fields(CrystalTable)]
    lists = {"hkl": pa.list_(pa.int16(), 3), "panel": pa.int16()}
    columns += [(name, pa.list_(lists.get(name, pa.float32()))) for name in COLUMNS]
    metadata = {FORMAT: FORMAT_NAME, PANELS: json.dumps(list(panel_names)), AUDIT: audit.encode("utf-8", "replace")}
    return pa.schema(columns, metadata=metadata)


def schema_bytes(schema: Any) -> bytes:
    """Give the message that an Arrow stream begins with."""
    return bytes(schema.serialize())


def batch_bytes(block: Observations, schema: Any) -> bytes:
    """Give a block as a message of an Arrow stream."""
    return bytes(record_batch(block, schema).serialize())


def record_batch(block: Observations, schema: Any) -> Any:
    """Give a block as an Arrow record batch."""
    pa = arrow()
    offsets = pa.array(block.start.astype(np.int32))
    arrays = []
    for field in schema:
        if field.name in COLUMNS:
            values = _array(getattr(block, field.name), field.type.value_type)
            arrays.append(pa.ListArray.from_arrays(offsets, values))
            continue
        column = getattr(block.crystals, field.name)
        if field.name in _WORDS:
            arrays.append(pa.array([_WORDS[field.name][number] for number in column.tolist()], field.type))
        elif isinstance(column, tuple):
            arrays.append(pa.array([_text(name) for name in column], field.type))
        else:
            arrays.append(_array(column, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(column: NDArray, kind: Any) -> Any:
    pa = arrow()
    if column.ndim == 1:
        return pa.array(column, kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).ravel()), kind.list_size)


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def write_columns(path: str | Path, blocks: Iterable[Observations], *, audit: str = "") -> int:
    """Write blocks of the same panels as an Arrow stream; gives the number of crystals.

    Raises `UserError` where the file cannot be written.
    """
    n_crystals, schema = 0, None
    try:
        with replacing(path) as part, part.open("wb") as file:
            for block in blocks:
                if schema is None:
                    schema = observation_schema(block.panel_names, audit)
                    file.write(schema_bytes(schema))
                file.write(batch_bytes(block, schema))
                n_crystals += block.n_crystals
            if schema is None:
                file.write(schema_bytes(observation_schema((), audit)))
            file.write(END_OF_STREAM)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", path=path) from None
    return n_crystals


def is_without_batches(path: str | Path) -> bool:
    """Whether a file is an Arrow stream without a single whole batch."""
    pa = arrow()
    try:
        with pa.OSFile(str(path)) as file:
            return next(iter(pa.ipc.open_stream(file)), None) is None
    except (pa.ArrowException, OSError):
        return False


def whole_length(path: str | Path, schema: Any) -> int:
    """Measure an Arrow stream up to its last whole batch, without the mark of its end [bytes].

    Raises `UserError` where it is no such file, or where its columns or panels are others than the schema's.
    """
    pa = arrow()
    try:
        with pa.OSFile(str(path)) as file:
            reader = pa.ipc.open_stream(file)
            if not reader.schema.equals(schema) or reader.schema.metadata.get(PANELS) != schema.metadata[PANELS]:
                raise UserError("holds other columns or panels: give another name", path=path)
            length = file.tell()
            try:
                for _ in reader:
                    length = file.tell()
            except (pa.ArrowException, OSError):
                pass
            # The mark of the end may have been read behind the last batch.
            return int(length)
    except pa.ArrowException:
        raise UserError("is no columnar cache", path=path) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", path=path) from None


class ColumnsFile:
    """The crystals of a columnar cache as blocks of columns; iterate over it as often as wished."""

    def __init__(self, path: str | Path, *, n_crystals: int | None = None, part: tuple[int, int] = (0, 1)) -> None:
        self.path = path
        self._part = part
        self._n_crystals = n_crystals
        self.n_torn = 0
        """Batches that were not whole: the writer was cut off."""
        self.n_incomplete = self.n_left_out = 0
        self.notices: list[str] = []
        schema = self._open(lambda schema, _batches: schema)
        metadata = schema.metadata or {}
        if metadata.get(FORMAT) != FORMAT_NAME:
            raise UserError("holds no observations: expected what --reflections-out writes", path=path)
        self.audit: str = metadata.get(AUDIT, b"").decode("utf-8", "replace")
        """Lines that tell how the data were made."""
        self._names = _panel_names(metadata.get(PANELS, b""), path)
        try:
            found = schema.names
        except UnicodeDecodeError:
            found = []
        missing = [name for name in observation_schema((), "").names if name not in found]
        if missing:
            raise UserError(f"has no column {', '.join(missing)}", path=path)

    def __iter__(self) -> Iterator[Observations]:
        self.n_torn = 0
        blocks = self._blocks()
        return blocks if self._n_crystals is None else in_blocks(blocks, self._n_crystals)

    def _open(self, use: Callable[[Any, Any], Any]) -> Any:
        """Open the file and use its schema and its batches."""
        pa = arrow()
        try:
            with Path(self.path).open("rb") as file:
                magic = file.read(4)
            if magic == PARQUET_MAGIC:
                from pyarrow.parquet import ParquetFile

                table = ParquetFile(self.path)
                return use(table.schema_arrow, table.iter_batches(batch_size=4096))
            reader = pa.ipc.open_stream(pa.memory_map(str(self.path)))
            return use(reader.schema, reader)
        except (pa.ArrowException, OSError) as error:
            reason = getattr(error, "strerror", None) or _first_line(error)
            raise UserError(f"cannot be read as a columnar cache: {reason}", path=self.path) from None

    def _n_batches(self) -> int:
        """Count the whole batches."""
        pa = arrow()
        batches, n_batches = self._open(lambda _schema, batches: batches), 0
        try:
            for _ in batches:
                n_batches += 1
        except (pa.ArrowException, OSError):
            pass
        return n_batches

    def _blocks(self) -> Iterator[Observations]:
        pa = arrow()
        number, n_parts = self._part
        n_batches = self._n_batches() if n_parts > 1 else 0
        wanted = range(n_batches * number // n_parts, n_batches * (number + 1) // n_parts)
        batches = enumerate(self._open(lambda _schema, batches: batches))
        while True:
            try:
                place, batch = next(batches)
                if n_parts > 1 and place not in wanted:
                    continue
                batch.validate(full=True)
            except StopIteration:
                return
            except (pa.ArrowException, OSError):
                self.n_torn = 1
                return
            try:
                block = _block(batch, self._names, self.path)
            except (pa.ArrowException, ValueError, TypeError, LookupError) as error:
                raise UserError(f"has other columns than a cache: {_first_line(error)}", path=self.path) from None
            if block.n_crystals:
                yield block


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _panel_names(text: bytes, path: str | Path) -> tuple[str, ...]:
    try:
        names = json.loads(text or "[]")
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or len(names) > MAX_PANELS or not all(isinstance(name, str) for name in names):
        raise UserError("the names of its panels cannot be read", path=path)
    return tuple(names)


def _block(batch: Any, panel_names: tuple[str, ...], path: str | Path) -> Observations:
    """Look at a batch as a block, without a copy of the observations."""
    batch = batch.cast(observation_schema((), "")) if not _has_types(batch) else batch
    if any(batch.column(name).null_count for name in batch.schema.names):
        raise UserError("a column has missing values", path=path)
    names = [field.name for field in fields(CrystalTable)]
    crystals: dict[str, Any] = {name: _column(batch.column(name), name) for name in names}
    columns: dict[str, Any] = {}
    start: NDArray[np.int64] | None = None
    for name in COLUMNS:
        lists = batch.column(name)
        offsets = np.asarray(lists.offsets).astype(np.int64)
        own, values = offsets - offsets[0], lists.flatten()
        if start is not None and not np.array_equal(own, start):
            raise UserError("its columns have different lengths", path=path)
        start = own
        columns[name] = np.asarray(values.flatten()).reshape(-1, 3) if name == "hkl" else np.asarray(values)
    assert start is not None
    return Observations(crystals=CrystalTable(**crystals), start=start, panel_names=panel_names, **columns)


def _has_types(batch: Any) -> bool:
    expected = observation_schema((), "")
    return all(batch.schema.field(field.name).type == field.type for field in expected)


def _column(column: Any, name: str) -> tuple[str, ...] | NDArray:
    if name in _WORDS:
        numbers = {word: number for number, word in enumerate(_WORDS[name])}
        return np.array([numbers.get(word, 0) for word in column.to_pylist()], np.uint8)
    if name in ("filename", "event", "indexed_by"):
        return tuple(column.to_pylist())
    if name in ("reciprocal_axes", "det_shift"):
        shape = (len(column), 3, 3) if name == "reciprocal_axes" else (len(column), 2)
        return np.asarray(column.flatten()).reshape(shape)
    return np.asarray(column)
