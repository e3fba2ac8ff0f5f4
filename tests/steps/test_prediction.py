"""Prediction along lines of the lattice, against a plain test of every lattice point."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.model.cell import CENTRINGS, UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.prediction import predict_reflections
from steps.made_frames import PIXEL_M, made_detector
from steps.still_frames import random_rotation

WAVELENGTH = 1.1
BANDWIDTHS = [0.0, 1e-8, 2e-3, 2e-2]
CELLS = {
    "triclinic": UnitCell(a=31.0, b=43.0, c=55.0, alpha=81.0, beta=97.0, gamma=112.0),
    "needle": UnitCell(a=25.0, b=27.0, c=190.0, alpha=90.0, beta=90.0, gamma=90.0),
    "plate": UnitCell(a=88.0, b=90.0, c=21.0, alpha=90.0, beta=90.0, gamma=120.0),
    "left-handed": UnitCell(a=40.0, b=45.0, c=50.0, alpha=90.0, beta=100.0, gamma=90.0),
}


def tilted_detector():
    """Four panels with gaps, one of them over a part of another; each tilted and turned in its own way."""
    rng = np.random.default_rng(1)
    sizes = [(420, 400), (400, 380), (410, 400), (300, 300)]
    plain = made_detector(sizes, [(-430, -410), (15, -400), (-420, 10), (-350, -200)])
    poses = plain.poses.copy()
    for pose in poses:
        x, y, z = rng.normal(size=3) * 0.05
        turn = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) + np.eye(3)
        pose[1:] = pose[1:] @ turn.T
        pose[0, 2] = 0.06 + rng.normal() * 0.002
    return replace(plain, poses=poses)


def is_absent(hkl, centring):
    h, k, l = hkl.T  # noqa: E741
    sums = {"A": k + l, "B": h + l, "C": h + k, "I": h + k + l}
    if centring in sums:
        return sums[centring] % 2 == 1
    if centring == "F":
        return ~((h % 2 == k % 2) & (k % 2 == l % 2))
    if centring == "H":
        return (-h + k + l) % 3 != 0
    return np.zeros(len(h), bool)


def placed(q, bandwidth, radius):
    """Excitation error, wavenumber and partiality of each point, by the rules, term by term."""
    k = 1 / WAVELENGTH
    centre = np.array([0, 0, k])
    error = k - np.linalg.norm(q + centre, axis=1)
    direction = (q + centre) / np.linalg.norm(q + centre, axis=1)[:, None]
    nearest = k * direction - centre
    sigma = bandwidth * k
    thickness = (1 - direction[:, 2]) * sigma
    overlap = np.exp(-((nearest - q) ** 2).sum(axis=1) / 2 / (radius**2 + thickness**2))
    overlap *= radius / np.hypot(radius, thickness)
    clipped = np.c_[q[:, :2], np.minimum(q[:, 2], 0)]
    w0, w1 = thickness[:, None] ** 2, radius**2
    middle = (clipped * w0 + nearest * w1) / (w0 + w1)
    with np.errstate(divide="ignore", invalid="ignore"):
        wavenumber = -(middle**2).sum(axis=1) / (2 * middle[:, 2])
    return error, wavenumber, overlap * np.hypot(radius, sigma) / radius


def brute_force(crystal, detector, bandwidth, max_inverse_d, radius):
    """All reflections: rows of h, k, l, panel, fs, ss, excitation error, partiality."""
    limit = min(detector.max_inverse_d(WAVELENGTH), max_inverse_d)
    most = np.trunc(limit * np.linalg.norm(crystal.direct_axes, axis=1)).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[hkl.any(axis=1) & ~is_absent(hkl, crystal.centring)]
    q = hkl @ crystal.reciprocal_axes
    near = np.linalg.norm(q, axis=1) <= limit
    hkl, q = hkl[near], q[near]
    error, wavenumber, partiality = placed(q, bandwidth, radius)
    seen = partiality >= np.exp(-0.5 * 1.7**2)
    hkl, q, error, wavenumber, partiality = (column[seen] for column in (hkl, q, error, wavenumber, partiality))
    ray = q + np.c_[np.zeros((len(q), 2)), wavenumber]
    panel, position = np.full(len(q), -1), np.zeros((len(q), 2))
    for number in range(detector.n_panels):
        pose = detector.poses[number].copy()
        pose[0, :2] += crystal.det_shift
        v = np.linalg.solve(pose.T, ray.T).T
        where = v[:, 1:] / v[:, :1]
        inside = (v[:, 0] > 0) & (where >= 0).all(axis=1) & (where[:, 0] < detector.width[number])
        inside &= (where[:, 1] < detector.height[number]) & (panel < 0)
        panel[inside], position[inside] = number, where[inside]
    hit = panel >= 0
    return hkl[hit], np.c_[panel, position, error, partiality][hit]


def assert_as_brute_force(crystal, detector, bandwidth, *, max_inverse_d=np.inf, profile_radius=None):
    found = predict_reflections(
        crystal, detector, WAVELENGTH, bandwidth, max_inverse_d=max_inverse_d, profile_radius=profile_radius
    )
    radius = crystal.profile_radius if profile_radius is None else profile_radius
    hkl, columns = brute_force(crystal, detector, bandwidth, max_inverse_d, radius)
    assert found.hkl.tolist() == hkl.tolist()
    assert found.panel.tolist() == columns[:, 0].tolist()
    assert np.c_[found.fs, found.ss] == pytest.approx(columns[:, 1:3], abs=1e-6)
    assert found.excitation_error == pytest.approx(columns[:, 3], abs=1e-12)
    assert found.partiality == pytest.approx(columns[:, 4], abs=1e-7)
    return found


def made_crystal(cell, seed, *, profile_radius=1.5e-3, **chosen):
    axes = cell.reciprocal_axes() @ random_rotation(np.random.default_rng(seed)).T
    return Crystal(reciprocal_axes=axes, profile_radius=profile_radius, **chosen)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("centring", CENTRINGS)
def test_all_centrings(centring, bandwidth):
    found = assert_as_brute_force(
        made_crystal(CELLS["triclinic"], 3, centring=centring), tilted_detector(), bandwidth
    )
    assert len(found) > 20
    assert set(found.panel) == {0, 1, 2, 3}


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(3))
def test_cells_of_all_shapes(cell, bandwidth, seed):
    crystal = made_crystal(CELLS[cell], seed)
    if cell == "left-handed":
        crystal = replace(crystal, reciprocal_axes=-crystal.reciprocal_axes)
    assert len(assert_as_brute_force(crystal, tilted_detector(), bandwidth)) > 50


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("radius", [2e-5, 3e-4, 1e-2])
def test_profile_radii(radius, bandwidth):
    crystal = made_crystal(CELLS["triclinic"], 8, profile_radius=radius)
    found = assert_as_brute_force(crystal, tilted_detector(), bandwidth)
    # Overprediction: five times the radius, for the choice of reflections only.
    more = assert_as_brute_force(crystal, tilted_detector(), bandwidth, profile_radius=5 * radius)
    assert len(more) > len(found)


@pytest.mark.parametrize("axis", range(3))
def test_an_axis_along_the_beam(axis):
    turned = np.roll(np.eye(3), axis, axis=0) @ CELLS["needle"].reciprocal_axes()
    assert_as_brute_force(Crystal(reciprocal_axes=turned), tilted_detector(), 1e-8)


@pytest.mark.parametrize("limit", [0.05, 0.21, 0.3333])
def test_a_resolution_limit(limit):
    crystal = made_crystal(CELLS["triclinic"], 5)
    found = assert_as_brute_force(crystal, tilted_detector(), 2e-3, max_inverse_d=limit)
    assert np.linalg.norm(found.hkl @ crystal.reciprocal_axes, axis=1).max() <= limit


@pytest.mark.parametrize("limit", [0.0, -0.1, -np.inf])
def test_nothing_is_predicted_below_no_resolution(limit):
    crystal = made_crystal(CELLS["triclinic"], 5)
    found = predict_reflections(crystal, tilted_detector(), WAVELENGTH, 1e-8, max_inverse_d=limit)
    assert len(found) == 0


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_a_point_of_no_radius_gives_no_reflection(bandwidth):
    crystal = made_crystal(CELLS["triclinic"], 5, profile_radius=0.0)
    assert len(predict_reflections(crystal, tilted_detector(), WAVELENGTH, bandwidth)) == 0


def test_a_detector_shift_moves_predictions_the_other_way():
    crystal = made_crystal(CELLS["triclinic"], 6)
    detector = made_detector([(800, 800)], [(-400, -400)])
    straight = assert_as_brute_force(crystal, detector, 1e-8)
    shifted = assert_as_brute_force(replace(crystal, det_shift=(3 * PIXEL_M, -2 * PIXEL_M)), detector, 1e-8)
    places = {tuple(hkl): (fs, ss) for hkl, fs, ss in zip(straight.hkl, straight.fs, straight.ss, strict=True)}
    moves = [
        (fs - places[tuple(hkl)][0], ss - places[tuple(hkl)][1])
        for hkl, fs, ss in zip(shifted.hkl, shifted.fs, shifted.ss, strict=True)
        if tuple(hkl) in places
    ]
    assert len(moves) > 50
    assert np.array(moves) == pytest.approx(np.tile([-3.0, 2.0], (len(moves), 1)))


def test_more_reflections_than_room_was_made_for():
    crystal = Crystal(reciprocal_axes=CELLS["triclinic"].reciprocal_axes() / 2.5, profile_radius=4e-3)
    found = assert_as_brute_force(crystal, tilted_detector(), 1e-8)
    assert len(found) > 4096


def test_a_panel_behind_the_sample_catches_nothing():
    detector = made_detector([(800, 800)], [(-400, -400)])
    poses = detector.poses.copy()
    poses[:, 0, 2] *= -1
    behind = replace(detector, poses=poses)
    crystal = made_crystal(CELLS["triclinic"], 6)
    assert_as_brute_force(crystal, behind, 1e-8)


def test_indices_stay_within_what_a_stream_file_can_hold():
    long = UnitCell(a=20.0, b=20.0, c=4000.0, alpha=90.0, beta=90.0, gamma=90.0)
    found = predict_reflections(made_crystal(long, 2, profile_radius=1e-4), tilted_detector(), WAVELENGTH, 1e-8)
    assert len(found) > 50
    assert np.abs(found.hkl).max() <= 511
