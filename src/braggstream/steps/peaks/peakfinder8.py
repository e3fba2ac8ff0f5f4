"""peakfinder8 on frames: keeps the radial bins and scratch memory between frames."""

from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.peakfinder8 import INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS, find_peaks
from braggstream.kernels.radial import (
    FAR,
    N_VALUES,
    NO_BIN,
    bin_pixels,
    clip_cores,
    clip_counts,
    clip_radially,
    count_values,
    sum_cores,
)
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings

MAX_PEAKS = 2048
"""Most peaks of a frame, as in the reference."""
MAX_COUNT = 65535
"""Most pixels of a radial bin whose values can be counted."""
RARE = 4
"""The short ways are taken where at most one pixel in so many lies outside the usual values."""
ESTIMATE_FROM = 8
"""Cores are estimated from one row in so many."""
FEWEST_SAMPLES = 64
"""Bins from which fewer pixels would be sampled have no core and are listed: among few pixels a bright one
cannot be told from the background."""
CORE_PART = 0.4
"""Half-width of a core, as a part of the way from the background to the estimated limit."""
N_SAMPLES = 2048
SMALLEST_PART = 0.002
"""Part of the sampled pixels that may lie below the values that are counted."""
LARGEST_BASE = 2**62
"""Unsigned pixels may be larger than the kernel's whole numbers."""


class Peakfinder8:
    """Finds peaks above a limit that depends on the distance from the beam axis."""

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings
        self._detector: Detector | None = None
        self._bins = np.empty(0, np.uint16)
        self._n_bins = 0
        self._may_count = False
        self._is_large = np.empty(0, np.bool_)
        self._counts = np.empty((0, N_VALUES), np.uint16)
        self._rare_bins, self._rare_values = np.empty(0, np.uint16), np.empty(0)
        self._seen = np.zeros(0, np.uint8)
        self._queue = np.empty(0, np.int32)
        self._peaks = np.empty((MAX_PEAKS, N_PEAK_COLUMNS))

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        chosen, detector = self._settings, frame.detector
        self._prepare(detector, frame.panel_table)
        offset, upper = self._limits(frame)
        n_peaks = find_peaks(
            frame.pixels,
            frame.panel_table,
            frame.bad,
            self._bins,
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

    def _limits(self, frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find background and limit of each radial bin, float64[n_bins] each [detector units].

        The short ways give what five passes over all pixels give; they are left where a frame does not suit them.
        """
        chosen = self._settings
        offset, upper = np.empty(self._n_bins), np.empty(self._n_bins)
        by_counts = frame.pixels.dtype.kind in "iu"
        if not (self._clip_counts if by_counts else self._clip_cores)(frame, offset, upper):
            self._clip(frame, 1, chosen.threshold, offset, upper)
        return offset, upper

    def _clip(
        self, frame: Frame, row_step: int, threshold: float, offset: NDArray[np.float64], upper: NDArray[np.float64]
    ) -> None:
        clip_radially(
            frame.pixels,
            frame.panel_table,
            frame.bad,
            self._bins,
            threshold,
            self._settings.min_snr,
            row_step,
            offset,
            upper,
        )

    def _clip_counts(self, frame: Frame, offset: NDArray[np.float64], upper: NDArray[np.float64]) -> bool:
        """Clip counted values; False where too many are unusual."""
        if not self._may_count:
            return False
        base = _usual_smallest(frame.pixels)
        n_rare = count_values(
            frame.pixels,
            frame.panel_table,
            frame.bad,
            self._bins,
            base,
            self._counts,
            self._rare_bins,
            self._rare_values,
        )
        if n_rare > len(self._rare_bins):
            return False
        chosen = self._settings
        clip_counts(
            self._counts,
            base,
            self._rare_bins,
            self._rare_values,
            n_rare,
            chosen.threshold,
            chosen.min_snr,
            offset,
            upper,
        )
        return True

    def _clip_cores(self, frame: Frame, offset: NDArray[np.float64], upper: NDArray[np.float64]) -> bool:
        """Clip what lies outside of cores that an estimate gives; False where a limit falls into a core."""
        chosen = self._settings
        self._clip(frame, ESTIMATE_FROM, -inf, offset, upper)
        margin = np.where(self._is_large & (upper < FAR), CORE_PART * (upper - offset), 0.0)
        cores = np.stack([offset - margin, offset + margin], axis=1)
        sums = np.empty((self._n_bins, 3))
        n_rare = sum_cores(
            frame.pixels, frame.panel_table, frame.bad, self._bins, cores, sums, self._rare_bins, self._rare_values
        )
        if n_rare > len(self._rare_bins):
            return False
        return bool(
            clip_cores(
                cores,
                sums,
                self._rare_bins,
                self._rare_values,
                n_rare,
                chosen.threshold,
                chosen.min_snr,
                offset,
                upper,
            )
        )

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
        in_bins = np.bincount(self._bins, minlength=NO_BIN + 1)[:NO_BIN]
        self._may_count = int(in_bins.max()) <= MAX_COUNT
        self._is_large = in_bins[: self._n_bins] >= ESTIMATE_FROM * FEWEST_SAMPLES
        self._counts = np.empty((self._n_bins, N_VALUES), np.uint16)
        self._rare_bins = np.empty(detector.n_pixels // RARE + 1, np.uint16)
        self._rare_values = np.empty(len(self._rare_bins))
        self._detector = detector


def _no_limit(detector: Detector) -> NDArray[np.float64]:
    return np.full(detector.n_panels, np.inf)


def _usual_smallest(pixels: NDArray[Any]) -> int:
    """A value below which hardly any pixel lies, from a sample."""
    sample = np.sort(pixels[:: max(1, pixels.size // N_SAMPLES)])
    return min(int(sample[int(SMALLEST_PART * len(sample))]), LARGEST_BASE)


def _lowest_limit(upper: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The lowest limit of all bins in the pixels' own type, rounded down, T[1]."""
    lowest = float(upper.min())
    if dtype.kind == "f":
        return np.array([np.nextafter(np.array(lowest).astype(dtype), -np.inf, dtype=dtype)], dtype)
    bounds = np.iinfo(dtype)
    return np.array([min(max(int(np.floor(min(lowest, 2.0**62))), int(bounds.min)), int(bounds.max))], dtype)
