"""When the detector is moved, when it is left alone, and what is told and written."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.geometry import DetectorOffset
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.model.settings import GeometrySettings, OutputSettings, Settings
from braggstream.run.geometry_watcher import SETTLED_ASK_EVERY, GeometryWatcher

PIXEL_M, LENGTH_M = 1e-4, 0.1
SCALE = np.array([PIXEL_M, PIXEL_M, LENGTH_M])
SIGMA = np.array([0.03, 0.03, 5e-4])
TEXT = """; As measured.
wavelength = 1.0 A
clen = {clen}
res = 10000
adu_per_photon = 1
data = /data
p/min_fs = 0
p/max_fs = 99
p/min_ss = 0
p/max_ss = 99
p/corner_x = -50
p/corner_y = -50
p/fs = x
p/ss = y
"""


class Run:
    """A watcher, what it said, and the adjustments that the session has."""

    def __init__(self, mode, path=None, clen="0.1 m"):
        self.lines = []
        self.adjustments = Adjustments()
        self.rng = np.random.default_rng(1)
        self.geometry = parse_geometry(TEXT.format(clen=clen), path="given.geom")
        settings = Settings(
            geometry=GeometrySettings(refine=mode, refined_file=None if path is None else str(path))
        )
        setup = Setup(
            processor="", geometry=self.geometry, settings=settings, output=OutputSettings(stream_file="")
        )
        self.watcher = GeometryWatcher(setup, self.lines.append)

    def see(self, n, true, sigma=SIGMA):
        """So many frames of one crystal; gives how many times something was changed."""
        n_changes = 0
        for _ in range(n):
            offset = (true + sigma * self.rng.standard_normal(3)) * SCALE
            information = np.diag(1.0 / (sigma * SCALE) ** 2)
            estimate = OffsetEstimate(offset=offset, information=information, camera_length=LENGTH_M)
            outcome = FrameOutcome(serial=1, status="written", offsets=(estimate.numbers,))
            wanted = self.watcher.see(outcome, self.adjustments)
            if wanted is not None:
                self.adjustments = replace(wanted, number=self.adjustments.number + 1)
                n_changes += 1
        return n_changes

    @property
    def offset(self):
        placed = self.adjustments.offset
        return np.array([placed.x, placed.y, placed.z]) / SCALE


TRUE = np.array([3.6, -1.0, 0.01])


def test_the_detector_is_moved_once_enough_agree_and_then_left_alone():
    run = Run("live")
    assert run.see(7, TRUE) == 0
    assert run.see(1, TRUE) == 1
    assert np.abs(run.offset - TRUE)[:2].max() < 0.05 and abs(run.offset[2] - TRUE[2]) < 8e-4
    first = run.adjustments.offset
    run.see(200, TRUE)
    assert len(run.lines) <= 2
    assert abs(run.adjustments.offset.x - first.x) < 0.1 * PIXEL_M
    assert run.adjustments.ask_every == SETTLED_ASK_EVERY


def test_a_detector_that_stands_right_is_not_moved():
    run = Run("live")
    run.see(200, np.zeros(3))
    assert run.adjustments.offset == DetectorOffset() and run.lines == []


def test_a_drift_is_followed_and_all_crystals_asked_again():
    run = Run("live")
    run.see(100, TRUE)
    assert run.adjustments.ask_every == SETTLED_ASK_EVERY
    run.see(250, TRUE + np.array([0.7, 0.0, 0.0]))
    assert run.offset[0] == pytest.approx(TRUE[0] + 0.7, abs=0.1)
    assert len(run.lines) >= 2


def test_a_report_moves_nothing():
    run = Run("report")
    run.see(50, TRUE)
    assert run.adjustments.offset == DetectorOffset()
    assert len(run.lines) == 1 and "this is not applied" in run.lines[0] and "x +3." in run.lines[0]


def test_crystals_without_agreement_move_nothing():
    run = Run("live")
    run.see(100, np.zeros(3), sigma=np.array([4.0, 4.0, 0.05]))
    for _ in range(100):
        run.see(1, np.append(run.rng.uniform(-8, 8, 2), 0.0))
    assert run.adjustments.offset == DetectorOffset()


def test_other_adjustments_stay():
    run = Run("live")
    run.adjustments = Adjustments(number=4, offset=DetectorOffset(), indexing=Settings().indexing)
    run.see(10, TRUE)
    assert run.adjustments.number == 5 and run.adjustments.indexing == Settings().indexing


@pytest.mark.parametrize("clen", ["0.1 m", "100 mm", "/distance mm"])
def test_the_refined_file_puts_the_detector_there(tmp_path, clen):
    path = tmp_path / "o.refined.geom"
    run = Run("live", path, clen)
    run.see(100, TRUE)
    summary = run.watcher.finish()["geometry_refinement"]
    assert summary["geometry_file"] == str(path) and summary["crystals"] == 100 and summary["moves"] >= 1
    text = path.read_text()
    assert text.startswith("; Made from given.geom by Braggstream") and "; As measured." in text
    poses = [
        geometry.detector(lambda _: 100.0, 1.0).poses[0, 0] for geometry in (run.geometry, parse_geometry(text))
    ]
    assert (poses[1] - poses[0]) / SCALE == pytest.approx(TRUE, abs=0.02)
    assert poses[1] - poses[0] == pytest.approx(np.array(summary["offset_mm"]) * 1e-3, abs=1e-12)


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    run = Run("live", tmp_path / "nowhere" / "x.geom")
    run.see(20, TRUE)
    assert run.watcher.finish()["geometry_refinement"]["geometry_file"] is None
    assert "cannot write" in run.lines[-1] and "No such file" in run.lines[-1]


def test_nothing_learned_is_told():
    run = Run("live")
    run.see(3, TRUE)
    assert run.watcher.finish()["geometry_refinement"]["geometry_file"] is None
    assert "3 of 3 crystals agree" in run.lines[-1]
