"""The search for peaks in one frame after another, as one turn of the device: see `turn`.

All memory is there before the first frame, so that a frame costs the host two copies and one launch.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels.cuda import peakfinder8, radial_bins, radial_sums
from braggstream.kernels.cuda.device import DeviceArray, bring
from braggstream.kernels.cuda.peakfinder8 import N_FOUND_COLUMNS
from braggstream.kernels.cuda.turn import Stream, Turn

ROOM = 4096
"""Peaks of a frame for which there is room at first."""
AT_ONCE = 1024
"""Peaks that come back with their number; where there are more, all are asked for once more."""


class Rule(NamedTuple):
    """What is looked for, see `kernels.radial_sums.clip_sample` and `kernels.peakfinder8.find_peaks`."""

    threshold: float
    min_snr: float
    pixel_counts: tuple[int, int]
    background_radius: int


class BinsOnDevice:
    """Radial bins of a detector in device memory; of the good pixels' bins what changes goes there with a frame."""

    def __init__(
        self,
        table: NDArray[np.int64],
        bins: NDArray[np.uint16],
        masked: NDArray[np.uint16],
        sample: NDArray[np.int32],
        first: NDArray[np.int32],
    ) -> None:
        """Take the places of panels, the radial bins of all and of good pixels, and the lists of `list_bins`.

        They are int64[n_panels, 5], twice uint16[n_pixels], int32[2, n] and int32[n_bins + 1].
        """
        self.table, self.rows = bring(table), bring(peakfinder8.list_rows(table))
        self.all, self.masked = bring(bins), bring(masked)
        self.sample, self.first = bring(sample), bring(first)
        self._known = masked.copy()
        size = 1 + radial_bins.MOST_CHANGED, radial_bins.N_CHANGE_COLUMNS
        self._noted, self._changes = cuda.pinned_array(size, np.int32), cuda.device_array(size, np.int32)
        self._noted[:] = 0

    def note(self, masked: NDArray[np.uint16], ranges: NDArray[np.int64]) -> None:
        """Note what differs from the frame before, where it may differ; see `radial_bins.list_changes`."""
        if radial_bins.list_changes(masked, ranges, self._known, self._noted) > radial_bins.MOST_CHANGED:
            self._noted[0] = 0
            self.masked.copy_to_device(masked)

    def enqueue(self, stream: Stream) -> None:
        """Bring the bins of good pixels up to date."""
        self._changes.copy_to_device(self._noted, stream=stream)
        radial_bins.write_changes(self._changes, self.masked, stream)


class PeakSearch:
    """Finds the peaks of frames of one detector and of one type."""

    def __init__(self, bins: BinsOnDevice, like: NDArray[Any], rule: Rule) -> None:
        """Take the bins, pixels of the type and number that all frames have, and what is looked for."""
        self._work = _Work(bins, like, rule)
        self._make_room(ROOM)

    def fits(self, pixels: NDArray[Any]) -> bool:
        """Tell whether these pixels are of its type and number."""
        return self._work.staging.dtype == pixels.dtype and self._work.staging.size == pixels.size

    def __call__(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Find the peaks of a frame, float64[n, N_FOUND_COLUMNS], in no order; the next frame overwrites them."""
        work = self._work
        np.copyto(work.staging, pixels)
        self._turn()
        if work.n_found() > self._room:
            self._make_room(work.n_found())
            self._turn()
        return work.peaks()

    def _make_room(self, n_peaks: int) -> None:
        self._room = n_peaks
        self._work.make_room(n_peaks)
        self._turn = Turn(self._work.enqueue)


class _Work:
    """Memory of a search, and what is done there for a frame."""

    def __init__(self, bins: BinsOnDevice, like: NDArray[Any], rule: Rule) -> None:
        self._bins, self._rule = bins, rule
        n_pixels, n_values, n_limits = bins.all.size, max(bins.sample.shape[1], 1), bins.first.size
        self.staging = cuda.pinned_array(like.size, like.dtype)
        self._pixels, self._kept = cuda.device_array(like.size, like.dtype), cuda.device_array(n_values, like.dtype)
        self._offset, self._upper = cuda.device_array(n_limits, np.float64), cuda.device_array(n_limits, np.float64)
        self._memory = peakfinder8.make_memory(n_pixels)

    def make_room(self, n_peaks: int) -> None:
        """Make room for so many peaks."""
        n_at_once = 1 + min(n_peaks, AT_ONCE)
        self._found = cuda.device_array((1 + n_peaks, N_FOUND_COLUMNS), np.float64)
        self._foremost: DeviceArray = self._found[:n_at_once]
        self._brought = cuda.pinned_array((n_at_once, N_FOUND_COLUMNS), np.float64)

    def enqueue(self, stream: Stream) -> None:
        """Pixels go there, and the first peaks come back."""
        bins, rule, pixels, limits = self._bins, self._rule, self._pixels, (self._offset, self._upper)
        pixels.copy_to_device(self.staging, stream=stream)
        bins.enqueue(stream)
        radial_sums.clip_sample(
            pixels,
            bins.sample,
            bins.first,
            bins.masked,
            rule.threshold,
            rule.min_snr,
            *limits,
            self._kept,
            stream,
        )
        peakfinder8.find_peaks(
            pixels,
            bins.table,
            bins.rows,
            bins.masked,
            bins.all,
            *limits,
            rule.min_snr,
            rule.pixel_counts,
            rule.background_radius,
            self._memory,
            self._found,
            stream,
        )
        self._foremost.copy_to_host(self._brought, stream=stream)

    def n_found(self) -> int:
        """Give the number of peaks of the last frame, also of those for which there was no room."""
        return int(self._brought[0, 0])

    def peaks(self) -> NDArray[np.float64]:
        """Give the peaks of the last frame."""
        n = self.n_found()
        peaks: NDArray[np.float64] = self._brought if n < len(self._brought) else self._found.copy_to_host()
        return peaks[1 : 1 + n]
