"""Counting the chunks of a stream file by what they say, as fast as the file can be read."""

from dataclasses import dataclass
from pathlib import Path

from braggstream.formats.compressed_file import open_bytes
from braggstream.formats.stream_header import CHUNK_END
from braggstream.model.errors import UserError

PIECE_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamCounts:
    """Frames of a stream file."""

    n_frames: int
    n_hits: int
    n_indexed: int


def count_frames(path: str | Path) -> StreamCounts:
    """Count frames, hits and indexed frames of a stream file; raises `UserError` where it cannot be read."""
    marks = {"frames": CHUNK_END.encode(), "hits": b"hit = 1", "not indexed": b"indexed_by = none"}
    lines = {name: b"\n" + mark + b"\n" for name, mark in marks.items()}
    found = dict.fromkeys(lines, 0)
    longest = max(map(len, lines.values()))
    held = b""
    try:
        with open_bytes(path) as file:
            while piece := file.read(PIECE_BYTES):
                text = held + piece.replace(b"\r\n", b"\n")
                # What is held back is too short to hold a whole line of any kind, so none is counted twice.
                for name, line in lines.items():
                    found[name] += text.count(line) - held.count(line)
                held = text[-(longest - 1) :]
    except (OSError, EOFError) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path=path) from None
    n_frames = found["frames"]
    return StreamCounts(n_frames=n_frames, n_hits=found["hits"], n_indexed=max(0, n_frames - found["not indexed"]))
