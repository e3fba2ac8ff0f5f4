"""Radial bins of frames: kept as long as detector and bad pixels stay what they are."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.blocks import BLOCK
from braggstream.kernels.radial_bins import bin_pixels, count_bins, find_block_bins, mask_bins, sample_bins
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame

N_SAMPLED = 100
"""Pixels of a bin that are sampled, as in the reference's fast search."""
ROW_STEP = 16
"""Bins with enough pixels in one row of so many are sampled there."""


class RadialBins:
    """The radial bin of each good pixel of a frame."""

    def __init__(self, min_radius: float, max_radius: float) -> None:
        """Take the radii outside which no pixel takes part [px]; no outer one where it is 0."""
        self._radii = min_radius, max_radius
        self._detector: Detector | None = None
        self._table = np.empty((0, 0), np.int64)
        self._base: NDArray[np.uint8] | None = None
        self._changes = np.empty((0, 2), np.int64)
        self.all = np.empty(0, np.uint16)
        """Bin of each pixel, uint16[n_pixels]; `NO_BIN` outside the radii."""
        self.good = np.empty(0, np.uint16)
        """Bin of each good pixel of the frame, uint16[n_pixels]; `n_bins` for the others."""
        self.changed = np.empty((0, 2), np.int64)
        """Ranges outside which the last update left `good` as it was: first pixel and the one after the last."""
        self.generation = 0
        """How often all bins have been found anew."""
        self.n_bins = 0
        self.n_pixels = np.empty(0, np.int64)
        """Number of good pixels of each bin, and of the others, int64[n_bins + 1]."""
        self.of_blocks = np.empty((0, 2), np.uint16)
        """Nearest and farthest bin of each block of pixels, uint16[n_blocks, 2]; see `find_block_bins`."""
        self.sample = np.empty((2, 0), np.int64)
        """Sampled pixels, bin after bin: where in detector order, and where in the frame's pixels, int64[2, n]."""
        self.sample_first = np.empty(0, np.int64)
        """Where the sample of each bin begins, and its size, int64[n_bins + 1]."""

    def update(self, frame: Frame) -> None:
        """Turn to another frame."""
        if self._is_elsewhere(frame.detector, frame.panel_table):
            self._find_bins(frame.detector, frame.panel_table)
        made = frame.bad_map
        if made is None or made.pixels is not frame.bad:
            self.changed = _everywhere(frame.bad)
            self._mask(frame.bad, self.changed)
            self._base = None
        elif made.base is not self._base:
            self.changed = _everywhere(frame.bad)
            self._mask(made.base, self.changed)
            self._choose_sample()
            self._mask(frame.bad, made.changes)
            self._base, self._changes = made.base, made.changes.copy()
        else:
            self.changed = np.concatenate([self._changes, made.changes])
            self._mask(frame.bad, self.changed)
            self._changes = made.changes.copy()

    def _is_elsewhere(self, detector: Detector, table: NDArray[np.int64]) -> bool:
        """Tell whether bins or sample have to be found again; the distance along the beam does not matter."""
        known = self._detector
        is_same = known is detector or (
            known is not None
            and np.array_equal(known.poses[:, :, :2], detector.poses[:, :, :2])
            and np.array_equal(known.pixel_size, detector.pixel_size)
        )
        self._detector = detector
        return not (is_same and np.array_equal(self._table, table))

    def _find_bins(self, detector: Detector, table: NDArray[np.int64]) -> None:
        if self.all.size != detector.n_pixels:
            self.all, self.good = np.empty((2, detector.n_pixels), np.uint16)
        self.n_bins = bin_pixels(detector.poses, detector.pixel_size, table, *self._radii, self.all)
        n_rows, n_in_row = np.maximum(detector.height - 2, 0), np.maximum(detector.width - 2, 0)
        self.of_blocks = np.empty((int((n_rows * -(-n_in_row // BLOCK)).sum()), 2), np.uint16)
        find_block_bins(self.all, table, self.of_blocks)
        self._table, self._base = table.copy(), None
        self.generation += 1
        self.good[:] = self.n_bins
        self.n_pixels = np.zeros(self.n_bins + 1, np.int64)
        self.n_pixels[-1] = detector.n_pixels
        self._mask(np.zeros(detector.n_pixels, np.uint8), np.array([[0, detector.n_pixels]]))
        self._choose_sample()

    def _mask(self, bad: NDArray[np.uint8], ranges: NDArray[np.int64]) -> None:
        mask_bins(self.all, bad, ranges, self.good, self.n_pixels)

    def _choose_sample(self) -> None:
        """Sample the pixels that are good now."""
        totals = np.empty((2, self.n_bins), np.int64)
        count_bins(self.good, self._table, ROW_STEP, totals)
        self.sample_first = np.zeros(self.n_bins + 1, np.int64)
        np.cumsum(np.minimum(totals[0], N_SAMPLED), out=self.sample_first[1:])
        self.sample = np.empty((2, int(self.sample_first[-1])), np.int64)
        sample_bins(self.good, self._table, ROW_STEP, totals, N_SAMPLED, self.sample[0], self.sample[1])


def _everywhere(bad: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([[0, len(bad)]], np.int64)
