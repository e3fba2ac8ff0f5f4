"""Frames in files, one list entry after the other (`-i`, `--prefix`, `--basename`, `--wait-for-file`)."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import TextIOWrapper
from pathlib import Path
from time import monotonic, sleep
from typing import IO

from braggstream.formats.frame_list import parse_entry
from braggstream.formats.hdf5_places import FramelessPlace
from braggstream.model.errors import UserError
from braggstream.model.frame import FileSlot
from braggstream.model.geometry import Geometry
from braggstream.model.settings import FileSourceSettings
from braggstream.sources.frame_search import FrameSearch

MAX_LINE = 16384
"""Longest line of a list [characters]."""

LOOK_AGAIN_S = 0.5
"""Time between looks for a file that is waited for."""


class FileSource:
    """Iterates over the frames of a list of files; looks into a file when its turn comes.

    A file or a part of one that gives no frames is given too, with its fault: it becomes a row of the ledger.
    """

    def __init__(
        self,
        settings: FileSourceSettings,
        geometry: Geometry,
        serial_start: int = 1,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Take the list; raises `UserError` where it cannot be read.  `say` is told what happens to the list."""
        self._say = say or _say_on_stderr
        self._settings = settings
        self._geometry = geometry
        self._search = FrameSearch(geometry)
        self._is_closed = False
        self._serial = serial_start
        if settings.list_file != "-":
            _check_list(settings.list_file)

    def close(self) -> None:
        """Give no more frames, also where one is being searched for; may be called by another thread."""
        self._is_closed = True
        self._search.close()

    def __iter__(self) -> Iterator[FileSlot]:
        if self._is_closed:
            return
        self._search = FrameSearch(self._geometry)
        with closing(self._search), _open_list(self._settings.list_file) as lines:
            for line in _bounded_lines(lines, self._settings.list_file):
                entry = parse_entry(line, self._settings)
                if entry is not None:
                    yield from self._frames(*entry)

    def _frames(self, filename: str, event: str | None) -> Iterator[FileSlot]:
        self._wait_for(filename)
        if event is not None:
            yield self._slot(filename, event)
            return
        for found in self._search.events(filename):
            if isinstance(found, FramelessPlace):
                yield self._slot(filename, found.event, found.complaint)
            else:
                yield self._slot(filename, found)

    def _slot(self, filename: str, event: str, fault: str = "") -> FileSlot:
        slot = FileSlot(filename=filename, event=event, serial=self._serial, fault=fault)
        self._serial += 1
        return slot

    def _wait_for(self, filename: str) -> None:
        """Wait for a file to appear; raises `UserError` where it does not in time."""
        patience = self._settings.wait_for_file
        if patience == 0 or Path(filename).exists():
            return
        self._say(f"waiting for {filename}")
        deadline = monotonic() + patience
        while not Path(filename).exists():
            if patience > 0 and monotonic() >= deadline:
                raise UserError(f"{filename} did not appear within {patience} s (--wait-for-file)")
            sleep(LOOK_AGAIN_S)


def list_lines(name: str) -> Iterator[str]:
    """Give the lines of a list of files, `-` for standard input; raises `UserError` where it is none."""
    if name != "-":
        _check_list(name)
    with _open_list(name) as file:
        yield from _bounded_lines(file, name)


def _check_list(name: str) -> None:
    """Raise `UserError` for what is no list; a pipe can be read only once, and may have no writer yet."""
    if Path(name).is_fifo():
        return
    try:
        with Path(name).open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UserError(f"cannot open the list of files (-i): {error.strerror or error}", path=name) from None
    if start.startswith(b"\x89HDF"):
        raise UserError("is an HDF5 file, expected a list of files: put its name into a text file (-i)", path=name)


@contextmanager
def _open_list(name: str) -> Iterator[IO[str]]:
    if name == "-":
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")
        yield sys.stdin
        return
    with Path(name).open(encoding="utf-8", errors="surrogateescape") as file:
        yield file


def _bounded_lines(file: IO[str], name: str) -> Iterator[str]:
    number = 0
    while line := _next_line(file, name):
        number += 1
        if len(line) > MAX_LINE:
            raise UserError(f"a line of more than {MAX_LINE} characters is no file name", path=name, line=number)
        if "\0" in line:
            raise UserError("the list of files holds binary data, expected text", path=name, line=number)
        yield line


def _next_line(file: IO[str], name: str) -> str:
    try:
        return file.readline(MAX_LINE + 1)
    except OSError as error:
        place = "standard input" if name == "-" else name
        raise UserError(f"the list of files (-i) cannot be read: {error.strerror}", path=place) from None


def _say_on_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
