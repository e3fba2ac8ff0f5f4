"""FrameResult: all that processing found in one frame, complete without the frame."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.model.peaks import PeakTable
from braggstream.model.shown import Columns, Shown


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class FrameResult(Shown):
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

    def _facts(self) -> dict[str, object]:
        return {
            "": f"{self.identity.filename} {self.identity.event}",
            "serial": self.identity.serial,
            "hit": "yes" if self.is_hit else "no",
            "peaks": len(self.peaks),
            "crystals": len(self.crystals),
            "indexed by": self.indexed_by,
        }

    def _columns(self) -> Columns:
        if not self.crystals:
            return {}
        n_reflections = ["-" if each.reflections is None else len(each.reflections) for each in self.crystals]
        lattices = [f"{each.lattice_type} {each.centring}" for each in self.crystals]
        cells = [each.cell.text for each in self.crystals]
        return {"cell": cells, "lattice": lattices, "reflections": n_reflections}
