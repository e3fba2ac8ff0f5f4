"""A file that is written in whole pieces only."""

import os

from braggstream.model.errors import UserError


class PieceFile:
    """Each `write` puts a whole piece at the end of the file, or none of it."""

    def __init__(self, name: str, what: str, *, goes_on: bool = False) -> None:
        """Open the file, and empty it unless it `goes_on`; raises `UserError`, which says `what` it was to be."""
        self._name = name
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (0 if goes_on else os.O_TRUNC)
        try:
            self._descriptor = os.open(name, flags, 0o666)
        except OSError as error:
            raise UserError(f"cannot write {what}: {error.strerror}", path=name) from None

    def write(self, piece: bytes) -> None:
        """Write a piece; raises `OSError`, and then nothing of it stays in the file."""
        size = os.fstat(self._descriptor).st_size
        left = memoryview(piece)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            self._take_back(size)
            error.filename = self._name
            raise

    def cut(self, length: int) -> None:
        """Cut the file off behind so many bytes, where a writer before was cut off itself; raises `OSError`."""
        os.ftruncate(self._descriptor, length)

    def close(self) -> None:
        """Close the file; raises `OSError` where the system could not keep what was written."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _take_back(self, size: int) -> None:
        """Cut off what was written of a piece; a pipe or a device cannot."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            return
