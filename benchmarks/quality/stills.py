"""Peak lists of simulated hits: real diffraction, no pixels.

Positions err by a pixel fraction that grows for weak spots; spots that would touch count as one peak.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sets import FrameSet
from braggstream.formats.geom import parse_geometry
from braggstream.model.detector import Detector
from braggstream.model.geometry import Geometry
from braggstream.model.peaks import PeakTable
from braggstream.simulate.diffraction import Beam, Rays, Spots, TrueLattice, random_rotation, rays_of, spots_on
from braggstream.simulate.reflections import FullReflections, find_space_group, make_reflections
from braggstream.simulate.settings import CrystalSettings
from braggstream.steps.view import PeakView

WAVELENGTH = 1.03
BANDWIDTH = 5e-4
PROFILE_RADIUS = 3e-4
MOSAICITY = 2e-4
CELL_SPREAD = 1e-3
CAMERA_LENGTH_M = 0.12
PIXEL_M = 75e-6
WEAKEST_PHOTONS = 30.0
"""The crystal's strength is such that the weakest of its peaks has so many."""
LEAST_PART = 1e-3
"""Of the strength of a mean full reflection at low resolution: fewer photons never make a peak."""
BLUR_PX = 0.12
"""Error of a strong peak's position, along each axis."""
BLUR_PER_ROOT_PHOTON_PX = 1.0
TOUCHING_PX = 4.0
NEAR_SPHERE = 4e-3
"""No lattice point beyond this distance from the Ewald sphere gives a peak; a first, rough sieve [Å⁻¹]."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Still:
    """The peaks of one hit and its lattices."""

    view: PeakView
    lattices: NDArray[np.float64]
    """Rows a*, b*, c* of each, float64[n, 3, 3] [Å⁻¹]."""
    owner: NDArray[np.int64] | None = None
    """Lattice that each peak comes from, -1 for none, int64[n_peaks]; None where that is not known."""

    def of_lattice(self, number: int) -> PeakView:
        """Select the peaks of one lattice; all, where there is no other."""
        if self.owner is None:
            return self.view
        return self.view.take(np.flatnonzero(self.owner == number))


class StillSource(Protocol):
    """What makes the hits of a set."""

    def still(self, number: int) -> Still:
        """Make hit `number`, counted from 0."""
        ...


def geometry() -> Geometry:
    """Eight panels of 1030 x 514 pixels with gaps between them, about 4 million pixels."""
    lines = [f"wavelength = {WAVELENGTH} A", f"clen = {CAMERA_LENGTH_M} m", f"res = {1 / PIXEL_M}"]
    lines += ["adu_per_photon = 1", "data = /data", "dim0 = ss", "dim1 = fs"]
    for row in range(4):
        for column in range(2):
            name, first = f"m{2 * row + column}", 514 * (2 * row + column)
            lines += [f"{name}/min_fs = 0", f"{name}/max_fs = 1029"]
            lines += [f"{name}/min_ss = {first}", f"{name}/max_ss = {first + 513}"]
            lines += [f"{name}/corner_x = {-1034 + 1038 * column}", f"{name}/corner_y = {-1082 + 550 * row}"]
            lines += [f"{name}/fs = x", f"{name}/ss = y"]
    return parse_geometry("\n".join(lines))


def detector() -> Detector:
    """The detector of all hits."""
    return geometry().detector({}.__getitem__, WAVELENGTH)


class StillMaker:
    """Makes the hits of a set; hit n depends on the set, the seed and n alone."""

    def __init__(self, frame_set: FrameSet, seed: int) -> None:
        self._set = frame_set
        self._seed = seed
        self._crystal = CrystalSettings(
            d_min=frame_set.d_min,
            profile_radius=PROFILE_RADIUS,
            mosaicity=MOSAICITY,
            cell_spread=CELL_SPREAD,
        )
        self._detector = detector()
        self._reflections = self._make_reflections() if frame_set.n_lattices else None
        if self._reflections:
            self._hkl = self._reflections.hkl.astype(np.float32)
            q = self._hkl @ frame_set.cell.reciprocal_axes().astype(np.float32)
            self._bend = (0.5 * WAVELENGTH * np.einsum("ij,ij->i", q, q)).astype(np.float32)

    def still(self, number: int) -> Still:
        """Make hit `number`, counted from 0."""
        rng = np.random.default_rng([self._seed, number])
        n_lattices = self._set.n_lattices
        axes = [self._axes(rng) for _ in range(n_lattices)]
        parts = [self._spots(each, self._n_peaks(rng), rng) for each in axes]
        parts.append(self._random(self._set.n_random if n_lattices else self._n_peaks(rng), rng))
        owners = np.repeat([*range(n_lattices), -1], [len(part) for part in parts])
        table = np.concatenate(parts)
        strongest_first = np.argsort(-table[:, 3], kind="stable")
        table, owners = table[strongest_first], owners[strongest_first]
        kept = _apart(table)
        peaks, owners = PeakTable.from_columns(*table[kept].T), owners[kept]
        q = self._detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
        view = PeakView(peaks=peaks, q=q, detector=self._detector, wavelength=WAVELENGTH, bandwidth=BANDWIDTH)
        return Still(view=view, lattices=np.array(axes).reshape(-1, 3, 3), owner=owners)

    def _make_reflections(self) -> FullReflections:
        cell = self._set.cell
        group = find_space_group(cell, None)
        return make_reflections(cell, group, self._crystal, np.random.default_rng([self._seed, 0, 1]))

    def _n_peaks(self, rng: np.random.Generator) -> int:
        fewest, most = self._set.peaks
        return int(rng.integers(fewest, most + 1))

    def _axes(self, rng: np.random.Generator) -> NDArray[np.float64]:
        swelling = 1.0 + CELL_SPREAD * rng.standard_normal()
        return self._set.cell.reciprocal_axes() @ random_rotation(rng).T / swelling

    def _spots(self, axes: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """The strongest n spots of a lattice, rows panel, fs, ss, photons."""
        assert self._reflections is not None
        lattice = TrueLattice(reciprocal_axes=axes, scale=1.0)
        beam = Beam(wavelength=WAVELENGTH, bandwidth=BANDWIDTH)
        near = np.flatnonzero(np.abs(self._hkl @ axes[:, 2].astype(np.float32) + self._bend) < NEAR_SPHERE)
        rays = rays_of(lattice, self._reflections.hkl[near], beam, self._crystal)
        photons = self._reflections.intensity[near[rays.reflection]] * rays.partiality
        # Some miss the detector, so more than n are followed there.
        strongest = np.argsort(-photons, kind="stable")[: 3 * n]
        strongest = strongest[photons[strongest] > LEAST_PART * self._crystal.photons]
        rays = Rays(**{name: getattr(rays, name)[strongest] for name in Rays.__slots__})
        spots = spots_on(self._detector, rays, photons[strongest], spot_size=0.7)
        seen = np.flatnonzero(self._is_inside(spots))
        chosen = seen[np.argsort(-spots.photons[seen], kind="stable")[:n]]
        photons = spots.photons[chosen] * (WEAKEST_PHOTONS / spots.photons[chosen].min())
        blur = np.hypot(BLUR_PX, BLUR_PER_ROOT_PHOTON_PX / np.sqrt(photons))
        fs = spots.fs[chosen] + blur * rng.standard_normal(len(chosen))
        ss = spots.ss[chosen] + blur * rng.standard_normal(len(chosen))
        return np.stack([spots.panel[chosen], fs, ss, rng.poisson(photons)], axis=1)

    def _is_inside(self, spots: Spots) -> NDArray[np.bool_]:
        width, height = self._detector.width[spots.panel], self._detector.height[spots.panel]
        return (spots.fs >= 1) & (spots.fs < width - 1) & (spots.ss >= 1) & (spots.ss < height - 1)

    def _random(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Peaks anywhere, as strong as those of a crystal."""
        panel = rng.integers(0, self._detector.n_panels, n)
        fs, ss = rng.uniform(0, self._detector.width[panel]), rng.uniform(0, self._detector.height[panel])
        photons = WEAKEST_PHOTONS * np.exp(rng.exponential(size=n))
        return np.stack([panel, fs, ss, rng.poisson(photons)], axis=1)


def _apart(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which peaks no stronger one, which comes first, would swallow, bool[n]."""
    distance2 = ((table[:, None, 1:3] - table[None, :, 1:3]) ** 2).sum(axis=2)
    touches = (distance2 < TOUCHING_PX**2) & (table[:, None, 0] == table[None, :, 0])
    return np.asarray(~np.tril(touches, -1).any(axis=1))
