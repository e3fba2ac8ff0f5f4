"""The whole chain on the reference's simulated frames, judged by their truth."""

from dataclasses import replace
from functools import cache

import h5py
import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.model.frame import FileSlot
from braggstream.model.settings import FrameSettings, IndexingSettings, IntegrationSettings, PeakSettings, Settings
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.recipe import Recipe
from steps.golden_frames import true_axes
from steps.simulated_stills import length_error, misorientation
from steps.still_frames import is_same_lattice

N_FRAMES = 12
PEAKS = PeakSettings(method="peakfinder8", threshold=10, min_snr=5, min_peaks=15)


def settings_for(folder, name, **chosen):
    target = read_cell(folder / f"{name}.cell")
    rings = IntegrationSettings(radii=(3, 4, 6))
    given = {"peaks": PEAKS, "indexing": IndexingSettings(target_cell=target), "integration": rings}
    return Settings(**given | chosen)


def run(folder, name, settings, numbers=range(N_FRAMES)):
    geometry = read_geometry(folder / f"{name}.geom")
    loader, recipe = FrameLoader(geometry, settings.frame), Recipe(geometry, settings)
    path = str(folder / f"{name}.h5")
    slots = (FileSlot(filename=path, event=f"//{number}", serial=number + 1) for number in numbers)
    return [recipe.process(loader.from_file(slot)) for slot in slots]


@cache
def results(folder, name):
    return run(folder, name, settings_for(folder, name))


def is_crystal(folder, name):
    """Which frames hold a crystal."""
    with h5py.File(folder / f"{name}.h5") as file:
        return file["truth/hit"][:].astype(bool)


def nearest_setting(true, found):
    """The true axes in the setting of the found ones."""
    change = np.rint(found @ np.linalg.inv(true))
    return change @ true


@pytest.mark.golden
@pytest.mark.parametrize("name", ["single", "multi"])
def test_every_crystal_is_found_and_none_where_there_is_none(golden, name):
    found = [len(result.crystals) for result in results(golden, name)]
    assert found == is_crystal(golden, name).astype(int).tolist()
    assert sum(found) == {"single": 8, "multi": 10}[name]
    truth = true_axes(golden, name)
    for number, result in enumerate(results(golden, name)):
        for crystal in result.crystals:
            assert is_same_lattice(crystal.reciprocal_axes, truth[number], crystal.centring, tolerance=0.02)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["single", "multi"])
def test_orientations_and_cells_are_true(golden, name):
    truth = true_axes(golden, name)
    angles, lengths = [], []
    for number, result in enumerate(results(golden, name)):
        for crystal in result.crystals:
            expected = nearest_setting(truth[number], crystal.reciprocal_axes)
            angles.append(misorientation(expected, crystal.reciprocal_axes))
            lengths.append(length_error(expected, crystal.reciprocal_axes))
    assert np.median(angles) < 0.008
    assert max(angles) < 0.06
    assert np.median(lengths) < 1e-4


@pytest.mark.golden
@pytest.mark.parametrize("name", ["single", "multi"])
def test_results_are_complete(golden, name):
    for number, result in enumerate(results(golden, name)):
        assert result.identity.serial == number + 1
        assert result.is_hit == (len(result.peaks) >= 15)
        assert len(result.peak_inverse_d) == len(result.peaks)
        assert {"peaks"} <= set(result.timings)
        assert all(seconds >= 0 for seconds in result.timings.values())
        for crystal in result.crystals:
            assert {"indexing", "prediction", "integration"} <= set(result.timings)
            assert 5e-5 < crystal.profile_radius < 2e-3
            assert 0.2 < crystal.resolution_limit < 0.6
            table = crystal.reflections
            assert len(table) > 50
            assert (table.intensity >= -5 * table.sigma).all()
            order = np.lexsort(table.hkl.T[::-1])
            assert order.tolist() == list(range(len(table)))


@pytest.mark.golden
def test_strong_reflections_lie_where_peaks_were_found(golden):
    for result in results(golden, "multi"):
        for crystal in result.crystals:
            table = crystal.reflections
            strong = table.take(table.intensity > 20 * table.sigma)
            for panel, fs, ss in zip(strong.panel, strong.fs, strong.ss, strict=True):
                here = result.peaks.panel == panel
                assert np.hypot(result.peaks.fs[here] - fs, result.peaks.ss[here] - ss).min() < 2


def hit_number(folder, name):
    return int(np.flatnonzero(is_crystal(folder, name))[0])


@pytest.mark.golden
def test_a_frame_with_too_few_peaks_is_not_indexed(golden):
    chosen = settings_for(golden, "single", peaks=replace(PEAKS, min_peaks=10000))
    (result,) = run(golden, "single", chosen, [hit_number(golden, "single")])
    assert not result.is_hit
    assert result.crystals == ()
    assert len(result.peaks) > 15
    assert "indexing" not in result.timings


@pytest.mark.golden
def test_integration_options_take_effect(golden):
    number = hit_number(golden, "single")
    plain = results(golden, "single")[number].crystals[0]

    def crystal_with(**chosen):
        rings = IntegrationSettings(radii=(3, 4, 6), **chosen)
        (result,) = run(golden, "single", settings_for(golden, "single", integration=rings), [number])
        return result.crystals[0]

    only_cell = crystal_with(cell_parameters_only=True)
    assert only_cell.reflections is None
    assert only_cell.reciprocal_axes == pytest.approx(plain.reciprocal_axes)
    fixed = crystal_with(fix_profile_radius=1.234e-3)
    assert fixed.profile_radius == 1.234e-3
    more = crystal_with(overpredict=True)
    assert len(more.reflections) > 2 * len(plain.reflections)
    assert more.profile_radius == plain.profile_radius
    within = crystal_with(push_res=-0.05)
    size = np.linalg.norm(within.reflections.hkl @ within.reciprocal_axes, axis=1)
    assert 0 < size.max() <= within.resolution_limit - 0.05
    nothing = crystal_with(method="none")
    assert (nothing.reflections.intensity == 0).all()
    assert len(nothing.reflections) >= len(plain.reflections)


@pytest.mark.golden
def test_without_pixels_there_are_no_peaks(golden):
    chosen = settings_for(golden, "single", frame=FrameSettings(load_image=False))
    (result,) = run(golden, "single", chosen, [hit_number(golden, "single")])
    assert len(result.peaks) == 0
    assert result.crystals == ()


@pytest.mark.golden
@pytest.mark.parametrize("name", ["single", "multi"])
def test_centres_of_spots_are_for_lattices_and_the_list_stays(golden, name):
    indexing = settings_for(golden, name).indexing
    listed = run(golden, name, settings_for(golden, name, indexing=replace(indexing, spot_centres=False)))
    moved = 0
    for ours, plain in zip(results(golden, name), listed, strict=True):
        for column in ("panel", "fs", "ss", "intensity"):
            assert (getattr(ours.peaks, column) == getattr(plain.peaks, column)).all()
        assert (ours.peak_inverse_d == plain.peak_inverse_d).all()
        assert ours.peak_resolution == plain.peak_resolution
        for crystal, other in zip(ours.crystals, plain.crystals, strict=True):
            moved += bool((crystal.reciprocal_axes != other.reciprocal_axes).any())
    assert moved == {"single": 8, "multi": 10}[name]


@pytest.mark.golden
def test_without_refinement_positions_are_the_list_s(golden):
    indexing = replace(settings_for(golden, "single").indexing, refine=False)
    number = [hit_number(golden, "single")]
    axes = [
        run(golden, "single", settings_for(golden, "single", indexing=chosen), number)[0]
        .crystals[0]
        .reciprocal_axes
        for chosen in (indexing, replace(indexing, spot_centres=False))
    ]
    assert (axes[0] == axes[1]).all()
