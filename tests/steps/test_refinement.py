"""Prediction refinement, judged by the true lattice of simulated stills and of the golden frames."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.stream_read import read_stream
from braggstream.kernels.refine import STRENGTH, normal_equations, residuals_and_gradients
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.refinement import PeakFit, refine_crystal
from steps.golden_frames import load_frames, true_axes
from steps.golden_frames import view_of as golden_view
from steps.simulated_stills import length_error, misorientation, seen, still_with_partials, turned
from steps.still_frames import ORIGIN, WAVELENGTH, detector, on_sphere, random_rotation

RIGHT = {"alpha": 90.0, "beta": 90.0, "gamma": 90.0}
TARGETS = [
    UnitCell(a=41, b=52, c=63, alpha=81, beta=97, gamma=104),
    UnitCell(a=64, b=57, c=44, **RIGHT | {"alpha": 101.0}, lattice_type="monoclinic", unique_axis="a"),
    UnitCell(a=52, b=61, c=71, **RIGHT | {"beta": 103.7}, lattice_type="monoclinic", unique_axis="b"),
    UnitCell(a=52, b=61, c=71, **RIGHT | {"gamma": 98.0}, lattice_type="monoclinic", unique_axis="c"),
    UnitCell(a=55, b=66, c=77, **RIGHT, lattice_type="orthorhombic", centring="F"),
    UnitCell(a=38, b=79, c=79, **RIGHT, lattice_type="tetragonal", unique_axis="a"),
    UnitCell(a=79, b=38, c=79, **RIGHT, lattice_type="tetragonal", unique_axis="b", centring="I"),
    UnitCell(a=79, b=79, c=38, **RIGHT, lattice_type="tetragonal", unique_axis="c"),
    UnitCell(a=68, b=55, c=55, **RIGHT | {"alpha": 120.0}, lattice_type="hexagonal", unique_axis="a"),
    UnitCell(a=55, b=68, c=55, **RIGHT | {"beta": 120.0}, lattice_type="hexagonal", unique_axis="b"),
    UnitCell(a=55, b=55, c=68, **RIGHT | {"gamma": 120.0}, lattice_type="hexagonal", unique_axis="c"),
    UnitCell(a=55, b=55, c=90, **RIGHT | {"gamma": 120.0}, lattice_type="hexagonal", unique_axis="c", centring="H"),
    UnitCell(a=60, b=60, c=60, alpha=77, beta=77, gamma=77, lattice_type="rhombohedral", centring="R"),
    UnitCell(a=78, b=78, c=78, **RIGHT, lattice_type="cubic", centring="I"),
]
NAMES = [f"{cell.lattice_type}-{cell.unique_axis}-{cell.centring}" for cell in TARGETS]
TETRAGONAL, MONOCLINIC = TARGETS[7], TARGETS[2]


def crystal_of(cell, axes):
    return Crystal(
        reciprocal_axes=np.ascontiguousarray(axes),
        lattice_type=cell.lattice_type,
        centring=cell.centring,
        unique_axis=cell.unique_axis,
    )


def start_of(axes, rng, degrees, strain):
    """Axes turned, and each of their numbers changed a little, so that no symmetry is left."""
    size = np.linalg.norm(axes, axis=1, keepdims=True)
    return turned(axes, degrees, rng) + strain * size * rng.normal(size=(3, 3)) / np.sqrt(3)


def refined_many(cell, *, degrees, strain, n=15, **still):
    """Misorientation and error in length before and after, float64[n, 4]."""
    rows = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        axes, view = still_with_partials(cell, rng, **still)
        start = start_of(axes, rng, degrees, strain)
        found = refine_crystal(crystal_of(cell, start), view, cell)
        assert found is not None
        rows.append(
            [
                misorientation(axes, start),
                misorientation(axes, found.reciprocal_axes),
                length_error(axes, start),
                length_error(axes, found.reciprocal_axes),
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("cell", TARGETS, ids=NAMES)
def test_orientation_and_cell_come_back(cell):
    median = np.median(refined_many(cell, degrees=0.2, strain=3e-3), axis=0)
    assert median[1] < 0.035
    assert median[1] < median[0] / 4
    assert median[3] < 1.2e-3
    assert median[3] < median[2]


@pytest.mark.parametrize("cell", TARGETS, ids=NAMES)
def test_the_lattice_type_is_exact(cell):
    rng = np.random.default_rng(1)
    axes, view = still_with_partials(cell, rng)
    found = refine_crystal(crystal_of(cell, start_of(axes, rng, 0.1, 3e-3)), view, cell)
    got = found.cell
    lengths, angles = [got.a, got.b, got.c], [got.alpha, got.beta, got.gamma]
    expected = [cell.alpha, cell.beta, cell.gamma]
    unique = "abc".find(cell.unique_axis)
    others = [axis for axis in range(3) if axis != unique]
    match cell.lattice_type:
        case "triclinic":
            assert len(set(np.round(angles, 3))) == 3
        case "monoclinic":
            assert np.array(angles)[others] == pytest.approx(90, abs=1e-9)
            assert abs(angles[unique] - expected[unique]) < 0.2
        case "rhombohedral":
            assert lengths == pytest.approx([got.a] * 3, rel=1e-12)
            assert angles == pytest.approx([got.alpha] * 3, rel=1e-12)
        case _:
            assert angles == pytest.approx(expected, abs=1e-9)
    if cell.lattice_type in {"tetragonal", "hexagonal"}:
        assert lengths[others[0]] == pytest.approx(lengths[others[1]], rel=1e-12)
    if cell.lattice_type == "cubic":
        assert lengths == pytest.approx([got.a] * 3, rel=1e-12)


@pytest.mark.parametrize("cell", [TETRAGONAL, MONOCLINIC], ids=["tetragonal", "monoclinic"])
def test_the_result_does_not_depend_on_the_start(cell):
    good = refined_many(cell, degrees=0.005, strain=1e-4)
    poor = refined_many(cell, degrees=0.2, strain=3e-3)
    assert np.median(good[:, 1]) < 0.02
    assert np.median(poor[:, 1]) < 1.1 * np.median(good[:, 1])
    assert np.median(np.abs(poor[:, 1] - good[:, 1])) < 2e-3


def test_the_result_does_not_depend_on_the_order_of_the_peaks():
    rng = np.random.default_rng(21)
    cell = TARGETS[0]
    axes, view = still_with_partials(cell, rng)
    start = crystal_of(cell, start_of(axes, rng, 0.2, 3e-3))
    order = rng.permutation(len(view))
    found, shuffled = refine_crystal(start, view, cell), refine_crystal(start, view.take(order), cell)
    assert shuffled.reciprocal_axes == pytest.approx(found.reciprocal_axes, abs=1e-12)
    fit, other = PeakFit.of(found, view), PeakFit.of(found, view.take(order))
    assert (np.diff(other.peaks[:, STRENGTH]) <= 0).all()
    assert other.hkl.tolist() == fit.hkl.tolist()
    assert order[other.pairs.peak].tolist() == fit.pairs.peak.tolist()


@pytest.mark.parametrize("cell", [TETRAGONAL, MONOCLINIC], ids=["tetragonal", "monoclinic"])
def test_false_peaks_do_little_harm(cell):
    clean = np.median(refined_many(cell, degrees=0.1, strain=1e-3, n=50), axis=0)
    spoiled = np.median(refined_many(cell, degrees=0.1, strain=1e-3, n=50, n_false=40), axis=0)
    assert spoiled[1] < 1.5 * clean[1]
    assert spoiled[3] < 1.7 * clean[3]


def test_without_a_target_the_cell_is_free():
    rng = np.random.default_rng(3)
    axes, view = still_with_partials(TARGETS[0], rng)
    found = refine_crystal(Crystal(reciprocal_axes=start_of(axes, rng, 0.1, 3e-3)), view, None)
    assert misorientation(axes, found.reciprocal_axes) < 0.04
    assert length_error(axes, found.reciprocal_axes) < 2e-3


def test_a_left_handed_set_of_axes_stays_one():
    rng = np.random.default_rng(4)
    axes, view = still_with_partials(MONOCLINIC, rng)
    start = -start_of(axes, rng, 0.1, 1e-3)
    found = refine_crystal(crystal_of(MONOCLINIC, start), view, MONOCLINIC)
    assert np.linalg.det(found.reciprocal_axes) < 0
    assert misorientation(-axes, found.reciprocal_axes) < 0.04


def test_fewer_than_three_peaks_refine_nothing():
    rng = np.random.default_rng(5)
    axes, view = still_with_partials(TETRAGONAL, rng)
    crystal = crystal_of(TETRAGONAL, axes)
    for n in range(3):
        assert refine_crystal(crystal, view.take(np.arange(n)), TETRAGONAL) is None
    assert refine_crystal(crystal, view.take(np.arange(3)), TETRAGONAL) is not None


def test_peaks_without_intensity_refine_nothing():
    rng = np.random.default_rng(6)
    axes, view = still_with_partials(TETRAGONAL, rng)
    places = np.stack([view.peaks.fs, view.peaks.ss], axis=1)
    assert refine_crystal(crystal_of(TETRAGONAL, axes), seen(places, np.zeros(len(view))), TETRAGONAL) is None


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_few_peaks_leave_a_sound_lattice(n):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        axes, view = still_with_partials(MONOCLINIC, rng)
        start = start_of(axes, rng, 0.1, 1e-3)
        found = refine_crystal(crystal_of(MONOCLINIC, start), view.take(np.arange(n)), MONOCLINIC)
        assert found is not None
        assert np.isfinite(found.reciprocal_axes).all()
        # Three or four peaks do not determine a monoclinic lattice; the cell check judges what comes of them.
        assert misorientation(axes, found.reciprocal_axes) < (1.5 if n > 4 else 10)


def test_the_notes_are_residuals_in_the_reference_s_units():
    rng = np.random.default_rng(7)
    axes, view = still_with_partials(TETRAGONAL, rng, n=40)
    found = refine_crystal(crystal_of(TETRAGONAL, axes), view, TETRAGONAL)
    notes = dict(found.residuals)
    assert list(notes) == ["residual_before_constraints", "initial_residual", "final_residual"]
    hkl = np.rint(view.q @ found.direct_axes.T)
    q = hkl @ found.reciprocal_axes
    error = 1 / WAVELENGTH - np.linalg.norm(q + ORIGIN, axis=1)
    # 1e-7 m times the excitation error in 1/m.
    assert notes["final_residual"].excitation == pytest.approx(((1e-7 * 1e10 * error) ** 2).sum(), rel=1e-9)
    final = notes["final_residual"]
    assert final.total == pytest.approx(final.excitation + final.fs + final.ss)
    assert 0.02 < final.fs / 40 < 0.08


@pytest.mark.parametrize("cell", TARGETS, ids=NAMES)
def test_derivatives_are_those_of_small_shifts(cell):
    rng = np.random.default_rng(8)
    axes = start_of(cell.reciprocal_axes(), rng, 40.0, 1e-3)
    lattice = RestrainedLattice.nearest(axes, cell)
    derivatives = lattice.derivatives()
    n_cell = {"triclinic": 6, "monoclinic": 4, "orthorhombic": 3, "cubic": 1}.get(cell.lattice_type, 2)
    assert len(derivatives) == n_cell + 3
    for number, derivative in enumerate(derivatives):
        step = np.zeros(len(derivatives))
        step[number] = 1e-6
        change = (lattice.moved(step).axes - lattice.moved(-step).axes) / 2e-6
        assert derivative == pytest.approx(change, abs=1e-7)


@pytest.mark.parametrize("bandwidth", [1e-8, 3e-3])
@pytest.mark.parametrize("n_more", [0, 1, 2, 3])
def test_gradients_are_those_of_finite_differences(bandwidth, n_more):
    rng = np.random.default_rng(9)
    panels = detector()
    lattice = RestrainedLattice.nearest(start_of(TARGETS[0].reciprocal_axes(), rng, 50.0, 0.0), None)
    derivatives = lattice.derivatives()
    hkl = near_sphere(lattice.axes, 9, 2e-3)
    n = len(hkl)
    assert n > 40
    peaks = np.c_[rng.uniform(0, 2000, (n, 2)), np.ones(n)]
    start = np.array([3e-5, -2e-5]) if n_more >= 2 else np.zeros(2)

    def residuals(axes, shift=start, radius=6e-4):
        beam = np.array([1 / WAVELENGTH, bandwidth / WAVELENGTH, radius])
        found, gradients = np.empty((n, 3)), np.empty((n, 3, 9 + n_more))
        where = np.zeros(n, np.int32)
        residuals_and_gradients(
            hkl, where, peaks, axes, derivatives, panels.inverses, shift, beam, found, gradients
        )
        return found, gradients

    found, gradients = residuals(lattice.axes)
    q = hkl @ lattice.axes
    ray = q + ORIGIN
    assert found[:, 0] == pytest.approx(1 / WAVELENGTH - np.linalg.norm(ray, axis=1), abs=1e-14)
    if bandwidth < 1e-6:
        places = ray[:, :2] / ray[:, 2:] * 1000 + 1000 - start / 1e-4
        assert found[:, 1:] == pytest.approx(places - peaks[:, :2], rel=1e-6, abs=1e-6)
    changes = []
    for derivative in derivatives:
        # Changes of relative size 1e-6, whatever the parameter's unit.
        step = 1e-6 * np.abs(lattice.axes).max() / np.abs(derivative).max()
        changes.append((step, [residuals(lattice.axes + sign * step * derivative)[0] for sign in (1, -1)]))
    if n_more >= 2:
        for shift in np.eye(2) * 1e-6:
            changes.append((1e-6, [residuals(lattice.axes, start + sign * shift)[0] for sign in (1, -1)]))
    if n_more % 2:
        radii = 6e-4 * np.exp(np.array([1e-4, -1e-4]) / 2)
        changes.append((1e-4, [residuals(lattice.axes, radius=radius)[0] for radius in radii]))
    assert len(changes) == 9 + n_more
    for number, (step, (above, below)) in enumerate(changes):
        expected = (above - below) / (2 * step)
        # A wavelength that follows the lattice point is a linear approximation, a few percent of a small part.
        off = 1e-6 if bandwidth < 1e-6 else 5e-3
        assert gradients[:, :, number] == pytest.approx(expected, rel=1e-4, abs=off * np.abs(expected).max() + 1e-8)


def near_sphere(axes, most, distance):
    """Lattice points near the Ewald sphere, float64[n, 3]."""
    hkl = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[hkl.any(axis=1)].astype(float)
    return hkl[np.abs(np.linalg.norm(hkl @ axes + ORIGIN, axis=1) - 1 / WAVELENGTH) < distance]


def test_the_normal_equations_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(10)
    residuals, gradients, weights = rng.normal(size=(30, 3)), rng.normal(size=(30, 3, 5)), rng.random((30, 3))
    weights[weights < 0.2] = 0
    matrix, right_side = np.ones((5, 5)), np.ones(5)
    normal_equations(residuals, gradients, weights, matrix, right_side)
    flat, weight = gradients.reshape(90, 5), weights.ravel()
    lower = np.tril_indices(5)
    assert matrix[lower] == pytest.approx((flat.T @ (weight[:, None] * flat))[lower])
    assert right_side == pytest.approx(-flat.T @ (weight * residuals.ravel()))


def counted(view, axes, rng, *, geometry_px=0.02):
    """Peaks whose places are as certain as their intensities say, besides what the geometry adds."""
    clean = still_places(view, axes)
    noise = np.sqrt(geometry_px**2 + 0.7**2 * 4 / np.maximum(view.peaks.intensity, 40.0))
    return seen(clean + rng.normal(size=clean.shape) * noise[:, None], view.peaks.intensity)


def still_places(view, axes):
    hkl = np.rint(view.q @ np.linalg.inv(axes))
    ray = on_sphere(hkl @ axes) + ORIGIN
    return ray[:, :2] / ray[:, 2:] * 1000 + 1000


def test_strong_peaks_count_for_what_their_places_are_worth():
    with_law, without, lengths = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        axes, view = still_with_partials(TETRAGONAL, rng, noise_px=0.0, n=150)
        view = counted(view, axes, rng)
        start = crystal_of(TETRAGONAL, start_of(axes, rng, 0.1, 1e-3))
        places = np.stack([view.peaks.fs, view.peaks.ss], axis=1)
        for rows, peaks in ((with_law, view), (without, seen(places, np.ones(len(view))))):
            found = refine_crystal(start, peaks, TETRAGONAL).reciprocal_axes
            rows.append(misorientation(axes, found))
            if peaks is view:
                lengths.append(length_error(axes, found))
    assert np.median(with_law) < 0.008
    assert np.median(lengths) < 1e-4
    assert np.median(with_law) < 0.8 * np.median(without)


def test_a_broad_beam_s_positions_tell_the_radius_of_a_lattice_point():
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        axes = TETRAGONAL.reciprocal_axes() @ random_rotation(rng).T
        hkl = near_sphere(axes, 20, 1.5e-3)
        hkl = hkl[np.linalg.norm(hkl @ axes, axis=1) < 0.4]
        q = hkl @ axes
        # Of the wavelengths in the beam, the one that comes nearest to reflecting (the linear approximation).
        ray = q + ORIGIN
        length = np.linalg.norm(ray, axis=1)
        slope, error = 1 - ray[:, 2] / length, 1 / WAVELENGTH - length
        radius, spread = 2.5e-4, 2e-3 / WAVELENGTH
        width2 = radius**2 + slope**2 * spread**2
        ray[:, 2] -= slope * error * spread**2 / width2
        strength = rng.exponential(size=len(q)) * np.exp(-(error**2) / 2 / width2) * 1e4
        kept = np.argsort(-strength)[:120]
        places = (ray[:, :2] / ray[:, 2:] * 1000 + 1000)[kept]
        view = seen(places + rng.normal(size=places.shape) * 0.05, strength[kept])
        start = crystal_of(TETRAGONAL, start_of(axes, rng, 0.1, 1e-3))
        found = refine_crystal(start, replace(view, bandwidth=2e-3), TETRAGONAL)
        assert found.profile_radius == pytest.approx(radius, rel=0.25)
        sharp = refine_crystal(start, view, TETRAGONAL)
        errors.append([misorientation(axes, one.reciprocal_axes) for one in (found, sharp)])
    known, ignored = np.median(errors, axis=0)
    assert known < 0.005
    assert known < 0.75 * ignored


def test_a_shift_of_the_detector_is_found_where_it_is_asked_for():
    shift_m = np.array([12e-6, -7e-6])
    kept, refined, shifts = [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        axes, view = still_with_partials(TETRAGONAL, rng, noise_px=0.05, n=150)
        # A detector that is further along x sees all peaks at smaller coordinates.
        places = np.stack([view.peaks.fs, view.peaks.ss], axis=1) - shift_m / 1e-4
        view = seen(places, view.peaks.intensity)
        start = crystal_of(TETRAGONAL, start_of(axes, rng, 0.05, 1e-3))
        fixed = refine_crystal(start, view, TETRAGONAL)
        assert fixed.det_shift == (0.0, 0.0)
        free = refine_crystal(start, view, TETRAGONAL, moves_detector=True)
        shifts.append(free.det_shift)
        kept.append(misorientation(axes, fixed.reciprocal_axes))
        refined.append(misorientation(axes, free.reciprocal_axes))
        assert dict(free.residuals)["final_residual"].fs < dict(fixed.residuals)["final_residual"].fs
    assert np.median(shifts, axis=0) == pytest.approx(shift_m, abs=1e-6)
    assert np.median(refined) < 0.012
    assert np.median(refined) < np.median(kept)


def same_setting(true, found):
    """The true axes in the setting of the found ones, and how far the two are apart."""
    settings = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        change = np.zeros((3, 3))
        change[range(3), order] = signs
        if np.linalg.det(change) > 0:
            settings.append(change @ true)
    distances = [np.abs(axes - found).max() for axes in settings]
    return settings[int(np.argmin(distances))], min(distances)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["single", "multi"])
@pytest.mark.parametrize("stream", ["norefine", "asdf"])
def test_golden_lattices_come_nearer_to_the_truth(golden, name, stream):
    target = read_cell(golden / f"{name}.cell")
    frames, truth = load_frames(golden, name), true_axes(golden, name)
    rows = []
    for chunk in read_stream(golden / "streams" / f"{name}-{stream}.stream.xz"):
        for crystal in chunk.crystals:
            number = chunk.identity.serial - 1
            axes, distance = same_setting(truth[number], crystal.reciprocal_axes)
            if distance > 2e-3:
                # Not this lattice.
                continue
            view = golden_view(frames[number], chunk.peaks)
            found = refine_crystal(replace(crystal, profile_radius=0.002), view, target).reciprocal_axes
            rows.append(
                [
                    misorientation(axes, crystal.reciprocal_axes),
                    misorientation(axes, found),
                    length_error(axes, crystal.reciprocal_axes),
                    length_error(axes, found),
                ]
            )
    before, after, length_before, length_after = np.median(rows, axis=0)
    assert len(rows) >= 8
    assert after < 0.008
    assert after < before
    assert length_after < 1e-4
    assert length_after < length_before
