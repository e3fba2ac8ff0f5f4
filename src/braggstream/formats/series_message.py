"""What start, image and end messages of a detector's series say, whichever way they are encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from braggstream.formats.packed_arrays import Arrays
from braggstream.formats.series_values import SeriesValues
from braggstream.model.errors import DecodeError

Kind = Literal["start", "image", "end"]
KINDS: tuple[Kind, ...] = ("start", "image", "end")
SERIES_STEP = 1 << 32
"""Numbers of images in different series are so far apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesIdentity:
    """What a message is, as its first bytes tell."""

    kind: str
    """One of `KINDS`, or what a sender calls its other messages."""
    series: int | None = None
    name: str = ""
    """Unique id of the series; empty where it has none."""

    def is_of(self, other: "SeriesIdentity") -> bool:
        """Whether both are of one series, as far as they say."""
        return self.series == other.series and (self.name == other.name or not (self.name and other.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesMessage:
    """A start, image or end message."""

    kind: Kind
    series: int
    values: SeriesValues
    """All numbers and texts; those in maps have names with slashes."""
    name: str = ""
    """Unique id of the series; empty where it has none."""
    image: int = 0
    """Number of the image in its series, from 0."""
    arrays: Arrays = field(default_factory=dict)
    """Images, or in a start message pixel masks, by channel."""
    channels: tuple[str, ...] = ()
    spots: memoryview | None = None
    """Peaks as Jungfraujoch sends them, not decoded."""

    @property
    def identity(self) -> SeriesIdentity:
        """What tells the message's series from others."""
        return SeriesIdentity(kind=self.kind, series=self.series, name=self.name)

    @property
    def n_images(self) -> int | None:
        """How many images the series will have, as its start message says."""
        total, triggers = self.values.get("number_of_images"), self.values.get("ntrigger", 1)
        if not isinstance(total, int) or not isinstance(triggers, int) or not 0 < total * triggers < 1 << 31:
            return None
        return total * triggers


def sender_number(series: int, image: int) -> int:
    """Give a number to an image that tells it from those of other series, and by which gaps are seen."""
    return (series % (1 << 30)) * SERIES_STEP + image % SERIES_STEP


def whole_number_of(found: Mapping[str, Any], name: str) -> int:
    """Give a whole number, such as that of a series; raises `DecodeError`."""
    number = found.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 62:
        raise DecodeError(f"the message has no {name}, or one that is no whole number")
    return number
