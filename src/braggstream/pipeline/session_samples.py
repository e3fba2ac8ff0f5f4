"""Samples of a session's frames, how the session stands, and what both say of its peak search in words."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from braggstream.model.frame_sample import FrameSample, PixelLevels
from braggstream.model.settings import PeakSettings

FEWEST_SPOTS = 10
"""A frame with fewer spots is none of a crystal, whatever `--min-peaks` is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledFrame:
    """A sample of a frame, and what became of the frame."""

    sample: FrameSample
    is_hit: bool
    is_indexed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionCounts:
    """How a session stands."""

    n_processed: int
    n_hits: int
    n_indexed: int


def typical_levels(frames: Sequence[SampledFrame]) -> PixelLevels | None:
    """Give the median of the levels of frames; None where no frame has any."""
    known = [each.sample.levels for each in frames if each.sample.levels is not None]
    if not known:
        return None
    rows = np.median([(each.middle, each.noise, each.bright, each.highest) for each in known], axis=0)
    middle, noise, bright, highest = rows.tolist()
    return PixelLevels(middle=middle, noise=noise, bright=bright, highest=highest)


def wrong_search(peaks: PeakSettings, threshold: float) -> str:
    """Name the option of the search that differs most from what finds spots."""
    others = [
        f"--{field.name.replace('_', '-')}={getattr(peaks, field.name):g}"
        for field in fields(PeakSettings)
        if field.name in ("min_snr", "min_pix_count", "max_pix_count", "min_res", "max_res", "local_bg_radius")
        and getattr(peaks, field.name) != field.default
    ]
    is_far = not 0.5 <= (peaks.threshold / threshold) <= 2.0
    parts = [] if peaks.method == "peakfinder8" else [f"--peaks={peaks.method}"]
    if peaks.method != "peakfinder9" and is_far:
        parts.append(f"--threshold={peaks.threshold:g}")
    return " ".join(parts or others or [f"--peaks={peaks.method}"])


def told(levels: PixelLevels) -> str:
    """Tell levels in words [detector units]."""
    return f"{levels.middle:.3g} ± {levels.noise:.3g}, 5 % above {levels.bright:.3g}"
