"""Which messages of a message service have their chunks in a stream file already."""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from braggstream.formats.announced import STREAM_HEADER
from braggstream.formats.stream_header import CHUNK_END

_END = f"\n{CHUNK_END}\n".encode()
_MESSAGE = re.compile(
    rb"\nImage serial number: ([0-9]{1,19})\n(?:(?!-----)[^\n]*\n){0,500}?"
    rb"header/str/" + re.escape(STREAM_HEADER).encode() + rb" = ([^\n]*)\n"
)


def messages_in(path: str) -> Iterator[tuple[str, int]]:
    """Give stream and number of each message whose chunk is whole in this file; nothing where there is no file."""
    file = Path(path)
    if not file.is_file() or not file.stat().st_size:
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = content.rfind(_END)
        if end < 0:
            return
        for found in _MESSAGE.finditer(content, 0, end):
            yield found[2].decode("utf-8", "replace"), int(found[1])
