"""FrameSample: what is kept of a few frames of a session, so that it can be told what is wrong with all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from braggstream.model.exposure import Exposure
from braggstream.model.peaks import PeakTable

MOST_PEAKS = 300
"""So many of the strongest peaks are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelLevels:
    """Levels of the good pixels of a frame, from some thousands of them [detector units]."""

    middle: float
    """Median."""
    noise: float
    """Upper half-width that holds two thirds of the pixels."""
    bright: float
    """One pixel in twenty is brighter."""
    highest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GoodPixels:
    """How many pixels of a frame are good, and why the others are not."""

    n_good: int
    n_all: int
    why_bad: Mapping[str, int] = field(default_factory=dict)
    """Pixels by reason; one may have several."""
    dead_panels: tuple[str, ...] = ()
    """Panels that are in use and have no good pixel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSample:
    """What is kept of one frame."""

    exposure: Exposure
    pixel_type: str
    levels: PixelLevels | None = None
    """None where there are no good pixels, or no pixels were loaded."""
    n_peaks: int
    peaks: bytes = b""
    """The strongest peaks of the search that the user chose, of a hit: see `packed_peaks`."""
    n_spots: int = -1
    """Peaks that peakfinder8 finds with a threshold taken from the levels; negative where it was not asked."""
    spots: bytes = b""
    """The strongest of those, see `packed_peaks`."""
    spot_threshold: float = 0.0
    """That threshold [detector units]."""
    good: GoodPixels | None = None
    """Of the first frame of each worker only."""


def packed_peaks(peaks: PeakTable) -> bytes:
    """Pack the strongest peaks: panel, fs, ss and intensity of each, float64."""
    strongest = peaks.take(np.argsort(-peaks.intensity, kind="stable")[:MOST_PEAKS])
    return np.column_stack([strongest.panel, strongest.fs, strongest.ss, strongest.intensity]).tobytes()


def unpacked_peaks(packed: bytes) -> PeakTable:
    """Give back what `packed_peaks` packed."""
    return PeakTable.from_columns(*np.frombuffer(packed, np.float64).reshape(-1, 4).T)
