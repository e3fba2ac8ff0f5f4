"""Peak lists of still frames with a known lattice, made from the definition of the Ewald sphere."""

import numpy as np

from braggstream.model.detector import Detector
from braggstream.model.peaks import PeakTable
from braggstream.steps.pairing import is_allowed
from braggstream.steps.view import PeakView

WAVELENGTH = 1.03
# From the centre of the Ewald sphere to the origin of reciprocal space.
ORIGIN = np.array([0, 0, 1 / WAVELENGTH])
PIXEL_M = 1e-4
DISTANCE_M = 0.1
WIDTH = 2000

# Centred to primitive, written as lattice points of the cell.
PRIMITIVE = {
    "P": np.eye(3),
    "R": np.eye(3),
    "A": [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, -0.5]],
    "B": [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, -0.5]],
    "C": [[0.5, 0.5, 0], [0.5, -0.5, 0], [0, 0, 1]],
    "I": [[0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "H": [[2 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0, 1, 0]],
}


def detector():
    half = WIDTH / 2 * PIXEL_M
    pose = np.array([[[-half, -half, DISTANCE_M], [PIXEL_M, 0, 0], [0, PIXEL_M, 0]]])
    zero, size = np.zeros(1, np.int64), np.full(1, WIDTH, np.int64)
    return Detector(
        names=("p0",),
        width=size,
        height=size,
        min_fs=zero,
        min_ss=zero,
        poses=pose,
        pixel_size=np.full(1, PIXEL_M),
        adu_per_photon=np.ones(1),
        max_adu=np.full(1, np.inf),
    )


def random_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def on_sphere(q):
    """Move points along the ray from the centre of the Ewald sphere onto it."""
    centre = -ORIGIN
    ray = q - centre
    return ray / np.linalg.norm(ray, axis=1, keepdims=True) / WAVELENGTH + centre


def lattice_spots(axes, centring, rng, *, n=120, noise=2e-4, max_q=0.45):
    """Up to n spots near the sphere, float64[m, 3]; `axes` are the rows a*, b*, c*."""
    largest = np.ceil(max_q * np.linalg.norm(np.linalg.inv(axes), axis=0)).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in largest], indexing="ij"), -1).reshape(-1, 3)
    q = hkl[is_allowed(hkl, centring) & hkl.any(axis=1)] @ axes
    size = np.linalg.norm(q, axis=1)
    error = np.abs(np.linalg.norm(q + ORIGIN, axis=1) - 1 / WAVELENGTH)
    q = q[(size < max_q) & (error < 4e-4 + 6e-4 * size)]
    q = q[rng.permutation(len(q))[:n]]
    return on_sphere(q + rng.normal(size=q.shape) * noise)


def random_spots(rng, n, max_q=0.45):
    flat = rng.uniform(-max_q, max_q, size=(n, 2))
    return on_sphere(np.c_[flat, np.zeros(n)])


def still(cell, rng, *, n=120, n_false=30, noise=2e-4, scale=1.0):
    """Spots of one crystal and of nothing, shuffled, and the true a*, b*, c*."""
    axes = cell.reciprocal_axes() @ random_rotation(rng).T * scale
    q = np.concatenate([lattice_spots(axes, cell.centring, rng, n=n, noise=noise), random_spots(rng, n_false)])
    return q[rng.permutation(len(q))], axes


def view_of(q, intensity=None):
    """See scattering vectors on the detector, strongest first."""
    ray = q + ORIGIN
    lab = ray[:, :2] / ray[:, 2:] * DISTANCE_M
    fs, ss = (lab / PIXEL_M + WIDTH / 2).T
    if intensity is None:
        intensity = np.arange(len(q), 0, -1)
    peaks = PeakTable.from_columns(np.zeros(len(q)), fs, ss, intensity)
    seen = detector()
    vectors = seen.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
    return PeakView(peaks=peaks, q=vectors, detector=seen, wavelength=WAVELENGTH, bandwidth=0.0)


def is_same_lattice(found, true, centring, tolerance=0.05):
    """Do reciprocal axes span the same lattice in any setting?"""
    points = np.asarray(PRIMITIVE[centring])
    change = (points @ np.linalg.inv(found).T) @ np.linalg.inv(points @ np.linalg.inv(true).T)
    whole = np.rint(change)
    return bool(np.abs(change - whole).max() < tolerance and round(abs(np.linalg.det(whole))) == 1)
