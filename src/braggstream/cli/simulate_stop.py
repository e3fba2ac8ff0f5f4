"""How `braggstream simulate` is stopped, and how it tells how far it is."""

import signal
import sys
from collections.abc import Callable
from typing import Any


class StopFlag:
    """Set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self._is_set = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._set)

    def _set(self, _number: int, _frame: Any) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        """Whether it has been asked to stop."""
        return self._is_set

    def raise_if_set(self) -> None:
        """Raise `KeyboardInterrupt` where it has been asked to stop."""
        if self._is_set:
            raise KeyboardInterrupt


def progress(verb: str, total: int, check: Callable[[], None] = lambda: None) -> Callable[[int], None]:
    """Tell how far it is on a terminal."""

    def tell(done: int) -> None:
        check()
        if sys.stderr.isatty() and (done % 10 == 0 or done == total):
            print(f"\r{verb} {done} of {total} frames", end="\n" if done == total else "", file=sys.stderr)

    return tell
