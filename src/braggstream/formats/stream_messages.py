"""Which messages of a message service have their chunks in a stream file already."""

import re
from collections.abc import Iterator

from braggstream.formats.announced import STREAM_HEADER
from braggstream.formats.stream_continued import found_in_chunks

_MESSAGE = re.compile(
    rb"\nImage serial number: ([0-9]{1,19})\n(?:(?!-----)[^\n]*\n){0,500}?"
    rb"header/str/" + re.escape(STREAM_HEADER).encode() + rb" = ([^\n]*)\n"
)


def messages_in(path: str) -> Iterator[tuple[str, int]]:
    """Give stream and number of each message whose chunk is whole in this file; nothing where there is no file."""
    for found in found_in_chunks(path, _MESSAGE):
        yield found[2].decode("utf-8", "replace"), int(found[1])
