"""peakfinder8 on a CUDA device finds the peaks that the processor finds."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.kernels.cuda import peakfinder8, peakfinder8_turn, radial_bins
from braggstream.model.mask import BadMap
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks import make_peak_finder
from steps.made_frames import made_detector, made_frame

PF8 = PeakSettings(method="peakfinder8", threshold=10, min_snr=5)
SIZES, CORNERS = [(41, 19), (23, 31)], [(-24, -20), (-16.3, 1.7)]


def made_images(rng, dtype, sizes=SIZES):
    """Noise with round spots, and some of more than one maximum, as far as the type holds them."""
    images = []
    for width, height in sizes:
        image = rng.poisson(3, (height, width)).astype(float)
        y, x = np.mgrid[:height, :width]
        for _ in range(8):
            fs, ss = rng.uniform(-1, [width + 1, height + 1])
            distance = np.hypot(x - fs, y - ss) / rng.uniform(0.5, 1.0)
            image += rng.uniform(60, 200) * np.exp(-(distance**2) / 2)
        image = np.rint(image) if np.dtype(dtype).kind in "iu" else image
        images.append(image.clip(0, 120 if np.dtype(dtype).itemsize == 1 else None).astype(dtype))
    return images


def both(frame, settings):
    on_device = make_peak_finder(replace(settings, device="cuda"))
    return make_peak_finder(settings)(frame), on_device(frame)


def assert_same(expected, found, *, rel=1e-12):
    assert found.panel.tolist() == expected.panel.tolist()
    assert found.fs == pytest.approx(expected.fs, rel=rel)
    assert found.ss == pytest.approx(expected.ss, rel=rel)
    assert found.intensity == pytest.approx(expected.intensity, rel=rel, abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_the_peaks_are_those_of_the_processor(dtype):
    rng = np.random.default_rng(5)
    detector = made_detector(SIZES, CORNERS)
    bad = rng.random(detector.n_pixels) < 0.05
    frame = made_frame(detector, made_images(rng, dtype), bad=bad)
    expected, found = both(frame, PF8)
    assert len(expected) >= 4
    assert_same(expected, found)
    for column in ("fs", "ss", "intensity"):
        assert getattr(found, column).dtype == getattr(expected, column).dtype


@pytest.mark.parametrize(
    "chosen",
    [
        {"min_pix_count": 1, "max_pix_count": 6, "local_bg_radius": 1},
        {"min_res": 8, "max_res": 30, "min_snr": 3},
        {"threshold": -5, "min_snr": 0.5, "max_pix_count": 4000},
        {"use_saturated": False},
        {"fast": True},
    ],
)
def test_every_option_counts(chosen):
    rng = np.random.default_rng(6)
    detector = made_detector(SIZES, CORNERS, max_adu=np.array([60.0, 1000.0]))
    frame = made_frame(detector, made_images(rng, "int32"))
    expected, found = both(frame, replace(PF8, **chosen))
    assert len(expected)
    assert_same(expected, found)


def test_panels_lie_anywhere_in_the_data_and_change_between_frames():
    rng = np.random.default_rng(7)
    detector = made_detector(SIZES, CORNERS)
    images = made_images(rng, "uint16")
    find_peaks = make_peak_finder(replace(PF8, device="cuda"))
    frame = made_frame(detector, images)
    expected = make_peak_finder(PF8)(frame)
    assert_same(expected, find_peaks(frame))
    data = np.zeros((80, 60), np.uint16)
    data[3:22, 2:43], data[36:67, 10:33] = images
    table = frame.panel_table.copy()
    table[:, 0], table[:, 1] = [3 * 60 + 2, 36 * 60 + 10], 60
    assert_same(expected, find_peaks(replace(frame, pixels=data.ravel(), panel_table=table)))
    moved = made_detector(SIZES, [(-24, -36), (-16.3, 9.7)])
    elsewhere = made_frame(moved, images)
    assert_same(make_peak_finder(PF8)(elsewhere), find_peaks(elsewhere))
    assert_same(expected, find_peaks(frame))


@pytest.mark.parametrize("most_changed", [radial_bins.MOST_CHANGED, 70])
def test_bad_pixels_that_change_between_frames(monkeypatch, most_changed):
    monkeypatch.setattr(radial_bins, "MOST_CHANGED", most_changed)
    rng = np.random.default_rng(10)
    detector = made_detector(SIZES, CORNERS)
    images = made_images(rng, "int32")
    finders = [make_peak_finder(replace(PF8, device=device)) for device in ("cpu", "cuda")]
    lists, base = set(), np.zeros(detector.n_pixels, np.uint8)
    for changes in ([], [(3, 60), (400, 403)], [(200, 280)], [(0, detector.n_pixels)], []):
        bad, ranges = base.copy(), np.array(changes, np.int64).reshape(-1, 2)
        for start, stop in changes:
            bad[start:stop] = rng.random(stop - start) < 0.8
        frame = replace(made_frame(detector, images, bad=bad), bad=bad)
        frame = replace(frame, bad_map=BadMap(pixels=bad, base=base, changes=ranges))
        expected, found = (find_peaks(frame) for find_peaks in finders)
        assert_same(expected, found)
        lists.add(tuple(found.intensity))
    assert len(lists) >= 3


def test_the_type_of_pixels_changes_between_frames():
    detector = made_detector(SIZES, CORNERS)
    finders = [make_peak_finder(replace(PF8, device=device)) for device in ("cpu", "cuda")]
    for seed, dtype in enumerate(
        ["uint16", "uint16", "uint16", "float32", "uint16", "int32", "float32", "float32"]
    ):
        frame = made_frame(detector, made_images(np.random.default_rng(seed), dtype))
        expected, found = (find_peaks(frame) for find_peaks in finders)
        assert len(expected)
        assert_same(expected, found)


@pytest.mark.parametrize(("room", "at_once"), [(1, 1), (4096, 2), (4096, 0), (3, 2)])
def test_more_peaks_than_come_back_at_once_or_than_there_is_room_for(monkeypatch, room, at_once):
    monkeypatch.setattr(peakfinder8_turn, "ROOM", room)
    monkeypatch.setattr(peakfinder8_turn, "AT_ONCE", at_once)
    find_peaks = make_peak_finder(replace(PF8, device="cuda"))
    detector = made_detector(SIZES, CORNERS)
    for seed in (9, 13, 2, 7):
        frame = made_frame(detector, made_images(np.random.default_rng(seed), "int32"))
        expected = make_peak_finder(PF8)(frame)
        assert len(expected) > 3
        assert_same(expected, find_peaks(frame))


def test_the_number_of_peaks_is_limited_in_their_order_and_saturated_ones_count():
    seeds, heights = np.array([70.0, 10.0, 40.0, 30.0, 90.0]), np.array([5.0, 500.0, 5.0, 5.0, 5.0])
    found = np.zeros((5, peakfinder8.N_FOUND_COLUMNS))
    found[:, peakfinder8.FOUND_SEED], found[:, peakfinder8.HIGHEST] = seeds, heights
    found[:, peakfinder8.PEAK_FS] = seeds
    peaks = np.zeros((4, 4))
    assert peakfinder8.in_order(found, np.array([100.0]), peaks) == 3
    assert peaks[:3, peakfinder8.PEAK_FS].tolist() == [30.0, 40.0, 70.0]


@pytest.mark.parametrize("value", [0, 7])
def test_a_frame_without_anything_has_no_peaks(value):
    frame = made_frame(made_detector(SIZES, CORNERS), [np.full(size[::-1], value, np.int32) for size in SIZES])
    expected, found = both(frame, PF8)
    assert not len(expected)
    assert not len(found)


def test_a_frame_without_good_pixels_has_no_peaks():
    detector = made_detector(SIZES, CORNERS)
    images = made_images(np.random.default_rng(8), "int32")
    assert not len(both(made_frame(detector, images, bad=np.ones(detector.n_pixels)), PF8)[1])
