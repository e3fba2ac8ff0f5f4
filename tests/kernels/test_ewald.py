"""The lattice point on the Ewald sphere, against the formulas written out with vectors."""

import numpy as np
import pytest

from braggstream.kernels.ewald import place_lattice_points


def naive_placement(q, k, spread, radius):
    """Excitation error, wavenumber and partiality for one Gaussian, term by term as the model states them."""
    centre = np.array([0.0, 0.0, k])
    error = k - np.linalg.norm(q + centre)
    direction = (q + centre) / np.linalg.norm(q + centre)
    nearest = k * direction - centre
    thickness = (1.0 - direction[2]) * spread
    overlap = np.exp(-((nearest - q) @ (nearest - q)) / (2 * (radius**2 + thickness**2)))
    overlap *= radius / np.hypot(radius, thickness)
    clipped = np.array([q[0], q[1], min(q[2], 0.0)])
    if thickness == 0.0:
        middle = nearest
    else:
        w0, w1 = radius**-2.0, thickness**-2.0
        middle = (clipped * w0 + nearest * w1) / (w0 + w1)
    return error, -(middle @ middle) / (2 * middle[2]), overlap * np.sqrt((radius**2 + spread**2) / radius**2)


@pytest.mark.parametrize("bandwidth", [0.0, 1e-8, 2e-3, 2e-2])
def test_placement_agrees_with_the_formulas(bandwidth):
    rng = np.random.default_rng(4)
    k, radius = 1 / 1.1, 0.002
    flat = rng.uniform(-0.5, 0.5, (200, 2))
    z = np.sqrt(k**2 - (flat**2).sum(axis=1)) - k + rng.normal(size=200) * 0.002
    q = np.c_[flat, z]
    placed = np.empty((200, 3))
    place_lattice_points(q, np.array([k, k * bandwidth, radius]), placed)
    expected = [naive_placement(point, k, k * bandwidth, radius) for point in q]
    assert placed == pytest.approx(np.array(expected), rel=1e-7, abs=1e-12)


def test_a_sharp_point_on_the_sphere_is_seen_fully():
    k = 1.25
    q = np.array([[0.3, 0.4, np.sqrt(k**2 - 0.25) - k]])
    placed = np.empty((1, 3))
    place_lattice_points(q, np.array([k, 0.0, 0.001]), placed)
    assert placed[0] == pytest.approx([0.0, k, 1.0], abs=1e-12)


@pytest.mark.parametrize("q", [(0.0, 0.0, -1.0), (0.0, 0.0, 0.0), (5.0, 5.0, 5.0), (np.nan, 0.0, 0.0)])
@pytest.mark.parametrize("radius", [0.0, 1e-3])
def test_nothing_breaks_at_odd_points(q, radius):
    placed = np.empty((1, 3))
    place_lattice_points(np.array([q]), np.array([1.0, 0.01, radius]), placed)
    assert placed[0, 1] > 0.0 or np.isnan(q[0])
    assert not placed[0, 2] < 0.0


def test_points_inside_the_sphere_have_positive_errors():
    placed = np.empty((2, 3))
    place_lattice_points(np.array([[0, 0, -0.01], [0, 0, 0.01]]), np.array([1.0, 0.0, 0.1]), placed)
    assert placed[:, 0] == pytest.approx([0.01, -0.01])
