"""Standard input, output and error, which may be closed when a process starts."""

import os
import sys


def open_standard_streams() -> None:
    """Open standard streams that are closed, so that no file of ours is taken for one of them.

    They are such that reading from and writing to them fails as before, but for standard error: a log that nobody
    wants is no error.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # The lowest number that is free, which is this one.
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
