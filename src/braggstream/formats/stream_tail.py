"""The end of a stream file, from a place that is known to be the end of a chunk."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from braggstream.formats.stream_header import CHUNK_END

_END = f"\n{CHUNK_END}\n".encode()
_PIECE = 4 << 20
MAX_CHUNK_BYTES = 1 << 30
_WITNESS = 4096


def read_tail(path: str, begin: int, end: int) -> Iterator[bytes]:
    """Give what stands between two places, in pieces that end with whole chunks; raises `OSError`.

    What follows the last whole chunk is left out, as is a chunk beyond `MAX_CHUNK_BYTES`.
    """
    held = b""
    with Path(path).open("rb") as file:
        file.seek(begin)
        left = end - begin
        while left > 0:
            block = file.read(min(_PIECE, left))
            if not block:
                return
            left -= len(block)
            held += block
            stop = held.rfind(_END)
            if stop >= 0:
                stop += len(_END)
                yield held[:stop]
                held = held[stop:]
            elif len(held) > MAX_CHUNK_BYTES:
                held = held[-len(_END) :]


def witness(path: str, place: int) -> str:
    """Digest of the first bytes of a file and of those before a place, to know it again; raises `OSError`."""
    digest = blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        digest.update(file.read(min(_WITNESS, place)))
        file.seek(max(place - _WITNESS, 0))
        digest.update(file.read(min(_WITNESS, place)))
    return digest.hexdigest()
