"""Ports that nobody chose stay the same over a restart, so that clients find the service again at once."""

import json
from collections.abc import Callable
from pathlib import Path

from braggstream.model.errors import UserError
from braggstream.simulate.asapo.http import json_object
from braggstream.simulate.asapo.tcp import Listener

MAX_BYTES = 4096


class KeptPorts:
    """The ports that the last service on a folder had, by the name of what listens there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = self._read()
        self._now: dict[str, int] = {}

    def bind(self, name: str, bind: Callable[[int], Listener]) -> Listener:
        """Listen at the last port, or at a free one where it is taken."""
        try:
            made = bind(self._last.get(name, 0))
        except UserError:
            made = bind(0)
        self._now[name] = made.port
        return made

    def keep(self) -> None:
        """Remember the ports for the next service."""
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._now))
        draft.replace(self._path)

    def _read(self) -> dict[str, int]:
        try:
            with self._path.open("rb") as file:
                found = json_object(file.read(MAX_BYTES)) or {}
        except OSError:
            return {}
        return {name: port for name, port in found.items() if type(port) is int and 0 < port < 65536}
