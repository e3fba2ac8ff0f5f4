"""Centres of spots: nearer to where the photons come from than the listed positions, and never far from these."""

import numpy as np
import pytest

from braggstream.kernels.spot_centres import centre_spots
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks import make_peak_finder
from braggstream.steps.spot_centres import at_spot_centres
from braggstream.steps.view import PeakView
from steps.made_frames import made_detector, made_frame

SIZE = (60, 50)


def spot(fs, ss, photons, sigma=1.0, size=SIZE):
    """Mean photons of a spot, float64[ss, fs]."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    return photons / (2 * np.pi * sigma**2) * np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / (2 * sigma**2))


def view_of(frame, *peaks):
    return PeakView.of(frame, PeakTable.from_columns(*zip(*peaks, strict=True)), 0.0)


def centres(frame, *peaks):
    found = at_spot_centres(frame, view_of(frame, *peaks)).peaks
    return np.stack([found.fs, found.ss], axis=1)


def naive_centre(image, bad, peak, gain=1.0):
    """One step of scoring, pixel by pixel."""
    fs, ss, intensity = peak
    columns, rows = (range(int(place) - 3, int(place) + 4) for place in (fs, ss))
    window = [(x, y) for y in rows for x in columns if not bad[y, x]]
    rim = [(x, y) for x, y in window if x in (columns[0], columns[-1]) or y in (rows[0], rows[-1])]
    background = np.array([image[y, x] for x, y in rim], float)
    mean, variance = background.mean(), max(background.var(), 1e-6)
    values = np.array([image[y, x] for x, y in window]) - mean
    dx, dy = np.array(window).T + 0.5 - np.array([[fs], [ss]])
    share = np.exp(-(dx**2 + dy**2) / 2)
    height = (share * values).sum() / (share**2).sum()
    if len(rim) < 12 or height <= 0 or intensity > 2.5 * 2 * np.pi * height:
        return fs, ss
    # The likelihood's slope and its information, of each coordinate by itself.
    slopes, noise = height * share * np.array([dx, dy]), height * share * gain + variance
    shift = (slopes * (values - height * share) / noise).sum(axis=1) / (slopes**2 / noise).sum(axis=1)
    return (fs, ss) if (np.abs(shift) >= 1).any() else (fs + shift[0], ss + shift[1])


@pytest.mark.parametrize("dtype", ["int32", "uint16", "float32"])
@pytest.mark.parametrize("gain", [1.0, 12.0])
def test_centres_are_those_of_the_formula(dtype, gain):
    rng = np.random.default_rng(3)
    detector = made_detector([SIZE, SIZE], [(-70, -20), (10, -20)], adu_per_photon=np.full(2, gain))
    places = [(k % 2, *rng.uniform(8, 40, 2), rng.uniform(30, 900)) for k in range(12)]
    means = [sum(spot(fs, ss, n) for panel, fs, ss, n in places if panel == p) + 3 for p in (0, 1)]
    images = [(gain * rng.poisson(mean)).astype(dtype) for mean in means]
    bad = rng.random((2, SIZE[1], SIZE[0])) < 0.03
    for image, flags in zip(images, bad, strict=True):
        image[flags] = np.nan if dtype == "float32" else 60000
    peaks = [(panel, fs + rng.normal(0, 0.3), ss + rng.normal(0, 0.3), gain * n) for panel, fs, ss, n in places]
    frame = made_frame(detector, images, bad=bad.ravel())
    expected = [naive_centre(images[panel], bad[panel], peak, gain) for panel, *peak in peaks]
    assert centres(frame, *peaks) == pytest.approx(np.array(expected), abs=1e-9)
    listed = np.array(peaks)
    plain = np.empty((2, len(peaks)))
    arguments = frame.pixels, frame.panel_table, frame.bad, detector.adu_per_photon
    listed_columns = np.ascontiguousarray(listed[:, 1:].T)
    n_found = centre_spots.py_func(*arguments, listed[:, 0].astype(np.int32), listed_columns, plain)
    np.testing.assert_allclose(plain.T, expected, atol=1e-9)
    assert n_found >= 9


def test_weak_spots_are_better_placed_than_by_the_search():
    rng = np.random.default_rng(5)
    detector = made_detector([(400, 400)], [(-200, -200)])
    true = np.stack(np.meshgrid(np.arange(20, 380, 20.0), np.arange(20, 380, 20.0)), axis=-1).reshape(-1, 2)
    true += rng.uniform(-0.5, 0.5, true.shape)
    mean = 4.0 + sum(spot(fs, ss, 110, size=(400, 400)) for fs, ss in true)
    frame = made_frame(detector, [rng.poisson(mean).astype(np.int32)])
    peaks = make_peak_finder(PeakSettings(method="peakfinder8", threshold=10))(frame)
    view = PeakView.of(frame, peaks, 0.0)
    found = at_spot_centres(frame, view)
    assert len(peaks) > 200

    def scatter(table):
        away = np.stack([table.fs, table.ss], axis=1)[:, None] - true[None]
        return np.median(np.abs(away).max(axis=2).min(axis=1))

    assert scatter(found.peaks) < 0.75 * scatter(peaks)
    assert (found.peaks.intensity == peaks.intensity).all()
    expected = detector.scattering_vectors(found.peaks.panel, found.peaks.fs, found.peaks.ss, frame.wavelength)
    assert (found.q == expected).all()
    assert (view.peaks.fs == peaks.fs).all()


def test_peaks_that_show_no_such_spot_stay_where_they_are():
    detector = made_detector([SIZE], [(-30, -25)])
    flat = np.full(SIZE[::-1], 5, np.int32)
    wide = np.rint(5 + spot(30.3, 25.2, 9000, sigma=3.0)).astype(np.int32)
    far = np.rint(5 + spot(32.5, 25.0, 500)).astype(np.int32)
    for image, place in (
        (flat, (0, 30.2, 25.1, 100.0)),
        (flat - spot(30.5, 25.5, 20).astype(np.int32), (0, 30.2, 25.1, 100.0)),
        (wide, (0, 30.0, 25.0, 9000.0)),
        (far, (0, 30.0, 25.0, 400.0)),
    ):
        assert centres(made_frame(detector, [image]), place).tolist() == [list(place[1:3])]
    bad = np.ones(SIZE[::-1], bool)
    bad[24:27, 29:32] = False
    image = np.rint(5 + spot(30.5, 25.5, 500)).astype(np.int32)
    assert centres(made_frame(detector, [image], bad=bad.ravel()), (0, 30.2, 25.1, 400.0)).tolist() == [
        [30.2, 25.1]
    ]


@pytest.mark.parametrize(
    ("fs", "ss", "moves"),
    [
        (2.9, 20, False),
        (3.1, 20, True),
        (55.9, 20, True),
        (56.1, 20, False),
        (20, 2.9, False),
        (20, 3.1, True),
        (20, 46.9, True),
        (20, 47.1, False),
    ],
)
def test_a_window_that_leaves_the_panel_tells_no_centre(fs, ss, moves):
    detector = made_detector([SIZE, SIZE, SIZE], [(-70, -25), (10, -25), (90, -25)])
    image = np.rint(5 + spot(fs + 0.2, ss, 900)).astype(np.int32)
    frame = made_frame(detector, [image, image, image])
    for panel in range(3):
        expected = [fs + 0.2, ss] if moves else [fs, ss]
        assert centres(frame, (panel, fs, ss, 800.0))[0] == pytest.approx(expected, abs=0.05 if moves else 0)


@pytest.mark.parametrize("kernel", [centre_spots, centre_spots.py_func])
def test_positions_that_are_no_places_stay(kernel):
    detector = made_detector([SIZE], [(-30, -25)])
    frame = made_frame(detector, [np.full(SIZE[::-1], 5, np.int32)])
    peaks, found = np.array([[np.nan, 1e300, -5.0], [20.0, 20.0, -np.inf], [1.0, 1.0, 1.0]]), np.zeros((2, 3))
    arguments = frame.pixels, frame.panel_table, frame.bad, detector.adu_per_photon, np.zeros(3, np.int32)
    assert kernel(*arguments, peaks, found) == 0
    assert np.array_equal(found, peaks[:2], equal_nan=True)


def test_without_an_image_or_without_peaks_nothing_happens():
    detector = made_detector([SIZE], [(-30, -25)])
    image = np.rint(5 + spot(30.5, 25.5, 500)).astype(np.int32)
    blank = made_frame(detector, [image], has_image=False)
    view = view_of(blank, (0, 30.2, 25.1, 400.0))
    assert at_spot_centres(blank, view) is view
    nothing = PeakView.of(blank, PeakTable.empty(), 0.0)
    assert at_spot_centres(made_frame(detector, [image]), nothing) is nothing
