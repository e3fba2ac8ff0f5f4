"""`python -m braggstream`, and the console scripts."""

import sys

from braggstream.cli.process_start import prepare_process


def main() -> int:
    """Run `braggstream`; gives the exit status."""
    prepare_process()
    from braggstream.cli.main import main

    return main()


def ambigator() -> int:
    """Run `ambigator`; gives the exit status."""
    return _console_script("ambigator")


def cell_explorer() -> int:
    """Run `cell_explorer`; gives the exit status."""
    return _console_script("cell_explorer")


def check_hkl() -> int:
    """Run `check_hkl`; gives the exit status."""
    return _console_script("check_hkl")


def compare_hkl() -> int:
    """Run `compare_hkl`; gives the exit status."""
    return _console_script("compare_hkl")


def get_hkl() -> int:
    """Run `get_hkl`; gives the exit status."""
    return _console_script("get_hkl")


def indexamajig() -> int:
    """Run `indexamajig`; gives the exit status."""
    return _console_script("indexamajig")


def list_events() -> int:
    """Run `list_events`; gives the exit status."""
    return _console_script("list_events")


def partialator() -> int:
    """Run `partialator`; gives the exit status."""
    return _console_script("partialator")


def process_hkl() -> int:
    """Run `process_hkl`; gives the exit status."""
    return _console_script("process_hkl")


def _console_script(command: str) -> int:
    prepare_process()
    from braggstream.cli.main import console_script

    return console_script(command)


if __name__ == "__main__":
    sys.exit(main())
