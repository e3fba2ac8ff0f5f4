"""Ending what a program has started, also where that has left its process group, its session or its parent.

A process that adopts orphans (a subreaper, see prctl(2)) gets every descendant back whose parent has ended.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Container, Iterator
from pathlib import Path
from time import monotonic, sleep

MARK = "BRAGGSTREAM_PROGRAM_OF"
"""Variable in the environment of programs and all that they start: the folder of the session's files."""
PATIENCE_S = 2.0
"""So long a killed process may take to end."""
_LOOK_AGAIN_S = 0.002
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_adopting = 0
"""Process id of this process, where it adopts orphans: a forked process has to ask for itself."""


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs; for processes that have no children of another kind."""
    global _adopting  # noqa: PLW0603  (a property of the process)
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
        _adopting = os.getpid()


def kill_descendants(pid: int) -> None:
    """Kill what a process has started, directly or not, as far as the line is unbroken."""
    for child in _children(pid):
        kill_descendants(child)
        _kill(child)


def end_children(spared: Container[int] = ()) -> None:
    """End all children of this process but those spared, with all their descendants, where it adopts orphans."""
    if _adopting != os.getpid():
        return
    until = monotonic() + PATIENCE_S
    while monotonic() < until:
        left = [child for child in _children(os.getpid()) if child not in spared]
        if not left:
            return
        for child in left:
            kill_descendants(child)
            _kill(child)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        sleep(_LOOK_AGAIN_S)


def end_marked(scratch: str) -> None:
    """End every program of a session whose processes were killed: those that bear its mark."""
    mark = f"{MARK}={scratch}".encode()
    for pid in _all_processes():
        with contextlib.suppress(OSError):  # It has ended, or belongs to somebody else.
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                _kill(pid)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # It has ended.
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
