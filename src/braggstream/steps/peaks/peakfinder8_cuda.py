"""peakfinder8 on a CUDA device: pixels go there once a frame, and only peaks come back."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.cuda.peakfinder8 import in_order
from braggstream.kernels.cuda.peakfinder8_turn import BinsOnDevice, PeakSearch, Rule
from braggstream.kernels.cuda.radial_sums import list_bins
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
        self._rule = Rule(
            threshold=float(settings.threshold),
            min_snr=float(settings.min_snr),
            pixel_counts=(settings.min_pix_count, settings.max_pix_count),
            background_radius=settings.local_bg_radius,
        )
        self._bins = RadialBins(settings.min_res, settings.max_res)
        self._generation = 0
        self._sample: NDArray[np.int64] | None = None
        self._on_device: BinsOnDevice | None = None
        self._search: PeakSearch | None = None
        self._peaks = np.empty((MAX_PEAKS, N_PEAK_COLUMNS))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        self._bins.update(frame)
        found = self._search_for(frame)(frame.pixels)
        detector = frame.detector
        max_adu = np.full(detector.n_panels, np.inf) if self._settings.use_saturated else detector.max_adu
        peaks = self._peaks[: in_order(found, max_adu, self._peaks)]
        return PeakTable.from_columns(*(peaks[:, column] for column in (PANEL, PEAK_FS, PEAK_SS, INTENSITY)))

    def _search_for(self, frame: Frame) -> PeakSearch:
        """Give the search for frames like this one; the device gets this one's bins with it, where they differ."""
        on_device = self._bins_for(frame)
        search = self._search
        if search is None or not search.fits(frame.pixels):
            # The memory of the one before is free before there is another one.
            search = self._search = None
            search = self._search = PeakSearch(on_device, frame.pixels, self._rule)
        return search

    def _bins_for(self, frame: Frame) -> BinsOnDevice:
        bins, on_device = self._bins, self._on_device
        sample = bins.sample if self._settings.fast else None
        if on_device is not None and bins.generation == self._generation and sample is self._sample:
            on_device.note(bins.good, bins.changed)
            return on_device
        self._generation, self._sample = bins.generation, sample
        self._on_device = self._search = None
        self._on_device = BinsOnDevice(frame.panel_table, bins.all, bins.good, *self._lists(frame))
        return self._on_device

    def _lists(self, frame: Frame) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """List the pixels of each bin, all of them or a sample; see `list_bins`."""
        bins = self._bins
        if self._settings.fast:
            return bins.sample.astype(np.int32), bins.sample_first.astype(np.int32)
        return list_bins(frame.panel_table, bins.all, bins.n_bins)
