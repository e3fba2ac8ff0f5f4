"""`python -m braggstream`, and the console scripts."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While libraries are imported, Ctrl-C ends the program at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from functools import partial

from braggstream.cli.main import console_script, main

indexamajig = partial(console_script, "indexamajig")

__all__ = ["indexamajig", "main"]

if __name__ == "__main__":
    sys.exit(main())
