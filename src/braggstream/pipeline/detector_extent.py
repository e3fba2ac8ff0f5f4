"""How far a detector reaches: resolution at its edge and corners, where the beam meets it, which panels overlap."""

from dataclasses import dataclass
from math import hypot, inf

import numpy as np
from numpy.typing import NDArray

from braggstream.model.detector import Detector

FloatArray = NDArray[np.float64]

N_ON_SIDE = 33
"""Points along each side of a panel."""
N_SECTORS = 36
"""Directions around the beam in which it is looked how far the detector reaches."""
LEAST_OVERLAP_PX = 4.0
"""Panels that overlap by less may do so because of how they were measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How far the panels of a detector reach."""

    corner: float
    """Smallest d anywhere on the detector [Å]."""
    edge: float
    """Smallest d that is seen in all directions around the beam; infinite where the beam passes by [Å]."""
    beam_off_px: float
    """Distance of the beam axis from the nearest point of a panel, 0 where it hits one or passes between them."""
    diagonal_px: float
    """Of the box around all panels."""
    nearest_px: float
    """Distance of the nearest point of a panel from the beam axis."""
    farthest_px: float

    @classmethod
    def of(cls, detector: Detector, wavelength: float) -> "Extent":
        """Measure a detector; `wavelength` in Å."""
        lab = np.concatenate([panel_rim(detector, panel) for panel in range(detector.n_panels)])
        pixel = float(np.median(detector.pixel_size))
        far = np.linalg.norm(lab, axis=1)
        inverse_d = np.sqrt(2.0 * np.clip(1.0 - lab[:, 2] / far, 0.0, None)) / wavelength
        sector = ((np.arctan2(lab[:, 1], lab[:, 0]) / (2.0 * np.pi) + 0.5) * N_SECTORS).astype(int) % N_SECTORS
        reach = np.zeros(N_SECTORS)
        np.maximum.at(reach, sector, inverse_d)
        low, high = lab[:, :2].min(axis=0), lab[:, :2].max(axis=0)
        outside = np.maximum(np.maximum(low, -high), 0.0)
        radius = np.hypot(lab[:, 0], lab[:, 1])
        is_on_panel = any(_contains(detector, panel) for panel in range(detector.n_panels))
        return cls(
            corner=_inverse(float(inverse_d.max())),
            edge=_inverse(float(reach.min())),
            beam_off_px=hypot(*outside) / pixel,
            diagonal_px=hypot(*(high - low)) / pixel,
            nearest_px=0.0 if is_on_panel else float(radius.min()) / pixel,
            farthest_px=float(radius.max()) / pixel,
        )


def overlapping_panels(detector: Detector) -> list[tuple[int, int]]:
    """Give pairs of panels that cover one another as the sample sees them, by more than a few pixels."""
    quads = np.array([_seen_from_sample(detector, panel) for panel in range(detector.n_panels)])
    low, high = quads.min(axis=1), quads.max(axis=1)
    least = LEAST_OVERLAP_PX * float(np.median(detector.pixel_size / np.abs(detector.poses[:, 0, 2])))
    found = []
    for one in range(len(quads)):
        near = (np.minimum(high[one], high[one + 1 :]) - np.maximum(low[one], low[one + 1 :]) > least).all(axis=1)
        found += [(one, one + 1 + other) for other in np.flatnonzero(near).tolist()]
    return [(one, other) for one, other in found if _depth(quads[one], quads[other]) > least]


def panel_rim(detector: Detector, panel: int) -> FloatArray:
    """Give points along the four sides of a panel, float64[n, 3] [m]."""
    part, full = np.linspace(0.0, 1.0, N_ON_SIDE), np.ones(N_ON_SIDE)
    fs = np.concatenate([part, part, 0.0 * full, full]) * float(detector.width[panel])
    ss = np.concatenate([0.0 * full, full, part, part]) * float(detector.height[panel])
    return detector.lab_position(np.full(len(fs), panel), fs, ss)


def _contains(detector: Detector, panel: int) -> bool:
    """Tell whether the beam hits a panel."""
    with np.errstate(all="ignore"):
        ray = detector.inverses[panel] @ np.array([0.0, 0.0, 1.0])
        fs, ss = ray[1] / ray[0], ray[2] / ray[0]
    return bool(0 <= fs <= detector.width[panel] and 0 <= ss <= detector.height[panel])


def _seen_from_sample(detector: Detector, panel: int) -> FloatArray:
    """Give the corners of a panel as directions, float64[4, 2]."""
    width, height = float(detector.width[panel]), float(detector.height[panel])
    fs, ss = np.array([0.0, width, width, 0.0]), np.array([0.0, 0.0, height, height])
    lab = detector.lab_position(np.full(4, panel), fs, ss)
    return np.asarray(lab[:, :2] / np.maximum(np.abs(lab[:, 2:]), 1e-9))


def _depth(one: FloatArray, other: FloatArray) -> float:
    """Give how deep two convex shapes lie in one another, along the side that parts them best."""
    deepest = inf
    for shape in (one, other):
        sides = np.roll(shape, -1, axis=0) - shape
        for normal in np.column_stack([sides[:, 1], -sides[:, 0]]):
            length = float(np.linalg.norm(normal))
            if length == 0.0:
                continue
            first, second = one @ normal / length, other @ normal / length
            deepest = min(deepest, min(first.max(), second.max()) - max(first.min(), second.min()))
    return float(deepest)


def _inverse(number: float) -> float:
    return 1.0 / number if number > 0.0 else inf
