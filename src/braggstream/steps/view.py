"""PeakView: the peaks of a frame together with the geometry that places them in reciprocal space."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.scattering import scattering_vectors
from braggstream.model.detector import Detector
from braggstream.model.frame import Frame, FrameIdentity
from braggstream.model.peaks import PeakTable


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PeakView:
    """Peaks, their scattering vectors, and the detector and beam under which both belong together."""

    peaks: PeakTable
    q: NDArray[np.float64]
    """Scattering vector of each peak, float64[n, 3], no 2 pi [Å⁻¹]."""
    detector: Detector
    wavelength: float
    """Wavelength [Å]."""
    bandwidth: float
    """Relative bandwidth (sigma)."""
    identity: FrameIdentity | None = None
    """Whose peaks they are; None for peaks that come from nowhere in particular."""

    @classmethod
    def of(cls, frame: Frame, peaks: PeakTable, bandwidth: float) -> "PeakView":
        """Place the peaks of a frame in reciprocal space."""
        return cls(
            peaks=peaks,
            q=_placed(peaks, frame.detector, frame.wavelength),
            detector=frame.detector,
            wavelength=frame.wavelength,
            bandwidth=bandwidth,
            identity=frame.identity,
        )

    def __len__(self) -> int:
        return len(self.peaks)

    @property
    def inverse_d(self) -> NDArray[np.float64]:
        """1/d of each peak, float64[n] [Å⁻¹]."""
        return np.sqrt(np.einsum("ij,ij->i", self.q, self.q))

    def with_peaks(self, peaks: PeakTable) -> "PeakView":
        """Put other peaks in the place of these."""
        return replace(self, peaks=peaks, q=_placed(peaks, self.detector, self.wavelength))

    def take(self, index: NDArray) -> "PeakView":
        """Select peaks by index or by a boolean array."""
        return replace(self, peaks=self.peaks.take(index), q=self.q[index])


def _placed(peaks: PeakTable, detector: Detector, wavelength: float) -> NDArray[np.float64]:
    q = np.empty((len(peaks), 3))
    scattering_vectors(detector.poses, peaks.panel, peaks.fs, peaks.ss, wavelength, q)
    return q
