"""Integrated reflections beside the reference's, from its crystals and from our own chain."""

from dataclasses import replace
from functools import cache
from itertools import permutations, product

import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.model.frame import FileSlot
from braggstream.model.settings import FrameSettings, IndexingSettings, IntegrationSettings, PeakSettings, Settings
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.recipe import Recipe
from braggstream.steps.integration import make_integrator
from braggstream.steps.prediction import predict_reflections

RUNS = {
    "asdf": IntegrationSettings(),
    "norefine": IntegrationSettings(),
    "rings": IntegrationSettings(radii=(3, 4, 6)),
    "prof2d": IntegrationSettings(method="prof2d"),
    "cengrad": IntegrationSettings(centre=True, gradient=True, push_res=0.1),
}
PEAKS = PeakSettings(method="peakfinder8", threshold=10, min_snr=5, min_peaks=15)
SETTINGS = [
    np.array(signs)[:, None] * np.eye(3, dtype=int)[list(order)]
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]


@cache
def frames_and_chunks(folder, name, run):
    loader = FrameLoader(read_geometry(folder / f"{name}.geom"), FrameSettings())
    found = []
    for chunk in read_stream(folder / "streams" / f"{name}-{run}.stream.xz"):
        if chunk.crystals:
            event, serial = chunk.identity.event, chunk.identity.serial
            slot = FileSlot(filename=str(folder / f"{name}.h5"), event=event, serial=serial)
            found.append((loader.from_file(slot), chunk))
    return found


def with_the_reference_s_crystal(frame, chunk, settings):
    """Predict and integrate the crystal as the stream file gives it."""
    crystals = [
        replace(
            crystal,
            reflections=predict_reflections(
                crystal,
                frame.detector,
                frame.wavelength,
                1e-8,
                max_inverse_d=crystal.resolution_limit + settings.push_res,
            ),
        )
        for crystal in chunk.crystals
    ]
    return make_integrator(settings)(frame, tuple(crystals))[0]


def columns_of(table):
    return np.stack([table.intensity, table.sigma], axis=1)


def pairs_of(expected, found):
    """Intensities and sigmas of reflections in both, of ours with axes named as the reference's."""
    joining = found.reciprocal_axes @ np.linalg.inv(expected.reciprocal_axes)
    setting = min(SETTINGS, key=lambda change: np.abs(joining - change).max())
    if np.abs(joining - setting).max() > 0.02:
        return None
    rows = {tuple(hkl): k for k, hkl in enumerate(found.reflections.hkl @ setting)}
    both = [(rows[key], k) for k, hkl in enumerate(expected.reflections.hkl) if (key := tuple(hkl)) in rows]
    mine, theirs = (list(column) for column in zip(*both, strict=True))
    return columns_of(found.reflections)[mine], columns_of(expected.reflections)[theirs]


def assert_agreement(pairs, n_expected):
    ours, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert n_expected > 1000
    assert len(ours) >= 0.95 * n_expected
    off = np.abs(ours[:, 0] - theirs[:, 0]) / theirs[:, 1]
    assert np.mean(off <= 1) >= 0.99
    assert np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1] >= 0.999
    assert abs(np.median(ours[:, 1] / theirs[:, 1]) - 1) < 0.15


@pytest.mark.golden
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", ["single", "multi"])
def test_the_reference_s_crystals_give_its_reflections(golden, name, run):
    pairs, n_expected = [], 0
    for frame, chunk in frames_and_chunks(golden, name, run):
        crystals = with_the_reference_s_crystal(frame, chunk, RUNS[run])
        for expected, found in zip(chunk.crystals, crystals, strict=True):
            n_expected += len(expected.reflections)
            pairs.append(pairs_of(expected, found))
    assert_agreement(pairs, n_expected)


@pytest.mark.golden
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", ["single", "multi"])
def test_our_own_chain_gives_the_reference_s_reflections(golden, name, run):
    target = read_cell(golden / f"{name}.cell")
    indexing = IndexingSettings(target_cell=target, refine=run != "norefine")
    geometry = read_geometry(golden / f"{name}.geom")
    recipe = Recipe(geometry, Settings(peaks=PEAKS, indexing=indexing, integration=RUNS[run]))
    pairs, n_expected, n_others = [], 0, 0
    for frame, chunk in frames_and_chunks(golden, name, run):
        for expected in chunk.crystals:
            found = [pairs_of(expected, crystal) for crystal in recipe.process(frame).crystals]
            matching = [pair for pair in found if pair is not None]
            if matching:
                n_expected += len(expected.reflections)
                pairs += matching
            else:
                n_others += 1
    assert n_others == 0
    assert_agreement(pairs, n_expected)
