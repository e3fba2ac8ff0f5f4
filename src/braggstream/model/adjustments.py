"""Adjustments: what is changed, while a session runs, of what it began with."""

from dataclasses import dataclass, field

from braggstream.model.geometry import DetectorOffset
from braggstream.model.settings import IndexingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjustments:
    """All that the session has learned so far; workers apply it to the frames that follow.

    Each one replaces the one before it: it says how to come from the beginning to now, not from the last one.
    """

    number: int = 0
    """Counts the adjustments of a session; 0 is what the session began with."""
    offset: DetectorOffset = field(default_factory=DetectorOffset)
    """Where the detector stands, seen from where the geometry file puts it."""
    ask_every: int = 1
    """Crystals of every so many frames are asked where the detector stands, where that is wanted at all."""
    indexing: IndexingSettings | None = None
    """How lattices are found, in place of what the session began with; None: as it began."""
