"""peakfinder8 on frames: keeps the radial bins and scratch memory between frames."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.peakfinder8 import INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS, find_peaks
from braggstream.kernels.radial import bin_pixels, clip_radially
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings

MAX_PEAKS = 2048
"""Most peaks of a frame, as in the reference."""


class Peakfinder8:
    """Finds peaks above a limit that depends on the distance from the beam axis."""

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings
        self._detector: Detector | None = None
        self._bins = np.empty(0, np.uint16)
        self._n_bins = 0
        self._seen = np.zeros(0, np.uint8)
        self._queue = np.empty(0, np.int32)
        self._peaks = np.empty((MAX_PEAKS, N_PEAK_COLUMNS))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        chosen, detector = self._settings, frame.detector
        self._prepare(detector, frame.panel_table)
        offset, upper = np.empty(self._n_bins), np.empty(self._n_bins)
        clip_radially(
            frame.pixels, frame.panel_table, frame.bad, self._bins, chosen.threshold, chosen.min_snr, offset, upper
        )
        n_peaks = find_peaks(
            frame.pixels,
            frame.panel_table,
            frame.bad,
            self._bins,
            offset,
            upper,
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

    def _prepare(self, detector: Detector, table: NDArray[np.int64]) -> None:
        """Find the radial bins of a detector that has not been seen yet."""
        if detector is self._detector:
            return
        if self._bins.size != detector.n_pixels:
            self._bins = np.empty(detector.n_pixels, np.uint16)
            self._seen = np.zeros(detector.n_pixels, np.uint8)
            self._queue = np.empty(int((detector.width * detector.height).max()), np.int32)
        chosen = self._settings
        self._n_bins = bin_pixels(
            detector.poses, detector.pixel_size, table, chosen.min_res, chosen.max_res, self._bins
        )
        self._detector = detector


def _no_limit(detector: Detector) -> NDArray[np.float64]:
    return np.full(detector.n_panels, np.inf)
