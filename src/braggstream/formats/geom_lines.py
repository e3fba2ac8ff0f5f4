"""Lines of a geometry file: splitting them into statements, and saying which of them is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from braggstream.formats.text_file import split_lines

Complain = Callable[[str], None]
"""Takes a remark about a statement that has no effect, or not the expected one."""

MAX_LENGTH = 1 << 16
"""Longest statement [characters]."""

_BLANKS = " \t"
_INVISIBLE = {
    "\u00a0": "<no-break space>",
    "\u202f": "<no-break space>",
    "\u200b": "<zero-width space>",
    "\ufeff": "<byte-order mark>",
    "\t": "<tab>",
}
"""Names of what looks like nothing, or like a blank, and is something else."""


class StatementError(ValueError):
    """A statement is wrong: what, and what was expected.  The reader adds the file and the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One `key = value` of the file."""

    line: int
    """Line number from 1."""
    owner: str | None
    """Panel or bad region that the key names before its first slash; None without a slash."""
    field: str
    value: str


def read_statement(line: str, number: int) -> Statement | None:
    """Read one line; None where it holds only blanks and comment.  Raises `StatementError` without an `=`."""
    content = line.lstrip(_BLANKS).partition(";")[0].rstrip(_BLANKS)
    if not content:
        return None
    if len(content) > MAX_LENGTH:
        raise StatementError(f"the line is longer than {MAX_LENGTH} characters")
    key, equals, value = content.partition("=")
    if not equals:
        raise StatementError(
            f"'{shown(content)}' is no statement: expected 'name = value', or ';' before a comment"
        )
    key, value = key.rstrip(_BLANKS), value.strip(_BLANKS)
    owner, slash, field = key.partition("/")
    if not slash:
        return Statement(line=number, owner=None, field=key, value=value)
    if not owner:
        raise StatementError(f"'{shown(key)}' has no panel name before the slash")
    return Statement(line=number, owner=owner, field=field, value=value)


def leading_comments(text: str) -> Iterator[str]:
    """Give the lines before the first statement, verbatim."""
    for line in split_lines(text):
        if line.partition(";")[0].strip(_BLANKS):
            return
        yield line


def shown(text: str, limit: int = 60) -> str:
    """Make a piece of the file fit for a one-line message: printable and short."""
    is_short = len(text) <= limit
    letters = (letter if letter.isprintable() else _INVISIBLE.get(letter, "?") for letter in text[:limit])
    return "".join(letters) + ("" if is_short else "...")
