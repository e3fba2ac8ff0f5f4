"""What the searches share between kernel and frame: scratch memory, and limits in the pixels' own type."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.detector import Detector


class Scratch:
    """Memory of a search, kept between frames."""

    def __init__(self) -> None:
        self.seen = np.zeros(0, np.uint8)
        """One flag a pixel, uint8[n_pixels]; searches leave it all zero."""
        self.queue = np.empty(0, np.int32)
        """Room for every pixel of the largest panel, int32[n]."""

    def fit(self, detector: Detector) -> None:
        """Make room for a detector."""
        if self.seen.size != detector.n_pixels:
            self.seen = np.zeros(detector.n_pixels, np.uint8)
            self.queue = np.empty(int((detector.width * detector.height).max()), np.int32)


def smallest_above(limit: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Give the smallest value of a pixel type that may be above a limit, T[1]; the type's largest where none is."""
    if dtype.kind == "f":
        limit = min(limit, float(np.finfo(dtype).max))
        return np.array([np.nextafter(np.array(limit).astype(dtype), -np.inf, dtype=dtype)], dtype)
    bounds = np.iinfo(dtype)
    above = int(np.floor(min(max(limit, -(2.0**63)), 2.0**62))) + 1
    return np.array([min(max(above, int(bounds.min)), int(bounds.max))], dtype)
