"""The summary of a session as a JSON file, for programs."""

import json
from collections.abc import Mapping
from typing import Any

from braggstream.formats.replaced_file import Say, replace_file, say_on_stderr
from braggstream.model.errors import UserError


def write_json_summary(path: str, summary: Mapping[str, Any], *, say: Say = say_on_stderr) -> None:
    """Write the summary in one step: a reader never sees half of it; an earlier one is kept, and `say` is told.

    Raises `UserError` where that is not possible.
    """
    try:
        replace_file(path, json.dumps(summary, indent=2, ensure_ascii=False) + "\n", say=say)
    except OSError as error:
        raise UserError(f"--json-summary: cannot be written: {error.strerror}", path=path) from error
