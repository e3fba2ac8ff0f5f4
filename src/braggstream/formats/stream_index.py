"""Where the chunks of a stream file lie, and which frames they are of."""

import re
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

from braggstream.formats.compressed_file import open_bytes
from braggstream.formats.stream_header import CHUNK_BEGIN, CHUNK_END
from braggstream.model.errors import UserError

PIECE_BYTES = 8 << 20
MAX_CHUNK_BYTES = 1 << 30

_MARK = re.compile(rb"^(?:(" + CHUNK_BEGIN.encode() + rb")|" + CHUNK_END.encode() + rb")\r?\n", re.MULTILINE)
_FILENAME = re.compile(rb"^Image filename: ([^\r\n]*)", re.MULTILINE)
_EVENT = re.compile(rb"^Event: ([^\r\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """One chunk of a stream file."""

    offset: int
    """Where it begins in what the file holds when it is not compressed [bytes]."""
    line: int
    """Lines before it."""
    filename: str
    event: str


def chunk_places(path: str | Path) -> list[ChunkPlace]:
    """Find the whole chunks of a stream file, up to the first that is not; raises `UserError`."""
    found: list[ChunkPlace] = []
    held, offset, line = b"", 0, 0
    try:
        with open_bytes(path) as file:
            while piece := file.read(PIECE_BYTES):
                held += piece
                used = _take_chunks(held, offset, line, found)
                if used is None:
                    break
                line += held.count(b"\n", 0, used)
                offset, held = offset + used, held[used:]
                if len(held) > MAX_CHUNK_BYTES:
                    raise UserError(f"there is no {CHUNK_END!r} in {MAX_CHUNK_BYTES} bytes", path=path)
            else:
                _take_chunks(held + b"\n", offset, line, found)
    except (OSError, EOFError, LZMAError, zlib.error) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path=path) from None
    return found


def _take_chunks(text: bytes, offset: int, line: int, found: list[ChunkPlace]) -> int | None:
    """Note the whole chunks in a piece of text; gives what was used of it, None where a chunk is not whole."""
    begin, used = -1, 0
    for mark in _MARK.finditer(text):
        if mark[1] is not None:
            if begin >= 0:
                return None
            begin = mark.start()
        elif begin >= 0:
            line += text.count(b"\n", used, begin)
            chunk = text[begin : mark.end()]
            found.append(ChunkPlace(offset + begin, line, _word(_FILENAME, chunk, ""), _word(_EVENT, chunk, "//")))
            line += chunk.count(b"\n")
            begin, used = -1, mark.end()
    return used


def _word(pattern: re.Pattern[bytes], chunk: bytes, default: str) -> str:
    match = pattern.search(chunk)
    return default if match is None else match[1].decode("utf-8", "surrogateescape")
