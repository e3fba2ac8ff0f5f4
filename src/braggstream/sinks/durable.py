"""Waiting until what was written to a file has reached the disk."""

import contextlib
import errno
import os

_NO_DISK = (errno.EINVAL, errno.ENOSYS, errno.EROFS)
"""What pipes and devices answer, which no disk is behind."""


class DurableFile:
    """A file that others write, and that is flushed to the disk from here."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def sync(self) -> None:
        """Wait until all that was written so far is on the disk; raises `OSError` where it cannot get there."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            os.fdatasync(self._descriptor)
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)
