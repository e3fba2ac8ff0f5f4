"""The stream file on disk: whole chunks only, whatever happens."""

import os
from pathlib import Path
from typing import BinaryIO

from braggstream.formats.stream_header import CHUNK_BEGIN, CHUNK_END, FORMAT_LINE, GEOMETRY_END
from braggstream.model.errors import UserError
from braggstream.model.settings import OutputSettings
from braggstream.sinks.piece_file import PieceFile

_CHUNK_END = f"{CHUNK_END}\n".encode()
_CHUNK_BEGIN = f"{CHUNK_BEGIN}\n".encode()
_BLOCK = 1 << 20


class StreamFileSink:
    """Writes chunks; each `write` puts a whole chunk into the file, or none of it."""

    def __init__(self, output: OutputSettings, header: bytes) -> None:
        """Open the file and write the header; raises `UserError`.

        With `append` an existing stream file is continued: a torn chunk at its end is cut off, and no second
        header is written.
        """
        self._name = output.stream_file
        goes_on = output.append and _holds_something(self._name)
        if goes_on:
            _check_is_stream(self._name)
            repair_tail(self._name)
        self._file = PieceFile(self._name, "the stream file (-o)", goes_on=goes_on)
        if not goes_on:
            self._write_header(header)

    def _write_header(self, header: bytes) -> None:
        try:
            self.write(header)
        except OSError as error:
            self.close()
            raise UserError(f"cannot write the stream file (-o): {error.strerror}", path=self._name) from None

    def write(self, chunk: bytes) -> None:
        """Write a chunk; raises `OSError`, and then nothing of the chunk stays in the file."""
        self._file.write(chunk)

    def close(self) -> None:
        """Close the file; raises `OSError` where the system could not keep what was written."""
        self._file.close()


def repair_tail(path: str) -> int:
    """Cut a half-written chunk off the end of a stream file; gives the number of bytes cut.

    Raises
    ------
    UserError
        The file cannot be read or written.
    """
    try:
        with Path(path).open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            keep = _end_of_last_chunk(file, size)
            if keep < size:
                file.truncate(keep)
            return size - keep
    except OSError as error:
        raise UserError(f"cannot be repaired: {error.strerror}", path=path) from None


def _end_of_last_chunk(file: BinaryIO, size: int) -> int:
    """Where the last whole chunk ends; without one, where the first torn one begins, else the end of the file."""
    end = _find_last(file, size, b"\n" + _CHUNK_END)
    if end is not None:
        return end + 1 + len(_CHUNK_END)
    begin = _find_last(file, size, b"\n" + _CHUNK_BEGIN)
    return size if begin is None else begin + 1


def _find_last(file: BinaryIO, size: int, mark: bytes) -> int | None:
    """Position of the last occurrence of a mark, searched backwards."""
    stop = size
    while stop > 0:
        start = max(0, stop - _BLOCK)
        file.seek(start)
        block = file.read(stop - start + len(mark) - 1)
        found = block.rfind(mark)
        if found >= 0:
            return int(start + found)
        stop = start
    return None


def _holds_something(name: str) -> bool:
    try:
        return Path(name).stat().st_size > 0
    except OSError:
        return False


def _check_is_stream(name: str) -> None:
    """Refuse to append to something else."""
    try:
        with Path(name).open("rb") as file:
            start = file.read(1 << 21)
    except OSError as error:
        raise UserError(f"cannot be read (--append): {error.strerror}", path=name) from None
    if not start.startswith(FORMAT_LINE.encode()):
        raise UserError(f"--append: is no stream file, which begins with {FORMAT_LINE!r}", path=name)
    if GEOMETRY_END.encode() not in start:
        raise UserError("--append: the file ends within its header; leave out --append", path=name)
