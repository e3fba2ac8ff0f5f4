"""Lattices out of a list: by the frame's names, several a frame, under the usual checks."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.formats.solutions import solution_lines
from braggstream.formats.stream_header import stream_header
from braggstream.formats.stream_read import read_stream
from braggstream.formats.stream_write import format_chunk
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.frame import FrameIdentity
from braggstream.model.settings import IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.pipeline.recipe import Recipe
from braggstream.steps.indexing import make_lattice_finder
from steps.golden_frames import load_frames
from steps.simulated_stills import misorientation
from steps.still_frames import lattice_spots, random_rotation, view_of

CELL = UnitCell(a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c")
NAMES = FrameIdentity(filename="run 5.h5", event="//12", serial=3)


def two_lattices(n_first=100, n_second=60):
    rng = np.random.default_rng(8)
    both = [CELL.reciprocal_axes() @ random_rotation(rng).T for _ in range(2)]
    spots = [lattice_spots(axes, "P", rng, n=n) for axes, n in zip(both, (n_first, n_second), strict=True)]
    return both, replace(view_of(np.concatenate(spots)), identity=NAMES)


def finder(tmp_path, axes, *, names="run 5.h5 //12", shift="0 0", **more):
    path = tmp_path / "list.sol"
    numbers = [" ".join(f"{x * 10:.9f}" for x in lattice.ravel()) for lattice in axes]
    path.write_text("".join(f"{names} {text} {shift} tPc\n" for text in numbers))
    settings = IndexingSettings(methods=("file",), target_cell=CELL, solutions_file=str(path), **more)
    return make_lattice_finder(settings)


def test_all_lattices_of_a_frame_are_taken_and_refined(tmp_path):
    both, view = two_lattices()
    found = finder(tmp_path, both, multi=True)(view)
    assert found.indexed_by == "file" and len(found.crystals) == 2
    for crystal, axes in zip(found.crystals, both, strict=True):
        assert misorientation(axes, crystal.reciprocal_axes) < 0.05
        assert crystal.indexed_by == "file"
    # The file says how many there are, --multi or not.
    assert len(finder(tmp_path, both)(view).crystals) == 2


def test_the_shift_of_the_detector_stays_with_the_crystal(tmp_path):
    (axes, _), view = two_lattices(n_second=0)
    away = finder(tmp_path, [axes], shift="0.9 -0.6", refine=False)(view)
    assert not away.crystals  # The peaks are not where this shift puts them.
    near = finder(tmp_path, [axes], shift="0.05 -0.02", refine=False)(view)
    assert np.allclose(near.crystals[0].det_shift, (5e-5, -2e-5))


def test_the_checks_apply(tmp_path):
    (axes, other), view = two_lattices(n_second=0)
    assert not finder(tmp_path, [axes * 1.1])(view).crystals
    assert not finder(tmp_path, [other])(view).crystals
    assert finder(tmp_path, [other, axes])(view).crystals


def test_other_frames_and_nameless_ones_get_nothing(tmp_path):
    (axes, _), view = two_lattices(n_second=0)
    for names in ("run 5.h5 //1", "run.h5 //12", "5.h5 //12", "/run 5.h5 //12"):
        assert not finder(tmp_path, [axes], names=names)(view).crystals
    assert not finder(tmp_path, [axes])(replace(view, identity=None)).crystals


def test_a_list_is_needed_and_read_at_once(tmp_path):
    with pytest.raises(UserError, match="--fromfile-input-file"):
        make_lattice_finder(IndexingSettings(methods=("file",)))
    (tmp_path / "x.sol").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"x\.sol:1: "):
        make_lattice_finder(IndexingSettings(methods=("file",), solutions_file=str(tmp_path / "x.sol")))


@pytest.mark.golden
def test_golden_frames_from_stream_to_list_and_back(golden, tmp_path):
    geometry, cell = read_geometry(golden / "single.geom"), read_cell(golden / "single.cell")
    peaks = PeakSettings(method="peakfinder8", threshold=20, min_snr=5, min_peaks=8)
    first = IndexingSettings(target_cell=cell)
    frames = load_frames(golden, "single")
    output = OutputSettings(stream_file=str(tmp_path / "o.stream"))
    recipe = Recipe(geometry, Settings(peaks=peaks, indexing=first))
    results = [recipe.process(frame) for frame in frames]
    chunks = [format_chunk(result, geometry, output) for result in results]
    (tmp_path / "o.stream").write_bytes(stream_header(geometry.text, output, cell) + b"".join(chunks))
    listed = tmp_path / "o.sol"
    listed.write_text("".join(solution_lines(result) for result in read_stream(tmp_path / "o.stream")))
    again = IndexingSettings(
        methods=("file",), target_cell=cell, solutions_file=str(listed), refine=False, retry=False
    )
    recipe = Recipe(geometry, Settings(peaks=peaks, indexing=again))
    n_crystals = 0
    for frame, result in zip(frames, results, strict=True):
        repeated = recipe.process(frame)
        assert len(repeated.crystals) == len(result.crystals)
        for crystal, other in zip(result.crystals, repeated.crystals, strict=True):
            # The stream file holds seven decimals in 1/nm.
            assert np.allclose(crystal.reciprocal_axes, other.reciprocal_axes, atol=6e-9, rtol=0)
            # The rounding may decide whether a peak counts for the profile radius, and so about a reflection.
            only_one = {*map(tuple, crystal.reflections.hkl)} ^ {*map(tuple, other.reflections.hkl)}
            assert len(only_one) <= 0.01 * len(crystal.reflections)
            n_crystals += 1
    assert n_crystals > 5
