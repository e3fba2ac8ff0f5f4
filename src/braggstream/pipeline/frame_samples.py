"""Samples of frames: a few of them are looked at more closely, so that a session can tell what is wrong with all.

A worker looks at its first frames, and then at one in many: what that costs is lost in what frames cost.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from braggstream.model.exposure import Exposure
from braggstream.model.frame import Frame
from braggstream.model.frame_sample import FrameSample, packed_peaks
from braggstream.model.geometry import Geometry
from braggstream.model.result import FrameResult
from braggstream.model.settings import PeakSettings, Settings
from braggstream.pipeline.frame_levels import good_pixels, pixel_levels, suggested_threshold
from braggstream.steps.device import CUDA
from braggstream.steps.peaks import PeakFinder

N_FIRST = 12
"""So many frames of each worker are looked at..."""
ASK_EVERY = 250
"""...and later those whose serial number is a multiple of this."""
SAME_THRESHOLD = 1.3
"""Frames whose thresholds differ by less are searched with the same one."""
SEARCHES = ("zaef", "peakfinder8", "peakfinder9")
"""Methods whose place another search could take."""


class FrameSampler:
    """Takes samples of the frames of one worker."""

    def __init__(self, geometry: Geometry, settings: Settings) -> None:
        self._geometry = geometry
        self._settings = settings
        self._n_seen = 0
        chosen = settings.peaks
        self._make_search: Callable[[PeakSettings], PeakFinder] | None = None
        self._search: tuple[float, PeakFinder] | None = None
        if settings.frame.load_image and chosen.method in SEARCHES and chosen.device != CUDA:
            from braggstream.steps.peaks.peakfinder8 import Peakfinder8

            self._make_search = Peakfinder8

    def __call__(self, frame: Frame, result: FrameResult) -> FrameSample | None:
        """Take a sample of a frame, if it is its turn."""
        self._n_seen += 1
        if self._n_seen > N_FIRST and frame.identity.serial % ASK_EVERY:
            return None
        sample = self.sample_of(frame, result)
        if self._n_seen > 1:
            return sample
        return replace(sample, good=good_pixels(frame, self._geometry, self._settings.frame.highres))

    def sample_of(self, frame: Frame, result: FrameResult) -> FrameSample:
        """Take a sample of a frame; one without lattices is searched for spots once more."""
        levels = pixel_levels(frame) if frame.has_image else None
        sample = FrameSample(
            exposure=Exposure.of_detector(self._geometry, frame.detector, frame.wavelength),
            pixel_type=frame.pixels.dtype.name,
            levels=levels,
            n_peaks=len(result.peaks),
            peaks=packed_peaks(result.peaks) if result.is_hit else b"",
        )
        if levels is None or self._make_search is None or result.crystals:
            return sample
        wanted = suggested_threshold(levels, float(np.median(frame.detector.adu_per_photon)))
        threshold, search = self._searching(wanted, self._make_search)
        spots = search(frame)
        return replace(sample, n_spots=len(spots), spots=packed_peaks(spots), spot_threshold=threshold)

    def _searching(self, wanted: float, make: Callable[[PeakSettings], PeakFinder]) -> tuple[float, PeakFinder]:
        """Give a search with about this threshold; kept for the first frames only, as it takes much memory."""
        kept, self._search = self._search, None
        if kept is None or not 1.0 / SAME_THRESHOLD < wanted / kept[0] < SAME_THRESHOLD:
            kept = wanted, make(PeakSettings(method="peakfinder8", threshold=wanted))
        if self._n_seen < N_FIRST:
            self._search = kept
        return kept
