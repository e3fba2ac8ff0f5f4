"""Pixels: what a spot deposits, Poisson noise, gains and pixels that do not work."""

import numpy as np
import pytest

from braggstream.model.errors import UserError
from braggstream.simulate.diffraction import Spots
from braggstream.simulate.frames import Simulator
from braggstream.simulate.painting import add_spots, background_mean, spot_pixels, to_detector_units
from braggstream.simulate.settings import (
    BeamSettings,
    CrystalSettings,
    ResponseSettings,
    SampleSettings,
    SimulationSettings,
)
from simulate.simulated_detectors import BEAM, FILE_AXES, SQUARE, TWO_TILTED, cell, geometry

CLEAN = ResponseSettings(background_spread=0.0, bad_fraction=0.0, dead_fraction=0.0, hot_fraction=0.0)


def one_spot(fs, ss, photons=1e6, covariance=(0.9, 0.7, 0.3), panel=0):
    return Spots(
        reflection=np.array([0]),
        panel=np.array([panel]),
        fs=np.array([fs]),
        ss=np.array([ss]),
        photons=np.array([photons]),
        covariance=np.array([covariance]),
    )


def test_a_spot_has_its_photons_its_centre_and_its_shape():
    detector = geometry().detector(lambda name: 0.0, 1.0)
    pixel, mean = spot_pixels(one_spot(57.3, 80.8), np.array([0]), detector)
    ss, fs = np.divmod(pixel, 300)
    x, y = fs + 0.5, ss + 0.5
    assert mean.sum() == pytest.approx(1e6, rel=2e-3)
    centre_x, centre_y = (mean * x).sum() / mean.sum(), (mean * y).sum() / mean.sum()
    assert (centre_x, centre_y) == pytest.approx((57.3, 80.8), abs=2e-3)
    moments = [
        (mean * u * v).sum() / mean.sum()
        for u, v in ((x - centre_x, x - centre_x), (y - centre_y, y - centre_y), (x - centre_x, y - centre_y))
    ]
    assert moments == pytest.approx([0.9, 0.7, 0.3], rel=0.02)


def test_a_spot_at_the_edge_loses_what_lies_outside():
    detector = geometry(BEAM + FILE_AXES + TWO_TILTED).detector(lambda name: 0.0, 1.0)
    pixel, mean = spot_pixels(one_spot(0.0, 70.0, panel=1), np.array([0]), detector)
    assert mean.sum() == pytest.approx(5e5, rel=0.02)
    assert pixel.min() >= detector.starts[1] and pixel.max() < detector.starts[2]
    pixel, mean = spot_pixels(one_spot(200.0, 150.0, panel=0), np.array([0]), detector)
    assert pixel.max() < detector.starts[1]


def test_drawn_photons_are_those_of_the_means():
    detector = geometry().detector(lambda name: 0.0, 1.0)
    photons = np.zeros(detector.n_pixels, np.int64)
    rng = np.random.default_rng(0)
    for _ in range(50):
        add_spots(photons, one_spot(57.3, 80.8, photons=2000.0), detector, rng)
    assert photons.sum() == pytest.approx(100_000, abs=5 * np.sqrt(100_000) + 200)


def test_the_background_is_poisson_noise_around_a_falling_radial_mean():
    settings = SimulationSettings(sample=SampleSettings(hit_fraction=0.0), response=CLEAN)
    simulator = Simulator(geometry(), cell(), settings)
    frames = np.array([simulator.frame(number).values for number in range(60)], float)
    mean, variance = frames.mean(axis=0), frames.var(axis=0, ddof=1)
    expected = background_mean(simulator.detector, simulator.wavelength, CLEAN.background)
    error = np.sqrt(expected / 60)
    deviation = (mean - expected) / error
    assert abs(deviation.mean()) < 0.02 and deviation.std() == pytest.approx(1.0, abs=0.02)
    assert variance.mean() == pytest.approx(expected.mean(), rel=0.01)
    square = expected.reshape(280, 300)
    assert square[140, 150] == square.max() and square[140, 151] > square[140, 200] > square[140, 299]


def test_frames_depend_on_seed_and_number_alone():
    settings = SimulationSettings(seed=4)
    first, second = (Simulator(geometry(), cell(), settings) for _ in range(2))
    second.frame(0)
    assert np.array_equal(first.frame(3).values, second.frame(3).values)
    assert not np.array_equal(first.frame(3).values, first.frame(4).values)
    other = Simulator(geometry(), cell(), SimulationSettings(seed=5))
    assert not np.array_equal(first.frame(3).values, other.frame(3).values)


def test_hits_and_lattices_come_in_the_numbers_asked_for():
    settings = SimulationSettings(
        sample=SampleSettings(hit_fraction=0.3, lattices=(1, 3)), crystal=CrystalSettings(d_min=6.0)
    )
    simulator = Simulator(geometry(), cell(), settings)
    counts = [len(simulator.frame(number).truth.lattices) for number in range(300)]
    assert set(counts) == {0, 1, 2, 3}
    assert np.mean([count > 0 for count in counts]) == pytest.approx(0.3, abs=0.08)


def test_a_hit_shows_its_strong_spots():
    settings = SimulationSettings(sample=SampleSettings(hit_fraction=1.0), response=CLEAN)
    simulator = Simulator(geometry(BEAM + FILE_AXES + TWO_TILTED), cell(), settings)
    frame = simulator.frame(0)
    assert frame.truth.n_strong == len(frame.strong.fs) > 10
    starts, widths = simulator.detector.starts, simulator.detector.width
    for panel, fs, ss in zip(frame.strong.panel, frame.strong.fs, frame.strong.ss, strict=True):
        place = starts[panel] + int(ss) * widths[panel] + int(fs)
        assert frame.values[place] > 3 * simulator.background[place]


def test_pixels_that_do_not_work_are_the_same_in_all_frames():
    response = ResponseSettings(bad_fraction=1e-3, dead_fraction=2e-3, hot_fraction=1e-3)
    simulator = Simulator(geometry(), cell(), SimulationSettings(response=response))
    frames = np.array([simulator.frame(number).values for number in range(12)])
    assert ((frames == -1).all(axis=0)).sum() == (frames == -1).any(axis=0).sum() == 84
    assert np.all(frames[:, simulator.defects.dead] == 0) and len(simulator.defects.dead) == 168
    hot = frames[:, simulator.defects.hot]
    assert hot.shape[1] == 84 and hot.min() > 100


def test_gain_and_electronic_noise():
    detector = geometry((BEAM + FILE_AXES + SQUARE).replace("per_photon = 1", "per_photon = 7.5")).detector(
        lambda name: 0.0, 1.0
    )
    photons = np.full(detector.n_pixels, 4, np.int64)
    values = to_detector_units(photons, detector, 0.0, np.random.default_rng(0))
    assert np.all(values == 30) and values.dtype == np.int32
    noisy = to_detector_units(photons, detector, 5.0, np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(30.0, abs=0.1) and noisy.std() == pytest.approx(5.0, abs=0.1)


def test_values_that_the_geometry_does_not_look_up_cannot_be_chosen():
    for beam in (
        BeamSettings(photon_energy=9000.0),
        BeamSettings(energy_jitter=0.01),
        BeamSettings(camera_length=0.1),
    ):
        with pytest.raises(UserError, match=r"test\.geom: .* looks"):
            Simulator(geometry(), cell(), SimulationSettings(beam=beam))


def test_a_detector_that_cannot_be_simulated_is_refused():
    for text, what in (
        (BEAM.replace("0.080", "-0.080"), "not behind"),
        (BEAM.replace("per_photon = 1", "per_photon = 0"), "adu_per_photon"),
        (BEAM.replace("photon_energy = 12000 eV", "wavelength = /lambda A"), "looks up wavelength"),
    ):
        with pytest.raises(UserError, match=what):
            Simulator(geometry(text + FILE_AXES + SQUARE), cell(), SimulationSettings())
