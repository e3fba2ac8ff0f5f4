"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path


def replace_file(path: str, text: str) -> None:
    """Write a text file, replacing an older one in one step: a reader never sees half of it; raises `OSError`."""
    target = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
