"""`python -m braggstream`, and the console scripts."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While libraries are imported, Ctrl-C ends the program at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from functools import partial

from braggstream.cli.main import console_script, main

ambigator = partial(console_script, "ambigator")
cell_explorer = partial(console_script, "cell_explorer")
check_hkl = partial(console_script, "check_hkl")
compare_hkl = partial(console_script, "compare_hkl")
partialator = partial(console_script, "partialator")
get_hkl = partial(console_script, "get_hkl")
indexamajig = partial(console_script, "indexamajig")
list_events = partial(console_script, "list_events")
process_hkl = partial(console_script, "process_hkl")

__all__ = [
    "ambigator",
    "cell_explorer",
    "check_hkl",
    "compare_hkl",
    "get_hkl",
    "indexamajig",
    "list_events",
    "main",
    "process_hkl",
]

if __name__ == "__main__":
    sys.exit(main())
