"""peakfinder8 on a CUDA device: pixels go there once a frame, and only peaks come back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.cuda import peakfinder8, radial_bins, radial_sums
from braggstream.kernels.cuda.device import DeviceArrays, bring
from braggstream.kernels.peakfinder8 import INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks.peakfinder8 import MAX_PEAKS
from braggstream.steps.peaks.radial_bins import RadialBins


class CudaPeakfinder8:
    """Finds the peaks that `Peakfinder8` finds.

    The device is touched by the first frame and not before, so that an object may be made before a fork.
    """

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings
        self._bins = RadialBins(settings.min_res, settings.max_res)
        self._arrays = DeviceArrays()
        self._generation = 0
        self._sample: NDArray[np.int64] | None = None
        self._peaks = np.empty((MAX_PEAKS, N_PEAK_COLUMNS))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        chosen, arrays, bins = self._settings, self._arrays, self._bins
        bins.update(frame)
        masked = self._bring_bins(frame)
        pixels = arrays.upload("pixels", frame.pixels)
        offset = arrays.room("offset", bins.n_bins + 1, np.float64)
        upper = arrays.room("upper", bins.n_bins + 1, np.float64)
        threshold, min_snr = float(chosen.threshold), float(chosen.min_snr)
        radial_sums.clip_sample(pixels, *self._lists, masked, threshold, min_snr, offset, upper)
        n_peaks = peakfinder8.find_peaks(
            pixels,
            *self._places,
            masked,
            self._all,
            offset,
            upper,
            np.full(frame.detector.n_panels, np.inf) if chosen.use_saturated else frame.detector.max_adu,
            min_snr,
            (chosen.min_pix_count, chosen.max_pix_count),
            chosen.local_bg_radius,
            arrays,
            self._peaks,
        )
        found = self._peaks[:n_peaks]
        return PeakTable.from_columns(*(found[:, column] for column in (PANEL, PEAK_FS, PEAK_SS, INTENSITY)))

    def _bring_bins(self, frame: Frame) -> Any:
        """Bring to the device what it has not: bins, their pixels, places of panels; gives the good bins."""
        arrays, bins, table = self._arrays, self._bins, frame.panel_table
        is_new = bins.generation != self._generation
        if is_new:
            self._generation = bins.generation
            self._all = bring(bins.all)
            self._places = bring(table), bring(peakfinder8.list_rows(table))
        if self._settings.fast:
            if bins.sample is not self._sample:
                self._sample = bins.sample
                self._bring_lists(bins.sample.astype(np.int32), bins.sample_first.astype(np.int32))
        elif is_new:
            self._bring_lists(*radial_sums.list_bins(table, bins.all, bins.n_bins))
        if is_new:
            return arrays.upload("masked", bins.good)
        return radial_bins.copy_bins(bins.good, bins.changed, arrays)

    def _bring_lists(self, sample: NDArray[np.int32], first: NDArray[np.int32]) -> None:
        self._lists = bring(sample), bring(first)
