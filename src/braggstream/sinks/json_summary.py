"""The summary of a session as a JSON file, for programs."""

import json
from collections.abc import Mapping
from typing import Any

from braggstream.model.errors import UserError
from braggstream.sinks.replaced_file import replace_file


def write_json_summary(path: str, summary: Mapping[str, Any]) -> None:
    """Write the summary, replacing the file in one step: a reader never sees half of it.

    Raises `UserError` where that is not possible.
    """
    try:
        replace_file(path, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"--json-summary: cannot be written: {error.strerror}", path=path) from error
