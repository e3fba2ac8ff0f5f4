"""What `--polarisation` says: direction and degree of the beam's polarisation."""

import re
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError

_WORDS = re.compile(r"(?P<angle>[0-9]{1,4})?(?P<word>horiz[a-z]*|vert[a-z]*|deg)(?P<percent>[0-9]{1,4})?")
EXPECTED = "expected none, horiz, vert or an angle such as 45deg, and the percentage behind it, such as horiz98"


@dataclass(frozen=True, slots=True)
class Polarisation:
    """Linear polarisation of the beam."""

    angle: float = 0.0
    """Direction of the electric field, from +x towards +y [deg]."""
    fraction: float = 1.0
    """Polarised part of the beam, the rest being polarised across it."""

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Cosine, sine and fraction, as `geometry_factors` wants them, float64[3]."""
        return np.array([cos(radians(self.angle)), sin(radians(self.angle)), self.fraction])


def parse_polarisation(text: str) -> Polarisation | None:
    """Read `--polarisation`; None where intensities are not to be corrected.  Raises `UserError`."""
    if text == "none":
        return None
    match = _WORDS.fullmatch(text)
    if match is None:
        raise UserError(f"--polarisation={text}: {EXPECTED}")
    is_angle = match["word"] == "deg"
    percent = 100 if match["percent"] is None else int(match["percent"])
    if is_angle == (match["angle"] is None) or percent > 100:
        raise UserError(f"--polarisation={text}: {EXPECTED}")
    angle = float(match["angle"]) if is_angle else 90.0 if match["word"].startswith("vert") else 0.0
    return Polarisation(angle, percent / 100.0)
