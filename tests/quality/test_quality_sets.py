"""The sets that indexing is judged on: their truth is the truth, and wrong lattices count as wrong."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from braggstream.model.crystal import Crystal
from braggstream.model.peaks import PeakTable
from braggstream.simulate.diffraction import Spots
from braggstream.steps.indexing import IndexingOutcome

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.quality import measure as quality
from benchmarks.quality.bound import compare
from benchmarks.quality.frames import FrameMaker
from benchmarks.quality.positions import errors
from benchmarks.quality.sets import SETS
from benchmarks.quality.stills import StillMaker

BY_NAME = {frame_set.name: frame_set for frame_set in SETS}


@pytest.mark.parametrize("name", ["tetragonal P", "rhombohedral H", "four lattices", "random peaks"])
def test_peaks_lie_near_the_lattice_points_of_their_truth(name):
    frame_set = BY_NAME[name]
    still = StillMaker(frame_set, 5).still(2)
    assert len(still.lattices) == frame_set.n_lattices
    distances = [
        np.linalg.norm((index - np.rint(index)) @ axes, axis=1)
        for axes in still.lattices
        for index in [still.view.q @ np.linalg.inv(axes)]
    ]
    near = np.zeros(len(still.view), bool)
    for distance in distances:
        near |= distance < 2.5e-3
    assert near.all() == bool(frame_set.n_lattices)
    again = StillMaker(frame_set, 5).still(2)
    assert (again.view.q == still.view.q).all()
    assert len(still.view) >= 20


def finder_of(answers):
    """A finder that gives prepared lattices, one list a frame; it is called once more before the first."""
    left = iter([[], *answers])
    return lambda view: IndexingOutcome(crystals=tuple(Crystal(reciprocal_axes=axes) for axes in next(left)))


def test_right_wrong_and_missed_are_told_apart(monkeypatch):
    frame_set = replace(BY_NAME["two lattices"], peaks=(20, 40))
    maker = StillMaker(frame_set, 1)
    (a, b), (c, _), (d, _) = (maker.still(number).lattices for number in range(3))
    turned = c @ np.array([[0.999, 0.0447, 0], [-0.0447, 0.999, 0], [0, 0, 1]])
    answers = [[a, b], [turned], [d, d]]
    monkeypatch.setattr(quality, "make_lattice_finder", lambda _: finder_of(answers))
    found = quality.measure(frame_set, methods=("ffbidx",), has_cell=True, n_frames=3, seed=1)
    # The same lattice twice is one right and one wrong.
    assert (found.n_lattices, found.n_right, found.n_wrong) == (6, 3, 2)
    assert found.right == pytest.approx(50.0)


def test_a_lattice_among_random_peaks_is_wrong(monkeypatch):
    for name in ("random peaks", "another cell"):
        axes = BY_NAME[name].expected_cell.reciprocal_axes()
        monkeypatch.setattr(quality, "make_lattice_finder", lambda _, axes=axes: finder_of([[axes]]))
        found = quality.measure(BY_NAME[name], methods=("ffbidx",), has_cell=True, n_frames=1, seed=1)
        assert (found.n_lattices, found.n_right, found.n_wrong) == (0, 0, 1)


@pytest.mark.parametrize("name", ["monoclinic P", "70 + 70 random", "four lattices", "cell 2.5 % either"])
def test_known_cells_are_found(name):
    found = quality.measure(BY_NAME[name], methods=("ffbidx",), has_cell=True, n_frames=8, seed=11)
    assert found.n_wrong == 0
    assert found.right >= 95.0


def test_each_of_several_lattices_has_its_own_peaks():
    still = StillMaker(BY_NAME["four lattices"], 5).still(2)
    assert sum(len(still.of_lattice(number)) for number in range(4)) == len(still.view)
    for number, axes in enumerate(still.lattices):
        index = still.of_lattice(number).q @ np.linalg.inv(axes)
        assert (np.linalg.norm((index - np.rint(index)) @ axes, axis=1) < 2.5e-3).all()


def test_no_refinement_is_much_better_than_its_bound():
    frame_set = BY_NAME["four lattices"]
    best, reached = compare(frame_set, StillMaker(frame_set, 1), has_cell=True, n_frames=4)
    assert 0.7 < reached.angle / best.angle < 1.5
    assert 0.003 < best.angle < 0.02


def test_frames_show_the_peaks_of_their_truth():
    maker = FrameMaker(frame_set=BY_NAME["tetragonal P"], seed=3)
    still = maker.still(0)
    assert maker.still(0) is still
    assert len(still.view) > 100
    index = still.view.q @ np.linalg.inv(still.lattices[0])
    distance = np.linalg.norm((index - np.rint(index)) @ still.lattices[0], axis=1)
    assert (distance < 2.5e-3).mean() > 0.98
    found = errors(still.view.peaks, maker.frame(0)[1].strong)
    assert len(found) > 0.9 * len(still.view)
    assert np.median(np.abs(found[:, 1:])) < 0.15


def test_a_peak_with_two_spots_near_it_tells_no_error():
    peaks = PeakTable.from_columns([0, 0, 1], [10.2, 50.0, 10.0], [20.0, 50.0, 20.0], [1, 1, 1])
    n = 3
    spots = Spots(
        reflection=np.arange(n),
        panel=np.zeros(n, np.int64),
        fs=np.array([10.0, 50.0, 54.0]),
        ss=np.array([20.5, 50.0, 50.0]),
        photons=np.array([100.0, 200.0, 300.0]),
        covariance=np.ones((n, 3)),
    )
    assert errors(peaks, spots) == pytest.approx(np.array([[100.0, 0.2, -0.5]]))
