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
from braggstream.sinks.replaced_file import replace_file

SUFFIX = ".provenance.json"
LIBRARIES = (
    "numpy", "numba", "h5py", "hdf5plugin", "pyzmq", "msgspec", "numba-cuda", "gemmi", "cbor2", "fabio", "tifffile",
    "seedee", "asapo-consumer", "asapo-producer", "pyarrow",
)  # fmt: skip


class Provenance:
    """The record of one run, after those of the runs that wrote the same stream file before."""

    def __init__(self, words: Sequence[str], options: Mapping[str, Any]) -> None:
        """Take what is known before the run."""
        self._stream_file = options["output"]
        self._path = self._stream_file + SUFFIX
        self._earlier = _runs_in(self._path) if options["append"] else []
        self._is_kept = not _is_device(self._stream_file)
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
        """Write what is known before the run: a run that is killed leaves that, without an end.

        Where that cannot be written the stream file cannot either, most of the time, which is told by others; `end`
        tells the rest.
        """
        with suppress(OSError):
            self._write()

    def take_summary(self, summary: Mapping[str, Any]) -> None:
        """Take the ledger and the totals."""
        self._record["summary"] = dict(summary)

    def end(self, exit_status: int, say: Callable[[str], None]) -> None:
        """Write all of it; `say` is told where that is not possible."""
        self._record |= {"ended": _now(), "exit_status": exit_status}
        try:
            self._write()
        except OSError as error:
            if Path(self._stream_file).exists():
                say(f"{self._path}: the record of this run cannot be written: {error.strerror}")

    def _write(self) -> None:
        if self._is_kept:
            text = json.dumps({"runs": [*self._earlier, _plain(self._record)]}, indent=1)
            replace_file(self._path, text + "\n")


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


def _runs_in(path: str) -> list[Any]:
    """Records of the runs before; a file that is none is no reason not to run."""
    try:
        runs = json.loads(Path(path).read_text())["runs"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return runs if isinstance(runs, list) else []


def _is_device(name: str) -> bool:
    """Whether a stream file is none on a disk: there is no place beside a pipe."""
    path = Path(name)
    return path.exists() and not path.is_file()


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
