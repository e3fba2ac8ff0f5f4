"""Stream files that are gone on with (`--append`): what they were made with, and which frames they hold."""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from braggstream.formats.stream_header import (
    CELL_BEGIN,
    CELL_END,
    CHUNK_END,
    FORMAT_LINE,
    GEOMETRY_BEGIN,
    GEOMETRY_END,
    one_line,
    stream_bytes,
)
from braggstream.model.errors import UserError

MAX_HEADER = 1 << 26
"""A header has at most so many bytes."""
_END = f"\n{CHUNK_END}\n".encode()
_FRAME = re.compile(
    rb"\n----- Begin chunk -----\nImage filename: ([^\n]*)\n(?:Event: ([^\n]*)\n)?"
    rb"Image serial number: ([0-9]{1,19})\n"
)
_SECTIONS = (("geometry", GEOMETRY_BEGIN, GEOMETRY_END), ("unit cell", CELL_BEGIN, CELL_END))


def check_is_continued(file: BinaryIO, header: bytes, path: str) -> None:
    """Refuse to go on with what is no stream file, or was made with another geometry or cell than a new header.

    Comments and blanks count for nothing, and where there is no cell, there is no other one.  Raises `UserError`.
    """
    file.seek(0)
    if file.read(len(FORMAT_LINE)) != FORMAT_LINE.encode():
        raise UserError(f"--append: is no stream file, which begins with {FORMAT_LINE!r}", path=path)
    file.seek(0)
    old = _header(file.read(MAX_HEADER))
    if GEOMETRY_END not in old:
        raise UserError("--append: the file ends within its header; leave out --append", path=path)
    new = _header(header)
    if GEOMETRY_END not in new:
        return
    for what, begin, end in _SECTIONS:
        theirs, ours = _section(old, begin, end), _section(new, begin, end)
        if theirs and ours and theirs != ours:
            raise UserError(
                f"--append: was made with another {what}: {_difference(theirs, ours)}; give that one, or another "
                "name with -o",
                path=path,
            )


def _header(content: bytes) -> str:
    return content.partition(b"\n----- Begin chunk -----\n")[0].decode("utf-8", "replace")


def _section(header: str, begin: str, end: str) -> list[str]:
    """Give the statements of a part of the header."""
    text = header.partition(f"\n{begin}\n")[2].partition(f"\n{end}")[0]
    lines = (" ".join(line.partition(";")[0].split()) for line in text.splitlines())
    return [line for line in lines if line]


def _difference(theirs: list[str], ours: list[str]) -> str:
    """Tell where two lists of statements begin to differ."""
    pairs = zip([*theirs, "its end"], [*ours, "its end"], strict=False)
    there, here = next(pair for pair in pairs if pair[0] != pair[1])
    return f"{there[:80]!r} there, {here[:80]!r} now"


@dataclass(slots=True)
class RecordedFrames:
    """Which frames have their chunks in a stream file."""

    highest: int = 0
    """The highest serial number."""
    n_frames: int = 0
    _names: set[bytes] = field(default_factory=set)
    """Digests of files and events: a million take 80 MB."""

    def __contains__(self, name: tuple[str, str]) -> bool:
        filename, event = name
        return _digest(stream_bytes(one_line(filename)), stream_bytes(one_line(event))) in self._names

    def add(self, filename: bytes, event: bytes, serial: int, *, has_name: bool = True) -> None:
        """Take note of a frame."""
        if has_name:
            self._names.add(_digest(filename, event))
        self.highest = max(self.highest, serial)
        self.n_frames += 1


def recorded_frames(path: str, *, has_names: bool = True) -> RecordedFrames:
    """Find the frames whose chunks are whole in a stream file; none where there is no file.

    Names are kept, to be looked for, only where the frames have such.
    """
    recorded = RecordedFrames()
    for filename, event, serial in _frames_in(path):
        recorded.add(filename, event, serial, has_name=has_names)
    return recorded


def _frames_in(path: str) -> Iterator[tuple[bytes, bytes, int]]:
    for found in found_in_chunks(path, _FRAME):
        yield found[1], found[2] or b"//", int(found[3])


def found_in_chunks(path: str, pattern: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
    """Give what matches a pattern in the whole chunks of a stream file; nothing where there is no file."""
    file = Path(path)
    if not file.is_file() or not file.stat().st_size:
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(_END)
        if end < 0:
            return
        yield from pattern.finditer(content, 0, end)


def _digest(filename: bytes, event: bytes) -> bytes:
    return blake2b(filename + b"\0" + event, digest_size=12).digest()
