"""Where the detector stands, as most crystals have it.

Each crystal gives an offset and how well it knows it.  A lattice that was found wrongly, or shifted by a whole
index because the beam centre was off by as much, is sure of a wrong offset; so the start is where most crystals
agree, and from there on those that disagree count less or nothing (Tukey's biweight over Mahalanobis distances).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.offset_estimate import OffsetEstimate

FloatArray = NDArray[np.float64]

MAX_KEPT = 300
"""So many of the last crystals are asked: a beam that drifts is followed."""
NEAR_PX = 1.0
"""Crystals agree at first sight where their beam centres are this close..."""
NEAR_LENGTH = 0.01
"""...and their camera lengths, relative."""
FLOOR_PX = 0.02
"""No crystal knows the beam centre better..."""
FLOOR_LENGTH = 2e-4
"""...or the camera length, relative."""
N_ROUNDS = 10
TUKEY = 4.7
MEDIAN_OF_CHI2 = {2: 1.386, 3: 2.366}
"""Median of the squared distance of normal errors in so many dimensions."""
AGREES = 0.25
"""Crystals of at least this weight agree."""
KNOWN_CENTRE_PX = 3.0
"""A crystal that does not know the beam centre this well is not asked."""
KNOWN_LENGTH = 0.05
"""A crystal that does not know the camera length this well, relative, is asked for the beam centre alone."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Consensus:
    """What most crystals agree on."""

    offset: FloatArray
    """x, y and z, float64[3] [m]; z is zero where nobody knows the camera length."""
    covariance: FloatArray
    """float64[3, 3] [m²]; zero in z where nobody knows the camera length."""
    camera_length: float
    """Where the offset is zero [m]."""
    n_agreeing: int
    n_asked: int

    @property
    def error(self) -> FloatArray:
        """Standard deviations, float64[3] [m]."""
        return np.sqrt(np.diag(self.covariance))


class OffsetConsensus:
    """Collects what crystals say, and tells what most of them agree on."""

    def __init__(self, pixel_size: float) -> None:
        self._pixel = pixel_size
        self._kept: deque[OffsetEstimate] = deque(maxlen=MAX_KEPT)
        self.n_seen = 0

    def add(self, estimate: OffsetEstimate) -> None:
        """Take note of what one crystal says; nonsense is left out, and so is who does not know."""
        if not np.isfinite(estimate.numbers).all():
            return
        known = np.linalg.eigvalsh(estimate.information[:2, :2]) * self._pixel**2
        if known[0] < 1.0 / KNOWN_CENTRE_PX**2 or estimate.information[2, 2] < 0.0:
            return
        self.n_seen += 1
        self._kept.append(estimate)

    def best(self) -> Consensus | None:
        """Give what most crystals agree on; None before there are two."""
        if len(self._kept) < 2:
            return None
        offsets = np.array([estimate.offset for estimate in self._kept])
        information = np.array([estimate.information for estimate in self._kept])
        length = float(np.median([estimate.camera_length for estimate in self._kept]))
        scale = np.array([self._pixel, self._pixel, max(abs(length), 1e-3)])
        information *= np.outer(scale, scale)
        knows = information[:, 2, 2] > 1.0 / KNOWN_LENGTH**2
        n = 3 if knows.any() else 2
        if n == 3:
            offsets, information = offsets[knows], information[knows]
        found = _agreed(offsets[:, :n] / scale[:n], information[:, :n, :n])
        if found is None:
            return None
        offset, covariance, n_agreeing = found
        whole, spread = np.zeros(3), np.zeros((3, 3))
        whole[:n], spread[:n, :n] = offset, covariance
        return Consensus(
            offset=whole * scale,
            covariance=spread * np.outer(scale, scale),
            camera_length=length,
            n_agreeing=n_agreeing,
            n_asked=len(offsets),
        )


def _agreed(offsets: FloatArray, information: FloatArray) -> tuple[FloatArray, FloatArray, int] | None:
    """Offset, its covariance, and how many agree, all relative to pixel and camera length."""
    n = offsets.shape[1]
    near = np.array([NEAR_PX, NEAR_PX, NEAR_LENGTH])[:n]
    floor = np.diag(np.array([FLOOR_PX, FLOOR_PX, FLOOR_LENGTH])[:n] ** 2)
    try:
        sharp = np.linalg.inv(np.linalg.inv(information) + floor)
    except np.linalg.LinAlgError:
        return None
    is_near: NDArray[np.bool_] = np.all(np.abs(offsets[:, None] - offsets[None]) <= near, axis=2)
    most: NDArray[np.bool_] = is_near[np.argmax(is_near.sum(axis=1))]
    offset = np.median(offsets[most], axis=0)
    for _ in range(N_ROUNDS):
        apart = offsets - offset
        most = np.all(np.abs(apart) <= near, axis=1)
        if most.sum() < 2:
            return None
        chi2 = np.einsum("ni,nij,nj->n", apart, sharp, apart)
        scatter2 = max(1.0, float(np.median(chi2[most])) / MEDIAN_OF_CHI2[n])
        weight = np.where(most, (1.0 - np.minimum(chi2 / (TUKEY**2 * scatter2), 1.0)) ** 2, 0.0)
        total = np.einsum("n,nij->ij", weight, sharp)
        if not np.linalg.cond(total) < 1e12:
            return None
        offset = np.linalg.solve(total, np.einsum("n,nij,nj->i", weight, sharp, offsets))
    return offset, scatter2 * np.linalg.inv(total), int((weight >= AGREES).sum())
