"""One option of the command line, and short ways to write one down."""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

Kind = Literal["flag", "undo", "text", "integer", "number", "radii", "list", "optional", "refused", "ignored"]
"""`undo` takes back the flag that `default` names; the last one on the command line counts."""

LARGEST = 2.0**31 - 1
"""Largest whole number of an option: serial numbers of 32 bits are what readers of stream files expect."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the command line."""

    names: tuple[str, ...]
    """The spellings; the first one is the option's name in messages."""
    kind: Kind
    help: str
    """What it does, with units; for `refused` options, why and what to use instead."""
    default: Any = None
    argument: str = ""
    """Placeholder of the argument in the help text; for refused and ignored options, whether there is one."""
    hidden: bool = False
    least: float = -inf
    most: float = inf
    """Limits of a number; infinity itself is a value only where `may_be_infinite`."""
    may_be_infinite: bool = False

    @property
    def key(self) -> str:
        """Name under which the parsed value is kept."""
        return self.names[-1].lstrip("-").replace("-", "_")


def option(names: str, kind: Kind, help_text: str, **more: Any) -> Option:
    """Write down an option; its spellings are separated by blanks."""
    return Option(tuple(names.split()), kind, help_text, **more)


def off(name: str, help_text: str) -> Option:
    """Write down a flag that is off unless it is given."""
    return option(name, "flag", help_text, default=False)


def undo(name: str, key: str, **more: Any) -> Option:
    """Write down an option that takes back the flag with this key."""
    flag = "--" + key.replace("_", "-")
    return option(name, "undo", f"takes {flag} back; the default", default=key, **more)
