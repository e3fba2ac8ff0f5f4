"""The attempt loop and its checks."""

import lzma
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.model.cell import UnitCell
from braggstream.model.constants import wavelength_of_photon
from braggstream.model.crystal import Crystal
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.attempts import AttemptLoop
from braggstream.steps.indexing.cell_check import CellCheck, is_sane
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.indexing.peak_check import are_similar, weigh_peaks
from braggstream.steps.view import PeakView
from steps.still_frames import is_same_lattice, lattice_spots, random_rotation, random_spots, still, view_of

TARGET = UnitCell(a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c")
MONOCLINIC = UnitCell(
    a=52.4,
    b=61.3,
    c=70.9,
    alpha=90,
    beta=103.7,
    gamma=90,
    lattice_type="monoclinic",
    centring="C",
    unique_axis="b",
)
TOLERANCE = (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)
SETTINGS = IndexingSettings(target_cell=TARGET, refine=False)


def golden_views(golden, name):
    """Peaks that the reference found, with the true lattice of their frames (None = no hit)."""
    geometry = read_geometry(golden / f"{name}.geom")
    with h5py.File(golden / f"{name}.h5") as file:
        truth = file["/truth/reciprocal"][:] / 10.0
        is_hit = file["/truth/hit"][:]
    text = lzma.decompress((golden / "streams" / f"{name}-pf8.stream.xz").read_bytes()).decode()
    for chunk in text.split("----- Begin chunk -----")[1:]:
        number = int(re.search(r"Event: //(\d+)", chunk)[1])
        energy = float(re.search(r"photon_energy_eV = (.*)", chunk)[1])
        table = re.search(r"fs/px.*?\n(.*?)End of peak list", chunk, re.S)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        wavelength = wavelength_of_photon(energy)
        detector = geometry.detector(lambda _, energy=energy: energy, wavelength)
        panel = np.array([detector.names.index(row[4]) for row in rows], np.int32)
        fs, ss, intensity = (np.array([row[i] for row in rows], float) for i in (0, 1, 3))
        peaks = PeakTable.from_columns(panel, fs - detector.min_fs[panel], ss - detector.min_ss[panel], intensity)
        q = detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, wavelength)
        view = PeakView(peaks=peaks, q=q, detector=detector, wavelength=wavelength, bandwidth=0.0)
        yield view, truth[number, 0] if is_hit[number] else None


@pytest.mark.golden
@pytest.mark.parametrize("name", ["single", "multi"])
def test_golden_hits_are_indexed_right_and_nothing_else_is(golden, name):
    target = read_cell(golden / f"{name}.cell")
    find = make_lattice_finder(IndexingSettings(target_cell=target, refine=False))
    n_hits = 0
    for view, true in golden_views(golden, name):
        outcome = find(view)
        assert len(outcome.crystals) == (true is not None)
        for crystal in outcome.crystals:
            n_hits += 1
            assert is_same_lattice(crystal.reciprocal_axes, true, target.centring)
            assert crystal.cell.parameters == pytest.approx(target.parameters, rel=0.005)
            assert (outcome.indexed_by, outcome.n_tries) == ("ffbidx", 1)
    assert n_hits == {"single": 8, "multi": 10}[name]


def test_noise_gives_no_crystal():
    rng = np.random.default_rng(1)
    find = make_lattice_finder(SETTINGS)
    for n in (1, 2, 5, 8, 20, 60, 200, 500):
        for _ in range(2):
            assert find(view_of(random_spots(rng, n))).crystals == ()


def test_no_peaks_and_no_method():
    q, _ = still(TARGET, np.random.default_rng(2))
    assert make_lattice_finder(SETTINGS)(view_of(np.empty((0, 3)))).n_tries == 0
    outcome = make_lattice_finder(replace(SETTINGS, methods=("none",)))(view_of(q))
    assert (outcome.crystals, outcome.indexed_by) == ((), "none")


class Recorder:
    """An indexer that notes how many peaks it is given, and answers what it is told."""

    def __init__(self, answers=()):
        self.seen, self.answers = [], list(answers)

    def __call__(self, view, *, thorough=True):
        self.seen.append(len(view))
        return [candidate(self.answers.pop(0), TARGET)] if self.answers else []


def loop_with(indexer, settings):
    loop = AttemptLoop(settings)
    loop._indexers = {"asdf": indexer}
    return loop


def test_retries_drop_a_tenth_of_the_peaks_six_times():
    view = view_of(random_spots(np.random.default_rng(3), 100))
    indexer = Recorder()
    assert loop_with(indexer, SETTINGS)(view).crystals == ()
    assert indexer.seen == [100, 90, 81, 73, 66, 60]
    indexer = Recorder()
    loop_with(indexer, replace(SETTINGS, retry=False))(view)
    assert indexer.seen == [100]


def test_a_search_that_would_find_the_same_again_is_not_repeated():
    indexer = Recorder()
    loop = AttemptLoop(SETTINGS)
    loop._indexers = {"ffbidx": indexer}
    assert loop(view_of(random_spots(np.random.default_rng(3), 100))).crystals == ()
    assert indexer.seen == [100]


@pytest.mark.parametrize("n", [5, 9])
def test_few_peaks_are_not_retried(n):
    indexer = Recorder()
    loop_with(indexer, SETTINGS)(view_of(random_spots(np.random.default_rng(4), n)))
    assert indexer.seen == [n]


def test_the_weakest_peaks_go_first():
    seen = []
    rng = np.random.default_rng(5)
    view = view_of(random_spots(rng, 40), rng.permutation(40))
    loop_with(lambda view, **_: seen.append(view.q) or [], SETTINGS)(view)
    order = np.argsort(-view.peaks.intensity)
    assert seen[0] == pytest.approx(view.q[order])
    assert seen[1] == pytest.approx(view.q[order[:36]])


def test_two_crystals_in_one_frame():
    rng = np.random.default_rng(6)
    n_both = 0
    for _ in range(10):
        axes = [TARGET.reciprocal_axes() @ random_rotation(rng).T for _ in range(2)]
        q = np.concatenate([lattice_spots(axes[0], "P", rng, n=90), lattice_spots(axes[1], "P", rng, n=70)])
        q = q[rng.permutation(len(q))]
        crystals = make_lattice_finder(replace(SETTINGS, multi=True))(view_of(q)).crystals
        matches = [[is_same_lattice(c.reciprocal_axes, a, "P") for a in axes] for c in crystals]
        assert all(sum(match) == 1 for match in matches)
        n_both += np.array(matches).any(axis=0).all()
        assert len(make_lattice_finder(SETTINGS)(view_of(q)).crystals) <= 1
    assert n_both >= 9


def test_the_same_lattice_is_not_taken_twice():
    q, true = still(TARGET, np.random.default_rng(7), n_false=200)
    indexer = Recorder([true, true, true])
    outcome = loop_with(indexer, replace(SETTINGS, multi=True))(view_of(q))
    assert len(outcome.crystals) == 1
    assert len(indexer.seen) > 1


def test_lattice_that_explains_no_more_than_chance_is_rejected():
    rng = np.random.default_rng(8)
    view = view_of(random_spots(rng, 140))
    other = TARGET.reciprocal_axes() @ random_rotation(rng).T
    for settings, n in ((SETTINGS, 0), (replace(SETTINGS, check_peaks=False), 1)):
        assert len(loop_with(Recorder([other]), replace(settings, retry=False))(view).crystals) == n


def test_lattice_among_many_other_peaks_is_accepted():
    q, true = still(TARGET, np.random.default_rng(8), n=60, n_false=140)
    assert len(loop_with(Recorder([true]), replace(SETTINGS, retry=False))(view_of(q)).crystals) == 1


def test_the_chance_of_peaks_is_that_of_random_peaks():
    # Of many random lattices the best one must stay far below what a frame of one crystal needs.
    rng = np.random.default_rng(9)
    for n in (20, 100, 400):
        view = view_of(random_spots(rng, n))
        excess = []
        for _ in range(300):
            crystal = Crystal(reciprocal_axes=TARGET.reciprocal_axes() @ random_rotation(rng).T)
            weighing = weigh_peaks(crystal, view, TOLERANCE)
            excess.append(weighing.evidence)
            assert not weighing.is_enough
        # One in 300 is as improbable as one in 300, times the number of distances tried.
        assert max(excess) < 6


def test_peaks_of_a_crystal_are_told_from_others():
    q, true = still(TARGET, np.random.default_rng(9), n=80, n_false=75)
    view, crystal = view_of(q), Crystal(reciprocal_axes=true)
    weighing = weigh_peaks(crystal, view, TOLERANCE)
    assert weighing.is_enough
    assert 70 <= weighing.n_explained <= 85
    fraction = view.q @ np.linalg.inv(true)
    distance = np.linalg.norm((fraction - np.rint(fraction)) @ true, axis=1)
    left = weighing.unexplained
    assert not left[distance < weighing.reach].any()
    assert left[distance > 10 * weighing.reach].all()
    assert 65 <= left.sum() <= 78


def test_no_more_lattices_than_wanted():
    rng = np.random.default_rng(13)
    axes = [TARGET.reciprocal_axes() @ random_rotation(rng).T for _ in range(3)]
    q = np.concatenate([lattice_spots(one, "P", rng, n=80) for one in axes])
    for most in (1, 2, 3, 100):
        settings = replace(SETTINGS, multi=True, max_lattices=most)
        crystals = make_lattice_finder(settings)(view_of(q)).crystals
        assert len(crystals) == min(most, 3)


def test_several_lattices_of_one_search_are_accepted_at_once():
    rng = np.random.default_rng(14)
    axes = [TARGET.reciprocal_axes() @ random_rotation(rng).T for _ in range(2)]
    q = np.concatenate([lattice_spots(one, "P", rng, n=80) for one in axes])
    seen = []

    def both(view, *, thorough=True):
        seen.append(len(view))
        return [candidate(one, TARGET) for one in axes]

    outcome = loop_with(both, replace(SETTINGS, multi=True, retry=False))(view_of(q))
    assert len(outcome.crystals) == 2
    assert seen[0] == len(q)
    assert all(n < 20 for n in seen[1:])


UNIMODULAR = [
    [[0, 1, 0], [1, 0, 0], [0, 0, -1]],
    [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
    [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
]


@pytest.mark.parametrize("change", UNIMODULAR)
def test_other_settings_are_turned_into_the_targets(change):
    rotation = random_rotation(np.random.default_rng(10))
    direct = np.array(change) @ TARGET.direct_axes() @ rotation.T
    crystal = Crystal(reciprocal_axes=np.linalg.inv(direct).T)
    found = CellCheck(TARGET, TOLERANCE).reindexed(crystal)
    assert found.cell.parameters == pytest.approx(TARGET.parameters, abs=1e-6)
    assert (found.lattice_type, found.centring, found.unique_axis) == ("tetragonal", "P", "c")
    assert is_same_lattice(found.reciprocal_axes, crystal.reciprocal_axes, "P")


def test_primitive_lattice_is_given_the_targets_centring():
    rotation = random_rotation(np.random.default_rng(11))
    direct = MONOCLINIC.direct_axes() @ rotation.T
    primitive = np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]) @ direct
    found = CellCheck(MONOCLINIC, TOLERANCE).reindexed(Crystal(reciprocal_axes=np.linalg.inv(primitive).T))
    assert found.centring == "C"
    assert found.cell.parameters == pytest.approx(MONOCLINIC.parameters, abs=1e-6)
    assert is_same_lattice(found.reciprocal_axes, np.linalg.inv(direct).T, "C")


@pytest.mark.parametrize(("stretch", "fits"), [(1.04, True), (1.06, False), (0.96, True), (0.94, False)])
def test_tolerance_bounds_the_lengths(stretch, fits):
    crystal = Crystal(
        reciprocal_axes=TARGET.reciprocal_axes() / stretch, lattice_type="tetragonal", unique_axis="c"
    )
    check = CellCheck(TARGET, TOLERANCE)
    assert (check.reindexed(crystal) is not None) == fits
    assert check.fits(crystal) == fits


def test_tolerance_bounds_the_angles():
    check = CellCheck(TARGET, TOLERANCE)
    for gamma, fits in ((91.4, True), (91.6, False), (88.6, True), (88.4, False)):
        bent = replace(TARGET, gamma=gamma)
        assert (check.reindexed(Crystal(reciprocal_axes=bent.reciprocal_axes())) is not None) == fits


def test_absurd_cells_are_rejected():
    check = CellCheck(TARGET, TOLERANCE)
    for axes in (np.full((3, 3), np.nan), np.diag([1e-9, 1.0, 1.0])):
        assert check.reindexed(Crystal(reciprocal_axes=axes)) is None
    assert is_sane(TARGET)
    assert not is_sane(replace(TARGET, gamma=5.0))
    assert not is_sane(replace(MONOCLINIC, centring="B"))
    assert not is_sane(replace(TARGET, alpha=130.0, beta=130.0, gamma=120.0))


def test_similar_lattices():
    axes = TARGET.reciprocal_axes()
    one = Crystal(reciprocal_axes=axes)
    for degrees, similar in ((1.5, True), (3.0, False)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turned = axes @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        assert are_similar(Crystal(reciprocal_axes=turned), one) == similar
        assert are_similar(Crystal(reciprocal_axes=turned[[1, 0, 2]]), one) == similar
    assert not are_similar(replace(one, centring="I"), one)
    assert not are_similar(Crystal(reciprocal_axes=axes * 1.2), one)


def test_deviation_from_estimates_is_told():
    view = view_of(random_spots(np.random.default_rng(12), 3))
    outcome = make_lattice_finder(replace(SETTINGS, wavelength_estimate=1.3, camera_length_estimate=0.101))(view)
    assert [warning.split()[0] for warning in outcome.warnings] == ["wavelength"]
