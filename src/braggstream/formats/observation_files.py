"""Files that hold observations for merging, whichever kind they are: stream files and columnar caches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from braggstream.formats.compressed_file import GZIP, XZ
from braggstream.formats.stream_columns import N_CRYSTALS, STANDARD_INPUT, Part, StreamColumns, is_read_once
from braggstream.model.errors import UserError
from braggstream.model.observations import Observations, joined

COLUMNAR_MAGIC = (b"\xff\xff\xff\xff", b"PAR1")
"""First bytes of an Arrow stream, and of a Parquet file."""


class ObservationFile(Protocol):
    """A file of crystals; iterate over it to get them block by block."""

    path: str | Path
    audit: str
    """Lines that tell how the data were made, each with its line end."""
    n_torn: int
    """Parts that are not whole; known, like what follows, after iteration."""
    n_incomplete: int
    n_left_out: int
    """Crystals that cannot be used."""
    notices: list[str]
    """What was left out, one line each, the first ones only."""

    def __iter__(self) -> Iterator[Observations]: ...


def open_observations(
    path: str | Path, *, n_crystals: int = N_CRYSTALS, n_threads: int = 1, part: Part = (0, 1)
) -> ObservationFile:
    """Open a file of observations, or a part of it, of the kind that its first bytes tell; raises `UserError`."""
    if not is_read_once(path) and is_columnar(path):
        from braggstream.formats.columns import ColumnsFile

        return ColumnsFile(path, part=part)
    return StreamColumns(path, n_crystals=n_crystals, n_threads=n_threads, part=part)


def load_observations(path: str | Path) -> Observations:
    """Read all crystals of a file; raises `UserError` where it cannot be read, or has none."""
    blocks = list(open_observations(path))
    if not blocks:
        raise UserError("holds no crystals", path=path)
    return joined(blocks)


def can_be_parted(path: str | Path) -> bool:
    """Tell whether parts of a file can be read: not where it is compressed."""
    if is_read_once(path):
        return False
    with Path(path).open("rb") as file:
        start = file.read(6)
    return start != XZ and start[:2] != GZIP


def is_columnar(path: str | Path) -> bool:
    """Tell whether a file begins as a columnar cache; what cannot be opened does not."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) in COLUMNAR_MAGIC
    except OSError:
        return False


def is_standard_input(path: str | Path) -> bool:
    """Tell whether a path means standard input."""
    return str(path) == STANDARD_INPUT
