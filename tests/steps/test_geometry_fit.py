"""Where the detector stands, seen from one crystal, judged by where it really stands."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.geometry_fit import GeometryFit, fit_offset, moved_detector
from steps.simulated_stills import still_with_partials, turned
from steps.still_frames import DISTANCE_M, PIXEL_M, WAVELENGTH

RIGHT = {"alpha": 90.0, "beta": 90.0, "gamma": 90.0}
TETRAGONAL = UnitCell(a=79, b=79, c=38, **RIGHT, lattice_type="tetragonal", unique_axis="c")
MONOCLINIC = UnitCell(a=52, b=61, c=71, **RIGHT | {"beta": 103.7}, lattice_type="monoclinic", unique_axis="b")
CENTRED = UnitCell(a=60, b=85, c=110, **RIGHT, lattice_type="orthorhombic", centring="I")
TRICLINIC = UnitCell(a=41, b=52, c=63, alpha=81, beta=97, gamma=104)
CELLS = {"tetragonal": TETRAGONAL, "monoclinic": MONOCLINIC, "centred": CENTRED, "triclinic": TRICLINIC}
OFFSET = np.array([3.0 * PIXEL_M, -2.0 * PIXEL_M, 0.01 * DISTANCE_M])
SCALE = np.array([PIXEL_M, PIXEL_M, DISTANCE_M])


def seen_wrongly(cell, seed, offset=OFFSET, **still):
    """A crystal found a little off, and its peaks on a detector that stands elsewhere than it is said to."""
    rng = np.random.default_rng(seed)
    axes, view = still_with_partials(cell, rng, **still)
    detector = moved_detector(view.detector, -offset)
    peaks = view.peaks
    q = detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
    crystal = Crystal(
        # As big as the wrong camera length makes it, and turned a little.
        reciprocal_axes=turned(axes, 0.05, rng) * (1 + offset[2] / DISTANCE_M),
        lattice_type=cell.lattice_type,
        centring=cell.centring,
        unique_axis=cell.unique_axis,
    )
    return crystal, replace(view, detector=detector, q=q)


def estimates(cell, target, n=12, **still):
    """Errors relative to pixel and camera length, float64[n, 3], and claimed standard deviations."""
    errors, claimed = [], []
    for seed in range(n):
        crystal, view = seen_wrongly(cell, seed, **still)
        found = fit_offset(crystal, view, target)
        assert found is not None
        errors.append((found.offset - OFFSET) / SCALE)
        known = 3 if target is not None else 2
        covariance = np.linalg.inv(found.information[:known, :known])
        claimed.append(np.sqrt(np.diag(covariance)) / SCALE[:known])
    return np.array(errors), np.array(claimed)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_detector_is_where_it_is(cell):
    errors, claimed = estimates(cell, cell)
    assert np.abs(np.median(errors, axis=0)) == pytest.approx(0, abs=5e-2)
    assert abs(np.median(errors[:, 2])) < 1e-3
    # The claims are honest: errors in units of them are about one.
    relative = np.abs(errors) / claimed
    assert 0.3 < np.median(relative) < 1.6
    assert (relative.max(axis=1) < 5).mean() > 0.8


@pytest.mark.parametrize("cell", [TETRAGONAL, TRICLINIC], ids=["tetragonal", "triclinic"])
def test_false_peaks_do_little_harm(cell):
    errors, _ = estimates(cell, cell, n_false=40)
    assert np.abs(np.median(errors, axis=0)) == pytest.approx(0, abs=5e-2)
    assert abs(np.median(errors[:, 2])) < 1e-3


def test_a_wrong_cell_file_hardly_moves_the_detector():
    wrong = replace(TETRAGONAL, a=TETRAGONAL.a * 1.02, b=TETRAGONAL.b * 1.02, c=TETRAGONAL.c * 1.02)
    errors, _ = estimates(TETRAGONAL, wrong)
    assert np.abs(np.median(errors[:, :2], axis=0)).max() < 0.05
    assert abs(np.median(errors[:, 2])) < 2e-3


@pytest.mark.parametrize("cell", [TETRAGONAL, MONOCLINIC], ids=["tetragonal", "monoclinic"])
def test_without_a_cell_the_camera_length_is_left_alone(cell):
    errors, _ = estimates(cell, None)
    assert np.abs(np.median(errors[:, :2], axis=0)).max() < 0.05
    assert errors[:, 2] == pytest.approx(-OFFSET[2] / DISTANCE_M)


def test_a_shift_that_the_crystal_has_is_the_start():
    crystal, view = seen_wrongly(TETRAGONAL, 1)
    begun = replace(crystal, det_shift=(float(OFFSET[0]), float(OFFSET[1])))
    found, again = fit_offset(begun, view, TETRAGONAL), fit_offset(crystal, view, TETRAGONAL)
    assert found.offset / SCALE == pytest.approx(again.offset / SCALE, abs=1e-2)


def test_too_few_peaks_tell_nothing():
    crystal, view = seen_wrongly(TETRAGONAL, 2)
    for n in (0, 1, 11):
        assert fit_offset(crystal, view.take(np.arange(n)), TETRAGONAL) is None
    noise = replace(crystal, reciprocal_axes=crystal.reciprocal_axes * 50)
    assert fit_offset(noise, view, TETRAGONAL) is None


def test_gradients_are_those_of_finite_differences():
    crystal, view = seen_wrongly(TRICLINIC, 3)
    fit = GeometryFit(view, crystal, TRICLINIC)
    fit.pair()
    _, gradients = fit._compare()
    n = gradients.shape[2] - 3
    for axis in range(3):
        residuals = []
        for sign in (1, -1):
            step = np.zeros(3)
            step[axis] = sign * 1e-6
            fit._detector = moved_detector(view.detector, step)
            residuals.append(fit._compare()[0])
        expected = (residuals[0] - residuals[1]) / 2e-6
        assert gradients[:, :, n + axis] == pytest.approx(expected, rel=1e-5, abs=1e-3)
