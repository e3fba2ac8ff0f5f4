"""zaef on frames."""

import numpy as np

from braggstream.kernels.zaef import find_peaks
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks.scratch import Scratch, smallest_above

ROUNDING = 1e-6
"""Pixels are compared with the threshold in single precision, as in the reference."""


class Zaef:
    """Finds peaks by threshold and gradient."""

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings
        self._peaks = np.empty((4096, 4))
        self._scratch = Scratch()

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        self._scratch.fit(frame.detector)
        n_peaks = self._search(frame)
        while n_peaks > len(self._peaks):
            self._peaks = np.empty((2 * n_peaks, 4))
            n_peaks = self._search(frame)
        return PeakTable.from_columns(*self._peaks[:n_peaks].T)

    def _search(self, frame: Frame) -> int:
        chosen, detector = self._settings, frame.detector
        inner, middle, outer = chosen.radii
        return int(
            find_peaks(
                frame.pixels,
                frame.panel_table,
                frame.bad,
                smallest_above(chosen.threshold - ROUNDING * max(abs(chosen.threshold), 1.0), frame.pixels.dtype),
                (float(chosen.threshold), float(chosen.min_squared_gradient)),
                float(chosen.min_snr),
                (float(inner), float(middle), float(outer)),
                detector.max_adu,
                chosen.use_saturated,
                detector.adu_per_photon,
                self._scratch.seen,
                self._scratch.queue,
                self._peaks,
            )
        )
