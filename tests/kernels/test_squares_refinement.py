"""Post-refinement by least squares: crystals that are turned get back, and what nothing supports stays."""

import numpy as np
import pytest

from braggstream.kernels import crystal_columns as columns
from braggstream.kernels.partiality import GGPM, OFFSET, XSPHERE, record_parts
from braggstream.kernels.post_refinement import MAX_PATH, N_PATH, PATH_FREE, PATH_RESIDUAL
from braggstream.kernels.squares_refinement import N_ROUNDS, refine_by_squares

WAVELENGTH, RADIUS = 1.1, 0.002
K = 1 / WAVELENGTH


def turned(axes, about_x, about_y):
    x = np.array([[1, 0, 0], [0, np.cos(about_x), np.sin(about_x)], [0, -np.sin(about_x), np.cos(about_x)]])
    y = np.array([[np.cos(about_y), 0, np.sin(about_y)], [0, 1, 0], [-np.sin(about_y), 0, np.cos(about_y)]])
    return axes @ x.T @ y.T


class Stills:
    """Crystals whose indexed orientations are wrong by known rotations."""

    def __init__(self, model, n=6, m=150, seed=0, outliers=0.0):
        rng = np.random.default_rng(seed)
        self.start = np.arange(0, n * m + 1, m)
        self.uid = np.arange(n * m, dtype=np.int32)
        self.true = rng.exponential(1000, n * m) + 20
        self.s2 = np.full(n * m, 0.02)
        self.flags = np.where(rng.random(n * m) < 0.05, columns.FREE, 0).astype(np.uint8)
        self.state = np.zeros((n, columns.N_STATE))
        self.state[:, columns.LN_G] = rng.normal(0, 0.5, n)
        self.shape = np.empty((n, columns.N_SHAPE))
        self.hkl = np.empty((n * m, 3), np.int16)
        self.intensity = np.empty(n * m)
        self.errors = rng.normal(0, 4e-4, (n, 2))
        for crystal in range(n):
            axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] / [50, 60, 70]
            mine = slice(crystal * m, (crystal + 1) * m)
            box = rng.integers(-20, 21, (60000, 3))
            truth = turned(axes, *self.errors[crystal])
            near = np.abs(K - np.linalg.norm(box @ truth + [0, 0, K], axis=1)) < 1.2 * RADIUS
            self.hkl[mine] = box[near][:m]
            parts = np.empty(m)
            beam = np.array([K, 1e-8 * K, RADIUS])
            record_parts(self.hkl[mine] @ truth, beam, 0.0, model, parts)
            g = np.exp(self.state[crystal, columns.LN_G])
            self.intensity[mine] = g * parts * self.true[mine] * rng.normal(1, 0.03, m) + rng.normal(0, 5, m)
            self.shape[crystal] = [*axes.ravel(), 1.1 * RADIUS, WAVELENGTH, 1e-8]
        wrong = rng.random(n * m) < outliers
        self.intensity[wrong] *= 5
        self.sigma = np.full(n * m, 5.0)
        self.model = model

    def refine(self):
        paths = np.empty((len(self.shape), MAX_PATH, N_PATH))
        where, measured = (self.start, self.hkl, self.uid, self.s2, self.intensity), (self.flags, self.true)
        squares = np.array([0.002, 0.002])
        refine_by_squares(*where, self.sigma, *measured, self.state, self.model, squares, self.shape, paths)
        return paths


@pytest.mark.parametrize("model", [XSPHERE, OFFSET, GGPM])
@pytest.mark.parametrize("outliers", [0.0, 0.05])
def test_crystals_get_back_to_their_orientation(model, outliers):
    c = Stills(model, outliers=outliers)
    before = c.shape.copy()
    paths = c.refine()
    for crystal, errors in enumerate(c.errors):
        axes = c.shape[crystal, :9].reshape(3, 3)
        truth = turned(before[crystal, :9].reshape(3, 3), *errors)
        assert np.linalg.norm(axes - truth) < 0.15 * np.linalg.norm(before[crystal, :9] - truth.ravel()) + 1e-6
        assert c.shape[crystal, columns.SHAPE_RADIUS] == pytest.approx(RADIUS, rel=0.05)
        way = paths[crystal][~np.isnan(paths[crystal, :, 0])]
        assert len(way) == N_ROUNDS + 1
        assert not way[0, :PATH_RESIDUAL].any()
        assert way[-1, PATH_RESIDUAL] < (0.7 if outliers == 0 else 0.9) * way[0, PATH_RESIDUAL]
        assert np.isfinite(way[:, PATH_FREE]).all()
        # Cells and bandwidths never change.
        assert np.linalg.norm(axes, axis=1) == pytest.approx(np.linalg.norm(truth, axis=1), rel=1e-12)


def test_without_observations_nothing_changes():
    c = Stills(OFFSET, n=2)
    before = c.shape.copy()
    c.true[:150] = np.nan
    c.refine()
    assert c.shape[0].tolist() == before[0].tolist()
    assert c.shape[1].tolist() != before[1].tolist()


def test_the_free_set_has_no_say():
    c, other = Stills(GGPM), Stills(GGPM)
    other.intensity[other.flags & columns.FREE > 0] *= 100
    c.refine()
    other.refine()
    assert c.shape.tolist() == other.shape.tolist()
