"""One writer a file: a lock on the file itself, which ends with the process that has it, however that ends.

It is a lock of the open file (`F_OFD_SETLK`): over NFS the server keeps it, so it holds between machines; nothing
that other parts of the process do with the same file undoes it; and no other program inherits it, since the
descriptor is closed where one is started.
"""

import errno
import fcntl
import os
import platform
import struct
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from braggstream.formats.run_records import SUFFIX, runs_in
from braggstream.model.errors import UserError

_FLOCK = "hhqqi4x"
"""The system's `struct flock`: type, whence, start, length, process."""
_HELD = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that have no locks."""


def lock(descriptor: int) -> bool:
    """Lock a file that is open for writing; False where its file system has no locks.

    Raises `BlockingIOError` where another process has the lock.
    """
    wish = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wish)
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError(error.errno, "another process writes to it") from None
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def open_locked(place: Path, *, makes: bool) -> tuple[int, bool] | None:
    """Open a file to be read and appended to, with its lock; gives the descriptor, and whether the lock was had.

    Without `makes` a file that is not there is None.  Raises `OSError`, and `UserError` where another run has it.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if makes else 0)
    while True:
        try:
            descriptor = os.open(place, flags, 0o666)
        except FileNotFoundError:
            if makes:
                raise
            return None
        try:
            is_locked = lock(descriptor)
            if is_under(place, os.fstat(descriptor)):
                return descriptor, is_locked
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"another run writes this file{_holder(place)}: give another name", path=place
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # It was given another name meanwhile.


def is_under(place: Path, file: os.stat_result) -> bool:
    """Whether a name is that of a file, at present."""
    try:
        found = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (found.st_dev, found.st_ino) == (file.st_dev, file.st_ino)


def _holder(place: Path) -> str:
    """Tell who has the lock, as far as that can be known."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if _has_lock(process, str(place)):
                return f" (process {process.name} on {platform.node()} since {_start_of(process)})"
    runs = runs_in(f"{place}{SUFFIX}")
    record = runs[-1] if runs and isinstance(runs[-1], dict) else {}
    if record.get("started") and not record.get("ended"):
        host: Any = record.get("host")
        host = host if isinstance(host, dict) else {}
        return f" (process {host.get('process', '?')} on {host.get('name', '?')} since {record['started']})"
    return " (on another machine, or of another user)"


def _has_lock(process: Path, name: str) -> bool:
    for link in (process / "fd").iterdir():
        with suppress(OSError):
            if str(link.readlink()) == name and "\nlock:" in (process / "fdinfo" / link.name).read_text():
                return True
    return False


def _start_of(process: Path) -> str:
    """When a process began: ticks after the start of the system."""
    ticks = int((process / "stat").read_text().rpartition(")")[2].split()[19])
    booted = next(
        int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime")
    )
    started = datetime.fromtimestamp(booted + ticks / os.sysconf("SC_CLK_TCK"), UTC)
    return started.isoformat(sep=" ", timespec="seconds")
