"""The summary of a session as a JSON file, for programs."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braggstream.model.errors import UserError


def write_json_summary(path: str, summary: Mapping[str, Any]) -> None:
    """Write the summary, replacing the file in one step: a reader never sees half of it.

    Raises `UserError` where that is not possible.
    """
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(summary, file, indent=2, ensure_ascii=False)
                file.write("\n")
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"--json-summary: cannot be written: {error.strerror}", path=path) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
