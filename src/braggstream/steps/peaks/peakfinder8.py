"""peakfinder8 on frames: keeps the radial bins and scratch memory between frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.peakfinder8 import INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS, find_peaks
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks.radial_bins import RadialBins
from braggstream.steps.peaks.radial_limits import RadialLimits

MAX_PEAKS = 2048
"""Most peaks of a frame, as in the reference."""


class Peakfinder8:
    """Finds peaks above a limit that depends on the distance from the beam axis."""

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings
        self._bins = RadialBins(settings.min_res, settings.max_res)
        self._limits = RadialLimits(settings.threshold, settings.min_snr, from_sample=settings.fast)
        self._seen = np.zeros(0, np.uint8)
        self._queue = np.empty(0, np.int32)
        self._peaks = np.empty((MAX_PEAKS, N_PEAK_COLUMNS))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        chosen, detector, bins = self._settings, frame.detector, self._bins
        bins.update(frame)
        offset, upper = self._limits.find(frame, bins)
        self._make_room(detector)
        n_peaks = find_peaks(
            frame.pixels,
            frame.panel_table,
            bins.good,
            bins.all,
            offset,
            upper,
            _lowest_limit(upper, frame.pixels.dtype),
            _no_limit(detector) if chosen.use_saturated else detector.max_adu,
            chosen.min_snr,
            (chosen.min_pix_count, chosen.max_pix_count),
            chosen.local_bg_radius,
            self._seen,
            self._queue,
            self._peaks,
        )
        found = self._peaks[:n_peaks]
        return PeakTable.from_columns(*(found[:, column] for column in (PANEL, PEAK_FS, PEAK_SS, INTENSITY)))

    def _make_room(self, detector: Detector) -> None:
        if self._seen.size != detector.n_pixels:
            self._seen = np.zeros(detector.n_pixels, np.uint8)
            self._queue = np.empty(int((detector.width * detector.height).max()), np.int32)


def _no_limit(detector: Detector) -> NDArray[np.float64]:
    return np.full(detector.n_panels, np.inf)


def _lowest_limit(upper: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The lowest limit of all bins in the pixels' own type, rounded down, T[1]."""
    lowest = float(upper.min())
    if dtype.kind == "f":
        return np.array([np.nextafter(np.array(lowest).astype(dtype), -np.inf, dtype=dtype)], dtype)
    bounds = np.iinfo(dtype)
    return np.array([min(max(int(np.floor(min(lowest, 2.0**62))), int(bounds.min)), int(bounds.max))], dtype)
