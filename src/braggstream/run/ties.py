"""Ties between a process and the one that started it, with Linux' own means: no process outlives a session."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
"""Signals that end a session in good order."""
PARENTS_SIGNALS = frozenset({*STOP_SIGNALS, signal.SIGUSR1})
"""Signals that concern the parent alone, also when they reach the whole process group."""

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends, however that ends; `parent` is its process id."""
    _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # It ended before we asked.


def outlive_parent() -> None:
    """Take back `die_with_parent`, for a process that tidies up after its parent's death."""
    _libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)


def name_process(name: str) -> None:
    """Show this process under a name of at most 15 letters in `top` and `ps`."""
    _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
