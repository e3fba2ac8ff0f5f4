"""peakfinder8 on frames: keeps the radial bins and scratch memory between frames."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.peakfinder8 import GROUP, INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS, find_peaks
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks.radial_bins import RadialBins
from braggstream.steps.peaks.radial_limits import RadialLimits
from braggstream.steps.peaks.scratch import Scratch, smallest_above

MAX_PEAKS = 2048
"""Most peaks of a frame, as in the reference."""


class Peakfinder8:
    """Finds peaks above a limit that depends on the distance from the beam axis."""

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings
        self._bins = RadialBins(settings.min_res, settings.max_res)
        self._limits = RadialLimits(settings.threshold, settings.min_snr, from_sample=settings.fast)
        self._scratch = Scratch()
        self._peaks = np.empty((MAX_PEAKS, N_PEAK_COLUMNS))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        chosen, detector, bins = self._settings, frame.detector, self._bins
        bins.update(frame)
        offset, upper = self._limits.find(frame, bins)
        self._scratch.fit(detector)
        n_peaks = find_peaks(
            frame.pixels,
            frame.panel_table,
            bins.good,
            bins.all,
            offset,
            upper,
            smallest_above(float(upper.min()), frame.pixels.dtype),
            bins.of_blocks,
            _lowest_of_groups(upper),
            _no_limit(detector) if chosen.use_saturated else detector.max_adu,
            float(chosen.min_snr),
            (chosen.min_pix_count, chosen.max_pix_count),
            chosen.local_bg_radius,
            self._scratch.seen,
            self._scratch.queue,
            self._peaks,
        )
        found = self._peaks[:n_peaks]
        return PeakTable.from_columns(*(found[:, column] for column in (PANEL, PEAK_FS, PEAK_SS, INTENSITY)))


def _lowest_of_groups(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the lowest limit of each group of bins, float64[n_groups]."""
    padded = np.full(-(-len(upper) // GROUP) * GROUP, np.inf)
    padded[: len(upper)] = upper
    return np.asarray(padded.reshape(-1, GROUP).min(axis=1))


def _no_limit(detector: Detector) -> NDArray[np.float64]:
    return np.full(detector.n_panels, np.inf)
