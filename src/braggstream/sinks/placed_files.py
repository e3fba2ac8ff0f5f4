"""New files that take a name which another file has, or had: locked before they have it, whole when they do."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from braggstream.formats.replaced_file import PREVIOUS, Say, new_part, put_in_place
from braggstream.sinks.file_lock import lock

COPIED_AT_ONCE = 1 << 30


def placed_anew(place: Path, content: bytes, say: Say) -> int:
    """Put a new file under a name, whose earlier file is kept as `NAME.previous`; gives its descriptor.

    Raises `OSError`, and then all is as it was.
    """
    return _placed(place, lambda file: write_all(file, content), lambda part: put_in_place(part, place, say=say))


def put_back(place: Path, fill: Callable[[int], None], *, is_taken: bool, say: Say) -> int:
    """Put a new file under a name that was taken away from an earlier one; gives its descriptor.

    Parameters
    ----------
    place
        The name; its folder is made where that is gone, too.
    fill
        Writes the content, into the descriptor that it is given.
    is_taken
        Whether something stands under the name by now, which is kept under one that is free.
    say
        Is told under which.

    Raises
    ------
    OSError
        That is not possible.
    """

    def put(part: Path) -> None:
        if is_taken:
            kept = _free_name(place)
            place.rename(kept)
            say(f"{place}: what was put in its place is kept as {kept}")
        part.replace(place)

    if not place.parent.exists():
        place.parent.mkdir()
    return _placed(place, fill, put)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it; raises `OSError`."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def copy_all(source: int, target: int, length: int) -> None:
    """Copy the first bytes of a file; raises `OSError`, also where there are not so many."""
    place = 0
    while place < length:
        n_copied = os.sendfile(target, source, place, min(COPIED_AT_ONCE, length - place))
        if not n_copied:
            raise OSError(errno.EIO, "the file cannot be copied whole")
        place += n_copied


def _placed(place: Path, fill: Callable[[int], None], put: Callable[[Path], None]) -> int:
    part = new_part(place)
    try:
        with part.open("wb") as file:
            fill(file.fileno())
        descriptor = os.open(part, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            lock(descriptor)
            put(part)
        except BaseException:
            os.close(descriptor)
            raise
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return descriptor


def _free_name(place: Path) -> Path:
    """Give a name to keep what others have put there: no file is overwritten for that."""
    number = 1
    name = place.with_name(place.name + PREVIOUS)
    while name.exists():
        number += 1
        name = place.with_name(f"{place.name}{PREVIOUS}-{number}")
    return name
