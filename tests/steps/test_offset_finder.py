"""Where the detector stands when nothing indexes: lattices found without a beam centre."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.settings import IndexingSettings
from braggstream.steps.geometry_fit import fit_offset, moved_detector
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.offset_finder import OffsetFinder
from steps.simulated_stills import still_with_partials
from steps.still_frames import DISTANCE_M, PIXEL_M, WAVELENGTH

RIGHT = {"alpha": 90.0, "beta": 90.0, "gamma": 90.0}
TETRAGONAL = UnitCell(a=79, b=79, c=38, **RIGHT, lattice_type="tetragonal", unique_axis="c")
LARGE = UnitCell(a=117, b=180, c=250, **RIGHT, lattice_type="orthorhombic")
SCALE = np.array([PIXEL_M, PIXEL_M, DISTANCE_M])


def seen_wrongly(cell, seed, offset, **still):
    """A view whose detector stands by minus the offset from where it should."""
    _, view = still_with_partials(cell, np.random.default_rng(seed), **still)
    detector = moved_detector(view.detector, -offset)
    peaks = view.peaks
    q = detector.scattering_vectors(peaks.panel, peaks.fs, peaks.ss, WAVELENGTH)
    return replace(view, detector=detector, q=q)


@pytest.mark.parametrize(("cell", "n"), [(TETRAGONAL, 100), (LARGE, 150)], ids=["tetragonal", "large"])
@pytest.mark.parametrize("off", [(3.6, 0.0, 0.01), (-5.0, 6.0, -0.01)])
def test_a_frame_that_does_not_index_knows_where_the_detector_is(cell, n, off):
    find_offsets = OffsetFinder(IndexingSettings(target_cell=cell))
    errors = []
    for seed in range(6):
        view = seen_wrongly(cell, seed, np.array(off) * SCALE, n=n, n_false=10, max_q=0.35)
        errors += [(found.offset / SCALE - off) for found in find_offsets((), view)]
    assert len(errors) >= 4
    right = [error for error in errors if np.abs(error[:2]).max() < 0.3 and abs(error[2]) < 6e-3]
    assert len(right) >= 0.75 * len(errors)


def test_crystals_that_were_found_are_asked_one_by_one():
    settings = IndexingSettings(target_cell=TETRAGONAL)
    offset = np.array([1.0, -0.5, 0.002]) * SCALE
    view = seen_wrongly(TETRAGONAL, 1, offset)
    crystals = make_lattice_finder(settings)(view).crystals
    (found,) = OffsetFinder(settings)(crystals, view)
    assert np.array_equal(found.offset, fit_offset(crystals[0], view, TETRAGONAL).offset)
    assert OffsetFinder(settings)((*crystals, *crystals), view)[1].numbers == found.numbers
    without = OffsetFinder(replace(settings, check_cell=False))(crystals, view)
    assert without[0].offset[2] == 0.0 and without[0].information[2, 2] == 0.0


def test_noise_and_few_peaks_tell_nothing():
    find_offsets = OffsetFinder(IndexingSettings(target_cell=TETRAGONAL))
    view = seen_wrongly(TETRAGONAL, 1, np.zeros(3), n=0, n_false=60)
    assert find_offsets((), view) == ()
    for n in (0, 1, 12):
        assert find_offsets((), view.take(np.arange(n))) == ()
