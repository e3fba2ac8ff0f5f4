"""Which reflections count when a merged list is judged (spec: merging, 5.1)."""

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from braggstream.model.reflection_list import ReflectionList

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Limits within which a reflection counts."""

    low: float | None = None
    """Smallest 1/d [Å⁻¹]."""
    high: float | None = None
    """Largest 1/d [Å⁻¹]."""
    sigma_cutoff: float = -inf
    """Smallest I/σ(I)."""
    negatives: Literal["keep", "ignore", "zero"] = "keep"
    """What happens to negative intensities."""
    min_measurements: int = 0
    """Fewest measurements."""

    def accepts(self, reflections: ReflectionList, inverse_d: FloatArray) -> NDArray[np.bool_]:
        """Tell which reflections count, bool[n]; `inverse_d` is 1/d, float64[n] [Å⁻¹]."""
        intensity, sigma = reflections.intensity, reflections.sigma
        accepted = np.isfinite(intensity) & np.isfinite(sigma)
        if self.low is not None:
            accepted &= inverse_d >= self.low
        if self.high is not None:
            accepted &= inverse_d <= self.high
        if self.sigma_cutoff > -inf:
            accepted &= ~(intensity < self.sigma_cutoff * sigma)
        if self.negatives == "ignore":
            accepted &= ~(intensity < 0.0)
        return accepted & (reflections.n_measured >= self.min_measurements)

    def intensities(self, reflections: ReflectionList) -> FloatArray:
        """Give the intensities to judge, float64[n]: negative ones become zero where that is wished."""
        return np.maximum(reflections.intensity, 0.0) if self.negatives == "zero" else reflections.intensity

    def limits(self, inverse_d: FloatArray) -> tuple[float, float]:
        """Limits of the shells as 1/d [Å⁻¹]: the fixed ones, else the outermost of the reflections."""
        low = self.low if self.low is not None else float(inverse_d.min(initial=inf))
        high = self.high if self.high is not None else float(inverse_d.max(initial=0.0))
        return min(low, high), high
