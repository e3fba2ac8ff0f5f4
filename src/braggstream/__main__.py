"""`python -m braggstream`, and the console scripts."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While libraries are imported, Ctrl-C ends the program at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from braggstream.cli.main import indexamajig, main

__all__ = ["indexamajig", "main"]

if __name__ == "__main__":
    sys.exit(main())
