"""Lines for the user of a command."""

import sys


def say(*lines: str) -> None:
    """Tell the user, on standard error: standard output is for results."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)
