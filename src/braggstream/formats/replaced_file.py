"""Files that appear whole or not at all, and that cost nothing of what stood under their name before.

What a file held is kept as `NAME.previous`, one generation of it.  Names that stand for something else than a file
on a disk (pipes, devices, `/dev/stdout`) are written to as they are.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from braggstream.model.errors import UserError

PREVIOUS = ".previous"
MOST_LINKS = 40
"""A chain of symbolic links is followed so far, as the system does."""

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    """Write a line where a user sees it."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def replace_file(path: str | Path, content: str | bytes, *, keeps: bool = True, say: Say = say_on_stderr) -> None:
    """Write a file in one step, as `replacing` does; raises `OSError`."""
    with replacing(path, keeps=keeps, say=say) as part:
        part.write_bytes(_encoded(content) if isinstance(content, str) else content)


def write_text_result(
    path: str | Path, texts: str | Iterable[str], *, complaint: str = "cannot be written"
) -> None:
    """Write a result that is text, whole or in parts, as `replacing` does; raises `UserError`."""
    try:
        with replacing(path) as part, part.open("wb") as file:
            for text in [texts] if isinstance(texts, str) else texts:
                file.write(_encoded(text))
    except OSError as error:
        raise UserError(f"{complaint}: {error.strerror or error}", path=path) from None


def check_has_content(path: str | Path, n_things: int, what: str) -> None:
    """Refuse to replace a file that holds something by one that holds nothing; raises `UserError`."""
    place = place_of(path)
    if n_things == 0 and place is not None and place.is_file() and place.stat().st_size:
        raise UserError(f"there are no {what} to write: what the file holds is left as it is", path=path)


@contextmanager
def replacing(path: str | Path, *, keeps: bool = True, say: Say = say_on_stderr) -> Iterator[Path]:
    """Give a name to write a new file to; at the end the file takes its place, and readers never see half of it.

    Parameters
    ----------
    path
        Where the file is to stand.
    keeps
        Whether what stands there is kept as `NAME.previous`; off where the same run has written it.
    say
        Is told, in one line, that something was kept.

    Raises
    ------
    OSError
        The file cannot be written; then what stood there stands there still.
    """
    place = place_of(path)
    if place is None:
        yield Path(path)
        return
    part = new_part(place)
    try:
        yield part
        put_in_place(part, place, keeps=keeps, say=say)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def place_of(path: str | Path) -> Path | None:
    """Give the place of a file on a disk, links followed; None where the name stands for something else."""
    if _is_descriptor(os.fspath(path)):
        return None
    place = Path(os.path.realpath(path))
    try:
        return place if stat.S_ISREG(place.stat().st_mode) else None
    except OSError:
        return place


def new_part(place: Path) -> Path:
    """Make an empty file beside a place, with the rights that the file there has; raises `OSError`."""
    try:
        rights = stat.S_IMODE(place.stat().st_mode) & 0o777
    except OSError:
        rights = 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(prefix=f".{place.stem}.", suffix=place.suffix, dir=place.parent)
    with suppress(OSError):
        os.fchmod(descriptor, rights)
    os.close(descriptor)
    return Path(name)


def put_in_place(part: Path, place: Path, *, keeps: bool = True, say: Say = say_on_stderr) -> None:
    """Give a file the name of another one, which is kept; raises `OSError`."""
    kept = keep_previous(place) if keeps else None
    part.replace(place)
    if kept is not None:
        say(f"{place}: what it held is kept as {kept}")


def keep_previous(place: Path) -> Path | None:
    """Keep what a file holds as `NAME.previous`; gives that name, None where there is nothing to keep.

    The file stands under its own name too, where the file system has hard links, until another one takes it.
    """
    try:
        if not place.stat().st_size:
            return None
    except FileNotFoundError:
        return None
    previous = place.with_name(place.name + PREVIOUS)
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(place)
    except OSError:
        place.rename(previous)
    return previous


def _is_descriptor(name: str) -> bool:
    """Whether a name stands for what is open already, as `/dev/stdout` does."""
    for _ in range(MOST_LINKS):
        folder = Path(os.path.realpath(Path(name).parent))
        if folder.parts[:2] == ("/", "proc"):
            return True
        try:
            name = str(folder / (folder / Path(name).name).readlink())
        except OSError:
            return False
    return False


def _encoded(text: str) -> bytes:
    """Encode as UTF-8; names that are no text become the bytes that the system knows."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
