"""Commands of ours as processes beside this one."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

PATIENCE_S = 20.0
"""So long a process has to end when it is told to; then it is killed."""


def command(*words: str) -> list[str]:
    """Give the command line of `braggstream WORDS`, with this interpreter."""
    return [sys.executable, "-m", "braggstream", *words]


@contextlib.contextmanager
def started(
    words: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    patience_s: float = PATIENCE_S,
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start `braggstream WORDS`; it does not outlive the block, and its pipes are closed behind it."""
    process = subprocess.Popen(command(*words), stdin=stdin, stdout=stdout)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
