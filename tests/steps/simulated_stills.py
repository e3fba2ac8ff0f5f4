"""Stills whose lattice points have a width: excitation errors spread over it, and decide what is strong."""

import numpy as np

from braggstream.model.peaks import PeakTable
from braggstream.steps.pairing import is_allowed
from braggstream.steps.view import PeakView
from steps.still_frames import (
    DISTANCE_M,
    ORIGIN,
    PIXEL_M,
    WAVELENGTH,
    WIDTH,
    detector,
    on_sphere,
    random_rotation,
)


def still_with_partials(cell, rng, *, radius=2.5e-4, noise_px=0.2, n=100, n_false=0, max_q=0.4):
    """True axes, and a view of the strongest n spots and of n_false strong ones anywhere."""
    axes = cell.reciprocal_axes() @ random_rotation(rng).T
    largest = np.ceil(max_q * np.linalg.norm(cell.direct_axes(), axis=1)).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in largest], indexing="ij"), -1).reshape(-1, 3)
    q = hkl[is_allowed(hkl, cell.centring) & hkl.any(axis=1)] @ axes
    size = np.linalg.norm(q, axis=1)
    q, size = q[size < max_q], size[size < max_q]
    error = 1 / WAVELENGTH - np.linalg.norm(q + ORIGIN, axis=1)
    width = radius * (1 + 1.7 * size)
    intensity = rng.exponential(size=len(q)) * np.exp(-(error**2) / 2 / width**2 - 8 * size**2)
    strongest = np.argsort(-intensity)[:n]
    ray = on_sphere(q[strongest]) + ORIGIN
    places = ray[:, :2] / ray[:, 2:] * DISTANCE_M / PIXEL_M + WIDTH / 2
    places += rng.normal(size=places.shape) * noise_px
    places = np.concatenate([places, rng.uniform(0, WIDTH, (n_false, 2))])
    intensity = np.concatenate([intensity[strongest], rng.exponential(size=n_false)]) * 1e4
    return axes, seen(places, intensity)


def seen(places, intensity):
    """Peaks at these places, float64[n, 2] [px]."""
    panels = detector()
    peaks = PeakTable.from_columns(np.zeros(len(places)), *places.T, intensity)
    q = panels.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
    return PeakView(peaks=peaks, q=q, detector=panels, wavelength=WAVELENGTH, bandwidth=0.0)


def turned(axes, degrees, rng):
    """Axes turned by an angle about any direction."""
    vector = rng.normal(size=3)
    x, y, z = vector / np.linalg.norm(vector)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return np.ascontiguousarray(axes @ rotation.T)


def misorientation(true, found):
    """Angle between two sets of axes, the best rotation between them [deg]."""
    left, _, right = np.linalg.svd(np.linalg.solve(true, found))
    rotation = left @ right
    # From the antisymmetric part, which small angles do not round away.
    sine = np.linalg.norm(rotation - rotation.T) / np.sqrt(8)
    return np.degrees(np.arctan2(sine, (np.trace(rotation) - 1) / 2))


def length_error(true, found):
    """Largest relative error of the cell's three lengths."""
    expected, got = (np.linalg.norm(np.linalg.inv(axes).T, axis=1) for axes in (true, found))
    return np.abs(got / expected - 1).max()
