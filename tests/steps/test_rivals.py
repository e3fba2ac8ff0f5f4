"""No lattice of a wrong cell: cells, energies and camera lengths that are not those of the crystals."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from braggstream.kernels.layout import CORNER
from braggstream.model.cell import UnitCell
from braggstream.model.settings import IndexingSettings
from braggstream.simulate.lattices import compare
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.cell_check import CellCheck
from steps.simulated_stills import still_with_partials

TRUE = UnitCell(a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c")
METHODS = ("ffbidx", "xgandalf", "taketwo", "pinkIndexer")


@pytest.fixture(scope="module")
def stills():
    """Axes and views of eight hits."""
    rng = np.random.default_rng(3)
    return [still_with_partials(TRUE, rng, n=170) for _ in range(8)]


def orthorhombic(a, b, c):
    return UnitCell(a=a, b=b, c=c, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic")


def finder(cell, method="ffbidx", **options):
    return make_lattice_finder(IndexingSettings(methods=(method,), target_cell=cell, **options))


@pytest.mark.parametrize("method", METHODS)
def test_the_right_cell_is_found(stills, method):
    find = finder(TRUE, method)
    for axes, view in stills:
        (crystal,) = find(view).crystals
        assert compare(axes, crystal.reciprocal_axes, true_centring="P", found_centring="P").misorientation < 0.2


@pytest.mark.parametrize(
    "lengths", [(55.4, 78.1, 87.5), (61.2, 86.9, 98.1), (79.0, 85.0, 98.6), (57.9, 66.3, 81.1)]
)
def test_cells_that_share_rows_and_nets_with_the_true_one_are_not_found(stills, lengths):
    assert sum(bool(finder(orthorhombic(*lengths))(view).crystals) for _, view in stills) == 0


@pytest.mark.parametrize("method", METHODS)
def test_random_cells_are_not_found(stills, method):
    rng = np.random.default_rng(5)
    n_cells, accepted = 0, []
    near = derivatives(TRUE)
    while n_cells < (24 if method == "ffbidx" else 6):
        cell = orthorhombic(*np.exp(rng.uniform(np.log(35), np.log(130), 3)))
        check = CellCheck(replace(cell, lattice_type="triclinic"), (3.0, 3.0, 3.0, 1.7, 1.7, 1.7))
        if any(check.reindexed(each) is not None for each in near):
            continue
        n_cells += 1
        accepted += [cell.parameters for _, view in stills[:4] if finder(cell, method)(view).crystals]
    assert accepted == []


def derivatives(cell):
    """Lattices of index 1 to 4 in a cell, and those that it lies in."""
    from braggstream.steps.indexing.indexer import candidate

    forms = [
        np.array([[a, d, e], [0, b, f], [0, 0, c]], float)
        for a, b, c in product(range(1, 5), repeat=3)
        if a * b * c <= 4
        for d, e, f in product(range(b), range(c), range(c))
    ]
    direct = cell.direct_axes()
    axes = [form @ direct for form in forms] + [np.linalg.inv(form).T @ direct for form in forms]
    return [candidate(np.ascontiguousarray(np.linalg.inv(each).T), None) for each in axes]


def seen_with(view, *, wavelength=1.0, length=1.0):
    """The same peaks, where wavelength or camera length are so many times the true ones."""
    poses = view.detector.poses.copy()
    poses[:, CORNER, 2] *= length
    moved, wavelength = replace(view.detector, poses=poses), view.wavelength * wavelength
    q = moved.scattering_vectors(view.peaks.panel, view.peaks.fs, view.peaks.ss, wavelength)
    return replace(view, detector=moved, wavelength=wavelength, q=q)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"wavelength": 1 / 3},
        {"wavelength": 0.1},
        {"wavelength": 3.0},
        {"length": 0.5},
        {"length": 2.0},
        {"length": -1.0},
    ],
    ids=str,
)
def test_wrong_energies_and_camera_lengths_give_no_lattice(stills, method, wrong):
    find = finder(TRUE, method)
    assert [outcome.crystals for _, view in stills if (outcome := find(seen_with(view, **wrong))).crystals] == []


@pytest.mark.parametrize(("n", "is_accepted"), [(40, True), (170, False)])
def test_an_axis_that_is_doubled_is_told_and_refused_where_many_peaks_show_it(stills, n, is_accepted):
    find = finder(replace(TRUE, c=76.0))
    for _, view in stills:
        outcome = find(view.take(np.arange(n)))
        assert bool(outcome.crystals) == is_accepted
        assert outcome.warnings == ("c' = c/2 explains the peaks as well",)


def test_an_axis_that_is_halved_is_refused_and_told(stills):
    find = finder(orthorhombic(79.2, 39.6, 38.0))
    for _, view in stills:
        outcome = find(view)
        assert outcome.crystals == ()
        assert any(warning.startswith("b' = 2b explains ") for warning in outcome.warnings)


def test_weak_spots_of_a_larger_cell_do_not_take_the_small_one_away():
    """Of a crystal whose odd reflections are weak, the strong ones are enough."""
    rng = np.random.default_rng(8)
    find = finder(TRUE)
    for _ in range(4):
        axes, view = still_with_partials(replace(TRUE, c=76.0), rng, n=400)
        hkl = np.rint(view.q @ np.linalg.inv(axes))
        is_odd = hkl[:, 2] % 2 == 1
        kept = np.flatnonzero(~is_odd | (rng.random(len(view)) < 0.15))
        outcome = find(view.take(kept))
        assert len(outcome.crystals) == 1
        assert [warning for warning in outcome.warnings if warning.startswith("c' = 2c explains")]


@pytest.mark.parametrize("axis", ["b", "c"])
def test_a_cell_that_is_off_along_one_axis_is_refined_to_the_truth(stills, axis):
    off = replace(orthorhombic(79.2, 79.2, 38.0), **{axis: 1.03 * getattr(TRUE, axis)})
    find = finder(off)
    for axes, view in stills:
        for crystal in find(view).crystals:
            assert (
                compare(axes, crystal.reciprocal_axes, true_centring="P", found_centring="P").misorientation < 0.2
            )
            assert sorted(crystal.cell.parameters[:3]) == pytest.approx([38.0, 79.2, 79.2], rel=2e-3)


def test_a_right_lattice_is_kept_where_the_beam_centre_is_off(stills):
    find, n_found = finder(TRUE), 0
    for axes, view in stills:
        poses = view.detector.poses.copy()
        poses[:, CORNER, :2] += 2.0 * view.detector.pixel_size[0]
        moved = replace(view.detector, poses=poses)
        q = moved.scattering_vectors(view.peaks.panel, view.peaks.fs, view.peaks.ss, view.wavelength)
        for crystal in find(replace(view, detector=moved, q=q)).crystals:
            compared = compare(axes, crystal.reciprocal_axes, true_centring="P", found_centring="P")
            n_found += compared is not None and compared.misorientation < 1.0
    assert n_found >= 6
