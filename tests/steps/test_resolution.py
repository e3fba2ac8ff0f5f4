"""Resolution of peak lists and of crystals."""

import numpy as np
import pytest

from braggstream.formats.stream_read import read_stream
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.steps.resolution import peak_resolution, resolution_limit
from steps.still_frames import random_rotation

CELL = UnitCell(a=50.0, b=61.0, c=83.0, alpha=90.0, beta=101.0, gamma=90.0)


@pytest.mark.parametrize(
    ("n", "rank_from_top"), [(1, 0), (2, 0), (49, 0), (99, 0), (100, 2), (149, 2), (150, 3), (1000, 20)]
)
def test_the_outermost_two_percent_of_peaks_do_not_count(n, rank_from_top):
    values = np.random.default_rng(n).permutation(n) + 1.0
    assert peak_resolution(values) == n - rank_from_top


def test_no_peaks_have_no_resolution():
    assert peak_resolution(np.empty(0)) == 0.0
    assert resolution_limit(Crystal(reciprocal_axes=CELL.reciprocal_axes()), np.empty((0, 3))) == 0.0


@pytest.mark.parametrize(("n", "rank_from_top"), [(3, 2), (4, 2), (99, 2), (149, 2), (150, 3), (400, 8)])
def test_a_crystal_reaches_as_far_as_its_peaks(n, rank_from_top):
    rng = np.random.default_rng(n)
    axes = CELL.reciprocal_axes() @ random_rotation(rng).T
    hkl = rng.integers(-20, 21, (n, 3))
    belonging = (hkl + rng.uniform(-0.24, 0.24, (n, 3))) @ axes
    # Not near a whole number in one index only: these do not belong, far out as they are.
    strangers = rng.integers(30, 40, (50, 3)) + rng.uniform(-0.2, 0.2, (50, 3))
    strangers[np.arange(50), rng.integers(0, 3, 50)] += 0.5
    q = rng.permutation(np.concatenate([belonging, strangers @ axes]))
    expected = np.sort(np.linalg.norm(hkl @ axes, axis=1))[n - 1 - rank_from_top]
    assert resolution_limit(Crystal(reciprocal_axes=axes), q) == pytest.approx(expected, rel=1e-12)


def test_two_peaks_say_nothing():
    axes = CELL.reciprocal_axes()
    assert resolution_limit(Crystal(reciprocal_axes=axes), np.array([[1.0, 2, 3], [3, 2, 1]]) @ axes) == 0.0


@pytest.mark.golden
@pytest.mark.parametrize("stream", ["single-rings", "multi-rings", "single-norefine", "multi-norefine"])
def test_the_reference_finds_the_same_limits(golden, stream):
    n = 0
    for chunk in read_stream(golden / "streams" / f"{stream}.stream.xz"):
        assert chunk.peak_resolution == pytest.approx(peak_resolution(chunk.peak_inverse_d), abs=6e-4)
        for crystal in chunk.crystals:
            q = vectors_of(golden, stream, chunk)
            # Peaks at the border between belonging and not may fall either way with the digits of the file.
            assert resolution_limit(crystal, q) == pytest.approx(crystal.resolution_limit, rel=0.01)
            n += 1
    assert n >= 8


def vectors_of(golden, stream, chunk):
    """Scattering vectors of a chunk's peaks."""
    geometry = read_stream(golden / "streams" / f"{stream}.stream.xz").geometry
    detector = geometry.detector(lambda _: float("nan"), chunk.wavelength)
    return detector.scattering_vectors(chunk.peaks.panel, chunk.peaks.fs, chunk.peaks.ss, chunk.wavelength)
