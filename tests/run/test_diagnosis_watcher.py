"""The watcher that keeps samples: bounded, beside the loop, and silent where nothing is wrong."""

from types import SimpleNamespace

import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.wire import FrameOutcome, Setup, decode_outcome, encode
from braggstream.model.exposure import Exposure
from braggstream.model.frame_sample import FrameSample, GoodPixels, PixelLevels
from braggstream.model.settings import IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.run import diagnosis_watcher
from braggstream.run.diagnosis_watcher import MOST_KEPT, DiagnosisWatcher
from pipeline.test_setup_doubts import SOUND
from session_fakes.session_process import eventually

LEVELS = PixelLevels(middle=2.0, noise=2.0, bright=6.0, highest=30.0)


@pytest.fixture
def watched(monkeypatch):
    settings = Settings(
        peaks=PeakSettings(method="peakfinder8", threshold=900, min_peaks=15),
        indexing=IndexingSettings(methods=("none",)),
    )
    setup = Setup(
        processor="",
        geometry=parse_geometry(SOUND, "x.geom"),
        settings=settings,
        output=OutputSettings(stream_file=""),
    )
    lines = []
    watcher = DiagnosisWatcher(setup, lines.append, SimpleNamespace(n_received=0))
    return SimpleNamespace(watcher=watcher, lines=lines)


def outcome(serial, *, is_hit=False, n_spots=30, good=None, **more):
    sample = FrameSample(
        exposure=Exposure(wavelength=1.0332, clen=0.085),
        pixel_type="int32",
        levels=LEVELS,
        n_peaks=20 * is_hit,
        n_spots=n_spots,
        spot_threshold=12.0,
        good=good,
    )
    one = FrameOutcome(serial=serial, status="written", is_hit=is_hit, sample=sample, **more)
    return decode_outcome(encode(one))


def test_the_diagnosis_comes_while_the_session_runs_and_once_more_at_the_end(watched):
    watcher = watched.watcher
    for serial in range(499):
        watcher.recorded(outcome(serial))
        assert watcher.turn() == "" and watcher.deadline() == float("inf")
    watcher.recorded(outcome(499))
    watcher.turn()
    assert watched.lines == []  # It runs in a process of its own.

    def has_told():
        watcher.turn()
        return watched.lines

    eventually(has_told, 120)
    assert watched.lines[0].startswith("No hits in 500 frames.  Likely cause: --threshold=900.")
    assert watched.lines[1].startswith("With --peaks=peakfinder8 --threshold=12 --min-snr=5, 40 of 40")
    assert watcher.finish() == {"diagnosis": [line for line in watched.lines if "frames" in line][-2:]}


def test_samples_are_bounded(watched):
    for serial in range(10 * MOST_KEPT):
        watched.watcher.recorded(outcome(serial, is_hit=serial % 2 == 0))
    assert len(watched.watcher._hits) == len(watched.watcher._others) == MOST_KEPT


def test_nothing_is_begun_where_nothing_is_wrong(watched, monkeypatch):
    monkeypatch.setattr(diagnosis_watcher, "order_of", lambda *_: pytest.fail("a diagnosis was begun"))
    for serial in range(600):
        watched.watcher.recorded(outcome(serial, is_hit=serial % 3 == 0, n_crystals=1))
        watched.watcher.turn()
    assert watched.watcher.finish() == {"diagnosis": []} and watched.lines == []


def test_a_signal_ends_the_wait(watched, monkeypatch):
    for serial in range(20):
        watched.watcher.recorded(outcome(serial))
    stop = watched.watcher._stop
    monkeypatch.setattr(diagnosis_watcher, "PATIENCE_S", -1.0)

    def leave(line):
        watched.lines.append(line)
        stop.n_received += 1

    watched.watcher._say = leave
    assert watched.watcher.finish() == {"diagnosis": []}
    assert watched.lines == ["Looking for the likely cause of what is wrong (Ctrl-C to leave it)."]


def test_the_first_frame_is_described_once_and_a_dead_panel_named(watched):
    good = GoodPixels(n_good=0, n_all=100, why_bad={"bad regions": 20, "masks and values": 90}, dead_panels=("p0",))
    for serial in range(3):
        watched.watcher.recorded(outcome(serial, good=good))
    assert watched.lines == [
        "Pixels     int32, 0 good, 0.0 % (bad: bad regions 20.0 %, masks and values 90.0 %); background 2 ± 2, "
        "5 % above 6",
        "Warning: x.geom: there is no good pixel: look at masks and values",
    ]


def test_a_bug_in_the_diagnosis_is_told(watched, monkeypatch):
    monkeypatch.setattr(diagnosis_watcher, "order_of", lambda *_: b"no order")
    for serial in range(20):
        watched.watcher.recorded(outcome(serial))
    watched.watcher.finish()
    assert "could not be looked for: braggstream.formats.wire.WireError" in watched.lines[-1]
