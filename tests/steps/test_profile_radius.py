"""Profile radius: the excitation errors of the peaks that belong to a crystal."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.formats.stream_read import read_stream
from braggstream.model.crystal import Crystal
from braggstream.steps.pairing import lowest_half_spacing
from braggstream.steps.profile_radius import measure_profile_radius
from steps.golden_frames import load_frames
from steps.golden_frames import view_of as golden_view
from steps.simulated_stills import still_with_partials
from steps.still_frames import ORIGIN, WAVELENGTH, on_sphere
from steps.test_pairing import CELL


def naive_radius(axes, view):
    """From the rules: near pairs, cut at 1.5 medians, the largest but one in fifty."""
    hkl = np.rint(view.q @ np.linalg.inv(axes))
    q = hkl @ axes
    near = np.linalg.norm(on_sphere(q) - view.q, axis=1) <= lowest_half_spacing(axes, "P") / 3
    errors = np.sort(np.abs(1 / WAVELENGTH - np.linalg.norm(q + ORIGIN, axis=1))[near & hkl.any(axis=1)])
    errors = errors[errors <= 1.5 * errors[len(errors) // 2]]
    n = len(errors)
    return errors[max(n - 1 - n // 50, 2)]


@pytest.mark.parametrize("n", [6, 20, 80, 200])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_largest_error_but_two_percent(n, seed):
    axes, view = still_with_partials(CELL, np.random.default_rng(seed), n=n)
    found = measure_profile_radius(Crystal(reciprocal_axes=axes), view)
    assert found == pytest.approx(naive_radius(axes, view), rel=1e-9)


def test_it_grows_with_the_width_of_the_lattice_points():
    found = []
    for radius in (1e-4, 3e-4, 9e-4):
        rng = np.random.default_rng(4)
        axes, view = still_with_partials(CELL, rng, radius=radius)
        found.append(measure_profile_radius(Crystal(reciprocal_axes=axes), view))
    assert found[0] < found[1] < found[2]


def test_fewer_than_three_pairs_have_none():
    axes, view = still_with_partials(CELL, np.random.default_rng(5))
    crystal = Crystal(reciprocal_axes=axes)
    for n in range(3):
        assert measure_profile_radius(crystal, view.take(np.arange(n))) is None


@pytest.mark.golden
@pytest.mark.parametrize("stream", ["single-asdf", "multi-asdf", "single-norefine", "multi-norefine"])
def test_the_reference_measures_the_same(golden, stream):
    frames = load_frames(golden, stream.split("-", maxsplit=1)[0])
    ratios = []
    for chunk in read_stream(golden / "streams" / f"{stream}.stream.xz"):
        for crystal in chunk.crystals:
            view = golden_view(frames[chunk.identity.serial - 1], chunk.peaks)
            found = measure_profile_radius(replace(crystal, profile_radius=0.002), view)
            ratios.append(found / crystal.profile_radius)
    assert len(ratios) >= 8
    # The file gives three digits.
    assert ratios == pytest.approx(np.ones(len(ratios)), rel=0.02)
