"""Partiality models, against their definitions."""

import numpy as np
import pytest

from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.steps.partiality import MODELS, partialities
from steps.still_frames import ORIGIN, WAVELENGTH, random_rotation

K = 1 / WAVELENGTH
RADIUS = 6e-4


def crystal_and_hkl(seed=0, distance=2 * RADIUS):
    axes = np.eye(3) / 60 @ random_rotation(np.random.default_rng(seed)).T
    hkl = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 3, indexing="ij"), -1).reshape(-1, 3)
    error = K - np.linalg.norm(hkl @ axes + ORIGIN, axis=1)
    hkl = hkl[hkl.any(axis=1) & (np.abs(error) < distance)].astype(np.int32)
    assert len(hkl) > 100
    return Crystal(reciprocal_axes=axes, profile_radius=RADIUS), hkl


def parts_of(model, crystal, hkl, bandwidth=1e-8, **more):
    return partialities(model, crystal, hkl, wavelength=WAVELENGTH, bandwidth=bandwidth, **more)


def excitation(crystal, hkl):
    return K - np.linalg.norm(hkl @ crystal.reciprocal_axes + ORIGIN, axis=1)


def test_one_wavelength_gives_each_model_its_profile():
    crystal, hkl = crystal_and_hkl()
    s = excitation(crystal, hkl) / RADIUS
    assert parts_of("unity", crystal, hkl).tolist() == [1.0] * len(hkl)
    assert parts_of("ggpm", crystal, hkl) == pytest.approx(np.exp(-(s**2) / 2), rel=1e-6, abs=1e-12)
    assert parts_of("offset", crystal, hkl) == pytest.approx(np.exp(-(s**2)), rel=1e-9)
    assert parts_of("xsphere", crystal, hkl) == pytest.approx(np.maximum(1 - s**2, 0), abs=1e-4)


def test_mosaicity_widens_with_the_distance_from_the_origin():
    crystal, hkl = crystal_and_hkl()
    s = excitation(crystal, hkl) / (RADIUS + 2e-3 * np.linalg.norm(hkl @ crystal.reciprocal_axes, axis=1))
    assert parts_of("offset", crystal, hkl, mosaicity=2e-3) == pytest.approx(np.exp(-(s**2)), rel=1e-9)
    assert parts_of("xsphere", crystal, hkl, mosaicity=2e-3) == pytest.approx(np.maximum(1 - s**2, 0), abs=1e-4)


def naive_xsphere(q, bandwidth):
    """Fine sums over the spectrum, by the part of the sphere's diameter that each wavelength cuts."""
    k = np.linspace(K * (1 - 5 * bandwidth), K * (1 + 5 * bandwidth), 20001)
    weight = np.exp(-0.5 * ((k - K) / (K * bandwidth)) ** 2)

    def integral(z):
        x = (np.sqrt(q @ q + k**2 + 2 * z * k) - k) / (2 * RADIUS) + 0.5
        return (weight * np.where((x > 0) & (x < 1), 4 * x * (1 - x), 0)).sum()

    return integral(q[2]) / integral(-(q @ q) / (2 * K))


def test_a_broad_spectrum_cuts_spheres_at_many_depths():
    crystal, hkl = crystal_and_hkl(distance=1e-3)
    hkl = hkl[np.linalg.norm(hkl @ crystal.reciprocal_axes, axis=1) > 0.15][:60]
    expected = [naive_xsphere(q, 5e-3) for q in hkl @ crystal.reciprocal_axes]
    found = parts_of("xsphere", crystal, hkl, bandwidth=5e-3)
    assert found == pytest.approx(expected, abs=0.02)
    assert np.ptp(found) > 0.3


def test_points_nearer_than_their_radius_have_no_sphere():
    wide = Crystal(reciprocal_axes=np.eye(3) / 60, profile_radius=0.1)
    hkl = np.array([[1, 0, 0]], np.int32)
    assert parts_of("xsphere", wide, hkl).tolist() == [0.0]
    assert parts_of("ggpm", Crystal(reciprocal_axes=np.eye(3) / 60, profile_radius=0.0), hkl).tolist() == [0.0]


def test_random_numbers_are_uniform_and_known_by_frame_and_indices():
    crystal, hkl = crystal_and_hkl(distance=4e-3)
    parts = parts_of("random", crystal, hkl, serial=7)
    assert parts.min() >= 0 and parts.max() < 1
    assert np.histogram(parts, 4, (0, 1))[0] == pytest.approx(len(hkl) / 4, rel=0.3)
    assert parts_of("random", crystal, hkl[::-1], serial=7).tolist() == parts[::-1].tolist()
    assert np.corrcoef(parts, parts_of("random", crystal, hkl, serial=8))[0, 1] < 0.2


@pytest.mark.parametrize("model", [*MODELS, "random"])
def test_no_reflections(model):
    crystal, _ = crystal_and_hkl()
    assert len(parts_of(model, crystal, np.empty((0, 3), np.int32))) == 0


def test_an_unknown_model_is_refused():
    crystal, hkl = crystal_and_hkl()
    with pytest.raises(UserError, match="--model=guess: expected one of unity"):
        parts_of("guess", crystal, hkl)
