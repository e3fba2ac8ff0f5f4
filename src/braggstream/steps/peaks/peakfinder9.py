"""peakfinder9 on frames."""

from math import inf

import numpy as np

from braggstream.kernels.peakfinder9 import find_peaks, lowest_good
from braggstream.model.errors import UserError
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks.scratch import smallest_above

SMALLEST_RADIUS = 2


class Peakfinder9:
    """Finds local maxima that stand out from a square window around them."""

    def __init__(self, settings: PeakSettings) -> None:
        if settings.local_bg_radius < SMALLEST_RADIUS:
            raise UserError(
                f"--local-bg-radius={settings.local_bg_radius}: peakfinder9 needs at least {SMALLEST_RADIUS}"
            )
        self._radius = settings.local_bg_radius
        self._criteria = np.array(
            [
                settings.min_snr_biggest_pix,
                settings.min_snr_peak_pix,
                settings.min_snr,
                settings.min_sig,
                settings.min_peak_over_neighbour,
            ]
        )
        # The highest pixel of a peak is at least so far above the mean of good pixels.
        biggest = settings.min_snr_biggest_pix
        self._rise = biggest * max(settings.min_sig, 0.0) if biggest >= 0.0 else -inf
        self._peaks = np.empty((4096, 4))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        is_unsigned = frame.pixels.dtype.kind == "u"
        floor = 0.0 if is_unsigned else lowest_good(frame.pixels, frame.panel_table, frame.bad)
        lowest = smallest_above(float(np.nextafter(floor + self._rise, -inf)), frame.pixels.dtype)
        n_peaks = self._search(frame, lowest)
        if n_peaks > len(self._peaks):
            self._peaks = np.empty((n_peaks, 4))
            n_peaks = self._search(frame, lowest)
        return PeakTable.from_columns(*self._peaks[:n_peaks].T)

    def _search(self, frame: Frame, lowest: np.ndarray) -> int:
        return int(
            find_peaks(
                frame.pixels, frame.panel_table, frame.bad, lowest, self._radius, self._criteria, self._peaks
            )
        )
