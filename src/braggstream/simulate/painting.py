"""From means to photons: the background, its noise, the spots, and pixels that do not work."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from braggstream.model.detector import Detector
from braggstream.simulate.diffraction import Spots
from braggstream.simulate.settings import ResponseSettings

SPOTS_AT_ONCE = 2000
MAX_HALF_BOX = 40
BAD_VALUE = -1


def background_mean(detector: Detector, wavelength: float, level: float) -> NDArray[np.float64]:
    """Mean background in detector order, float64[n_pixels] [photons].

    Air scatter that falls off from the beam, the ring of the solvent near 1/3.1 Å⁻¹, and less of both towards
    grazing pixels, which see a smaller solid angle.
    """
    mean = np.empty(detector.n_pixels)
    for panel in range(detector.n_panels):
        width, height = int(detector.width[panel]), int(detector.height[panel])
        ss, fs = np.divmod(np.arange(width * height), width)
        lab = detector.lab_position(np.full(len(fs), panel), fs + 0.5, ss + 0.5)
        distance = np.linalg.norm(lab, axis=1)
        cosine = lab[:, 2] / distance
        inverse_d = np.sqrt(np.maximum(0.0, 2.0 * (1.0 - cosine))) / wavelength
        air = 0.9 * np.exp(-inverse_d / 0.08)
        ring = 0.75 * np.exp(-0.5 * ((inverse_d - 0.32) / 0.05) ** 2)
        start = detector.starts[panel]
        mean[start : start + width * height] = level * (0.25 + air + ring) * np.abs(cosine) ** 3
    return mean


def add_spots(photons: NDArray[np.int64], spots: Spots, detector: Detector, rng: np.random.Generator) -> None:
    """Draw the spots' photons and add them to a frame in detector order, int64[n_pixels]."""
    order = np.argsort(spots.covariance[:, :2].max(axis=1), kind="stable")
    for first in range(0, len(order), SPOTS_AT_ONCE):
        pixel, mean = spot_pixels(spots, order[first : first + SPOTS_AT_ONCE], detector)
        np.add.at(photons, pixel, rng.poisson(mean))


def spot_pixels(
    spots: Spots, chosen: NDArray[np.int64], detector: Detector
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pixels that the chosen spots reach, in detector order, and the mean photons that each gets from one spot."""
    variance_fs, variance_ss, covariance = spots.covariance[chosen].T
    widest = float(np.sqrt(max(variance_fs.max(), variance_ss.max())))
    half = min(MAX_HALF_BOX, ceil(4.0 * widest))
    box = np.arange(-half, half + 1)
    panel = spots.panel[chosen]
    fs = np.floor(spots.fs[chosen]).astype(np.int64)[:, None, None] + box[None, None, :]
    ss = np.floor(spots.ss[chosen]).astype(np.int64)[:, None, None] + box[None, :, None]
    dx = fs + 0.5 - spots.fs[chosen][:, None, None]
    dy = ss + 0.5 - spots.ss[chosen][:, None, None]
    determinant = variance_fs * variance_ss - covariance**2
    exponent = (
        (variance_ss / determinant)[:, None, None] * dx**2
        + (variance_fs / determinant)[:, None, None] * dy**2
        - (2.0 * covariance / determinant)[:, None, None] * dx * dy
    )
    height = spots.photons[chosen] / (2.0 * np.pi * np.sqrt(determinant))
    mean = height[:, None, None] * np.exp(-0.5 * exponent)
    wide, high = detector.width[panel][:, None, None], detector.height[panel][:, None, None]
    inside = (fs >= 0) & (fs < wide) & (ss >= 0) & (ss < high)
    pixel = detector.starts[panel][:, None, None] + ss * wide + fs
    return pixel[inside], mean[inside]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Defects:
    """Pixels that do not work, the same in all frames: places in detector order."""

    bad: NDArray[np.int64]
    """They read -1."""
    dead: NDArray[np.int64]
    """They read 0."""
    hot: NDArray[np.int64]
    """They read `hot_value`, with noise."""
    hot_value: NDArray[np.float64]
    """Mean photons of each hot pixel."""

    @classmethod
    def draw(cls, n_pixels: int, response: ResponseSettings, rng: np.random.Generator) -> "Defects":
        """Choose pixels at random, none twice."""
        counts = [
            round(fraction * n_pixels)
            for fraction in (response.bad_fraction, response.dead_fraction, response.hot_fraction)
        ]
        chosen = rng.choice(n_pixels, size=sum(counts), replace=False)
        bad, dead, hot = np.split(chosen, np.cumsum(counts)[:-1])
        return cls(bad=bad, dead=dead, hot=hot, hot_value=rng.uniform(200.0, 5000.0, len(hot)))

    def apply(self, photons: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Set dead and hot pixels; the bad ones are marked after the conversion to detector units."""
        photons[self.dead] = 0
        photons[self.hot] = rng.poisson(self.hot_value)


def to_detector_units(
    photons: NDArray[np.int64], detector: Detector, read_noise: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Apply each panel's gain and the electronic noise, int32[n_pixels] in detector order."""
    if read_noise == 0 and np.all(detector.adu_per_photon == 1.0):
        return photons.astype(np.int32)
    gain = np.repeat(detector.adu_per_photon, detector.width * detector.height)
    values = photons * gain
    if read_noise:
        values += read_noise * rng.standard_normal(len(values))
    limits = np.iinfo(np.int32)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int32)
