"""Where the record of a run lies that wrote a stream file, and how records of earlier runs are read."""

import json
from pathlib import Path
from typing import Any

SUFFIX = ".provenance.json"
"""What the name of a stream file ends with where its record is meant."""
MAX_BYTES = 1 << 26


def runs_in(path: str | Path) -> list[Any]:
    """Give the records of the runs in a file; a file that is none is no reason not to run."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            return []
        runs = json.loads(Path(path).read_text())["runs"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return runs if isinstance(runs, list) else []
