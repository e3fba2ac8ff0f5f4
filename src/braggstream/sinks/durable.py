"""Waiting until what was written to a file has reached the disk, under its name."""

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Literal

from braggstream.sinks.piece_file import Standing

_NO_DISK = (errno.EINVAL, errno.ENOSYS, errno.EROFS)
"""What pipes and devices answer, which no disk is behind."""

Synced = Literal["done", "away", "lost"]
"""All is on the disk; the file is not whole under its name, now; something of it was lost since the last time."""


class DurableFile:
    """A file that others write, and that is flushed to the disk from here, in any thread."""

    def __init__(self, path: str, standing: Callable[[], Standing | None] = lambda: None) -> None:
        """Take a file; `standing` tells what is to be found under its name, where its writer knows."""
        self._path = path
        self._standing = standing
        self._descriptor = -1
        self._identity: tuple[int, int] | None = None
        self._n_losses = 0

    def sync(self) -> Synced:
        """Wait until all that was written so far is on the disk; raises `OSError` where it cannot get there."""
        standing = self._standing()
        try:
            if standing is None:
                self._sync_as_it_is()
                return "done"
            if standing.n_losses != self._n_losses:
                self._n_losses = standing.n_losses
                return "lost"
            return "done" if self._sync_what_stands(standing) else "away"
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise
        return "done"

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def _sync_as_it_is(self) -> None:
        if self._descriptor < 0:
            self._open(self._path)
        os.fdatasync(self._descriptor)

    def _sync_what_stands(self, standing: Standing) -> bool:
        """Flush the file under the name, and the name with it where that is new; False where it is another one."""
        try:
            found = standing.place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        identity = found.st_dev, found.st_ino
        if identity != (standing.device, standing.inode) or found.st_size < standing.length:
            return False
        if identity != self._identity:
            self.close()
            self._open(str(standing.place))
            opened = os.fstat(self._descriptor)
            if identity != (opened.st_dev, opened.st_ino):
                return False
            _sync_folder(str(standing.place.parent))
            self._identity = identity
        os.fdatasync(self._descriptor)
        return True

    def _open(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _sync_folder(path: str) -> None:
    """Have a new name in a folder reach the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
