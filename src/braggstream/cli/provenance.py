"""How a stream file came about, as JSON beside it: versions, options, geometry, cell, times, ledger."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

from braggstream import __version__
from braggstream.cli.config_file import is_secret, without_secrets
from braggstream.cli.option_table import GROUPS
from braggstream.formats.replaced_file import PREVIOUS, place_of, replace_file
from braggstream.formats.run_records import SUFFIX, runs_in

LIBRARIES = (
    "numpy", "numba", "h5py", "hdf5plugin", "pyzmq", "msgspec", "numba-cuda", "gemmi", "cbor2", "fabio", "tifffile",
    "seedee", "asapo-consumer", "asapo-producer", "pyarrow",
)  # fmt: skip


class Provenance:
    """The record of one run, after those of the runs that wrote the same stream file before."""

    def __init__(
        self, words: Sequence[str], options: Mapping[str, Any], *, begun: Callable[[], None] | None = None
    ) -> None:
        """Take what is known before the run; `begun` is called with `begin`, for what else tells of the run."""
        self._also = begun
        self._stream_file = options["output"]
        self._path = self._stream_file + SUFFIX
        self._goes_on = bool(options["append"])
        self._earlier: list[Any] = []
        self._is_kept = not _is_device(self._stream_file)
        self._is_begun = False
        self._found = _identity(self._stream_file)
        self._record: dict[str, Any] = {
            "started": _now(),
            "ended": None,
            "exit_status": None,
            "versions": versions(),
            "host": host(),
            "command_line": ["indexamajig", *without_secrets(words, GROUPS)],
            "options": {key: "***" if is_secret(key) and value else value for key, value in options.items()},
            "geometry": file_hash(options["geometry"]),
            "cell": file_hash(options["pdb"]),
            "summary": None,
        }

    def begin(self) -> None:
        """Write what is known before the end: a run that is killed leaves that, without an end.

        The record of an earlier stream file stays beside that one.  Where a record cannot be written, the
        stream file cannot either, most of the time, which is told by others; `end` tells the rest.
        """
        self._is_begun = True
        if self._goes_on:
            self._earlier = runs_in(self._path)
        with suppress(OSError):
            if self._is_kept and not self._goes_on:
                self._keep_earlier()
            self._write()
        if self._also is not None:
            self._also()

    def take_summary(self, summary: Mapping[str, Any]) -> None:
        """Take the ledger and the totals."""
        self._record["summary"] = dict(summary)

    def end(self, exit_status: int, say: Callable[[str], None]) -> None:
        """Write all of it; `say` is told where that is not possible."""
        if not self._is_begun:
            return  # The stream file is that of an earlier run, and so is the record.
        self._record |= {"ended": _now(), "exit_status": exit_status}
        try:
            self._write()
        except OSError as error:
            if Path(self._stream_file).exists():
                say(f"{self._path}: the record of this run cannot be written: {error.strerror}")

    def _write(self) -> None:
        if self._is_kept:
            text = json.dumps({"runs": [*self._earlier, _plain(self._record)]}, indent=1)
            replace_file(self._path, text + "\n", keeps=False)

    def _keep_earlier(self) -> None:
        """Put the record of the stream file that was there beside the name that it has now."""
        kept = f"{self._stream_file}{PREVIOUS}"
        if self._found is not None and _identity(kept) == self._found and Path(self._path).exists():
            Path(self._path).replace(f"{kept}{SUFFIX}")


def versions() -> dict[str, str]:
    """Give the versions of Python, of this package and of the libraries that are there."""
    found = {"braggstream": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def host() -> dict[str, Any]:
    """Tell where the run takes place."""
    return {
        "name": platform.node(),
        "process": os.getpid(),
        "system": platform.platform(),
        "processor": _processor_name(),
        "n_processors": len(os.sched_getaffinity(0)),
        "python": sys.executable,
        "folder": os.fsencode(Path.cwd()).decode("utf-8", "backslashreplace"),
    }


def file_hash(path: str | None) -> dict[str, str | None] | None:
    """Name a file and its SHA-256, which a pipe has none of: it can be read only once."""
    if path is None:
        return None
    if not Path(path).is_file():
        return {"path": str(Path(path).absolute()), "sha256": None}
    try:
        with Path(path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        found = None
    return {"path": str(Path(path).absolute()), "sha256": found}


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _identity(name: str) -> tuple[int, int] | None:
    """Tell a file from others, whatever its name is; None where there is none."""
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_device(name: str) -> bool:
    """Whether a stream file is none on a disk: there is no place beside a pipe."""
    return place_of(name) is None


def _plain(value: Any) -> Any:
    """Give a value as JSON has it: names that are no text are written out, infinity is a text."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
