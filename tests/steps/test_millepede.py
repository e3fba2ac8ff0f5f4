"""Millepede records: their layout, and their derivatives against a detector that was really moved."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.formats.millepede import unpack_records
from braggstream.model.crystal import Crystal
from braggstream.model.geometry import RigidGroup
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.millepede import Hierarchy, millepede_record
from braggstream.steps.refinement import refine_crystal
from braggstream.steps.view import PeakView
from steps.simulated_stills import still_with_partials, turned
from steps.still_frames import ORIGIN, WAVELENGTH
from steps.test_refinement import TETRAGONAL

GROUPS = (
    RigidGroup(name="left", members=("a", "b")),
    RigidGroup(name="all", members=("left", "c")),
)


def test_serial_numbers_leave_two_digits_to_each_level():
    chains = Hierarchy.of(GROUPS, 99).chains
    assert chains["a"] == ((0, "all"), (100, "left"), (10100, "a"))
    assert chains["b"] == ((0, "all"), (100, "left"), (20100, "b"))
    assert chains["c"] == ((0, "all"), (200, "c"))
    assert Hierarchy.of(GROUPS, 1).chains["a"] == ((0, "all"), (100, "left"))
    assert Hierarchy.of(GROUPS[:1], 99) is None


def three_panels(view):
    """The view's detector cut into strips with a tilt of their own, and its peaks on them."""
    whole = view.detector
    n_strips, width = 3, int(whole.width[0]) // 3
    poses = np.repeat(whole.poses, n_strips, axis=0)
    tilt = np.array([[1, 0, 0.02], [0, 1, -0.01], [0, 0, 1]])
    poses[:, 0] += np.arange(n_strips)[:, None] * width * poses[:, 1]
    poses[:, 1:] = poses[:, 1:] @ tilt
    zeros = np.zeros(n_strips, np.int64)
    return replace(
        whole,
        names=("a", "b", "c"),
        width=np.full(n_strips, width),
        height=np.repeat(whole.height, n_strips),
        min_fs=zeros,
        min_ss=zeros,
        poses=poses,
        pixel_size=np.repeat(whole.pixel_size, n_strips),
        adu_per_photon=np.ones(n_strips),
        max_adu=np.full(n_strips, np.inf),
    )


def on_panels(view, detector):
    """The same rays, seen on other panels."""
    ray = view.q + ORIGIN
    v = np.einsum("pij,nj->pni", detector.inverses, ray)
    fs, ss = v[..., 1] / v[..., 0], v[..., 2] / v[..., 0]
    inside = (fs >= 0) & (fs < detector.width[:, None]) & (ss >= 0) & (ss < detector.height[:, None])
    kept = inside.any(axis=0)
    panel = inside.argmax(axis=0)[kept]
    columns = np.flatnonzero(kept)
    peaks = type(view.peaks).from_columns(panel, fs[panel, columns], ss[panel, columns], view.peaks.intensity[kept])
    q = detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
    return PeakView(peaks=peaks, q=q, detector=detector, wavelength=WAVELENGTH, bandwidth=1e-8)


def made_crystal(seed=0, **still):
    rng = np.random.default_rng(seed)
    axes, view = still_with_partials(TETRAGONAL, rng, **still)
    view = on_panels(view, three_panels(view))
    start = Crystal(reciprocal_axes=turned(axes, 0.02, rng), lattice_type="tetragonal", unique_axis="c")
    return refine_crystal(start, view, TETRAGONAL), view


def measurements(record, n_local):
    """Value, error, local derivatives and {label: derivative} of each measurement."""
    ((floats, integers),) = unpack_records(record)
    assert floats[0] == 0 and integers[0] == 0
    zeros = np.flatnonzero(integers == 0)[1:]
    found = []
    for k in range(0, len(zeros), 2):
        value, error = zeros[k], zeros[k + 1]
        stop = zeros[k + 2] if k + 2 < len(zeros) else len(integers)
        local = np.zeros(n_local)
        local[integers[value + 1 : error] - 1] = floats[value + 1 : error]
        shared = dict(zip(integers[error + 1 : stop].tolist(), floats[error + 1 : stop].tolist(), strict=True))
        found.append((floats[value], floats[error], local, shared))
    return found


def moved_detector(detector, centre, panels, number, step):
    """Panels shifted along, or turned about, x, y or z through a centre."""
    poses = detector.poses.copy()
    axis = np.eye(3)[number % 3]
    for panel in panels:
        if number < 3:
            poses[panel, 0] += step * axis
        else:
            arms = np.vstack([poses[panel, 0] - centre, poses[panel, 1:]])
            cross = np.cross(axis, np.eye(3)).T
            turn = np.eye(3) + np.sin(step) * cross + (1 - np.cos(step)) * cross @ cross
            poses[panel] = arms @ turn.T
            poses[panel, 0] += centre
    return replace(detector, poses=poses)


def predicted(crystal, view, detector, hkl):
    ray = hkl @ crystal.reciprocal_axes + ORIGIN
    # Diffraction leaves along the ray through the lattice point.
    v = np.einsum("nij,nj->ni", detector.inverses[view.peaks.panel], ray)
    return v[:, 1:] / v[:, :1]


def test_derivatives_are_those_of_a_moved_detector():
    crystal, view = made_crystal()
    hierarchy = Hierarchy.of(GROUPS, 99)
    rows = measurements(millepede_record(crystal, view, TETRAGONAL, hierarchy), 5)
    # Strongest first, as the record has them.
    view = view.take(np.argsort(-view.peaks.intensity, kind="stable"))
    hkl = np.rint(view.q @ crystal.direct_axes.T)
    assert len(rows) == 3 * len(view)
    places = predicted(crystal, view, view.detector, hkl)
    found = np.stack([view.peaks.fs, view.peaks.ss], axis=1)
    values = np.array([row[0] for row in rows]).reshape(-1, 3)
    assert values[:, :2] == pytest.approx(places - found, abs=1e-4)
    assert {round(float(row[1]), 6) for row in rows[::3]} == {0.3}
    assert {round(float(row[1]), 6) for row in rows[2::3]} == {0.2}
    assert all(not row[3] for row in rows[2::3])
    centres = hierarchy.centres(view.detector)
    for panels, serial, name in (([0, 1, 2], 0, "all"), ([0, 1], 100, "left"), ([2], 200, "c"), ([1], 20100, "b")):
        for number in range(6):
            step = 1e-7
            above, below = (
                predicted(
                    crystal,
                    view,
                    moved_detector(view.detector, centres[name], panels, number, sign * step),
                    hkl,
                )
                for sign in (1, -1)
            )
            expected = (above - below) / (2 * step)
            label = serial + 1 + number
            got = np.array([[row[3].get(label, 0.0) for row in rows[axis::3]] for axis in (0, 1)]).T
            assert got == pytest.approx(expected, rel=1e-4, abs=1e-4 * np.abs(expected).max() + 1e-3)


def test_local_derivatives_are_those_of_the_lattice():
    crystal, view = made_crystal()
    rows = measurements(millepede_record(crystal, view, TETRAGONAL, Hierarchy.of(GROUPS, 99)), 5)
    view = view.take(np.argsort(-view.peaks.intensity, kind="stable"))
    hkl = np.rint(view.q @ crystal.direct_axes.T)
    lattice = RestrainedLattice.nearest(crystal.reciprocal_axes, TETRAGONAL)
    for parameter in range(5):
        step = np.zeros(5)
        step[parameter] = 1e-6 * (0.02 if parameter < 2 else 1)
        sides = [replace(crystal, reciprocal_axes=lattice.moved(sign * step).axes) for sign in (1, -1)]
        above, below = (predicted(side, view, view.detector, hkl) for side in sides)
        expected = (above - below) / (2 * step[parameter])
        got = np.array([[row[2][parameter] for row in rows[axis::3]] for axis in (0, 1)]).T
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-4 * np.abs(expected).max())


def test_a_panel_out_of_place_is_put_back_by_the_records():
    off = np.array([30e-6, -20e-6])
    matrix, side = np.zeros((2, 2)), np.zeros(2)
    for seed in range(6):
        crystal, view = made_crystal(seed, noise_px=0.05, n=150)
        poses = view.detector.poses.copy()
        poses[2, 0, :2] -= off
        wrong = replace(view.detector, poses=poses)
        peaks = view.peaks
        q = wrong.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
        view = PeakView(peaks=peaks, q=q, detector=wrong, wavelength=WAVELENGTH, bandwidth=1e-8)
        crystal = refine_crystal(crystal, view, TETRAGONAL)
        rows = measurements(millepede_record(crystal, view, TETRAGONAL, Hierarchy.of(GROUPS, 99)), 5)
        value = np.array([row[0] / row[1] for row in rows])
        own = np.array([row[2] / row[1] for row in rows])
        shared = np.array([[row[3].get(201, 0.0), row[3].get(202, 0.0)] for row in rows]) / 0.3
        # What Millepede does: the crystal's own parameters are eliminated.
        own, _ = np.linalg.qr(own / np.linalg.norm(own, axis=0))
        free = shared - own @ (own.T @ shared)
        matrix += free.T @ free
        side += free.T @ (value - own @ (own.T @ value))
    # Values are predicted minus found, so the motion that removes them has the opposite sign.
    assert -np.linalg.solve(matrix, side) == pytest.approx(off, abs=3e-6)


def test_too_few_peaks_give_no_record():
    crystal, view = made_crystal()
    hierarchy = Hierarchy.of(GROUPS, 99)
    assert millepede_record(crystal, view.take(np.arange(4)), TETRAGONAL, hierarchy) == b""
    assert millepede_record(crystal, view.take(np.arange(0)), TETRAGONAL, hierarchy) == b""


def test_torn_records_are_noticed():
    crystal, view = made_crystal()
    record = millepede_record(crystal, view, TETRAGONAL, Hierarchy.of(GROUPS, 99))
    assert len(list(unpack_records(record * 3))) == 3
    with pytest.raises(ValueError, match="torn"):
        list(unpack_records(record + record[:-1]))
