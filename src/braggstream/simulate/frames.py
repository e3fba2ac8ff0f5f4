"""Simulated frames, one after the other, from a geometry, a cell and a seed."""

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.constants import photon_energy_of, wavelength_of_photon
from braggstream.model.detector import Detector
from braggstream.model.errors import HeaderError, UserError
from braggstream.model.geometry import Geometry
from braggstream.simulate.diffraction import Beam, Spots, TrueLattice, diffract, random_rotation
from braggstream.simulate.layout import header_values
from braggstream.simulate.painting import BAD_VALUE, Defects, add_spots, background_mean, to_detector_units
from braggstream.simulate.reflections import FullReflections, find_space_group, make_reflections
from braggstream.simulate.settings import SimulationSettings
from braggstream.simulate.truth import FrameTruth

DEFAULT_ENERGY_EV = 9500.0
DEFAULT_CAMERA_LENGTH_M = 0.1
STRONG = 8.0
"""A spot is strong with so many times the noise of the background below it."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class SimulatedFrame:
    """One frame with its truth."""

    values: NDArray[np.int32]
    """Pixels in detector order, int32[n_pixels] [detector units]."""
    headers: dict[str, float]
    """What the geometry looks up in the frame: name and number in the geometry's unit."""
    truth: FrameTruth
    strong: Spots
    """The spots that stand out clearly, of all crystals."""


class Simulator:
    """Makes frames; frame n depends on the settings and on n alone.

    Raises `UserError` where geometry, cell and settings do not fit each other.
    """

    def __init__(self, geometry: Geometry, cell: UnitCell, settings: SimulationSettings) -> None:
        _check(geometry, settings)
        self.geometry = geometry
        self.cell = cell
        self.settings = settings
        self.space_group = find_space_group(cell, settings.crystal.space_group)
        self.wavelength, self.camera_length = _beam_and_distance(geometry, settings)
        self.detector = self._detector(self.wavelength)
        if not self.detector.average_camera_length > 0:
            raise UserError(f"clen is {self.camera_length:g} m: the detector is not behind the sample")
        if not np.all(self.detector.adu_per_photon > 0):
            raise UserError("adu_per_photon must be above zero to simulate a detector", path=geometry.path)
        reflection_rng, defect_rng = (np.random.default_rng([settings.seed, 0, part]) for part in range(2))
        self.reflections: FullReflections = make_reflections(
            cell, self.space_group, settings.crystal, reflection_rng
        )
        self.background = background_mean(self.detector, self.wavelength, settings.response.background)
        self.defects = Defects.draw(self.detector.n_pixels, settings.response, defect_rng)

    def frame(self, number: int) -> SimulatedFrame:
        """Make frame `number`, counted from 0."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, 1, number])
        beam = self._beam(rng)
        detector = self._detector(beam.wavelength)
        lattices = self._lattices(rng)
        spots = [
            diffract(
                lattice,
                self.reflections,
                detector=detector,
                beam=beam,
                crystal=settings.crystal,
                spot_size=settings.response.spot_size,
            )
            for lattice in lattices
        ]
        background = self.background * np.exp(settings.response.background_spread * rng.standard_normal())
        photons = rng.poisson(background)
        for crystal_spots in spots:
            add_spots(photons, crystal_spots, detector, rng)
        self.defects.apply(photons, rng)
        values = to_detector_units(photons, detector, settings.response.read_noise, rng)
        values[self.defects.bad] = BAD_VALUE
        strong = _strong_spots(spots, background, detector)
        axes = np.array([lattice.reciprocal_axes for lattice in lattices]).reshape(-1, 3, 3)
        return SimulatedFrame(
            values=values,
            headers=self._headers(beam),
            truth=FrameTruth(lattices=axes, n_strong=len(strong.fs)),
            strong=strong,
        )

    def _beam(self, rng: np.random.Generator) -> Beam:
        chosen = self.settings.beam
        energy = photon_energy_of(self.wavelength) * (1.0 + chosen.energy_jitter * rng.standard_normal())
        bandwidth = self.geometry.bandwidth if chosen.bandwidth is None else chosen.bandwidth
        return Beam(wavelength=wavelength_of_photon(energy), bandwidth=bandwidth)

    def _lattices(self, rng: np.random.Generator) -> list[TrueLattice]:
        sample, crystal = self.settings.sample, self.settings.crystal
        if rng.random() >= sample.hit_fraction:
            return []
        lattices = []
        for _ in range(rng.integers(sample.lattices[0], sample.lattices[1] + 1)):
            swelling = 1.0 + crystal.cell_spread * rng.standard_normal()
            axes = self.cell.reciprocal_axes() @ random_rotation(rng).T / swelling
            scale = float(np.exp(crystal.scale_spread * rng.standard_normal()))
            lattices.append(TrueLattice(reciprocal_axes=axes, scale=scale))
        return lattices

    def _detector(self, wavelength: float) -> Detector:
        values = header_values(
            self.geometry, energy_ev=photon_energy_of(wavelength), camera_length=self.camera_length
        )
        return self.geometry.detector(values.__getitem__, wavelength)

    def _headers(self, beam: Beam) -> dict[str, float]:
        energy = photon_energy_of(beam.wavelength)
        return header_values(self.geometry, energy_ev=energy, camera_length=self.camera_length)


def _check(geometry: Geometry, settings: SimulationSettings) -> None:
    beam = settings.beam
    if geometry.wavelength_kind != "photon_energy" and not geometry.beam.is_literal:
        raise UserError(
            f"looks up {geometry.wavelength_kind} in the frame: here only photon_energy can be looked up",
            path=geometry.path,
        )
    if geometry.beam.is_literal and (beam.photon_energy is not None or beam.energy_jitter):
        raise UserError(
            "--photon-energy and --energy-jitter need a geometry that looks the energy up in the frame",
            path=geometry.path,
        )
    if geometry.clen.is_literal and beam.camera_length is not None:
        raise UserError("--camera-length needs a geometry that looks clen up in the frame", path=geometry.path)


def _beam_and_distance(geometry: Geometry, settings: SimulationSettings) -> tuple[float, float]:
    """Wavelength [Å] and camera length [m] of the simulated frames."""
    energy = settings.beam.photon_energy or DEFAULT_ENERGY_EV
    length = settings.beam.camera_length or DEFAULT_CAMERA_LENGTH_M

    def look_up(name: str) -> float:
        return header_values(geometry, energy_ev=energy, camera_length=length)[name]

    try:
        wavelength, distance = geometry.wavelength(look_up), geometry.clen.resolve(look_up)
    except HeaderError as error:
        raise UserError(str(error), path=geometry.path) from None
    if not abs(distance) < inf:
        raise UserError(f"clen is {distance:g} m, expected a finite length", path=geometry.path)
    return wavelength, distance


def _strong_spots(spots: list[Spots], background: NDArray[np.float64], detector: Detector) -> Spots:
    """Select the spots with their centre on a panel that exceed the noise of nine background pixels clearly."""
    joined = _join(spots)
    width, height = detector.width[joined.panel], detector.height[joined.panel]
    on_panel = (joined.fs >= 0) & (joined.fs < width) & (joined.ss >= 0) & (joined.ss < height)
    joined = _take(joined, np.flatnonzero(on_panel))
    fs, ss = joined.fs.astype(np.int64), joined.ss.astype(np.int64)
    pixel = detector.starts[joined.panel] + ss * detector.width[joined.panel] + fs
    noise = np.sqrt(9.0 * background[pixel] + 1.0)
    return _take(joined, np.flatnonzero(joined.photons > STRONG * noise))


def _join(spots: list[Spots]) -> Spots:
    none = np.zeros(0)
    empty = Spots(
        reflection=none.astype(np.int64),
        panel=none.astype(np.int64),
        fs=none,
        ss=none,
        photons=none,
        covariance=np.zeros((0, 3)),
    )
    parts = [empty, *spots]
    return Spots(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Spots.__slots__})


def _take(spots: Spots, index: NDArray[np.int64]) -> Spots:
    return replace(spots, **{name: getattr(spots, name)[index] for name in Spots.__slots__})
