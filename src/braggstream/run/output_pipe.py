"""A pipe as stream file: it is waited for until somebody reads it, which a user can put an end to."""

import errno
import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from braggstream.run.stopping import StopSignals

LOOK_AGAIN_S = 0.2
"""Time between looks for a reader; the system does not tell when one comes."""


@contextmanager
def reader_of(path: str, stop: StopSignals, say: Callable[[str], None]) -> Iterator[bool]:
    """Wait for the reader of a pipe; gives False where the user did not want to wait.

    Inside, and where `path` is no pipe at all, the stream file can be opened at once.
    """
    descriptor = _opened(path)
    if descriptor is None:
        say(f"{path}: a pipe that nobody reads: waiting for a reader.")
    while descriptor is None and not stop.n_received:
        select.select([stop.descriptor], [], [], LOOK_AGAIN_S)
        descriptor = _opened(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None and descriptor >= 0:
            os.close(descriptor)


def _opened(path: str) -> int | None:
    """Open a pipe; gives None where it has no reader, and -1 for what is no pipe."""
    try:
        if not stat.S_ISFIFO(Path(path).stat().st_mode):
            return -1
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return None if error.errno == errno.ENXIO else -1  # What is wrong is told where the file is opened.
