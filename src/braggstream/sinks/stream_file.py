"""The stream file on disk: whole chunks only, whatever happens."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from braggstream.formats.replaced_file import Say, place_of, say_on_stderr
from braggstream.formats.stream_continued import check_is_continued
from braggstream.formats.stream_header import CHUNK_BEGIN, CHUNK_END, FORMAT_LINE
from braggstream.model.errors import UserError
from braggstream.model.settings import OutputSettings
from braggstream.sinks.file_lock import open_locked
from braggstream.sinks.piece_file import PieceFile, PieceForm

_CHUNK_END = f"{CHUNK_END}\n".encode()
_CHUNK_BEGIN = f"{CHUNK_BEGIN}\n".encode()
_BLOCK = 1 << 20


class StreamFileSink:
    """Writes chunks; each `write` puts a whole chunk into the file, or none of it."""

    def __init__(
        self,
        output: OutputSettings,
        header: bytes,
        *,
        say: Say = say_on_stderr,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the file and write the header; raises `UserError`, also where another run writes the file.

        An earlier stream file is not touched before there is a chunk; then it is kept.  With `append` it is
        continued: a torn chunk at its end is cut off, and no second header is written; its geometry and its cell
        have to be those of `header`.  `begun` is called when the file is this run's.
        """
        name = output.stream_file

        def whole_length(file: BinaryIO) -> int:
            check_is_continued(file, header, name)
            return _end_of_last_chunk(file, file.seek(0, os.SEEK_END))

        form = PieceForm(head=header, holds_pieces=holds_chunks, whole_length=whole_length, n_pieces=_n_chunks)
        self.file = PieceFile(name, "the stream file (-o)", goes_on=output.append, form=form, say=say, begun=begun)

    def write(self, chunk: bytes) -> None:
        """Write a chunk; raises `OSError`, and then nothing of the chunk stays in the file."""
        self.file.write(chunk)

    def close(self) -> None:
        """Close the file; raises `OSError` where the system could not keep what was written."""
        self.file.close()


def holds_chunks(file: BinaryIO) -> bool:
    """Whether a stream file has a chunk, be it a torn one; a file that is no stream file holds something, too."""
    file.seek(0)
    if file.read(len(FORMAT_LINE)) != FORMAT_LINE.encode():
        return True
    return _find_last(file, file.seek(0, os.SEEK_END), b"\n" + _CHUNK_BEGIN) is not None


def mend_left_file(path: str, since: float) -> None:
    """Cut a torn chunk off a stream file whose writer was killed.

    A file that was not written `since` then [s, as `time.time`] is an earlier result, and left alone; so is one
    that another run writes by now.
    """
    place = place_of(path)
    if place is None:
        return
    with suppress(OSError, UserError):
        opened = open_locked(place, makes=False)
        if opened is not None:
            with os.fdopen(opened[0], "rb+") as file:
                if os.fstat(file.fileno()).st_mtime >= since:
                    _cut_torn(file)


def repair_tail(path: str) -> int:
    """Cut a half-written chunk off the end of a stream file; gives the number of bytes cut.

    Raises
    ------
    UserError
        The file cannot be read or written.
    """
    try:
        with Path(path).open("rb+") as file:
            return _cut_torn(file)
    except OSError as error:
        raise UserError(f"cannot be repaired: {error.strerror}", path=path) from None


def _cut_torn(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    keep = _end_of_last_chunk(file, size)
    if keep < size:
        file.truncate(keep)
    return size - keep


def _n_chunks(file: BinaryIO, begin: int, end: int) -> int:
    """Count the ends of chunks between two places."""
    file.seek(begin)
    n_chunks, held = 0, b""
    while begin < end:
        block = file.read(min(_BLOCK, end - begin))
        if not block:
            break
        begin += len(block)
        held += block
        n_chunks += held.count(b"\n" + _CHUNK_END)
        held = held[held.rfind(b"\n") :]
    return n_chunks


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
