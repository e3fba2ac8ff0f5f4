"""What sessions on this machine have read of ASAP::O's streams: the service itself does not tell.

One small JSON file for each group, below `$XDG_STATE_HOME` or `~/.local/state`.  It holds no token.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from braggstream.model.settings import AsapoServiceSettings

MAX_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRecord:
    """What is known of one group."""

    group: str
    updated: str
    """When that was written, ISO 8601."""
    stream_file: str
    """Where its last session wrote to."""
    streams: Mapping[str, Mapping[str, int]]
    """By stream: the `highest` message that was taken, and how many were `taken`, by all sessions."""


class Journal:
    """The record of one session, on top of those of its group's earlier sessions."""

    def __init__(self, service: AsapoServiceSettings, group: str, stream_file: str) -> None:
        self._name = f"{_place(service)}-{_digest(group)}.json"
        self._head = {
            "endpoint": service.endpoint,
            "beamtime": service.beamtime,
            "source": service.source,
            "group": group,
            "stream_file": str(Path(stream_file).absolute()),
        }
        self._before: Mapping[str, Mapping[str, int]] | None = None

    def write(self, streams: Mapping[str, Mapping[str, int]]) -> None:
        """Keep what this session has taken of each stream; raises `OSError`."""
        path = _folder() / self._name
        if self._before is None:
            found = _read(path)
            self._before = {} if found is None else found.streams
        merged: dict[str, Any] = {name: dict(counts) for name, counts in self._before.items()}
        for name, counts in streams.items():
            old = merged.get(name, {"taken": 0, "highest": 0})
            highest = max(old["highest"], counts["highest"])
            merged[name] = {"taken": old["taken"] + counts["taken"], "highest": highest}
        content = {**self._head, "updated": datetime.now(UTC).isoformat(timespec="seconds"), "streams": merged}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(path)


def known_groups(service: AsapoServiceSettings) -> list[GroupRecord]:
    """Give the records of all groups that have read this source from this machine."""
    try:
        found = [_read(path) for path in sorted(_folder().glob(f"{_place(service)}-*.json"))]
    except OSError:
        return []
    return [record for record in found if record is not None]


def _read(path: Path) -> GroupRecord | None:
    """Read a record; None where there is none that makes sense."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        streams = {
            str(name): {"taken": int(counts["taken"]), "highest": int(counts["highest"])}
            for name, counts in found["streams"].items()
        }
        return GroupRecord(
            group=str(found["group"]),
            updated=str(found["updated"]),
            stream_file=str(found["stream_file"]),
            streams=streams,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _folder() -> Path:
    """Where records are; raises `OSError` for somebody without a home."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "braggstream" / "asapo"
    except RuntimeError:
        raise FileNotFoundError(errno.ENOENT, "there is no home folder", "~") from None


def _place(service: AsapoServiceSettings) -> str:
    return _digest("\n".join((service.endpoint, service.beamtime, service.source)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
