"""Options of refinement, prediction and integration, as a user runs them."""

import re
import stat

import numpy as np
import pytest

from braggstream.cli.indexamajig import understand
from braggstream.formats.millepede import unpack_records
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError
from cli.commands import PF8, indexamajig
from steps.made_frames import SMALL_GEOMETRY


@pytest.fixture
def run_on(still_set, tmp_path):
    """Run with options; gives the stream file's text and its crystals."""

    def start(*words, off_px=0.0):
        stream, geometry = tmp_path / "o.stream", tmp_path / "o.geom"
        text = re.sub(
            r"^(\S+corner_x = )(\S+)",
            lambda line: f"{line[1]}{float(line[2]) - off_px:.6f}",
            still_set.geometry.read_text(),
            flags=re.M,
        )
        geometry.write_text(text)
        given = ["-i", still_set.list, "-g", geometry, "-p", still_set.cell, "-o", stream, *PF8]
        done = indexamajig(*given, *words)
        assert done.returncode == 0, done.stderr
        crystals = [crystal for chunk in read_stream(stream) for crystal in chunk.crystals]
        assert len(crystals) > 3
        return stream.read_text(), crystals

    return start


@pytest.mark.system
def test_records_shifts_and_fixed_values(run_on, tmp_path):
    folder = tmp_path / "calibration" / "today"
    text, crystals = run_on(
        "-j2", "--mille", f"--mille-dir={folder}", "--mille-file=m.bin", "--max-mille-level=0",
        "--refine-detector-shift", "--fix-profile-radius=3e6", "--fix-divergence=0.002", "--integration=prof2d",
        off_px=0.4,
    )  # fmt: skip
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    records = list(unpack_records((folder / "m.bin").read_bytes()))
    assert len(records) == len(crystals)
    for _, labels in records:
        # Nine local parameters at most, and the six motions of the whole detector.
        assert set(labels.tolist()) <= set(range(10))
    # The detector stands 0.4 pixels further along x than this geometry says.
    pixel_m = 1.0 / float(re.search(r"^res = (\S+)", text, re.M)[1])
    shifts = np.array([crystal.det_shift for crystal in crystals]) / pixel_m
    assert np.median(shifts, axis=0) == pytest.approx([0.4, 0.0], abs=0.03)
    assert set(re.findall(r"^profile_radius = (\S+)", text, re.M)) == {"0.00300"}
    assert set(re.findall(r"^beam_divergence = (\S+)", text, re.M)) == {"2.00e-03"}
    assert all(len(crystal.reflections) > 30 for crystal in crystals)


@pytest.mark.system
def test_no_refinement_and_a_resolution_limit_of_the_pixels(run_on, tmp_path):
    text, crystals = run_on("--no-refine", "--highres=3.0", "--overpredict", "--integration=rings-sat")
    assert "_residual =" not in text
    assert set(re.findall(r"det_shift (x = .*)$", text, re.M)) == {"x = 0.000 y = 0.000 mm"}
    sizes = [np.linalg.norm(c.reflections.hkl @ c.reciprocal_axes, axis=1).max() for c in crystals]
    assert 0.2 < max(sizes) < 1 / 3.0
    assert not (tmp_path / "mille-data.bin").exists()


@pytest.mark.system
def test_cells_only(run_on):
    text, crystals = run_on("--cell-parameters-only")
    assert text.count("No integrated reflections.") == len(crystals)
    assert "num_reflections" not in text
    assert "predict_refine/final_residual" in text


def test_records_need_the_group_of_all_panels(tmp_path):
    geometry = tmp_path / "g.geom"
    words = ["-i", "-", "-o", "o.stream", "-g", str(geometry), "--mille", "--max-mille-level=-3"]
    geometry.write_text(SMALL_GEOMETRY)
    session = understand(words)
    assert session.settings.indexing.spot_centres
    assert not understand([*words, "--no-spot-centres"]).settings.indexing.spot_centres
    assert session.settings.calibration.max_level == 1
    assert session.output.mille_file == "mille-data.bin"
    geometry.write_text(SMALL_GEOMETRY + "group_half = p\n")
    with pytest.raises(UserError, match="--mille needs a group of all panels, called 'all'"):
        understand(words)
