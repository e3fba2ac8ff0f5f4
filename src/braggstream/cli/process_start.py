"""What a program of ours does before anything else, in milliseconds: whatever started it may have left it odd.

Nothing slow is imported here: until it has run, the token of ASAP::O can be read by everybody on the machine.
"""

import os
import signal
import sys

from braggstream.run.standard_streams import open_standard_streams

SECRET_OPTION = "--asapo-token"
"""The option whose value nobody else is to see; a test compares it with the table of options."""
SHORTEST = len("--asapo-t")
"""An option may be abbreviated: what begins like this is meant to be the secret one."""
LONGEST_ARGUMENTS = 1 << 22


def prepare_process() -> None:
    """Hide secrets, see to standard streams that are closed, and hear signals that were not to be heard."""
    hide_secrets()
    open_standard_streams()
    hear_signals()


def hide_secrets() -> None:
    """Overwrite the token of ASAP::O among this process's arguments, which `ps` shows to everybody.

    Where they lie is told by the kernel (proc_pid_stat(5), fields 48 and 49); nothing happens where it does not.
    """
    if not any(map(_names_secret, sys.argv)):
        return
    import ctypes

    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123  (`pathlib` is slow to import)
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
    except (OSError, ValueError, IndexError):
        return
    if 0 < start < end <= start + LONGEST_ARGUMENTS:
        for first, last in secret_places(ctypes.string_at(start, end - start)):
            ctypes.memset(start + first, ord("x"), last - first)


def secret_places(arguments: bytes) -> list[tuple[int, int]]:
    """Tell where secrets begin and end among arguments that are ended by null bytes each."""
    places = []
    position = 0
    is_value = False
    for argument in arguments.split(b"\0"):
        _, has_value, value = argument.partition(b"=")
        is_name = not is_value and _names_secret(os.fsdecode(argument))
        if is_value or (is_name and has_value):
            length = len(argument) if is_value else len(value)
            places.append((position + len(argument) - length, position + len(argument)))
        is_value = is_name and not has_value
        position += len(argument) + 1
    return places


def _names_secret(word: str) -> bool:
    name = word.partition("=")[0]
    return len(name) >= SHORTEST and SECRET_OPTION.startswith(name)


def hear_signals() -> None:
    """Hear signals that whoever started this process had blocked, and of the end of child processes.

    While libraries are imported, Ctrl-C ends the program at once and without a traceback.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
