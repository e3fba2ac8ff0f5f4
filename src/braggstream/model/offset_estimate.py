"""OffsetEstimate: what one crystal knows of where the detector stands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from braggstream.model.geometry import DetectorOffset

FloatArray = NDArray[np.float64]

N_NUMBERS = 13


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class OffsetEstimate:
    """Where the detector stands, as one crystal has it."""

    offset: FloatArray
    """How far it stands from a place that the context tells, x, y and z, float64[3] [m]."""
    information: FloatArray
    """Inverse of the covariance, float64[3, 3] [1/m²]; zero in z where the camera length was left alone."""
    camera_length: float
    """Camera length at that place [m]."""

    def seen_from(self, place: DetectorOffset) -> "OffsetEstimate":
        """Give the offset from where it is zero, for an estimate that was made from `place`."""
        return replace(
            self,
            offset=self.offset + np.array([place.x, place.y, place.z]),
            camera_length=self.camera_length - place.z,
        )

    @property
    def numbers(self) -> tuple[float, ...]:
        """All of it in one row."""
        return (*self.offset.tolist(), *self.information.ravel().tolist(), self.camera_length)

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> "OffsetEstimate":
        """Build it from such a row."""
        if len(numbers) != N_NUMBERS:
            raise ValueError(f"{len(numbers)} numbers, expected {N_NUMBERS}")
        row = np.array(numbers, np.float64)
        return cls(offset=row[:3], information=row[3:12].reshape(3, 3), camera_length=float(row[12]))
