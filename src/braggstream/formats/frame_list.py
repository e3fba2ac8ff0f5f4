"""Lists of frames (`-i`): one `FILENAME` or `FILENAME EVENT` a line."""

from pathlib import PurePosixPath

from braggstream.model.settings import FileSourceSettings


def parse_entry(line: str, settings: FileSourceSettings) -> tuple[str, str | None] | None:
    """Understand one line of a list.

    Parameters
    ----------
    line
        The line, with or without its end.
    settings
        `prefix` and `basename` are applied to the name.

    Returns
    -------
    (filename, event) or None
        The event is None where the line names the whole file; None for an empty line.
    """
    text = line.strip("\r\n")
    if not text.strip():
        return None
    name, event = text, None
    words = text.rstrip().rsplit(maxsplit=1)
    if len(words) == 2 and "//" in words[1]:
        name, event = words[0].rstrip(), words[1]
    if settings.basename:
        name = PurePosixPath(name).name
    return settings.prefix + name, event
