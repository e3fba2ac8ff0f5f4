"""Where and how strongly a crystal in one orientation diffracts onto the detector.

A reciprocal lattice point is a three-dimensional Gaussian cloud, the Ewald sphere a Gaussian bundle of spheres with
wavenumbers k around 1/λ.  What is recorded is their overlap, taken in the linear approximation for both: the
excitation error s(k) = k - |q + k z| changes with k at the rate 1 - cos 2θ.  All lengths in reciprocal space are in
Å⁻¹ without a factor 2π.  This is written from the formulas alone, apart from the program that it is to judge.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.model.detector import Detector
from braggstream.simulate.reflections import FullReflections
from braggstream.simulate.settings import CrystalSettings

FloatArray = NDArray[np.float64]

REACH = 4.0
"""A lattice point further than so many sigma from the Ewald sphere is not recorded."""

PIXEL_VARIANCE = 1.0 / 12.0
"""Added to a spot's variance by integrating it over pixels [px²]."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class TrueLattice:
    """One crystal in the beam."""

    reciprocal_axes: FloatArray
    """Rows a*, b*, c* in the lab frame, float64[3, 3] [Å⁻¹]."""
    scale: float
    """Multiplies all its intensities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beam:
    """The beam of one frame."""

    wavelength: float
    """[Å]"""
    bandwidth: float
    """Relative spread (sigma)."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Rays:
    """Diffracted rays of one crystal."""

    reflection: NDArray[np.int64]
    """Row of the reflection list, int64[n]."""
    direction: FloatArray
    """Unit vectors in the lab frame, float64[n, 3]."""
    partiality: FloatArray
    """Fraction of the full reflection that is recorded, float64[n]."""
    radial: FloatArray
    """Angular spread (sigma) within the plane of beam and ray, float64[n] [rad]."""
    tangential: FloatArray
    """Angular spread (sigma) across that plane, float64[n] [rad]."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Spots:
    """Spots on panels; one that straddles two panels is here twice."""

    reflection: NDArray[np.int64]
    """Row of the reflection list, int64[n]."""
    panel: NDArray[np.int64]
    """Panel number, int64[n]."""
    fs: FloatArray
    """Centre on the panel from its corner, float64[n] [px]; may lie a little outside."""
    ss: FloatArray
    """Centre on the panel from its corner, float64[n] [px]; may lie a little outside."""
    photons: FloatArray
    """Mean number of photons, float64[n]."""
    covariance: FloatArray
    """Shape, pixel included: variance in fs, in ss, and their covariance, float64[n, 3] [px²]."""


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """Draw a rotation matrix, all orientations equally likely, float64[3, 3] (a uniform quaternion)."""
    w, x, y, z = _unit(rng.standard_normal(4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rays_of(lattice: TrueLattice, hkl: NDArray[np.int32], beam: Beam, crystal: CrystalSettings) -> Rays:
    """Find the reflections that the beam excites, and the rays that leave the crystal."""
    wavenumber = 1.0 / beam.wavelength
    q = hkl @ lattice.reciprocal_axes
    near = _near_sphere(q, wavenumber, beam.bandwidth, crystal)
    q = q[near]
    outgoing = q + np.array([0.0, 0.0, wavenumber])
    length = np.linalg.norm(outgoing, axis=1)
    excitation = wavenumber - length
    slope = 1.0 - outgoing[:, 2] / length
    radius2 = _radius2(q, crystal)
    spread2 = (beam.bandwidth * wavenumber) ** 2
    total2 = radius2 + slope**2 * spread2
    partiality = np.sqrt(radius2 / total2) * np.exp(-0.5 * excitation**2 / total2)
    # Of all wavenumbers in the beam, those near this one are diffracted by the point.
    mean_k = wavenumber - slope * excitation * spread2 / total2
    direction = q + mean_k[:, None] * np.array([0.0, 0.0, 1.0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    own = np.sqrt(radius2) / wavenumber
    streak = np.sqrt(spread2 * radius2 / total2) / wavenumber * np.hypot(direction[:, 0], direction[:, 1])
    return Rays(
        reflection=near,
        direction=direction,
        partiality=partiality,
        radial=np.hypot(own, streak),
        tangential=own,
    )


def spots_on(detector: Detector, rays: Rays, photons: FloatArray, spot_size: float) -> Spots:
    """Put rays with a mean number of `photons` each, float64[n], onto the panels; `spot_size` in px."""
    panels, numbers, fs, ss = [], [], [], []
    margin = 6.0
    for panel in range(detector.n_panels):
        x, y = _meet(detector.poses[panel], rays.direction)
        width, height = detector.width[panel], detector.height[panel]
        with np.errstate(invalid="ignore"):
            inside = (x > -margin) & (x < width + margin) & (y > -margin) & (y < height + margin)
        found = np.flatnonzero(inside)
        panels.append(np.full(len(found), panel, np.int64))
        numbers.append(found)
        fs.append(x[found])
        ss.append(y[found])
    panel_of, ray = np.concatenate(panels), np.concatenate(numbers)
    return Spots(
        reflection=rays.reflection[ray],
        panel=panel_of,
        fs=np.concatenate(fs),
        ss=np.concatenate(ss),
        photons=photons[ray],
        covariance=_shapes(detector, rays, panel_of, ray, spot_size),
    )


def diffract(
    lattice: TrueLattice,
    reflections: FullReflections,
    *,
    detector: Detector,
    beam: Beam,
    crystal: CrystalSettings,
    spot_size: float,
) -> Spots:
    """Make the spots of one crystal, those of less than a twentieth of a photon left out."""
    rays = rays_of(lattice, reflections.hkl, beam, crystal)
    photons = lattice.scale * reflections.intensity[rays.reflection] * rays.partiality
    seen = np.flatnonzero(photons > 0.05)
    rays = Rays(**{name: getattr(rays, name)[seen] for name in Rays.__slots__})
    return spots_on(detector, rays, photons[seen], spot_size)


def _near_sphere(q: FloatArray, wavenumber: float, bandwidth: float, crystal: CrystalSettings) -> NDArray[np.int64]:
    """Rows of lattice points within reach of the Ewald sphere; a cheap test that needs no square root for most."""
    q2 = np.einsum("ij,ij->i", q, q)
    # |q + k z|² - k² = q² + 2 k qz, and the distance from the sphere is close to that over 2 k.
    distance = (0.5 / wavenumber) * q2 + q[:, 2]
    radius = crystal.profile_radius + crystal.mosaicity * np.sqrt(q2)
    spread = (0.5 / wavenumber) * q2 * bandwidth
    return np.flatnonzero(np.abs(distance) <= REACH * np.hypot(radius, spread))


def _radius2(q: FloatArray, crystal: CrystalSettings) -> FloatArray:
    """Squared radius of reciprocal lattice points, float64[n] [Å⁻²]."""
    blurred: FloatArray = crystal.profile_radius**2 + crystal.mosaicity**2 * np.einsum("ij,ij->i", q, q)
    return blurred


def _meet(pose: FloatArray, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Panel coordinates where rays from the sample meet a panel's plane [px]; NaN for rays that go away from it."""
    corner, fs, ss = pose
    normal = np.cross(fs, ss)
    along = direction @ normal
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(corner @ normal / along > 0, corner @ normal / along, np.nan)
    on_plane = distance[:, None] * direction - corner
    gram = np.array([[fs @ fs, fs @ ss], [fs @ ss, ss @ ss]])
    coordinates = np.linalg.solve(gram, np.stack([on_plane @ fs, on_plane @ ss]))
    return coordinates[0], coordinates[1]


def _shapes(
    detector: Detector, rays: Rays, panel: NDArray[np.int64], ray: NDArray[np.int64], spot_size: float
) -> FloatArray:
    """Covariances of spots on their panels: angular spreads carried to the panel, then beam size and pixel."""
    direction = rays.direction[ray]
    across = np.stack([-direction[:, 1], direction[:, 0], np.zeros(len(ray))], axis=1)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = np.where(length > 1e-12, across / np.maximum(length, 1e-12), (1.0, 0.0, 0.0))
    outward = np.cross(across, direction)
    step = 1e-5
    shape = np.zeros((len(ray), 3))
    for tangent, spread in ((outward, rays.radial[ray]), (across, rays.tangential[ray])):
        for number in np.unique(panel):
            here = np.flatnonzero(panel == number)
            pose = detector.poses[number]
            x0, y0 = _meet(pose, direction[here] - step * tangent[here])
            x1, y1 = _meet(pose, direction[here] + step * tangent[here])
            dx, dy = (x1 - x0) / (2 * step) * spread[here], (y1 - y0) / (2 * step) * spread[here]
            shape[here] += np.stack([dx * dx, dy * dy, dx * dy], axis=1)
    shape[:, :2] += spot_size**2 + PIXEL_VARIANCE
    return shape


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector), np.float64)
