"""Indexing with a known cell, judged by the true lattice."""

import sys
from subprocess import run

import numpy as np
import pytest

from braggstream.kernels import _jit, ffbidx_cells, ffbidx_vectors, lattice_match, niggli
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.settings import FfbidxSettings, IndexingSettings
from braggstream.steps.indexing import check_methods, index_q, make_lattice_finder
from steps.still_frames import is_same_lattice, lattice_spots, random_rotation, random_spots, still


def cell(a, b, c, alpha=90.0, beta=90.0, gamma=90.0, **kind):
    return UnitCell(a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma, **kind)


CELLS = {
    "tetragonal P": cell(79.2, 79.2, 38.0, lattice_type="tetragonal", unique_axis="c"),
    "monoclinic P": cell(52.4, 61.3, 70.9, beta=103.7, lattice_type="monoclinic", unique_axis="b"),
    "monoclinic C": cell(110.0, 50.0, 70.0, beta=110.0, lattice_type="monoclinic", centring="C", unique_axis="b"),
    "orthorhombic I": cell(60.0, 85.0, 110.0, lattice_type="orthorhombic", centring="I"),
    "orthorhombic A": cell(60.0, 85.0, 110.0, lattice_type="orthorhombic", centring="A"),
    "hexagonal P": cell(93.0, 93.0, 130.0, gamma=120.0, lattice_type="hexagonal", unique_axis="c"),
    "hexagonal H": cell(80.0, 80.0, 200.0, gamma=120.0, lattice_type="hexagonal", centring="H", unique_axis="c"),
    "rhombohedral R": cell(81.0, 81.0, 81.0, 59.2, 59.2, 59.2, lattice_type="rhombohedral", centring="R"),
    "cubic I": cell(106.0, 106.0, 106.0, lattice_type="cubic", centring="I"),
    "cubic F": cell(140.0, 140.0, 140.0, lattice_type="cubic", centring="F"),
    "triclinic": cell(41.0, 52.0, 63.0, 82.0, 97.0, 104.0),
    "large": cell(117.0, 223.0, 309.0, lattice_type="orthorhombic"),
}
TETRAGONAL = CELLS["tetragonal P"]


@pytest.mark.parametrize("name", CELLS)
def test_every_lattice_type_is_found(name):
    rng = np.random.default_rng(7)
    target = CELLS[name]
    for _ in range(12):
        q, true = still(target, rng)
        (found,) = index_q(q, target)
        assert is_same_lattice(found, true, target.centring)
        lengths = np.linalg.norm(np.linalg.inv(found), axis=0)
        assert lengths == pytest.approx([target.a, target.b, target.c], rel=0.01)


def test_few_peaks_and_a_wrong_camera_length_are_enough():
    rng = np.random.default_rng(8)
    for n, n_false, scale in ((40, 20, 1.0), (100, 60, 1.0), (100, 30, 1.015), (100, 30, 0.985)):
        for _ in range(5):
            q, true = still(TETRAGONAL, rng, n=n, n_false=n_false, scale=scale)
            (found,) = index_q(q, TETRAGONAL)
            assert is_same_lattice(found, true, "P")


def test_precision_is_that_of_the_peaks():
    rng = np.random.default_rng(9)
    q, true = still(TETRAGONAL, rng, noise=0.0, n_false=0)
    (found,) = index_q(q, TETRAGONAL)
    setting = np.linalg.inv(found).T @ true.T
    # The spots lie on the sphere, up to the width of the reflections away from the lattice points.
    assert np.abs(setting - np.rint(setting)).max() < 0.02


def test_the_same_peaks_give_the_same_axes():
    q, _ = still(TETRAGONAL, np.random.default_rng(10))
    assert (index_q(q, TETRAGONAL)[0] == index_q(q, TETRAGONAL)[0]).all()


def test_all_axes_can_be_sampled():
    q, true = still(TETRAGONAL, np.random.default_rng(11))
    (found,) = index_q(q, TETRAGONAL, FfbidxSettings(redundant_computations=True))
    assert is_same_lattice(found, true, "P")


def collinear(n):
    return np.linspace(0.01, 0.4, n)[:, None] * [0.6, 0.0, 0.8]


@pytest.mark.parametrize(
    "q",
    [
        np.empty((0, 3)),
        np.full((1, 3), 0.1),
        np.full((2, 3), 0.1),
        np.full((50, 3), np.nan),
        np.full((50, 3), np.inf),
        np.zeros((50, 3)),
        np.full((50, 3), 0.1),
        collinear(50),
        np.full((20, 3), 1e-300),
    ],
    ids=["none", "one", "two", "nan", "infinite", "zero", "the same", "collinear", "tiny"],
)
def test_degenerate_peaks_give_no_lattice_or_a_sound_one(q):
    for axes in index_q(q, TETRAGONAL):
        assert np.isfinite(axes).all()
        assert np.linalg.det(axes) != 0.0


def test_nan_among_good_peaks_does_no_harm():
    q, true = still(TETRAGONAL, np.random.default_rng(12))
    q[::9] = np.nan
    (found,) = index_q(q, TETRAGONAL)
    assert is_same_lattice(found, true, "P")


def test_absurdly_far_peaks_are_survived():
    q, _ = still(TETRAGONAL, np.random.default_rng(13))
    q[0] = 1e6
    for axes in index_q(q, TETRAGONAL):
        assert np.isfinite(axes).all()


@pytest.mark.real
def test_real_peak_lists_lie_on_the_known_lattice(real):
    known = np.array(
        [
            [39.431335, 25.273994, 63.585350],
            [28.513729, 60.642746, -41.786659],
            [-29.096014, 20.499205, 9.895323],
        ]
    )
    lists = sorted((real / "ffbidx_peak_lists").glob("image*.txt"))
    assert len(lists) == 15
    for path in lists:
        lines = path.read_text().splitlines()
        target = UnitCell.from_direct_axes(np.array(lines[0].split(), float).reshape(3, 3))
        q = np.array([line.split() for line in lines[1:] if line.strip()], float)
        (found,) = index_q(q, target)
        assert is_same_lattice(found, np.linalg.inv(known).T, "P"), path.name


def test_an_artificial_list_is_met_exactly():
    rng = np.random.default_rng(14)
    target = cell(30.0, 40.0, 50.0)
    axes = target.reciprocal_axes() @ random_rotation(rng).T
    q = rng.integers(-6, 7, (90, 3)) @ axes
    (found,) = index_q(q, target)
    setting = np.linalg.inv(found).T @ axes.T
    assert setting == pytest.approx(np.rint(setting), abs=1e-9)


def test_every_signature_is_compiled_by_the_warm_up():
    for module in (ffbidx_cells, ffbidx_vectors, lattice_match, niggli):
        module.warm_up()
    kernels = [kernel for kernel in _jit.KERNELS if kernel.__module__.rpartition(".")[2] in WARMED]
    before = [len(kernel.signatures) for kernel in kernels]
    index_q(still(TETRAGONAL, np.random.default_rng(15))[0], TETRAGONAL)
    assert kernels
    assert [len(kernel.signatures) for kernel in kernels] == before


WARMED = {"ffbidx_cells", "ffbidx_vectors", "lattice_match", "niggli"}


def test_strongest_spots_only_are_used():
    rng = np.random.default_rng(16)
    axes = TETRAGONAL.reciprocal_axes() @ random_rotation(rng).T
    strong = lattice_spots(axes, "P", rng, n=60)
    q = np.concatenate([strong, random_spots(rng, 3000)])
    (found,) = index_q(q, TETRAGONAL, FfbidxSettings(max_spots=60))
    assert is_same_lattice(found, axes, "P")


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("simulation", "not built here; there are ffbidx, xgandalf, taketwo, smallcell, asdf, file, pinkIndexer"),
        (
            "oracle",
            "unknown method 'oracle'; there are ffbidx, xgandalf, taketwo, smallcell, asdf, file, pinkIndexer",
        ),
        ("", "unknown method ''"),
        ("ffbidx-fast", "unknown modifier '-fast'"),
    ],
)
def test_methods_that_are_not_there_are_named(method, reason):
    with pytest.raises(UserError, match=reason):
        check_methods((method,))


def test_method_lists_are_checked():
    assert check_methods(("ffbidx", "none")) == ()
    (notice,) = check_methods(("ffbidx-nolatt-cell",))
    assert "ignored: -nolatt-cell" in notice
    for methods, reason in ((("ffbidx", "ffbidx"), "twice"), ((), "expected one or more")):
        with pytest.raises(UserError, match=reason):
            check_methods(methods)
    with pytest.raises(UserError, match="needs a unit cell"):
        check_methods(("ffbidx",), has_cell=False)
    with pytest.raises(UserError, match="needs a unit cell"):
        make_lattice_finder(IndexingSettings(methods=("ffbidx",)))


def test_checking_methods_loads_no_kernel():
    program = (
        "import sys; from braggstream.steps.indexing import check_methods; check_methods(['ffbidx']); "
        "sys.exit('numba' in sys.modules)"
    )
    assert run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_spots", 2),
        ("output_cells", 0),
        ("num_candidate_vectors", 2000),
        ("num_halfsphere_points", 3),
        ("num_angle_points", 5),
        ("triml", 0.4),
        ("trimh", 0.6),
        ("delta", 0.0),
        ("dist1", -1.0),
        ("dist3", float("nan")),
        ("min_spots", 3),
        ("ifssr_min_spots", 2),
        ("ifssr_max_dist", 0.0),
        ("ifssr_max_iter", -1),
        ("ifssr_threshold_contraction", 1.0),
    ],
)
def test_impossible_parameters_are_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"--ffbidx-{name.replace('_', '-')}="):
        index_q(np.zeros((0, 3)), TETRAGONAL, FfbidxSettings(**{name: value}))
