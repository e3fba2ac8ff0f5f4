"""Exposure: what a frame says of beam and detector, or what the geometry file says of it for all frames."""

from dataclasses import dataclass, replace
from typing import NoReturn

from braggstream.model.detector import Detector
from braggstream.model.errors import HeaderError
from braggstream.model.geometry import Geometry, Quantity


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """Wavelength and place of the detector; None for what each frame has its own header for."""

    wavelength: float | None = None
    """[Å]"""
    clen: float | None = None
    """Camera length, without the panels' own offsets [m]."""
    shift_x: float | None = 0.0
    """[m]"""
    shift_y: float | None = 0.0
    """[m]"""

    @property
    def is_complete(self) -> bool:
        """Whether a detector can be placed."""
        return None not in (self.wavelength, self.clen, self.shift_x, self.shift_y)

    @classmethod
    def stated(cls, geometry: Geometry) -> "Exposure":
        """Give what a geometry file states for all frames; raises `HeaderError` for a wavelength that is none."""
        beam = geometry.wavelength(_no_header) if geometry.beam.is_literal else None
        places = (geometry.clen, geometry.shift_x, geometry.shift_y)
        clen, shift_x, shift_y = (_stated(quantity) for quantity in places)
        return cls(wavelength=beam, clen=clen, shift_x=shift_x, shift_y=shift_y)

    @classmethod
    def of_detector(cls, geometry: Geometry, detector: Detector, wavelength: float) -> "Exposure":
        """Give what a frame's headers said, seen from the geometry file that placed its detector."""
        panel, (x, y, z) = geometry.panels[0], detector.poses[0, 0].tolist()
        size = 1.0 / panel.res
        return cls(
            wavelength=wavelength,
            clen=z - panel.coffset,
            shift_x=x - panel.corner_x * size,
            shift_y=y - panel.corner_y * size,
        )

    def detector(self, geometry: Geometry) -> Detector:
        """Place the panels of a geometry; raises `HeaderError` where that cannot be."""
        assert self.wavelength is not None
        placed = replace(
            geometry,
            clen=Quantity(value=self.clen),
            shift_x=Quantity(value=self.shift_x),
            shift_y=Quantity(value=self.shift_y),
            _cache={},
        )
        return placed.detector(_no_header, self.wavelength)


def _stated(quantity: Quantity | None) -> float | None:
    if quantity is None:
        return 0.0
    return quantity.resolve(_no_header) if quantity.is_literal else None


def _no_header(name: str) -> NoReturn:
    raise HeaderError(f"there is no frame to look {name} up in")
