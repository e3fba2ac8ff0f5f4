"""Small text files that the user names: read whole, with a limit on their size."""

import re
from pathlib import Path

from braggstream.model.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_text_file(path: str | Path, what: str, *, max_bytes: int) -> str:
    """Read a text file in UTF-8, or in Latin-1 where it is not valid UTF-8.

    Raises `UserError` where the file cannot be opened, is larger than `max_bytes`, or holds binary data; `what`
    names the kind of file in the message.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the {what}: {reason}", path=path) from None
    if len(content) > max_bytes:
        raise UserError(f"the {what} is larger than {max_bytes} bytes", path=path)
    if content.startswith(BYTE_ORDER_MARK):
        raise UserError(
            f"the {what} starts with a byte-order mark: save it as UTF-8 without one", path=path, line=1
        )
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise UserError(f"the {what} holds binary data, expected text", path=path, line=line)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def split_lines(text: str) -> list[str]:
    """Split at LF, CR or CR LF, and nowhere else."""
    return _LINE_END.split(text)
