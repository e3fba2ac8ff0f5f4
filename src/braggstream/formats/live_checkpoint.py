"""State of a live merge as a file: named arrays in a NumPy archive, and plain values as JSON among them."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 2
_VALUES = "values"
MAX_BYTES = 1 << 32


def checkpoint_bytes(values: dict[str, Any], arrays: dict[str, NDArray]) -> bytes:
    """Write plain values and arrays down."""
    text = json.dumps({"version": VERSION, **values}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, **{_VALUES: np.frombuffer(text, np.uint8)}, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_checkpoint(path: str) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Read values and arrays; raises `OSError`, or `ValueError` where it is no checkpoint of this version."""
    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError("is too large for a checkpoint")
    content = io.BytesIO(Path(path).read_bytes())
    try:
        with np.load(content, allow_pickle=False) as archive:
            if sum(info.file_size for info in archive.zip.infolist()) > MAX_BYTES:
                raise ValueError("is too large for a checkpoint")
            arrays = {name: archive[name] for name in archive.files}
        values = json.loads(arrays.pop(_VALUES).tobytes())
    except (zipfile.BadZipFile, EOFError, KeyError, AttributeError) as error:
        raise ValueError(f"is no checkpoint: {error}") from None
    if not isinstance(values, dict) or values.get("version") != VERSION:
        raise ValueError("is a checkpoint of another version")
    return values, arrays
