"""Files that may be compressed with xz or gzip, which their first bytes tell."""

import gzip
import lzma
from pathlib import Path
from typing import IO, cast

XZ, GZIP = b"\xfd7zXZ\x00", b"\x1f\x8b"


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading what it holds when it is not compressed."""
    with Path(path).open("rb") as file:
        start = file.read(6)
    if start == XZ:
        return cast(IO[bytes], lzma.open(path))
    if start[:2] == GZIP:
        return cast(IO[bytes], gzip.open(path))
    return Path(path).open("rb", buffering=0)
