"""`braggstream COMMAND`, and the commands that have scripts of their own, such as `indexamajig`."""

import contextlib
import errno
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module

from braggstream import __version__
from braggstream.cli.notices import say
from braggstream.model.errors import BraggstreamError
from braggstream.model.near_names import did_you_mean

COMMANDS = {
    "indexamajig": "find peaks, index and integrate frames, and write a stream file",
    "check": "what a run with these options would make of its first frame, before it is started",
    "process_hkl": "merge the crystals of stream files to one list of reflections",
    "check_hkl": "completeness, redundancy and signal of merged reflections; Wilson plot, L-test",
    "compare_hkl": "how well two lists of merged reflections agree",
    "partialator": "merge crystals with scales, partialities and post-refinement",
    "get_hkl": "change merged reflections; write them as a list, MTZ, XDS or Parquet",
    "ambigator": "resolve an indexing ambiguity of the crystals of a stream file",
    "cell_explorer": "find the unit cells of the crystals of stream files",
    "list_events": "list the frames of files, one a line",
    "show": "summarise a stream file in the terminal",
    "columns": "write the crystals of a stream file as columns, which process_hkl reads fast",
    "report": "a page about a data set: figures by resolution, cells, Table 1 as text and LaTeX",
    "geometry": "write the geometry file that a detector's start message describes",
    "export": "write unmerged observations as MTZ or Parquet",
    "solutions": "write the lattices of a stream file as a list for --indexing=file",
    "picture": "draw a processed frame with its peaks and predicted reflections",
    "asapo": "streams of ASAP::O, how far groups have read them, and moving those positions",
    "simulate": "make diffraction with known truth, in a file or as a running beamline; judge a stream file",
    "demo": "a simulated beamline, processed live, with the judgement of the result",
}

ASKS = frozenset({"-h", "-?", "--help", "--usage", "-v", "-V", "--version"})
"""Words that ask for nothing but help or the version."""

INTERRUPTED = 128 + 2
"""Exit status of a command that was stopped with Ctrl-C before it could end in good order."""

USER_ERROR = 2
"""Exit status of braggstream's own commands when something given by the user is wrong."""

REFUSALS = {
    errno.EBADF: "cannot write to standard output",
    errno.ENOSPC: "cannot write to standard output",
    errno.EMFILE: "cannot open another file (ulimit -n)",
    errno.ENFILE: "cannot open another file",
    errno.ENOMEM: "needs more memory than the system gives (ulimit -v)",
    errno.EAGAIN: "cannot start another process (ulimit -u)",
    errno.EFBIG: "cannot write so much (ulimit -f)",
}
"""What is told where the system refuses something that has no name: a limit of its own, and no fault of ours."""

ALWAYS_STOPPABLE = frozenset({"indexamajig"})
"""Commands that heed SIGINT even where it was ignored at the start, as a shell has it for what a script starts with
`&`: a run that cannot be told to stop is one that has to be killed."""

DROP_IN = frozenset(
    {"process_hkl", "partialator", "check_hkl", "compare_hkl", "get_hkl", "ambigator", "cell_explorer"}
) | {"list_events"}
"""Commands that stand in for CrystFEL's; they are console scripts too, see `__main__`."""

DROP_IN_ERROR = 1
"""Their exit status when something given by the user is wrong, which is CrystFEL's."""


def main(words: Sequence[str] | None = None) -> int:
    """Run `braggstream`; gives the exit status."""
    words = list(sys.argv[1:] if words is None else words)
    if words and words[0] in COMMANDS:
        return _run(words[0], words[1:])
    if words and words[0] in ("--version", "-V", "-v"):
        return _show(f"braggstream {__version__}")
    if words and words[0] in ("--help", "-h"):
        return _show(_usage())
    complaint = f"braggstream: no command '{words[0]}'{did_you_mean(words[0], COMMANDS)}\n" if words else ""
    print(complaint + _usage(), file=sys.stderr)
    return USER_ERROR


def console_script(command: str) -> int:
    """Run a command that has a script of its own with the words of the command line; gives the exit status."""
    return _run(command, sys.argv[1:])


def _run(command: str, words: Sequence[str]) -> int:
    """Import a command when it is used: none of them waits for the libraries of another."""
    if command in ALWAYS_STOPPABLE and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        if command == "indexamajig" and ASKS.intersection(words):
            # The table of options is enough to answer, and is there at once.
            import_module("braggstream.cli.option_parser").given(words)
        run: Callable[[Sequence[str]], int] = import_module(f"braggstream.cli.{command}").run
        _listen_to_interrupts()
        status = run(words)
        sys.stdout.flush()
        return status
    except BraggstreamError as error:
        return _end_with(command, str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return USER_ERROR
    except OSError as error:
        if error.filename is not None or error.errno not in REFUSALS:
            raise
        return _end_with(command, f"{REFUSALS[error.errno]}: {error.strerror}")
    except MemoryError:
        return _end_with(command, "needs more memory than the system gives")


def _end_with(command: str, complaint: str) -> int:
    """Tell in one line why a command ends; gives its exit status."""
    is_drop_in = command in DROP_IN
    say(f"{'' if is_drop_in or command == 'indexamajig' else 'braggstream '}{command}: {complaint}")
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            sys.stdout.close()  # What could not be written is not tried again at the end.
    return DROP_IN_ERROR if is_drop_in or command in ALWAYS_STOPPABLE else USER_ERROR


def _show(text: str) -> int:
    try:
        print(text, flush=True)
    except OSError as error:
        return _end_with("--help", f"cannot write to standard output: {error.strerror}")
    return 0


def _listen_to_interrupts() -> None:
    """From now on Ctrl-C lets a command clean up, whatever it did while libraries were imported."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _usage() -> str:
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: braggstream COMMAND [options]", "", *lines, "", "braggstream COMMAND --help tells more."]
    )
