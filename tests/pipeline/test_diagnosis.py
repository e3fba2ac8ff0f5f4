"""Sessions that go badly are told why, by what was wrong with them; of those that go well nothing is said."""

import re
from dataclasses import replace

import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import parse_geometry
from braggstream.formats.wire import Setup
from braggstream.model.frame import FileSlot
from braggstream.model.settings import IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.pipeline.diagnosis import complaints, diagnose, diagnose_hits
from braggstream.pipeline.frame_samples import FrameSampler
from braggstream.pipeline.session_samples import SampledFrame, SessionCounts
from braggstream.run.diagnosing import order_of
from braggstream.run.processor import FrameProcessor

pytestmark = pytest.mark.golden
PF8 = PeakSettings(method="peakfinder8", threshold=10, min_peaks=15)
N_FRAMES = 12


class Run:
    """Golden frames, processed with something wrong, and what is said of it."""

    def __init__(self, golden, name, *, geometry=lambda text: text, cell=lambda cell: cell, peaks=PF8, **indexing):
        self.geometry = parse_geometry(geometry((golden / f"{name}.geom").read_text()), "x.geom")
        target = cell(read_cell(golden / f"{name}.cell"))
        self.settings = Settings(peaks=peaks, indexing=IndexingSettings(target_cell=target, **indexing))
        setup = Setup(
            processor="", geometry=self.geometry, settings=self.settings, output=OutputSettings(stream_file="")
        )
        processor, sampler = FrameProcessor(setup), FrameSampler(self.geometry, self.settings)
        self.frames = []
        for number in range(N_FRAMES):
            frame = processor.load(
                FileSlot(filename=str(golden / f"{name}.h5"), event=f"//{number}", serial=number)
            )
            result = processor.find(frame)
            sample = sampler.sample_of(frame, result)
            self.frames.append(SampledFrame(sample=sample, is_hit=result.is_hit, is_indexed=bool(result.crystals)))
        self.counts = SessionCounts(
            n_processed=N_FRAMES,
            n_hits=sum(each.is_hit for each in self.frames),
            n_indexed=sum(each.is_indexed for each in self.frames),
        )

    def said(self):
        return diagnose(self.geometry, self.settings, self.counts, self.frames)


def shifted(x, y):
    def change(text):
        for axis, by in (("x", x), ("y", y)):
            text = re.sub(rf"corner_{axis} = (\S+)", lambda m: f"corner_{axis} = {float(m[1]) + by}", text)  # noqa: B023
        return text

    return change


def without_lattices(run):
    """The same run, had it found no lattice: however few wrong ones a method accepts, the cause is the same."""
    run.frames = [replace(each, is_indexed=False) for each in run.frames]
    run.counts = replace(run.counts, n_indexed=0)
    return run


@pytest.mark.parametrize("name", ["single", "multi"])
@pytest.mark.parametrize("threshold", [1, 10, 100])
def test_nothing_is_said_of_what_goes_well(golden, name, threshold):
    run = Run(golden, name, peaks=replace(PF8, threshold=threshold))
    assert run.counts.n_indexed >= 8 and run.said() == []


@pytest.mark.parametrize("name", ["single", "multi"])
@pytest.mark.parametrize(("x", "y"), [(5, -2.5), (-14, 14)])
def test_the_beam_centre(golden, name, x, y):
    said = without_lattices(Run(golden, name, geometry=shifted(x, y))).said()
    assert len(said) == 2 and "the beam centre" in said[0]
    told = [float(number) for number in re.search(r"x (\S+), y (\S+) px", said[0]).groups()]
    assert told == pytest.approx([-x, -y], abs=0.2)
    shift = float(re.search(r"detector_shift_x = (\S+) mm", said[1])[1])
    assert shift == pytest.approx(-x * 0.15, abs=0.03)


def test_the_statements_proposed_for_the_beam_centre_index(golden):
    said = without_lattices(Run(golden, "single", geometry=shifted(12, -6))).said()
    x, y = (re.search(rf"detector_shift_{axis} = \S+ mm", said[1])[0] for axis in "xy")
    mended = Run(golden, "single", geometry=lambda text: f"{x}\n{y}\n" + shifted(12, -6)(text))
    assert mended.counts.n_indexed == 8


@pytest.mark.parametrize(
    ("name", "lengths", "true"),
    [
        ("single", (61.0, 61.0, 49.0), "tetragonal P 79.2 79.2 38.0"),
        ("multi", (71.3, 44.0, 92.0), "52.4 61.3 70.9"),
    ],
)
def test_the_cell(golden, name, lengths, true):
    wrong = without_lattices(
        Run(golden, name, cell=lambda cell: cell.with_parameters([*lengths, *cell.parameters[3:]]))
    )
    said = wrong.said()
    assert len(said) == 2 and "the cell of -p" in said[0] and true in said[0]
    assert "Try --find-cell" in said[1]


@pytest.mark.parametrize(("factor", "right"), [(1.1, 85.0), (0.9, 85.0)])
def test_the_camera_length(golden, factor, right):
    run = Run(golden, "single", geometry=lambda text: text.replace("85.000000 mm", f"{85.0 * factor} mm"))
    said = without_lattices(run).said()
    assert "Likely cause: clen" in said[0]
    assert float(re.search(r"clen = (\S+) mm", said[1])[1]) == pytest.approx(right, rel=3e-3)


def test_a_unit_that_cannot_be_is_the_cause(golden):
    said = without_lattices(Run(golden, "single", geometry=lambda text: text.replace("mm", "m", 1))).said()
    assert len(said) == 1 and "x.geom:5: clen is understood as 85 m; if the number is in mm" in said[0]


@pytest.mark.parametrize(
    ("peaks", "cause"),
    [
        (replace(PF8, threshold=8000), "--threshold=8000"),
        (replace(PF8, min_snr=1000), "--min-snr=1000"),
        (replace(PF8, max_res=12), "--max-res=12"),
        (PeakSettings(method="zaef", threshold=8000, min_peaks=15), "--peaks=zaef --threshold=8000"),
        (PeakSettings(method="zaef", threshold=20, min_squared_gradient=1e9, min_peaks=15), "--peaks=zaef"),
        (PeakSettings(method="peakfinder9", min_sig=1e6, min_peaks=15), "--peaks=peakfinder9"),
    ],
)
def test_a_search_that_finds_nothing(golden, peaks, cause):
    run = Run(golden, "single", peaks=peaks, methods=("none",))
    said = run.said()
    assert run.counts.n_hits == 0 and len(said) == 2
    assert f"No hits in {N_FRAMES} frames.  Likely cause: {cause}.  Background: " in said[0]
    threshold = float(re.search(r"--peaks=peakfinder8 --threshold=(\S+) ", said[1])[1])
    assert "8 of 12 sampled frames" in said[1] and 8 <= threshold <= 20


def test_more_peaks_asked_for_than_there_are(golden):
    said = Run(golden, "single", peaks=replace(PF8, min_peaks=400), methods=("none",)).said()
    assert "--min-peaks=400, but no sampled frame has more than" in said[0]


def test_a_search_in_the_noise(golden):
    noisy = PeakSettings(method="zaef", threshold=1, min_squared_gradient=1, min_snr=0, min_peaks=15)
    run = Run(golden, "single", peaks=noisy, methods=("none",))
    said = run.said()
    assert run.counts.n_hits == N_FRAMES
    assert "--peaks=zaef --threshold=1" in said[0] and "noise" in said[0]
    assert "--peaks=peakfinder8 --threshold=" in said[1]


def test_every_frame_a_hit_for_want_of_a_limit(golden):
    said = Run(golden, "single", peaks=replace(PF8, min_peaks=0)).said()
    assert len(said) == 1 and "because --min-peaks is 0: 4 of 12 sampled frames" in said[0]


def test_blank_frames(golden):
    run = Run(golden, "single", peaks=replace(PF8, threshold=8000), methods=("none",))
    run.frames = [each for each in run.frames if each.sample.n_spots == 0]
    assert len(run.frames) == 4
    assert "blank frames" in " ".join(run.said())


def test_one_frame_is_enough_for_a_look(golden):
    run = without_lattices(Run(golden, "single", geometry=shifted(6, 0)))
    said = diagnose_hits(run.geometry, run.settings, [each for each in run.frames if each.is_hit][:1])
    assert "the detector stands x -6.0" in said[0]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((4, 0, 0), ()),
        ((500, 0, 0), ("no hits",)),
        ((500, 100, 60), ()),
        ((500, 100, 3), ("no lattices",)),
        ((500, 500, 400), ()),
        ((500, 500, 3), ("all hits", "no lattices")),
        ((500, 2, 0), ()),
    ],
)
def test_what_is_wrong_with_a_session(counts, expected):
    stand = SessionCounts(n_processed=counts[0], n_hits=counts[1], n_indexed=counts[2])
    assert complaints(stand, Settings(peaks=PF8, indexing=IndexingSettings(methods=("asdf",)))) == expected


def test_samples_are_small(golden):
    run = Run(golden, "single")
    setup = Setup(processor="", geometry=run.geometry, settings=run.settings, output=OutputSettings(stream_file=""))
    assert len(order_of(setup, run.counts, run.frames)) < N_FRAMES * 20_000 + 5_000
