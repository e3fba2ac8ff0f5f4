"""Lines for the user of a command."""

import sys

from braggstream.model.shown_text import shown


def say(*lines: str) -> None:
    """Tell the user, on standard error: standard output is for results.

    What came from outside cannot steer the terminal.
    """
    for line in lines:
        print(shown(line, keep="\n\t"), file=sys.stderr, flush=True)
