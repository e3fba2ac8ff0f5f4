"""Peak searches: against the reference's own lists, and against their rules written out with NumPy."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from braggstream.formats.geom import read_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import MismatchError, UserError
from braggstream.model.frame import FileSlot
from braggstream.model.peaks import SuppliedPeaks
from braggstream.model.settings import FrameSettings, PeakSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.steps.peaks import PEAK_METHODS, make_peak_finder
from braggstream.steps.peaks.supplied import place_peaks
from steps import naive_peaks
from steps.made_frames import made_detector, made_frame

PF8 = PeakSettings(method="peakfinder8", threshold=10, min_snr=5)
REFERENCE_RUNS = {
    "pf8": PF8,
    "pf8b": replace(
        PF8, threshold=20, min_snr=7, min_pix_count=1, max_pix_count=30, local_bg_radius=5, min_res=40, max_res=230
    ),
    "zaef": PeakSettings(threshold=30, min_squared_gradient=2000, min_snr=5),
    "zaef2": PeakSettings(threshold=100, min_squared_gradient=10000, min_snr=6, radii=(3, 4, 5)),
}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]

TWO_PANELS = ([(71, 45), (80, 52)], [(-35, -50), (-41.3, 3.7)])


@cache
def golden_run(folder, name):
    """All frames of a golden file, as the loader gives them."""
    loader = FrameLoader(read_geometry(folder / f"{name}.geom"), FrameSettings())
    frames = [
        loader.from_file(FileSlot(filename=str(folder / f"{name}.h5"), event=f"//{n}", serial=n + 1))
        for n in range(12)
    ]
    return [replace(frame, pixels=frame.pixels.copy(), bad=frame.bad.copy()) for frame in frames]


@pytest.mark.golden
@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("run", REFERENCE_RUNS)
@pytest.mark.parametrize("name", ["single", "multi"])
def test_the_lists_are_those_of_the_reference(golden, name, run, dtype):
    find_peaks = make_peak_finder(REFERENCE_RUNS[run])
    n_peaks = 0
    chunks = {chunk.identity.event: chunk for chunk in read_stream(golden / "streams" / f"{name}-{run}.stream.xz")}
    assert len(chunks) == 12
    for frame in golden_run(golden, name):
        expected = chunks[frame.identity.event].peaks
        found = find_peaks(replace(frame, pixels=frame.pixels.astype(dtype)))
        assert found.panel.tolist() == expected.panel.tolist()
        assert found.fs == pytest.approx(expected.fs, abs=0.02)
        assert found.ss == pytest.approx(expected.ss, abs=0.02)
        # The reference adds up in single precision, so that a background pixel at the very limit may be in or out.
        assert found.intensity == pytest.approx(expected.intensity, rel=0.01, abs=0.3)
        n_peaks += len(found)
    assert n_peaks > 200


def made_images(rng, dtype, *, background=6.0, n_spots=14, sizes=TWO_PANELS[0], low=0.0):
    """Noise with spots, some of them at edges and corners, rounded and clipped to what the type holds."""
    images = []
    for width, height in sizes:
        image = rng.poisson(background, (height, width)).astype(float)
        y, x = np.mgrid[:height, :width]
        for _ in range(n_spots):
            centre = rng.uniform(-1, [width + 1, height + 1])
            if rng.random() < 0.3:
                centre = np.clip(rng.choice([-1e3, 1e3], 2), 0, [width - 1, height - 1]) + rng.uniform(-1, 1, 2)
            size = rng.uniform(0.5, 1.4)
            image += rng.uniform(20, 100) * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 2 / size**2)
        image = np.rint(image + low)
        if np.dtype(dtype).kind in "iu":
            image = np.clip(image, np.iinfo(dtype).min, np.iinfo(dtype).max)
        images.append(image.astype(dtype))
    return images


def random_bad(rng, detector, part=0.03):
    return rng.random(detector.n_pixels) < part


def assert_same(found, expected):
    rows = np.stack([found.panel, found.fs, found.ss, found.intensity], axis=1)
    assert rows.shape == expected.shape
    assert rows == pytest.approx(expected, rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("low", [0.0, -9.0])
def test_peakfinder8_keeps_to_its_rules(dtype, low, seed):
    rng = np.random.default_rng(seed)
    detector = made_detector(*TWO_PANELS)
    images = made_images(rng, dtype, low=low)
    frame = made_frame(detector, images, bad=random_bad(rng, detector))
    chosen = replace(PF8, threshold=4 + low, min_snr=4.5)
    expected = naive_peaks.peakfinder8(frame, chosen)
    assert len(expected) > 5
    assert_same(make_peak_finder(chosen)(frame), expected)


@pytest.mark.parametrize(
    "chosen",
    [
        replace(PF8, min_pix_count=1, max_pix_count=4, local_bg_radius=1),
        replace(PF8, min_snr=3, threshold=0, local_bg_radius=6),
        replace(PF8, min_res=17.5, max_res=41),
        replace(PF8, min_snr=8, threshold=25, max_pix_count=9),
        replace(PF8, min_snr=-1.0, threshold=-50, min_pix_count=1),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_peakfinder8_options(chosen, dtype):
    rng = np.random.default_rng(5)
    detector = made_detector(*TWO_PANELS)
    find_peaks = make_peak_finder(chosen)
    for _ in range(3):
        frame = made_frame(detector, made_images(rng, dtype), bad=random_bad(rng, detector))
        assert_same(find_peaks(frame), naive_peaks.peakfinder8(frame, chosen))


@pytest.mark.parametrize("part", [0.0, 0.05, 0.6])
@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 40.0])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_bins_of_one_value_empty_themselves(dtype, value, part):
    rng = np.random.default_rng(11)
    detector = made_detector(*TWO_PANELS)
    images = [np.full((height, width), value) for width, height in TWO_PANELS[0]]
    for number, spots in enumerate(made_images(rng, np.float64, background=0.0)):
        image = images[number]
        noisy = rng.random(image.shape) < part
        image[noisy] = rng.poisson(5, noisy.sum())
        images[number] = image + spots
    frame = made_frame(detector, [image.astype(dtype) for image in images])
    chosen = replace(PF8, min_pix_count=1)
    assert_same(make_peak_finder(chosen)(frame), naive_peaks.peakfinder8(frame, chosen))


@pytest.mark.parametrize("oddity", [np.nan, np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("is_flagged", [True, False])
def test_peakfinder8_and_values_that_are_no_intensities(oddity, is_flagged):
    rng = np.random.default_rng(12)
    detector = made_detector(*TWO_PANELS)
    images = made_images(rng, np.float32)
    for image in images:
        image[rng.random(image.shape) < 0.02] = oddity
    odd = np.concatenate([image.ravel() for image in images]) == oddity
    odd |= np.isnan(np.concatenate([image.ravel() for image in images]))
    frame = made_frame(detector, images, bad=odd)
    expected = naive_peaks.peakfinder8(frame, PF8)
    assert len(expected) > 5
    find_peaks = make_peak_finder(PF8)
    assert_same(find_peaks(frame), expected)
    if not is_flagged:
        # Whatever comes out, it is finite, and the next frame is none the worse.
        wild = find_peaks(replace(frame, bad=np.zeros_like(frame.bad)))
        assert np.isfinite(wild.fs).all()
        assert_same(find_peaks(frame), expected)


@pytest.mark.parametrize("dtype", ["uint16", "int64", "uint64"])
def test_peakfinder8_with_values_at_the_end_of_the_type(dtype):
    rng = np.random.default_rng(13)
    detector = made_detector(*TWO_PANELS)
    images = made_images(rng, dtype)
    flagged = []
    for image in images:
        odd = rng.random(image.shape) < 0.04
        image[odd] = np.iinfo(dtype).max
        flagged.append(odd.ravel())
    frame = made_frame(detector, images, bad=np.concatenate(flagged))
    expected = naive_peaks.peakfinder8(frame, PF8)
    assert len(expected) > 5
    assert_same(make_peak_finder(PF8)(frame), expected)


@pytest.mark.parametrize("dtype", ["uint64", "int64", "int32", "float32"])
def test_a_frame_that_is_all_at_the_end_of_its_type_has_no_peaks(dtype):
    detector = made_detector(*TWO_PANELS)
    end = np.finfo(dtype).max if dtype == "float32" else np.iinfo(dtype).max
    frame = made_frame(detector, [np.full((height, width), end, dtype) for width, height in TWO_PANELS[0]])
    assert len(make_peak_finder(PF8)(frame)) == 0


def test_peakfinder8_with_values_too_many_to_count():
    rng = np.random.default_rng(14)
    detector = made_detector(*TWO_PANELS)
    images = [rng.integers(0, 60000, (height, width), dtype=np.int32) for width, height in TWO_PANELS[0]]
    for image in images:
        image[10:12, 20:23] = 900000
    frame = made_frame(detector, images)
    expected = naive_peaks.peakfinder8(frame, PF8)
    assert len(expected) >= 1
    assert_same(make_peak_finder(PF8)(frame), expected)


@pytest.mark.parametrize("name", ["peakfinder8", "zaef"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_saturated_peaks(name, dtype):
    rng = np.random.default_rng(15)
    detector = made_detector(*TWO_PANELS, max_adu=np.array([50.0, 70.0]))
    frame = made_frame(detector, made_images(rng, dtype))
    with_them = PeakSettings(method=name, threshold=15, min_snr=4, min_squared_gradient=100, radii=(2, 3, 4))
    without = replace(with_them, use_saturated=False)
    for chosen in (with_them, without):
        assert_same(make_peak_finder(chosen)(frame), getattr(naive_peaks, name)(frame, chosen))
    assert 0 < len(make_peak_finder(without)(frame)) < len(make_peak_finder(with_them)(frame))


def test_peakfinder8_stops_at_its_budget():
    rng = np.random.default_rng(16)
    detector = made_detector([(300, 120), (300, 120)], [(-150, -130), (-150, 5)], max_adu=np.array([400.0, np.inf]))
    images = []
    for _ in range(2):
        image = rng.poisson(5, (120, 300)).astype(np.int32)
        image[2:-2:5, 2:-2:5] += rng.integers(200, 600, image[2:-2:5, 2:-2:5].shape)
        images.append(image)
    frame = made_frame(detector, images)
    for use_saturated in (True, False):
        chosen = replace(PF8, min_pix_count=1, local_bg_radius=2, use_saturated=use_saturated)
        found = make_peak_finder(chosen)(frame)
        assert_same(found, naive_peaks.peakfinder8(frame, chosen))
        # Saturated peaks use up the budget even where they are left out.
        assert (len(found) == 2048) == use_saturated


def test_panels_of_one_and_two_pixels():
    rng = np.random.default_rng(17)
    sizes = [(1, 1), (2, 30), (30, 2), (3, 3), (66, 12), (67, 12), (65, 3)]
    detector = made_detector(sizes, [(10 * number, -20) for number in range(7)])
    find_peaks = make_peak_finder(replace(PF8, min_snr=2))
    for dtype in ("uint16", "float32"):
        frame = made_frame(detector, made_images(rng, dtype, sizes=sizes, n_spots=2))
        assert_same(find_peaks(frame), naive_peaks.peakfinder8(frame, replace(PF8, min_snr=2)))


def test_panels_that_lie_side_by_side_in_the_data():
    rng = np.random.default_rng(18)
    sizes = [(40, 50), (45, 50)]
    detector = made_detector(sizes, [(-40, -20), (3, -25)])
    images = made_images(rng, "int16", sizes=sizes)
    frame = made_frame(detector, images)
    table = frame.panel_table.copy()
    table[:, 0], table[:, 1] = [0, 40], 85
    beside = replace(frame, pixels=np.ascontiguousarray(np.hstack(images)).ravel(), panel_table=table)
    for chosen in (PF8, PeakSettings(threshold=15, min_squared_gradient=100, radii=(2, 3, 4))):
        found, same = make_peak_finder(chosen)(frame), make_peak_finder(chosen)(beside)
        assert len(found) > 5
        assert same.fs.tolist() == found.fs.tolist()
        assert same.intensity.tolist() == found.intensity.tolist()


@pytest.mark.parametrize("radii", [(2, 3, 4), (2.5, 3.5, 5.2), (4, 5, 7), (1.0, 1.0, 2.9)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_zaef_keeps_to_its_rules(dtype, radii):
    rng = np.random.default_rng(21)
    detector = made_detector(*TWO_PANELS, adu_per_photon=np.array([1.0, 7.5]))
    chosen = PeakSettings(threshold=15, min_squared_gradient=150, min_snr=3, radii=radii)
    n_found = 0
    for _ in range(2):
        images = made_images(rng, dtype)
        frame = made_frame(detector, images, bad=random_bad(rng, detector, 0.002))
        expected = naive_peaks.zaef(frame, chosen)
        assert_same(make_peak_finder(chosen)(frame), expected)
        n_found += len(expected)
    assert n_found > 3


def test_zaef_where_there_is_no_background_to_speak_of():
    rng = np.random.default_rng(22)
    detector = made_detector(*TWO_PANELS, adu_per_photon=np.zeros(2))
    chosen = PeakSettings(threshold=15, min_squared_gradient=150, radii=(2, 3, 4))
    images = [np.zeros((height, width), np.int32) for width, height in TWO_PANELS[0]]
    images[0][20, 30], images[1][9, 70] = 400, 90
    frame = made_frame(detector, images)
    assert len(make_peak_finder(chosen)(frame)) == 2
    nan = [np.where(rng.random(image.shape) < 0.3, np.nan, image).astype(np.float32) for image in images]
    flagged = np.isnan(np.concatenate([image.ravel() for image in nan]))
    assert np.isfinite(make_peak_finder(chosen)(made_frame(detector, nan, bad=flagged)).fs).all()


def test_zaef_makes_room_for_many_peaks():
    image = np.zeros((402, 402), np.uint16)
    image[5::6, 5::6] = 1000
    frame = made_frame(made_detector([(402, 402)], [(-200, -200)]), [image])
    found = make_peak_finder(PeakSettings(radii=(1.5, 2, 2.5)))(frame)
    assert len(found) == 66**2
    assert found.fs % 6 == pytest.approx(np.full(66**2, 5.5))
    assert found.intensity == pytest.approx(np.full(66**2, 1000.0))


def slab_detector(**columns):
    """Two panels beside each other and one that overlaps the second in the data."""
    given = {"min_fs": np.array([0, 40, 70]), "min_ss": np.array([100, 100, 110])} | columns
    return made_detector([(40, 30), (40, 30), (40, 30)], [(-60, 0), (0, 0), (60, 0)], **given)


def supplied(positions, panel=None):
    fs, ss = np.array(positions, float).T
    return SuppliedPeaks(fs=fs, ss=ss, intensity=np.arange(1.0, len(fs) + 1), panel=panel)


def test_supplied_peaks_find_their_panels():
    peaks = supplied(
        [(0, 100), (39.4, 129.4), (39.6, 105), (-0.6, 100), (-0.4, 99.6), (75, 115), (75, 105), (10, 50)]
    )
    placed = place_peaks(peaks, slab_detector(), 0.5)
    # The fourth lies before the first panel, the sixth on two panels, the last on none.
    assert placed.panel.tolist() == [0, 0, 1, 0, 1]
    assert placed.fs == pytest.approx([0.5, 39.9, 0.1, 0.1, 35.5])
    assert placed.ss == pytest.approx([0.5, 29.9, 5.5, 0.1, 5.5])
    assert placed.intensity.tolist() == [1, 2, 3, 5, 7]
    unmoved = place_peaks(peaks, slab_detector(), 0.0)
    assert unmoved.panel.tolist() == [0, 0, 0, 1]
    assert unmoved.fs == pytest.approx([0, 39.4, 39.6, 35])


def test_peaks_that_name_their_panel_do_not_mind_an_overlap():
    peaks = supplied([(75, 115), (75, 115), (75, 105)], panel=("p1", "p2", "p2"))
    placed = place_peaks(peaks, slab_detector(), 0.5)
    assert placed.panel.tolist() == [1, 2]
    assert placed.fs == pytest.approx([35.5, 5.5])
    assert placed.ss == pytest.approx([15.5, 5.5])
    with pytest.raises(MismatchError, match="p9"):
        place_peaks(supplied([(1, 1)], panel=("p9",)), slab_detector(), 0.5)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["fs", "ss", "intensity"])
def test_supplied_peaks_that_are_no_numbers_are_dropped(column, number):
    peaks = supplied([(1, 101), (2, 102)])
    spoiled = getattr(peaks, column).copy()
    spoiled[0] = number
    placed = place_peaks(replace(peaks, **{column: spoiled}), slab_detector(), 0.5)
    assert placed.fs.tolist() == [2.5]


@pytest.mark.parametrize("method", ["cxi", "hdf5", "msgpack"])
@pytest.mark.parametrize("use_saturated", [True, False])
@pytest.mark.parametrize("check_snr", [True, False])
def test_supplied_peaks_are_integrated_again(method, use_saturated, check_snr):
    rng = np.random.default_rng(31)
    sizes = [(40, 30), (40, 30), (40, 30)]
    detector = slab_detector(max_adu=np.array([60.0, 60.0, 60.0]), adu_per_photon=np.array([1.0, 2.0, 3.0]))
    frame = made_frame(detector, made_images(rng, "int32", sizes=sizes), bad=random_bad(rng, detector, 0.004))
    peaks = supplied(rng.uniform([-2, 98], [112, 142], (1500, 2)))
    chosen = PeakSettings(
        method=method, radii=(2.9, 3.9, 4.9), min_snr=4, use_saturated=use_saturated, check_snr=check_snr
    )
    found = make_peak_finder(chosen)(replace(frame, supplied_peaks=peaks))
    expected = []
    placed = place_peaks(peaks, detector, 0.5)
    for panel, fs, ss in zip(placed.panel, placed.fs, placed.ss, strict=True):
        image, bad = frame.panel_pixels(panel), frame.panel_bad(panel)
        measured = naive_peaks.three_rings(
            image, bad, (int(fs), int(ss)), (2, 3, 4), detector.max_adu[panel], detector.adu_per_photon[panel]
        )
        if measured is None or (measured[4] and not use_saturated):
            continue
        if not check_snr or abs(measured[2]) / measured[3] >= 4:
            expected.append((panel, fs, ss, measured[2]))
    assert 5 < len(expected) < len(placed)
    assert_same(found, np.array(expected))
    untouched = make_peak_finder(replace(chosen, revalidate=False))(replace(frame, supplied_peaks=peaks))
    assert untouched.intensity.tolist() == placed.intensity.tolist()


def test_without_an_image_no_supplied_peak_can_be_integrated():
    detector = slab_detector()
    frame = made_frame(detector, [np.zeros((30, 40), np.uint8)] * 3, supplied_peaks=supplied([(20, 115)]))
    assert len(make_peak_finder(PeakSettings(method="cxi"))(frame)) == 0
    assert len(make_peak_finder(PeakSettings(method="cxi", revalidate=False))(frame)) == 1


@pytest.mark.parametrize("method", PEAK_METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_frame_has_no_peaks(method, dtype):
    frame = made_frame(made_detector(*TWO_PANELS), [np.zeros((h, w), dtype) for w, h in TWO_PANELS[0]])
    for bad in (frame.bad, np.ones_like(frame.bad)):
        found = make_peak_finder(PeakSettings(method=method))(replace(frame, bad=bad))
        assert len(found) == 0
        assert found.fs.dtype == np.float64


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="peakfinder8"):
        make_peak_finder(PeakSettings(method="magic"))


def test_a_finder_follows_the_detector():
    rng = np.random.default_rng(41)
    find_peaks = make_peak_finder(PF8)
    for shift in (0.0, 30.0, 0.0):
        corners = np.array(TWO_PANELS[1]) + shift
        frame = made_frame(made_detector(TWO_PANELS[0], corners), made_images(rng, "uint16"))
        assert_same(find_peaks(frame), naive_peaks.peakfinder8(frame, PF8))
