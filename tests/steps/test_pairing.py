"""Pairs of peaks and lattice points, against a search written with NumPy."""

import numpy as np
import pytest

from braggstream.model.cell import CENTRINGS, UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.pairing import is_allowed, lowest_half_spacing, pair_peaks
from steps.still_frames import ORIGIN, WAVELENGTH, lattice_spots, on_sphere, random_rotation, random_spots, view_of

CELL = UnitCell(a=50.0, b=61.0, c=83.0, alpha=90.0, beta=101.0, gamma=90.0)


def naive_pairs(crystal, view, limit):
    """Peaks and indices near a lattice point, cut at 1.5 times the median excitation error."""
    found = []
    for number, q in enumerate(view.q):
        hkl = np.rint(crystal.direct_axes @ q).astype(int)
        point = hkl @ crystal.reciprocal_axes
        if hkl.any() and np.linalg.norm(on_sphere(point[None])[0] - q) <= limit:
            found.append((abs(1 / WAVELENGTH - np.linalg.norm(point + ORIGIN)), number, tuple(hkl)))
    found.sort()
    if len(found) < 3:
        return found
    largest = 1.5 * found[len(found) // 2][0]
    return [pair for pair in found if pair[0] <= largest]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_agree_with_a_plain_search(seed):
    rng = np.random.default_rng(seed)
    axes = CELL.reciprocal_axes() @ random_rotation(rng).T
    view = view_of(np.concatenate([lattice_spots(axes, "P", rng, noise=1e-3), random_spots(rng, 60)]))
    crystal = Crystal(reciprocal_axes=axes)
    pairs = pair_peaks(crystal, view)
    expected = naive_pairs(crystal, view, lowest_half_spacing(axes, "P") / 3)
    assert len(expected) > 20
    assert sorted(zip(pairs.peak.tolist(), map(tuple, pairs.hkl.tolist()), strict=True)) == sorted(
        pair[1:] for pair in expected
    )
    assert np.abs(pairs.excitation_error) == pytest.approx([pair[0] for pair in expected], abs=1e-12)
    unlimited = pair_peaks(crystal, view, most_excitation=np.inf)
    assert len(unlimited) > len(pairs)
    assert (np.diff(unlimited.peak) > 0).all()
    assert set(pairs.peak) < set(unlimited.peak)


def test_a_detector_shift_moves_the_peaks():
    rng = np.random.default_rng(7)
    axes = CELL.reciprocal_axes() @ random_rotation(rng).T
    view = view_of(lattice_spots(axes, "P", rng, noise=0.0))
    unmoved = pair_peaks(Crystal(reciprocal_axes=axes), view)
    moved = pair_peaks(Crystal(reciprocal_axes=axes, det_shift=(2e-3, 0.0)), view)
    assert len(unmoved) > 40
    assert len(moved) < len(unmoved)


def test_no_peaks_and_no_lattice_make_no_pairs():
    rng = np.random.default_rng(8)
    view = view_of(random_spots(rng, 10))
    crystal = Crystal(reciprocal_axes=CELL.reciprocal_axes())
    assert len(pair_peaks(crystal, view.take(np.arange(0)))) == 0
    # Indices beyond what can be written are no pairs.
    assert len(pair_peaks(Crystal(reciprocal_axes=np.eye(3) * 1e-5), view)) == 0


@pytest.mark.parametrize("centring", CENTRINGS)
def test_the_lowest_spacing_skips_absences(centring):
    axes = CELL.reciprocal_axes()
    lengths = [
        np.linalg.norm(hkl @ axes)
        for hkl in np.array(list(np.ndindex(7, 7, 7))) - 3
        if hkl.any() and is_allowed(hkl[None], centring)[0]
    ]
    assert lowest_half_spacing(axes, centring) == pytest.approx(min(lengths) / 2)


def test_absences_of_centrings():
    """Conditions of International Tables A, by counting lattice points of the centred cell."""
    points = {"P": 1, "R": 1, "A": 2, "B": 2, "C": 2, "I": 2, "F": 4, "H": 3}
    hkl = np.stack(np.meshgrid(*[np.arange(-6, 6)] * 3), -1).reshape(-1, 3)
    for centring, n in points.items():
        assert is_allowed(hkl, centring).sum() * n == len(hkl)
    assert is_allowed(np.array([[1, 0, 1], [1, 1, 0], [0, 0, 3], [1, 1, 1]]), "H").tolist() == [
        True,
        True,
        True,
        False,
    ]
    assert is_allowed(np.array([[1, 1, 1], [2, 0, 0], [1, 1, 0]]), "F").tolist() == [True, True, False]
