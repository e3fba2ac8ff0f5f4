"""The indexer for wide spectra and electrons, judged by truth."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, PinkIndexerSettings
from braggstream.simulate.lattices import compare
from braggstream.steps.indexing import check_methods, make_lattice_finder
from braggstream.steps.indexing.pinkindexer import make_indexer
from braggstream.steps.prediction import predict_reflections
from steps.pink_stills import detector_at, pink_still
from steps.still_frames import random_spots, view_of

TETRAGONAL = UnitCell(
    a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c"
)
MONOCLINIC = UnitCell(
    a=52.4, b=61.3, c=70.9, alpha=90, beta=103.7, gamma=90, lattice_type="monoclinic", unique_axis="b"
)
CUBIC = UnitCell(a=78, b=78, c=78, alpha=90, beta=90, gamma=90, lattice_type="cubic", centring="I")
LONG = UnitCell(a=117, b=223, c=309, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic")
SIGMAS_A_FWHM = 2.3548


def indexer(cell, **options):
    return make_indexer(IndexingSettings(target_cell=cell, pink_indexer=PinkIndexerSettings(**options)))


def misorientations(cell, found, true):
    """Angle to the truth for each frame; None where nothing was found, 180 for another lattice."""
    angles = []
    for crystals, axes in zip(found, true, strict=True):
        if not crystals:
            angles.append(None)
            continue
        compared = compare(
            axes, crystals[0].reciprocal_axes, true_centring=cell.centring, found_centring=cell.centring
        )
        angles.append(180.0 if compared is None else compared.misorientation)
    return angles


@pytest.mark.parametrize(
    ("cell", "fwhm", "n", "n_false", "limit"),
    [
        (TETRAGONAL, 0.0, 100, 0, 0.05),
        (TETRAGONAL, 0.05, 60, 40, 0.05),
        (MONOCLINIC, 0.02, 60, 40, 0.05),
        (CUBIC, 0.02, 60, 0, 0.05),
        (LONG, 0.02, 100, 0, 0.15),
    ],
)
def test_wide_spectra(cell, fwhm, n, n_false, limit):
    rng = np.random.default_rng(7)
    index = indexer(cell)
    max_q = 0.2 if cell is LONG else 0.45  # It has too many lattice points for a quick test.
    beam = {"bandwidth": fwhm / SIGMAS_A_FWHM, "max_q": max_q}
    stills = [pink_still(cell, rng, n=n, n_false=n_false, **beam) for _ in range(6)]
    angles = misorientations(cell, [index(view) for _, view in stills], [axes for axes, _ in stills])
    right = [angle for angle in angles if angle is not None and angle < 0.5]
    assert len(right) >= 5
    assert not [angle for angle in angles if angle is not None and angle >= 0.5]
    assert np.median(right) < limit


def test_electrons_see_a_flat_sphere():
    """At 0.025 Å a pattern and its half turn about the beam are hard to tell apart, and tilts are known badly."""
    panels = detector_at(2.0, pixel=5.5e-5, width=1024)
    rng = np.random.default_rng(5)
    index = indexer(TETRAGONAL, reflection_radius=0.0015)
    beam = {"wavelength": 0.0251, "panels": panels, "radius": 0.0015}
    stills = [pink_still(TETRAGONAL, rng, n=80, **beam) for _ in range(6)]
    half_turn = np.diag([-1.0, -1.0, 1.0])
    n_right = 0
    for axes, view in stills:
        found = index(view)
        both = [misorientations(TETRAGONAL, [found], [axes @ m]) for m in (np.eye(3), half_turn)]
        n_right += any(angle is not None and angle < 1.5 for (angle,) in both)
    assert n_right >= 5


ELECTRONS = """
electron_voltage = 200 kV
clen = 2.0 m
adu_per_photon = 1
res = 18181.8
p/min_fs = 0
p/max_fs = 1023
p/min_ss = 0
p/max_ss = 1023
p/corner_x = -512
p/corner_y = -512
p/fs = x
p/ss = y
"""


def test_electrons_through_the_chain():
    """From the geometry's voltage to reflections predicted where the peaks are."""
    geometry = parse_geometry(ELECTRONS)
    wavelength = geometry.wavelength(lambda _: float("nan"))
    assert np.isclose(wavelength, 0.02508, atol=2e-5)
    panels = geometry.detector(lambda _: float("nan"), wavelength)
    options = PinkIndexerSettings(reflection_radius=0.0015)
    find = make_lattice_finder(
        IndexingSettings(methods=("pinkIndexer",), target_cell=TETRAGONAL, pink_indexer=options)
    )
    rng = np.random.default_rng(6)
    parts = []
    for _ in range(4):
        _, view = pink_still(TETRAGONAL, rng, n=80, wavelength=wavelength, panels=panels, radius=0.0015)
        for crystal in find(view).crystals:
            spots = predict_reflections(crystal, panels, wavelength, 1e-8, max_inverse_d=0.5, profile_radius=0.003)
            away = np.hypot(spots.fs[:, None] - view.peaks.fs[None], spots.ss[:, None] - view.peaks.ss[None]).min(
                axis=0
            )
            parts.append((away < 2.5).mean())
    assert len(parts) >= 3 and np.median(parts) > 0.9


def test_the_whole_step_accepts_peaks_of_any_wavelength_of_the_spectrum():
    rng = np.random.default_rng(11)
    find = make_lattice_finder(IndexingSettings(methods=("pinkindexer",), target_cell=TETRAGONAL))
    true, found = [], []
    for fwhm, n, n_false in ((0.03, 120, 0), (0.03, 120, 0), (0.05, 50, 50), (0.05, 50, 50)):
        axes, view = pink_still(TETRAGONAL, rng, bandwidth=fwhm / SIGMAS_A_FWHM, n=n, n_false=n_false)
        outcome = find(view)
        assert outcome.indexed_by == "pinkIndexer"
        true.append(axes)
        found.append(outcome.crystals)
    assert max(misorientations(TETRAGONAL, found, true)) < 0.2


@pytest.mark.parametrize("kind", range(6))
def test_types_of_refinement(kind):
    rng = np.random.default_rng(3)
    scale = 1.004 if kind >= 2 else 1.0
    real = replace(TETRAGONAL, a=79.2 * scale, b=79.2 * scale, c=38.0 * scale)
    axes, view = pink_still(real, rng, bandwidth=0.004, n=120)
    (crystal,) = indexer(TETRAGONAL, refinement_type=kind)(view)
    (angle,) = misorientations(TETRAGONAL, [[crystal]], [axes])
    assert angle < (0.1 if kind else 0.5)
    if kind in (2, 3, 4):
        assert np.allclose(crystal.cell.parameters[:3], real.parameters[:3], rtol=1.5e-3)
    elif kind < 2:
        assert np.allclose(crystal.cell.parameters[:3], TETRAGONAL.parameters[:3], rtol=1e-9)
    assert (crystal.det_shift != (0.0, 0.0)) == (kind == 5)


def test_the_beam_centre_is_found_and_kept_with_the_crystal():
    rng = np.random.default_rng(9)
    shift = np.array([1.5e-4, -1.0e-4])
    axes, view = pink_still(TETRAGONAL, rng, bandwidth=0.004, n=150, noise_px=0.1)
    peaks = view.peaks
    # The file says that the detector stands elsewhere.
    poses = view.detector.poses.copy()
    poses[:, 0, :2] -= shift
    moved = replace(view.detector, poses=poses)
    q = moved.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, view.wavelength)
    (crystal,) = indexer(TETRAGONAL, refinement_type=5)(replace(view, detector=moved, q=q))
    assert np.allclose(crystal.det_shift, shift, atol=3e-5)
    assert misorientations(TETRAGONAL, [[crystal]], [axes])[0] < 0.05


def test_nothing_is_found_in_nothing():
    rng = np.random.default_rng(1)
    index = indexer(TETRAGONAL)
    for n in (0, 1, 4, 5, 30, 100):
        assert index(view_of(random_spots(rng, n))) == []
    q = random_spots(rng, 30)
    view = view_of(q)
    bad = view.q.copy()
    bad[::2] = np.nan
    bad[1::4] = 0.0
    assert index(replace(view, q=bad)) == []
    axes, other = pink_still(MONOCLINIC, rng, n=100)
    assert index(other) == []
    assert indexer(MONOCLINIC)(other)
    assert indexer(MONOCLINIC, max_refinement_disbalance=0.0)(other) == []
    assert axes.shape == (3, 3)


def test_the_same_peaks_give_the_same_answer():
    rng = np.random.default_rng(2)
    views = [pink_still(TETRAGONAL, rng, bandwidth=0.004, n=60, n_false=20)[1] for _ in range(3)]
    one, other = indexer(TETRAGONAL), indexer(TETRAGONAL)
    first = [one(view)[0].reciprocal_axes for view in views]
    again = [other(view)[0].reciprocal_axes for view in reversed(views)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("considered_peaks_count", 5),
        ("angle_resolution", -1),
        ("refinement_type", 6),
        ("tolerance", 0.0),
        ("reflection_radius", -1.0),
        ("max_resolution_for_indexing", 0.0),
        ("max_refinement_disbalance", 2.5),
    ],
)
def test_options_out_of_their_limits(option, value):
    with pytest.raises(UserError, match=f"--pinkIndexer-{option.replace('_', '-')}={value}"):
        indexer(TETRAGONAL, **{option: value})


def test_names_and_needs():
    assert check_methods(["pinkIndexer"]) == check_methods(["pinkindexer"]) == ()
    with pytest.raises(UserError, match="there twice"):
        check_methods(["pinkIndexer", "pinkindexer"])
    with pytest.raises(UserError, match="--indexing=pinkIndexer needs a unit cell"):
        check_methods(["pinkindexer"], has_cell=False)
