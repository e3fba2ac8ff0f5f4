"""FrameResult: all that processing found in one frame, complete without the frame."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.model.peaks import PeakTable


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class FrameResult:
    """What one frame gave: a chunk of the stream file, before it is text."""

    identity: FrameIdentity
    wavelength: float
    """Wavelength [Å]."""
    bandwidth: float
    """Relative bandwidth (sigma)."""
    divergence: float
    """Beam divergence, full angle [rad]."""
    average_camera_length: float
    """Mean z of the panels' corners [m]."""
    headers: tuple[tuple[str, HeaderValue], ...]
    peaks: PeakTable
    peak_inverse_d: NDArray[np.float64]
    """1/d of each peak, float64[n_peaks] [Å⁻¹]."""
    peak_resolution: float
    """Resolution to which peaks were found, as 1/d; 0 without peaks [Å⁻¹]."""
    is_hit: bool
    indexed_by: str = "none"
    """Method that found the crystals, or `none`."""
    n_tries: int = 0
    """Attempts of the successful method."""
    crystals: tuple[Crystal, ...] = ()
    offsets: tuple[OffsetEstimate, ...] = ()
    """What its crystals know of where the detector stands, seen from where the geometry file puts it."""
    calibration: bytes = b""
    """Millepede records of its crystals, whole ones."""
    warnings: tuple[str, ...] = ()
    """One line each, for the log."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds spent, by step."""
