"""The geometry of diffraction against elementary formulas and brute force."""

from math import asin, cos, pi

import numpy as np
import pytest

from braggstream.simulate.diffraction import Beam, TrueLattice, diffract, random_rotation, rays_of, spots_on
from braggstream.simulate.reflections import find_space_group, make_reflections
from braggstream.simulate.settings import CrystalSettings
from simulate.simulated_detectors import BEAM, FILE_AXES, TWO_TILTED, cell, geometry

WAVELENGTH = 1.0332
SHARP = Beam(wavelength=WAVELENGTH, bandwidth=0.0)


def some_lattice(seed=1):
    axes = cell().reciprocal_axes() @ random_rotation(np.random.default_rng(seed)).T
    return TrueLattice(reciprocal_axes=axes, scale=1.0)


def some_reflections(**settings):
    crystal = CrystalSettings(**settings)
    return make_reflections(cell(), find_space_group(cell(), "P 1"), crystal, np.random.default_rng(0)), crystal


def test_random_orientations_are_rotations_without_preference():
    rng = np.random.default_rng(0)
    rotations = np.array([random_rotation(rng) for _ in range(4000)])
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotations), 1.0)
    assert np.abs(rotations.mean(axis=0)).max() < 0.04
    # Uniform on the sphere: each component of a rotated axis has variance 1/3.
    assert np.allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)


def test_rays_obey_bragg_and_lie_on_the_ewald_sphere():
    reflections, crystal = some_reflections(d_min=2.5)
    lattice = some_lattice()
    rays = rays_of(lattice, reflections.hkl, SHARP, crystal)
    assert len(rays.reflection) > 80
    q_ray = (rays.direction - np.array([0, 0, 1])) / WAVELENGTH
    q_point = reflections.hkl[rays.reflection] @ lattice.reciprocal_axes
    distance = np.linalg.norm(q_ray - q_point, axis=1)
    assert distance.max() <= 4.01 * crystal.profile_radius
    # Bragg: sin θ = λ / 2d, for a point that lies on the sphere itself.
    exact = distance < 0.05 * crystal.profile_radius
    theta = np.arccos(rays.direction[exact, 2]) / 2
    inverse_d = np.linalg.norm(q_point[exact], axis=1)
    assert np.allclose(np.sin(theta), WAVELENGTH * inverse_d / 2, atol=3e-5)
    assert np.allclose(rays.partiality, np.exp(-0.5 * (distance / crystal.profile_radius) ** 2), rtol=1e-5)


def test_no_excited_reflection_is_left_out():
    reflections, crystal = some_reflections(d_min=3.0)
    lattice = some_lattice(2)
    rays = set(rays_of(lattice, reflections.hkl, SHARP, crystal).reflection.tolist())
    centre = np.array([0, 0, -1 / WAVELENGTH])
    for row, hkl in enumerate(reflections.hkl):
        distance = abs(np.linalg.norm(hkl @ lattice.reciprocal_axes - centre) - 1 / WAVELENGTH)
        if distance < 3.5 * crystal.profile_radius:
            assert row in rays
        elif distance > 4.5 * crystal.profile_radius:
            assert row not in rays


def test_the_number_of_reflections_fits_the_volume_near_the_sphere():
    reflections, crystal = some_reflections(d_min=2.5)
    counts = [rays_of(some_lattice(seed), reflections.hkl, SHARP, crystal).partiality.sum() for seed in range(40)]
    # The cap of the sphere within the limit has the area π/d²; summed partiality counts sqrt(2π) radii.
    expected = pi / 2.5**2 * np.sqrt(2 * pi) * crystal.profile_radius * cell().volume
    assert np.mean(counts) == pytest.approx(expected, rel=0.03)


def test_bandwidth_against_an_integral_over_wavenumbers():
    reflections, crystal = some_reflections(d_min=2.5)
    lattice, beam = some_lattice(3), Beam(wavelength=WAVELENGTH, bandwidth=4e-3)
    rays = rays_of(lattice, reflections.hkl, beam, crystal)
    k0 = 1 / WAVELENGTH
    offsets = np.linspace(-7, 7, 4001)
    weights = np.exp(-0.5 * offsets**2)
    k = k0 * (1 + beam.bandwidth * offsets)
    for row, direction, partiality in list(zip(rays.reflection, rays.direction, rays.partiality, strict=True))[::7]:
        q = reflections.hkl[row] @ lattice.reciprocal_axes
        outgoing = q + np.stack([0 * k, 0 * k, k], axis=1)
        excitation = k - np.linalg.norm(outgoing, axis=1)
        overlap = weights * np.exp(-0.5 * (excitation / crystal.profile_radius) ** 2)
        assert partiality == pytest.approx(overlap.sum() / weights.sum(), rel=0.02, abs=1e-3)
        if partiality > 0.01:
            expected = q + np.array([0, 0, (overlap * k).sum() / overlap.sum()])
            assert np.allclose(direction, expected / np.linalg.norm(expected), atol=1.5e-5), (
                "a twentieth of the spot's width"
            )


def test_bandwidth_and_mosaicity_make_more_and_wider_reflections():
    reflections, crystal = some_reflections(d_min=2.5)
    _, mosaic = some_reflections(d_min=2.5, mosaicity=1e-3)
    sharp = rays_of(some_lattice(), reflections.hkl, SHARP, crystal)
    pink = rays_of(some_lattice(), reflections.hkl, Beam(wavelength=WAVELENGTH, bandwidth=0.01), crystal)
    soft = rays_of(some_lattice(), reflections.hkl, SHARP, mosaic)
    assert len(pink.reflection) > 1.5 * len(sharp.reflection) and len(soft.reflection) > 1.3 * len(sharp.reflection)
    assert np.allclose(sharp.radial, sharp.tangential)
    assert np.median(pink.radial / pink.tangential) > 1.5


def test_spots_on_tilted_panels_give_their_rays_back():
    detector = geometry(BEAM + FILE_AXES + TWO_TILTED).detector(lambda name: 0.0, WAVELENGTH)
    reflections, crystal = some_reflections(d_min=3.0)
    rays = rays_of(some_lattice(4), reflections.hkl, SHARP, crystal)
    spots = spots_on(detector, rays, np.ones(len(rays.partiality)), 0.7)
    assert set(spots.panel.tolist()) == {0, 1}
    directions = dict(zip(rays.reflection.tolist(), rays.direction, strict=True))
    for row, panel, fs, ss in zip(spots.reflection.tolist(), spots.panel, spots.fs, spots.ss, strict=True):
        corner, step_fs, step_ss = detector.poses[panel]
        lab = corner + fs * step_fs + ss * step_ss
        assert np.allclose(lab / np.linalg.norm(lab), directions[row], atol=1e-10)
        assert -6 < fs < 206 and -6 < ss < 156


def test_a_detector_upstream_sees_nothing():
    detector = geometry(BEAM.replace("0.080", "-0.080") + FILE_AXES + TWO_TILTED).detector(lambda name: 0.0, 1.0)
    reflections, crystal = some_reflections(d_min=3.0)
    rays = rays_of(some_lattice(4), reflections.hkl, SHARP, crystal)
    assert len(spots_on(detector, rays, np.ones(len(rays.partiality)), 0.7).fs) == 0


def test_a_spot_has_the_width_of_beam_crystal_and_pixel():
    detector = geometry().detector(lambda name: 0.0, WAVELENGTH)
    reflections, crystal = some_reflections(d_min=3.0)
    spots = diffract(some_lattice(5), reflections, detector=detector, beam=SHARP, crystal=crystal, spot_size=0.6)
    lab = detector.lab_position(spots.panel, spots.fs, spots.ss)
    flight = np.linalg.norm(lab, axis=1)
    cosine = lab[:, 2] / flight
    own = crystal.profile_radius * WAVELENGTH * flight * 13333.333
    rest = 0.6**2 + 1 / 12
    # A spot is stretched by the slant of the pixel plane along the radius only.
    trace = spots.covariance[:, 0] + spots.covariance[:, 1]
    assert np.allclose(trace, own**2 * (1 + 1 / cosine**2) + 2 * rest, rtol=1e-3)
    area = np.sqrt(spots.covariance[:, 0] * spots.covariance[:, 1] - spots.covariance[:, 2] ** 2)
    expected = np.sqrt((own**2 + rest) * (own**2 / cosine**2 + rest))
    assert np.allclose(area, expected, rtol=1e-3)
    assert cos(2 * asin(WAVELENGTH / 6)) < cosine.min() + 0.2
