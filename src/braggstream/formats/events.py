"""CrystFEL's event ids: which frame of a file, for example `run5/evt_2//40`.

Left of `//` are the values for the `%` of paths, right of it those for the `%` axes, in order.
"""

import re
from dataclasses import dataclass

from braggstream.model.errors import MismatchError

MAX_PARTS = 16
NOT_A_FRAME = "//"
"""The event of a file that holds one frame only."""

_INDEX = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Event:
    """A frame of a file."""

    path_parts: tuple[str, ...] = ()
    """Values for the `%` of paths, in order."""
    indices: tuple[int, ...] = ()
    """Values for the `%` axes, in order."""

    def fill(self, path: str, *, surplus_is_error: bool = False) -> str:
        """Put the path parts in place of each `%`; raises `MismatchError` where there are too few."""
        n_wanted = path.count("%")
        if n_wanted > len(self.path_parts):
            raise MismatchError(f"event {self} has {len(self.path_parts)} path parts, {path} needs {n_wanted}")
        if surplus_is_error and n_wanted < len(self.path_parts):
            raise MismatchError(f"event {self} has {len(self.path_parts)} path parts, {path} takes {n_wanted}")
        for part in self.path_parts[:n_wanted]:
            path = path.replace("%", part.replace("%", "\0"), 1)
        return path.replace("\0", "%")

    def __str__(self) -> str:
        return "/".join(self.path_parts) + "//" + "/".join(map(str, self.indices))


def parse_event(text: str) -> Event:
    """Read an event id; raises `MismatchError`."""
    left, separator, right = text.partition("//")
    if not separator:
        raise MismatchError(f"event {text!r} has no //, expected for example //3")
    parts = tuple(left.split("/")) if left else ()
    words = right.split("/") if right else []
    if len(parts) > MAX_PARTS or len(words) > MAX_PARTS:
        raise MismatchError(f"event {text[:80]!r} has more than {MAX_PARTS} parts")
    if not all(parts):
        raise MismatchError(f"event {text!r} has an empty part")
    if not all(_INDEX.fullmatch(word) for word in words):
        raise MismatchError(f"event {text!r}: expected whole numbers after //")
    return Event(parts, tuple(int(word) for word in words))
