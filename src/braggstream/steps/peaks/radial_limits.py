"""Background and peak limit of each radial bin of a frame.

The reference clips in five passes over all pixels.  The ways taken here look at each pixel once and give the same;
see the decision record on clipping.
"""

from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.radial import FAR, sort_by_bin
from braggstream.kernels.radial_counts import clip_counts, count_values
from braggstream.kernels.radial_sums import N_SUMS, clip_cores, clip_sample, sum_cores
from braggstream.model.frame import Frame
from braggstream.steps.peaks.radial_bins import RadialBins

RARE = 16
"""Room for unusual values: one pixel in so many."""
N_LOOKED_AT = 2048
"""Sampled pixels that tell which values are usual."""
UNUSUAL = 0.002
"""Part of the sampled pixels left out at either end of the usual values."""
FEWEST_VALUES, MOST_VALUES = 16, 1024
"""Bounds of the number of values that are counted."""
LARGEST_BASE = 2**62
"""Unsigned pixels may be larger than the kernel's whole numbers."""
LANES = 16
"""The rows of the table of counts are padded to a multiple of so many."""
FEWEST_SAMPLES = 64
"""Bins with fewer pixels have no core and are listed: among few a bright one cannot be told from the background."""
CORE_PART = 0.65
"""Half-width of a core, as a part of the way from the background to the estimated limit."""
MOST_ROUNDS = 3
"""Rounds in which bins whose core was too wide are tried again without one."""

Limits = tuple[NDArray[np.float64], NDArray[np.float64]]


class RadialLimits:
    """Finds the limits of frames; keeps scratch memory between them."""

    def __init__(self, threshold: float, min_snr: float, *, from_sample: bool) -> None:
        # A whole number would be another type to the kernels.
        self._threshold, self._min_snr = float(threshold), float(min_snr)
        self._from_sample = from_sample
        self._counts = np.empty(0, np.int32)
        self._rare_bins, self._rare_values = np.empty(0, np.uint16), np.empty(0)

    def find(self, frame: Frame, bins: RadialBins) -> Limits:
        """Give background and limit of each bin, float64[n_bins + 1] each [detector units].

        The last entry is for pixels that take no part; its limit is +inf.
        """
        offset, upper = np.zeros(bins.n_bins + 1), np.full(bins.n_bins + 1, inf)
        limits = offset[:-1], upper[:-1]
        if self._from_sample:
            self._clip_sample(frame, bins, self._threshold, limits)
        elif frame.pixels.dtype.kind == "f" or not self._clip_counts(frame, bins, limits):
            self._clip_cores(frame, bins, limits)
        return offset, upper

    def _clip_sample(self, frame: Frame, bins: RadialBins, threshold: float, limits: Limits) -> None:
        clip_sample(frame.pixels, bins.sample, bins.sample_first, bins.good, threshold, self._min_snr, *limits)

    def _clip_counts(self, frame: Frame, bins: RadialBins, limits: Limits) -> bool:
        """Clip counted values; False where too many are unusual."""
        base, n_values = _usual_values(frame, bins)
        if n_values > MOST_VALUES:
            return False
        counts = self._table_of_counts(n_values, bins.n_bins + 1)
        self._make_room(len(bins.good) // RARE + 1)
        n_rare = count_values(
            frame.pixels,
            frame.panel_table,
            bins.good,
            base,
            bins.n_bins,
            counts,
            self._rare_bins,
            self._rare_values,
        )
        if n_rare > len(self._rare_bins):
            return False
        clip_counts(counts, base, *self._sorted_rare(n_rare, bins.n_bins), self._threshold, self._min_snr, *limits)
        return True

    def _clip_cores(self, frame: Frame, bins: RadialBins, limits: Limits) -> None:
        """Clip what lies outside of cores that an estimate gives; in the end, all pixels."""
        self._clip_sample(frame, bins, -inf, limits)
        offset, upper = limits
        margin = np.where((bins.n_pixels[:-1] >= FEWEST_SAMPLES) & (upper < FAR), CORE_PART * (upper - offset), 0.0)
        # Whatever the pixels that take no part hold, they are in their core.
        cores = np.full((bins.n_bins + 1, 2), (-inf, inf), np.float32)
        cores[:-1] = np.stack([offset - margin, offset + margin], axis=1)
        sums = np.empty((bins.n_bins + 1, N_SUMS))
        self._make_room(len(bins.good) // RARE + 1)
        for _ in range(MOST_ROUNDS):
            if self._sum_and_clip(frame, bins, cores, sums, limits):
                return
        cores[:-1] = 0.0
        self._make_room(len(bins.good))
        self._sum_and_clip(frame, bins, cores, sums, limits)
        self._rare_bins, self._rare_values = np.empty(0, np.uint16), np.empty(0)

    def _sum_and_clip(
        self,
        frame: Frame,
        bins: RadialBins,
        cores: NDArray[np.float32],
        sums: NDArray[np.float64],
        limits: Limits,
    ) -> bool:
        """Look at each pixel once; False where bins have to be tried again without a core."""
        n_rare = sum_cores(
            frame.pixels, frame.panel_table, bins.good, cores, sums, self._rare_bins, self._rare_values
        )
        if n_rare > len(self._rare_bins):
            return False
        first, rare = self._sorted_rare(n_rare, bins.n_bins)
        return bool(
            clip_cores(cores, sums, bins.n_pixels, first, rare, self._threshold, self._min_snr, *limits) == 0
        )

    def _table_of_counts(self, n_values: int, n_bins: int) -> NDArray[np.int32]:
        pitch = -(-n_bins // LANES) * LANES
        if len(self._counts) < n_values * pitch:
            self._counts = np.empty(n_values * pitch, np.int32)
        return self._counts[: n_values * pitch].reshape(n_values, pitch)

    def _make_room(self, n_rare: int) -> None:
        if len(self._rare_bins) < n_rare:
            self._rare_bins, self._rare_values = np.empty(n_rare, np.uint16), np.empty(n_rare)

    def _sorted_rare(self, n_rare: int, n_bins: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        first, ordered = np.empty(n_bins + 1, np.int64), np.empty(n_rare)
        sort_by_bin(self._rare_bins, self._rare_values, n_rare, first, ordered)
        return first, ordered


def _usual_values(frame: Frame, bins: RadialBins) -> tuple[int, int]:
    """Give the smallest usual value, and how many there are, which is a power of two."""
    step = max(1, bins.sample.shape[1] // N_LOOKED_AT)
    pixel, source = bins.sample[:, ::step]
    values = np.sort(frame.pixels[source[bins.good[pixel] < bins.n_bins]])
    if len(values) == 0:
        return 0, FEWEST_VALUES
    n_unusual = int(UNUSUAL * len(values))
    low, high = int(values[n_unusual]), int(values[len(values) - 1 - n_unusual])
    margin = (high - low) // 8 + 1
    # A table of four times the usual values holds nearly all.
    return min(low - margin, LARGEST_BASE), max(FEWEST_VALUES, 1 << (high - low + 2 * margin).bit_length())
