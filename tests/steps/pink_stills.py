"""Peak lists of stills in a wide spectrum, or with electrons, from the simulator's formulas."""

from dataclasses import replace

import numpy as np

from braggstream.model.peaks import PeakTable
from braggstream.simulate.diffraction import Beam, TrueLattice, random_rotation, rays_of, spots_on
from braggstream.simulate.settings import CrystalSettings
from braggstream.steps.pairing import is_allowed
from braggstream.steps.view import PeakView
from steps.still_frames import detector


def detector_at(distance, *, pixel=1e-4, width=2000):
    half = width / 2 * pixel
    pose = np.array([[[-half, -half, distance], [pixel, 0, 0], [0, pixel, 0]]])
    size = np.full(1, width, np.int64)
    return replace(detector(), width=size, height=size, poses=pose, pixel_size=np.full(1, pixel))


def pink_still(
    cell,
    rng,
    *,
    bandwidth=0.0,
    n=100,
    n_false=0,
    wavelength=1.03,
    max_q=0.45,
    radius=3e-4,
    noise_px=0.3,
    panels=None,
):
    """True axes, and a view of the strongest n spots and of n_false others; `bandwidth` is a standard deviation."""
    panels = panels or detector_at(0.1)
    axes = cell.reciprocal_axes() @ random_rotation(rng).T
    largest = np.ceil(max_q * np.linalg.norm(cell.direct_axes(), axis=1)).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in largest], indexing="ij"), -1).reshape(-1, 3)
    size = np.linalg.norm(hkl @ axes, axis=1)
    hkl = hkl[is_allowed(hkl, cell.centring) & (size > 0) & (size < max_q)].astype(np.int32)
    size = np.linalg.norm(hkl @ axes, axis=1)
    crystal = CrystalSettings(profile_radius=radius)
    rays = rays_of(
        TrueLattice(reciprocal_axes=axes, scale=1.0), hkl, Beam(wavelength=wavelength, bandwidth=bandwidth), crystal
    )
    full = rng.exponential(size=len(hkl)) * np.exp(-8 * size**2)
    photons = 1e4 * full[rays.reflection] * rays.partiality
    spots = spots_on(panels, rays, photons, 0.7)
    width, height = panels.width[0], panels.height[0]
    inside = np.flatnonzero((spots.fs > 0) & (spots.fs < width) & (spots.ss > 0) & (spots.ss < height))
    chosen = inside[np.argsort(-spots.photons[inside], kind="stable")][:n]
    places = np.stack([spots.fs[chosen], spots.ss[chosen]], axis=1)
    places = places + rng.normal(size=places.shape) * noise_px
    intensity = spots.photons[chosen]
    if n_false:
        low, high = places.min(axis=0), places.max(axis=0)
        places = np.concatenate([places, rng.uniform(low, high, (n_false, 2))])
        intensity = np.concatenate([intensity, rng.choice(intensity, n_false)])
    peaks = PeakTable.from_columns(np.zeros(len(places)), *places.T, intensity)
    q = panels.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, wavelength)
    view = PeakView(peaks=peaks, q=q, detector=panels, wavelength=wavelength, bandwidth=bandwidth)
    return axes, view.take(np.argsort(-intensity, kind="stable"))
