"""Rings and profiles, against their rules written out with NumPy and against the reference's reflections."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from braggstream.formats.geom import read_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.model.crystal import Crystal, ReflectionTable
from braggstream.model.errors import UserError
from braggstream.model.frame import FileSlot
from braggstream.model.settings import FrameSettings, IntegrationSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.steps.integration import make_integrator
from braggstream.steps.prediction import predict_reflections
from steps import naive_rings
from steps.made_frames import made_detector, made_frame

SIZES = [(90, 70), (64, 80)]
MODES = [
    {"centre": centre, "gradient": gradient, "keep_saturated": keep}
    for centre, gradient, keep in product([False, True], repeat=3)
]
MODE_NAMES = ["-".join(name for name in mode if mode[name]) or "plain" for mode in MODES]


def predictions(panel, places):
    n = len(panel)
    fs, ss = np.array(places, float).reshape(n, 2).T
    return ReflectionTable.predicted(
        hkl=np.arange(3 * n, dtype=np.int32).reshape(n, 3),
        panel=np.array(panel, np.int32),
        fs=fs.copy(),
        ss=ss.copy(),
        excitation_error=np.linspace(-1e-3, 1e-3, n),
        partiality=np.linspace(0.3, 1, n),
    )


def crystal_with(table):
    return Crystal(reciprocal_axes=np.eye(3) / 50, reflections=table)


def crowded(rng, dtype, *, n=150, slope=0.0, **columns):
    """Two panels full of spots, and the predictions of two crystals, near spots and elsewhere."""
    detector = made_detector(
        SIZES, [(-95, -30), (5, -40)], adu_per_photon=np.array([1.0, 4.5]), max_adu=np.array([400.0, 900.0])
    )
    images, panels, places = [], [], []
    for number, (width, height) in enumerate(SIZES):
        y, x = np.mgrid[:height, :width]
        image = rng.poisson(8 + slope * x + slope / 2 * y).astype(float)
        spots = rng.uniform(-2, [width + 2, height + 2], (n // 2, 2))
        for fs, ss in spots:
            image += rng.exponential(150) * np.exp(-((x + 0.5 - fs) ** 2 + (y + 0.5 - ss) ** 2) / 2)
        images.append(np.rint(np.clip(image - (3 if np.dtype(dtype).kind != "u" else 0), -50, 60000)).astype(dtype))
        given = np.clip(spots + rng.normal(size=spots.shape) * 0.8, 0, [width - 1e-6, height - 1e-6])
        panels += [number] * len(given)
        places.append(given)
    bad = rng.random(detector.n_pixels) < 0.004
    frame = made_frame(detector, images, bad=bad, **columns)
    order = rng.permutation(len(panels))
    panels, places = np.array(panels)[order], np.concatenate(places)[order]
    half = len(panels) // 3
    return frame, [predictions(panels[:half], places[:half]), predictions(panels[half:], places[half:])]


def fits_on_panel(table, detector, outer):
    """Whether the box of each reflection, 2 outer + 1 pixels wide, lies on its panel."""
    fits = []
    for panel, fs, ss in zip(table.panel, table.fs, table.ss, strict=True):
        pixels = [(int(np.floor(fs)), detector.width[panel]), (int(np.floor(ss)), detector.height[panel])]
        fits.append(all(outer <= pixel <= length - 1 - outer for pixel, length in pixels))
    return fits


def assert_as_naive(frame, tables, settings):
    """Same reflections kept, same numbers, same counts; gives the number kept, left out and saturated."""
    crystals, complaints = make_integrator(settings)(frame, tuple(crystal_with(table) for table in tables))
    naive = naive_rings.profile_fitted if settings.method == "prof2d" else naive_rings.integrated
    expected = naive(frame, tables, settings)
    n_kept, n_lost, n_saturated = 0, 0, 0
    n_complaints = 0
    for crystal, table, rows in zip(crystals, tables, expected, strict=True):
        good = [row is not None and (settings.keep_saturated or not row[6]) for row in rows]
        plausible = [fine and row[0] >= -5 * row[1] for fine, row in zip(good, rows, strict=True)]
        kept = np.flatnonzero(plausible)
        numbers = np.array([rows[k][:6] for k in kept]).reshape(-1, 6)
        found = crystal.reflections
        assert found.hkl.tolist() == table.hkl[kept].tolist()
        assert found.intensity == pytest.approx(numbers[:, 0], rel=1e-9, abs=1e-7)
        assert found.sigma == pytest.approx(numbers[:, 1], rel=1e-9)
        assert found.peak_value == pytest.approx(numbers[:, 2])
        assert found.background == pytest.approx(numbers[:, 3])
        assert found.fs == pytest.approx(table.fs[kept] + numbers[:, 4])
        assert found.ss == pytest.approx(table.ss[kept] + numbers[:, 5])
        assert found.partiality.tolist() == table.partiality[kept].tolist()
        assert crystal.n_saturated == sum(row is not None and row[6] for row in rows)
        assert crystal.n_implausible == sum(good) - sum(plausible)
        fits = fits_on_panel(table, frame.detector, int(settings.radii[2]))
        n_complaints += sum(on and not fine for on, fine in zip(fits, good, strict=True)) > 0.25 * sum(fits)
        n_kept, n_lost = n_kept + len(kept), n_lost + len(rows) - len(kept)
        n_saturated += crystal.n_saturated
    assert len(complaints) == n_complaints
    return n_kept, n_lost, n_saturated


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize("slope", [0.0, 0.6])
@pytest.mark.parametrize("seed", range(2))
def test_crowded_frames(mode, slope, seed):
    rng = np.random.default_rng(seed)
    frame, tables = crowded(rng, "int32", slope=slope)
    n_kept, n_lost, n_saturated = assert_as_naive(frame, tables, IntegrationSettings(radii=(3, 4, 6), **mode))
    assert n_kept > 10
    assert n_lost > 10
    assert n_saturated > 0


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize("slope", [0.0, 0.6])
def test_profiles_of_crowded_frames(mode, slope):
    frame, tables = crowded(np.random.default_rng(3), "int32", slope=slope)
    settings = IntegrationSettings(method="prof2d", radii=(3, 4, 6), **mode)
    n_kept, n_lost, _ = assert_as_naive(frame, tables, settings)
    assert n_kept > 10
    assert n_lost > 10


def test_profiles_measure_weak_spots_better_than_sums():
    rng = np.random.default_rng(12)
    detector = made_detector([(300, 300)], [(-150, -150)])
    places = np.stack(np.meshgrid(*[np.arange(10, 290, 15)] * 2), -1).reshape(-1, 2) + 0.5
    true = rng.exponential(300, len(places)) + 50
    y, x = np.mgrid[:300, :300] + 0.5
    mean = np.full((300, 300), 4.0)
    for (fs, ss), intensity in zip(places, true, strict=True):
        mean += intensity / (2 * np.pi) * np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / 2)
    frame = made_frame(detector, [rng.poisson(mean).astype(np.int32)])
    errors = {}
    for method in ("rings", "prof2d"):
        settings = IntegrationSettings(method=method)
        (crystal,), _ = make_integrator(settings)(frame, (crystal_with(predictions([0] * len(places), places)),))
        kept = crystal.reflections.hkl[:, 0] // 3
        ratio = crystal.reflections.intensity / true[kept]
        assert np.median(ratio) == pytest.approx(1, abs=0.05)
        errors[method] = np.sqrt(np.mean((crystal.reflections.intensity - true[kept])[true[kept] < 200] ** 2))
    assert errors["prof2d"] < 0.8 * errors["rings"]


def test_without_strong_reflections_there_is_no_profile():
    frame = made_frame(made_detector([(60, 60)], [(-30, -30)]), [np.full((60, 60), 9, np.int32)])
    (crystal,), complaints = make_integrator(IntegrationSettings(method="prof2d"))(
        frame, (crystal_with(predictions([0, 0], [(20, 20), (40, 40)])),)
    )
    assert len(crystal.reflections) == 0
    assert complaints == ["2 of 2 reflections could not be integrated"]


def test_reflections_at_edges_of_panels_are_not_worth_a_warning():
    frame = made_frame(made_detector([(40, 40)], [(-20, -20)]), [np.full((40, 40), 9, np.int32)])
    at_edges, inside = [(3, 20), (20, 6.9), (33.1, 20), (39.5, 39.5)], [(20, 20), (10, 30), (7, 32.9)]
    table = predictions([0] * 7, at_edges + inside)
    (crystal,), complaints = make_integrator(IntegrationSettings())(frame, (crystal_with(table),))
    assert len(crystal.reflections) == 3 and complaints == []
    bad = np.zeros((40, 40), np.bool_)
    bad[20, 20] = True
    frame = made_frame(frame.detector, [np.full((40, 40), 9, np.int32)], bad=bad.ravel())
    _, complaints = make_integrator(IntegrationSettings())(frame, (crystal_with(table),))
    assert complaints == ["1 of 3 reflections could not be integrated, 4 at edges of panels aside"]


def test_nothing_is_left_from_the_frame_before():
    frame, tables = crowded(np.random.default_rng(4), "int32")
    integrate = make_integrator(IntegrationSettings(radii=(3, 4, 6), centre=True))
    first = integrate(frame, tuple(crystal_with(table) for table in tables))
    again = integrate(frame, tuple(crystal_with(table) for table in tables))
    for one, other in zip(first[0], again[0], strict=True):
        assert one.reflections.intensity.tolist() == other.reflections.intensity.tolist()


@pytest.mark.parametrize("radii", [(6, 8, 10), (4, 9, 17), (18, 3, 5)])
def test_boxes_of_more_than_a_word_and_peaks_larger_than_boxes(radii):
    for seed in range(3):
        frame, tables = crowded(np.random.default_rng(seed), "int32", n=24)
        for centre in (False, True):
            assert_as_naive(frame, tables, IntegrationSettings(radii=radii, centre=centre, keep_saturated=True))


@pytest.mark.parametrize("size", [(9, 9), (15, 15), (16, 15), (17, 40), (40, 17), (33, 33)])
@pytest.mark.parametrize("radii", [(2, 3, 4), (4, 5, 7), (6, 8, 16)])
def test_boxes_that_end_where_the_panel_and_the_data_do(size, radii):
    rng = np.random.default_rng(13)
    width, height = size
    images = [rng.poisson(20, (height, width)).astype(np.uint16) for _ in range(2)]
    frame = made_frame(
        made_detector([size, size], [(-60, 0), (10, 0)]), images, bad=rng.random(2 * width * height) < 0.01
    )
    ends = [(x, y) for x in (radii[2], width - radii[2] - 1) for y in (radii[2], height - radii[2] - 1)]
    inside = [(x + 0.5, y + 0.5) for x, y in ends if 0 <= x < width and 0 <= y < height]
    for places in (inside[:1], inside):
        table = predictions([0] * len(places) + [1] * len(places), places * 2)
        assert_as_naive(frame, [table], IntegrationSettings(radii=radii))
        assert_as_naive(frame, [table], IntegrationSettings(radii=radii, centre=True, gradient=True))


def test_a_frame_smaller_than_a_vector():
    frame = made_frame(made_detector([(3, 3)], [(0, 0)]), [np.ones((3, 3), np.int32)])
    (crystal,), _ = make_integrator(IntegrationSettings(radii=(1, 1, 1)))(
        frame, (crystal_with(predictions([0], [(1.5, 1.5)])),)
    )
    assert len(crystal.reflections) == 0


def test_pixels_that_are_not_numbers_count_where_they_are_used():
    image = np.random.default_rng(14).poisson(10, (40, 40)).astype(np.float32)
    image[20, 20] = image[5, 5] = np.nan
    frame = made_frame(made_detector([(40, 40)], [(0, 0)]), [image])
    for place in ((20.5, 20.5), (26.5, 20.5), (32.5, 32.5)):
        table = predictions([0], [place])
        (crystal,), _ = make_integrator(IntegrationSettings())(frame, (crystal_with(table),))
        touched = (place[0] - 20.5) < 7
        assert len(crystal.reflections) == (0 if touched else 1)


def test_many_crystals_on_each_other():
    rng = np.random.default_rng(15)
    frame, tables = crowded(rng, "int32", n=40)
    for count in (2, 5):
        assert_as_naive(frame, tables * count, IntegrationSettings(radii=(3, 4, 6), centre=True))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint64", "float32", "float64"])
@pytest.mark.parametrize("radii", [(2, 3, 4), (2.9, 3.9, 5.9), (4, 5, 7), (3, 3, 3)])
def test_pixels_of_all_types_and_rings_of_all_sizes(dtype, radii):
    frame, tables = crowded(np.random.default_rng(5), dtype, n=70)
    assert_as_naive(frame, tables, IntegrationSettings(radii=radii, gradient=True))
    assert_as_naive(frame, tables, IntegrationSettings(radii=radii, centre=True, keep_saturated=True))


def test_a_map_of_saturation_levels():
    rng = np.random.default_rng(6)
    n = sum(width * height for width, height in SIZES)
    saturation = np.where(rng.random(n) < 0.3, 60.0, np.inf).astype(np.float32)
    frame, tables = crowded(rng, "uint16", saturation=saturation)
    _, _, with_map = assert_as_naive(frame, tables, IntegrationSettings(radii=(3, 4, 6)))
    _, _, without = assert_as_naive(replace(frame, saturation=None), tables, IntegrationSettings(radii=(3, 4, 6)))
    assert with_map > without


def test_a_spot_on_a_flat_background_is_added_up():
    image = np.full((40, 40), 7, np.int32)
    image[20, 20], image[21, 20] = 107, 57
    frame = made_frame(made_detector([(40, 40)], [(-20, -20)], adu_per_photon=np.array([2.0])), [image])
    table = predictions([0], [(20.4, 20.9)])
    (crystal,), complaints = make_integrator(IntegrationSettings(radii=(3, 4, 6)))(frame, (crystal_with(table),))
    found = crystal.reflections
    assert found.intensity.tolist() == [150.0]
    assert found.sigma == pytest.approx([np.sqrt(2 * 150)])
    assert (found.peak_value[0], found.background[0]) == (107, 7)
    assert complaints == []


def test_sigma_tells_the_scatter_of_repeated_measurements():
    rng = np.random.default_rng(7)
    intensities, sigmas = [], []
    detector = made_detector([(200, 200)], [(-100, -100)])
    places = np.stack(np.meshgrid(*[np.arange(10, 190, 15)] * 2), -1).reshape(-1, 2) + 0.5
    y, x = np.mgrid[:200, :200] + 0.5
    mean = np.full((200, 200), 20.0)
    for fs, ss in places:
        mean += 60 * np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / 2)
    integrate = make_integrator(IntegrationSettings(radii=(3, 4, 6)))
    for _ in range(10):
        frame = made_frame(detector, [rng.poisson(mean).astype(np.int32)])
        (crystal,), _ = integrate(frame, (crystal_with(predictions([0] * len(places), places)),))
        intensities.append(crystal.reflections.intensity)
        sigmas.append(crystal.reflections.sigma)
    scatter = np.sqrt(np.var(intensities, axis=0, ddof=1).mean())
    # The error of the mean background is not part of sigma.
    assert np.mean(sigmas) == pytest.approx(scatter, rel=0.2)
    assert np.mean(intensities) == pytest.approx(60 * 2 * np.pi, rel=0.05)


def test_pits_are_implausible():
    image = np.full((60, 60), 100.0)
    image += np.random.default_rng(8).normal(size=image.shape)
    image[28:33, 28:33] -= 60
    frame = made_frame(made_detector([(60, 60)], [(-30, -30)]), [image.astype(np.float32)])
    table = predictions([0, 0], [(30.5, 30.5), (12.5, 12.5)])
    (crystal,), _ = make_integrator(IntegrationSettings(radii=(3, 4, 6)))(frame, (crystal_with(table),))
    assert crystal.n_implausible == 1
    assert crystal.reflections.hkl.tolist() == [[3, 4, 5]]


@pytest.mark.parametrize("mode", MODES, ids=MODE_NAMES)
@pytest.mark.parametrize("method", ["rings", "prof2d"])
def test_without_an_image_all_intensities_are_zero(mode, method):
    gains = np.array([1.5, 3.0])
    detector = made_detector(SIZES, [(-95, -30), (5, -40)], adu_per_photon=gains)
    frame = made_frame(detector, [np.zeros((height, width), np.uint8) for width, height in SIZES])
    table = predictions([0, 0, 1], [(20, 20), (50, 40), (30, 30)])
    settings = IntegrationSettings(method=method, radii=(3, 4, 6), **mode)
    (crystal,), complaints = make_integrator(settings)(replace(frame, has_image=False), (crystal_with(table),))
    found = crystal.reflections
    assert found.intensity.tolist() == [0, 0, 0]
    assert found.sigma == pytest.approx(gains[found.panel])
    assert complaints == []


def test_neighbours_of_another_crystal_matter():
    image = np.random.default_rng(9).poisson(10, (60, 60)).astype(np.int32)
    image[28:33, 33:38] += 500
    frame = made_frame(made_detector([(60, 60)], [(-30, -30)]), [image])
    first, second = predictions([0], [(30.5, 30.5)]), predictions([0], [(35.5, 30.5)])
    settings = IntegrationSettings(radii=(3, 4, 6))
    assert_as_naive(frame, [first], settings)
    assert_as_naive(frame, [first, second], settings)
    (alone,), _ = make_integrator(settings)(frame, (crystal_with(first),))
    (together, _), _ = make_integrator(settings)(frame, (crystal_with(first), crystal_with(second)))
    assert together.reflections.background[0] < alone.reflections.background[0]


@pytest.mark.parametrize("method", ["rings", "prof2d", "none"])
def test_nothing_to_integrate(method):
    frame, tables = crowded(np.random.default_rng(10), "int32", n=6)
    integrate = make_integrator(IntegrationSettings(method=method))
    assert integrate(frame, ()) == ((), [])
    unpredicted = Crystal(reciprocal_axes=np.eye(3))
    assert integrate(frame, (unpredicted,)) == ((unpredicted,), [])
    empty = crystal_with(predictions([], []))
    (same, other), complaints = integrate(frame, (empty, unpredicted))
    assert len(same.reflections) == 0
    assert other.reflections is None
    assert complaints == []
    if method == "none":
        (kept,), _ = integrate(frame, (crystal_with(tables[0]),))
        assert kept.reflections is tables[0]


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="rings"):
        make_integrator(IntegrationSettings(method="prof3d"))


GOLDEN_RUNS = {
    "rings": (IntegrationSettings(radii=(3, 4, 6)), 0.9999),
    "asdf": (IntegrationSettings(), 0.9999),
    "prof2d": (IntegrationSettings(method="prof2d"), 0.9999),
    "cengrad": (IntegrationSettings(centre=True, gradient=True, push_res=0.1), 0.995),
}


@pytest.mark.golden
@pytest.mark.parametrize("run", GOLDEN_RUNS)
@pytest.mark.parametrize("name", ["single", "multi"])
def test_the_reference_measures_the_same(golden, name, run):
    settings, least_correlation = GOLDEN_RUNS[run]
    loader = FrameLoader(read_geometry(golden / f"{name}.geom"), FrameSettings())
    integrate = make_integrator(settings)
    ours, theirs, n_expected = [], [], 0
    for chunk in read_stream(golden / "streams" / f"{name}-{run}.stream.xz"):
        if not chunk.crystals:
            continue
        slot = FileSlot(
            filename=str(golden / f"{name}.h5"), event=chunk.identity.event, serial=chunk.identity.serial
        )
        frame = loader.from_file(slot)
        predicted = [
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
        crystals, _ = integrate(frame, tuple(predicted))
        for expected, found in zip(chunk.crystals, crystals, strict=True):
            table = found.reflections
            rows = {tuple(hkl): number for number, hkl in enumerate(table.hkl)}
            pairs = [(rows[tuple(hkl)], k) for k, hkl in enumerate(expected.reflections.hkl) if tuple(hkl) in rows]
            mine, yours = (list(column) for column in zip(*pairs, strict=True))
            n_expected += len(expected.reflections)
            for side, source, index in ((ours, table, mine), (theirs, expected.reflections, yours)):
                side.append(
                    np.stack([source.intensity, source.sigma, source.peak_value, source.background])[:, index]
                )
            assert len(table) < 1.05 * len(expected.reflections) + 3
    ours, theirs = np.hstack(ours), np.hstack(theirs)
    assert n_expected > 1000
    assert ours.shape[1] > 0.95 * n_expected
    for number in range(4):
        assert np.corrcoef(ours[number], theirs[number])[0, 1] > least_correlation
    # Rounding of the lattice in the file may move a reflection over the border of a pixel, no more.
    same = np.abs(ours[:2] - theirs[:2]) < 0.02 + 1e-3 * np.abs(theirs[:2])
    assert same.mean() > 0.98
