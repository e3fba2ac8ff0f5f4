"""Filters before the peak search; whatever comes after it sees the pixels as they were."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.filters import blank_around_negatives, subtract_medians
from braggstream.kernels.layout import OFFSET, START, STRIDE, WIDTH
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings


class FilteredSearch:
    """Searches a filtered copy of the frame, whose pixels are float32."""

    def __init__(self, settings: PeakSettings, search: Callable[[Frame], PeakTable]) -> None:
        self._median_radius = settings.median_filter
        self._filter_noise = settings.filter_noise
        self._search = search
        self._pixels = np.empty(0, np.float32)

    def __call__(self, frame: Frame) -> PeakTable:
        """Find the peaks of a frame."""
        if self._pixels.size != frame.detector.n_pixels:
            self._pixels = np.empty(frame.detector.n_pixels, np.float32)
        for panel in range(frame.detector.n_panels):
            start, stop = frame.detector.starts[panel : panel + 2]
            self._filter(frame, panel, self._pixels[start:stop])
        table = frame.panel_table.copy()
        table[:, OFFSET], table[:, STRIDE] = table[:, START], table[:, WIDTH]
        return self._search(replace(frame, pixels=self._pixels, panel_table=table))

    def _filter(self, frame: Frame, panel: int, filtered: NDArray[np.float32]) -> None:
        """Filter one panel: first the median, then the noise."""
        height, width, radius = frame.detector.height[panel], frame.detector.width[panel], self._median_radius
        if radius > 0:
            keys, rows = np.empty((height, width + 2 * radius), np.uint32), np.empty((3, width), np.uint32)
            values = np.empty(filtered.size, np.float32)
            subtract_medians(frame.pixels, frame.panel_table[panel], radius, values, keys, rows, filtered)
        else:
            filtered[:] = frame.panel_pixels(panel).reshape(-1)
        if self._filter_noise:
            blank_around_negatives(filtered.copy(), int(width), filtered)
