"""PeakTable: what the peak search found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PeakTable:
    """Peaks of one frame, in the order of discovery, as columns of equal length."""

    panel: NDArray[np.int32]
    """Panel number, int32[n]."""
    fs: NDArray[np.float64]
    """Fast-scan coordinate on the panel, from its corner, float64[n] [px]."""
    ss: NDArray[np.float64]
    """Slow-scan coordinate on the panel, from its corner, float64[n] [px]."""
    intensity: NDArray[np.float64]
    """Intensity above the background, float64[n] [detector units]."""

    def __len__(self) -> int:
        return len(self.fs)

    def take(self, index: NDArray) -> "PeakTable":
        """Select peaks by index or by a boolean array."""
        return PeakTable(
            panel=self.panel[index], fs=self.fs[index], ss=self.ss[index], intensity=self.intensity[index]
        )

    @classmethod
    def empty(cls) -> "PeakTable":
        """Make a table without peaks."""
        return cls.from_columns([], [], [], [])

    @classmethod
    def from_columns(cls, panel: object, fs: object, ss: object, intensity: object) -> "PeakTable":
        """Make a table from anything that converts to arrays of equal length."""
        return cls(
            panel=np.array(panel, np.int32),
            fs=np.array(fs, np.float64),
            ss=np.array(ss, np.float64),
            intensity=np.array(intensity, np.float64),
        )


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class SuppliedPeaks:
    """A peak list that came with the frame, in coordinates of the data array, as sent.

    No half-pixel shift is applied and no panel is looked up yet.
    """

    fs: NDArray[np.float64]
    """Fast-scan coordinate in the data, float64[n] [px]."""
    ss: NDArray[np.float64]
    """Slow-scan coordinate in the data, float64[n] [px]."""
    intensity: NDArray[np.float64]
    """Intensity as sent, float64[n]."""
    panel: tuple[str, ...] | None = None
    """Name of the panel of each peak, where the sender names it."""
    n_left_out: int = 0
    """Peaks that the sender counted beside these, and had no room for."""

    def __len__(self) -> int:
        return len(self.fs)
