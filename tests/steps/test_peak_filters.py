"""peakfinder9, the filters before a search, and peakfinder8 from a sample."""

from dataclasses import replace
from inspect import signature

import msgspec
import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.kernels import (
    filters,
    flags,
    peakfinder8,
    peakfinder9,
    radial,
    radial_bins,
    radial_counts,
    radial_sums,
    three_rings,
    zaef,
)
from braggstream.kernels._jit import n_compiled
from braggstream.kernels.radial_counts import count_values
from braggstream.model.errors import UserError
from braggstream.model.frame import Message
from braggstream.model.mask import BadMap
from braggstream.model.settings import FrameSettings, PeakSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.steps import peaks
from braggstream.steps.peaks import PEAK_METHODS, make_peak_finder
from steps import naive_filters, naive_peaks
from steps.golden_frames import panel_table
from steps.made_frames import made_detector, made_frame
from steps.test_peaks import PF8, TWO_PANELS, assert_same, golden_run, made_images, random_bad

PF9 = PeakSettings(
    method="peakfinder9", min_sig=1.5, min_snr=4, min_snr_biggest_pix=5, min_snr_peak_pix=3, local_bg_radius=4
)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("low", [0.0, -30.0])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"local_bg_radius": 2, "min_sig": 0.0},
        {"min_peak_over_neighbour": 25.0, "min_snr": 40},
        {"min_snr_biggest_pix": -1.0, "min_snr_peak_pix": 8},
    ],
)
def test_peakfinder9_keeps_to_its_rules(dtype, low, more):
    rng = np.random.default_rng(51)
    detector = made_detector(*TWO_PANELS)
    images = made_images(rng, dtype, low=low)
    frame = made_frame(detector, images, bad=random_bad(rng, detector))
    chosen = replace(PF9, **more)
    expected = naive_filters.peakfinder9(frame, chosen)
    assert len(expected) > 2
    assert_same(make_peak_finder(chosen)(frame), expected)


def test_peakfinder9_minds_neither_nan_nor_the_values_of_bad_pixels():
    rng = np.random.default_rng(52)
    detector = made_detector(*TWO_PANELS)
    images = made_images(rng, "float32")
    for image in images:
        image[rng.random(image.shape) < 0.03] = rng.choice([np.nan, np.inf, -np.inf, -1e30])
    odd = ~(np.abs(np.concatenate([image.ravel() for image in images])) < 1e9)
    frame = made_frame(detector, images, bad=odd)
    expected = naive_filters.peakfinder9(frame, PF9)
    assert len(expected) > 2
    assert_same(make_peak_finder(PF9)(frame), expected)


def test_peakfinder9_needs_a_window():
    with pytest.raises(UserError, match="--local-bg-radius=1"):
        make_peak_finder(replace(PF9, local_bg_radius=1))


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_search_sees_filtered_pixels(dtype, radius, noise):
    rng = np.random.default_rng(53)
    detector = made_detector(*TWO_PANELS)
    images = made_images(rng, dtype)
    if dtype == "float32":
        images = [image - rng.normal(5, 2, image.shape).astype(np.float32) for image in images]
    frame = made_frame(detector, images)
    before = frame.pixels.copy()
    filtered = [image.astype(np.float32) for image in images]
    if radius:
        filtered = [naive_filters.median_filtered(image, radius) for image in filtered]
    if noise:
        filtered = [naive_filters.noise_filtered(image) for image in filtered]
    seen = []

    class Sees:
        def __init__(self, _):
            pass

        def __call__(self, frame):
            seen.extend(frame.panel_pixels(panel).copy() for panel in range(2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peaks, "make", lambda _, settings: Sees(settings))
        make_peak_finder(PeakSettings(median_filter=radius, filter_noise=noise))(frame)
    if radius or noise:
        for found, expected in zip(seen, filtered, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)
    else:
        assert seen[0].dtype == frame.pixels.dtype
    np.testing.assert_array_equal(frame.pixels, before)


def test_a_filtered_search_finds_peaks_where_panels_are_scattered_in_the_data():
    rng = np.random.default_rng(54)
    sizes = [(40, 50), (45, 50)]
    detector = made_detector(sizes, [(-40, -20), (3, -25)])
    images = made_images(rng, "int16", sizes=sizes)
    frame = made_frame(detector, images)
    table = panel_table(detector, offsets=[0, 40])
    table[:, 1] = 85
    beside = replace(frame, pixels=np.ascontiguousarray(np.hstack(images)).ravel(), panel_table=table)
    find_peaks = make_peak_finder(replace(PF8, median_filter=3))
    found, same = find_peaks(frame), find_peaks(beside)
    assert len(found) > 3
    assert same.fs.tolist() == found.fs.tolist()
    with pytest.raises(UserError, match="--median-filter=-1"):
        make_peak_finder(replace(PF8, median_filter=-1))


@pytest.mark.golden
def test_a_sample_finds_nearly_the_same_peaks(golden):
    exact, fast = make_peak_finder(PF8), make_peak_finder(replace(PF8, fast=True))
    n_exact, n_fast, n_same = 0, 0, 0
    for frame in golden_run(golden, "multi"):
        expected, found = exact(frame), fast(frame)
        n_exact, n_fast = n_exact + len(expected), n_fast + len(found)
        places = set(zip(expected.panel, np.rint(expected.fs), np.rint(expected.ss), strict=True))
        n_same += len(places & set(zip(found.panel, np.rint(found.fs), np.rint(found.ss), strict=True)))
        again = fast(frame)
        assert again.fs.tolist() == found.fs.tolist()
    assert n_same > 0.9 * n_exact
    assert n_fast < 1.1 * n_exact


def test_bins_smaller_than_the_sample_are_taken_whole():
    rng = np.random.default_rng(55)
    detector = made_detector([(16, 12)], [(-8, -6)])
    frame = made_frame(detector, made_images(rng, "int32", sizes=[(16, 12)], n_spots=2))
    assert_same(make_peak_finder(replace(PF8, fast=True))(frame), naive_peaks.peakfinder8(frame, PF8))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_bad_pixels_that_come_and_go(dtype):
    rng = np.random.default_rng(56)
    detector = made_detector(*TWO_PANELS)
    find_peaks = make_peak_finder(PF8)
    bases = [random_bad(rng, detector).astype(np.uint8) for _ in range(2)]
    for number in range(8):
        base = bases[number // 4]
        bad, ranges = base.copy(), []
        for start in rng.choice(detector.n_pixels // 64 - 1, number % 4, replace=False) * 64:
            bad[start : start + 64] |= rng.random(64) < 0.5
            ranges.append((start, start + 64))
        images = made_images(rng, dtype)
        pixels = np.concatenate([image.ravel() for image in images])
        pixels[bad != 0] = 60000
        frame = replace(made_frame(detector, images), pixels=pixels, bad=bad)
        made = BadMap(pixels=bad, base=base, changes=np.array(ranges, np.int64).reshape(-1, 2))
        assert_same(find_peaks(replace(frame, bad_map=made)), naive_peaks.peakfinder8(frame, PF8))
    # A map that somebody put in place of the loader's counts.
    clear = replace(frame, bad=np.ones_like(bad), bad_map=made)
    assert len(find_peaks(clear)) == 0


def test_unusual_values_of_bad_pixels_are_not_listed():
    detector = made_detector([(10, 3)], [(0, 0)])
    pixels = np.arange(30, dtype=np.uint16) * 10
    masked = np.where(np.arange(30) % 3 == 0, 2, np.arange(30) % 2).astype(np.uint16)
    counts, rare = np.empty((16, 16), np.int32), (np.zeros(30, np.uint16), np.zeros(30))
    n_rare = count_values(pixels, panel_table(detector), masked, 40, 2, counts, *rare)
    kept = [value for value, number in zip(pixels, masked, strict=True) if number < 2 and not 40 <= value < 56]
    assert rare[1][:n_rare].tolist() == kept
    assert counts[:, :2].sum() == 20 - n_rare
    assert count_values(pixels, panel_table(detector), masked, 40, 2, counts, rare[0][:4], rare[1][:4]) > 4


@pytest.mark.parametrize("threshold", [0.0, -5.0, 12.5])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_zaef_with_thresholds_at_and_below_zero(dtype, threshold):
    rng = np.random.default_rng(57)
    detector = made_detector(*TWO_PANELS)
    frame = made_frame(detector, made_images(rng, dtype, background=0.2))
    chosen = PeakSettings(threshold=threshold, min_squared_gradient=50, min_snr=3, radii=(2, 3, 4))
    assert_same(make_peak_finder(chosen)(frame), naive_peaks.zaef(frame, chosen))


FLAGGED = """\
photon_energy = 9000 eV
clen = 0.1 m
res = 10000
adu_per_photon = 1
flag_lessthan = -50
flag_equal = 77
data = image
p/min_fs = 0
p/max_fs = 89
p/min_ss = 0
p/max_ss = 69
p/corner_x = -40
p/corner_y = -30
p/fs = x
p/ss = y
"""
MODULES = (
    filters, flags, peakfinder8, peakfinder9, radial, radial_bins, radial_counts, radial_sums, three_rings, zaef,
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_no_search_compiles_anything_after_the_warm_up(dtype):
    for module in MODULES:
        for each in [np.dtype(dtype), np.dtype("float32")][: 2 * len(signature(module.warm_up).parameters)] or [
            None
        ]:
            module.warm_up(*[each][: len(signature(module.warm_up).parameters)])
    rng = np.random.default_rng(58)
    images = [made_images(rng, dtype, sizes=[(90, 70)])[0] for _ in range(3)]
    images.append(rng.integers(-60, 60000, (70, 90)).astype(dtype))
    before = n_compiled()
    loader = FrameLoader(parse_geometry(FLAGGED), FrameSettings(data_format="msgpack"))
    finders = [make_peak_finder(PeakSettings(method=name, threshold=12)) for name in PEAK_METHODS]
    finders += [make_peak_finder(replace(PF8, fast=True)), make_peak_finder(replace(PF8, median_filter=1))]
    for serial, image in enumerate(images):
        data = {"type": np.dtype(dtype).str, "shape": [70, 90], "data": image.tobytes()}
        frame = loader.from_message(Message(payload=msgspec.msgpack.encode({"image": data}), serial=serial))
        assert frame.bad_map.pixels is frame.bad
        for find_peaks in finders:
            find_peaks(frame)
    assert n_compiled() == before
