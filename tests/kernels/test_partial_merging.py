"""The kernels of partial merging, against naive twins written from their definitions."""

import numpy as np
import pytest

from braggstream.kernels import crystal_columns as columns
from braggstream.kernels import crystal_residuals, crystal_scales, post_refinement, weighted_means
from braggstream.kernels.partiality import GGPM, OFFSET, UNITY, XSPHERE, record_parts

N_UNIQUE = 40
WAVELENGTH = 1.1


class Crystals:
    """Random crystals and observations, with dictionaries and lists beside the columns."""

    def __init__(self, seed=0, n=12, m=60):
        rng = np.random.default_rng(seed)
        self.start = np.arange(0, n * m + 1, m)
        self.uid = np.sort(rng.integers(0, N_UNIQUE, (n, m)), axis=1).astype(np.int32).ravel()
        self.true = rng.exponential(1000, N_UNIQUE)
        self.true_s2 = rng.uniform(0.001, 0.06, N_UNIQUE)
        self.s2 = self.true_s2[self.uid]
        self.part = rng.uniform(0.05, 1, n * m)
        self.state = np.zeros((n, columns.N_STATE))
        self.state[:, columns.LN_G] = rng.normal(0, 0.6, n)
        self.state[:, columns.B_FACTOR] = rng.normal(0, 5, n)
        self.owner = np.repeat(np.arange(n), m)
        g = self.g(self.state)
        self.intensity = g * self.part * self.true[self.uid] * rng.normal(1, 0.1, n * m) + rng.normal(0, 20, n * m)
        self.sigma = np.full(n * m, 20.0)
        self.sigma[rng.integers(0, n * m, 5)] = np.nan
        self.flags = np.where(rng.random(n * m) < 0.2, columns.FREE, 0).astype(np.uint8)
        self.flags[rng.random(n * m) < 0.9] |= columns.WITHIN
        self.hkl = rng.integers(-9, 10, (n * m, 3)).astype(np.int16)
        self.shape = np.empty((n, columns.N_SHAPE))
        for crystal in range(n):
            axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] / [50, 60, 70]
            self.shape[crystal] = [*axes.ravel(), 0.01, WAVELENGTH, 1e-8]
        self.log_full = np.empty(n * m)
        columns.record_observations(
            self.start, self.hkl, self.shape, -1, self.intensity, self.sigma, self.part, self.log_full, self.flags
        )

    def g(self, state):
        return np.exp(state[self.owner, columns.LN_G] - state[self.owner, columns.B_FACTOR] * self.s2)

    @property
    def columns(self):
        return self.start, self.uid, self.part, self.s2

    @property
    def full(self):
        return self.intensity / self.g(self.state) / self.part

    @property
    def is_merged(self):
        is_left_out = self.state[self.owner, columns.REJECTED] != 0
        return (self.part >= 0.3) & ~np.isnan(self.sigma) & (self.flags & columns.WITHIN > 0) & ~is_left_out

    def merge(self, is_weighted=True):
        groups = np.where(self.state[:, columns.REJECTED] == 0, 0, -1).astype(np.int8)
        means = np.zeros((1, N_UNIQUE, weighted_means.N_MEAN))
        weighted_means.add_crystals(
            *self.columns, self.intensity, self.flags, self.state, groups, is_weighted, means
        )
        return means[0]


def test_bits_tell_which_observations_are_used_for_what():
    c = Crystals()
    with np.errstate(invalid="ignore"):
        is_above = (c.intensity > 3 * c.sigma) & (c.intensity > 0)
    assert (c.flags & columns.ABOVE > 0).tolist() == is_above.tolist()
    assert (c.flags & columns.MEASURED > 0).tolist() == ((c.part >= 0.3) & ~np.isnan(c.sigma)).tolist()
    known = c.intensity > 0
    assert c.log_full[known] == pytest.approx(np.log(c.intensity[known] / c.part[known]))
    assert np.isnan(c.log_full[~known]).all()


@pytest.mark.parametrize("fit", [crystal_scales.FIT_G, crystal_scales.FIT_G_AND_B])
def test_scales_are_weighted_lines_through_logarithms(fit):
    c = Crystals()
    c.state[3, columns.REJECTED] = 1
    reference = np.log(c.true)
    reference[5] = np.nan
    state, sums = c.state.copy(), np.zeros((N_UNIQUE, crystal_scales.N_LOG_SUMS))
    crystal_scales.scale_by_logs(*c.columns, c.log_full, c.flags, reference, fit, state, sums)
    for crystal in range(len(state)):
        mine = c.owner == crystal
        off = (c.log_full - reference[c.uid])[mine]
        with np.errstate(invalid="ignore"):
            used = (c.part[mine] >= 0.3) & (c.intensity > 3 * c.sigma)[mine] & ~np.isnan(off)
        degree = 1 if fit == crystal_scales.FIT_G_AND_B else 0
        line = np.polyfit(c.s2[mine][used], off[used], degree, w=np.sqrt(c.part[mine][used]))
        assert state[crystal, columns.LN_G] == pytest.approx(line[-1], rel=1e-9)
        assert state[crystal, columns.B_FACTOR] == pytest.approx(-line[0] if degree else 0.0, rel=1e-7)
        with np.errstate(invalid="ignore"):
            shown = (c.intensity > 3 * c.sigma)[mine] & ~np.isnan(off)
        rest = off[shown] - np.polyval(line, c.s2[mine][shown])
        assert state[crystal, columns.RESIDUAL] == pytest.approx(np.sum(rest**2), rel=1e-9)


def test_references_are_weighted_geometric_means_without_the_free_set():
    c = Crystals()
    c.state[3, columns.REJECTED] = 1
    sums = np.zeros((N_UNIQUE, crystal_scales.N_LOG_SUMS))
    nothing = np.full(N_UNIQUE, np.nan)
    crystal_scales.scale_by_logs(*c.columns, c.log_full, c.flags, nothing, crystal_scales.KEEP, c.state, sums)
    with np.errstate(invalid="ignore"):
        used = (c.part >= 0.3) & (c.intensity >= 3 * c.sigma) & (c.flags & columns.FREE == 0) & (c.owner != 3)
    for uid in range(N_UNIQUE):
        mine = used & (c.uid == uid)
        assert sums[uid, crystal_scales.LOG_COUNT] == mine.sum()
        if not mine.any():
            continue
        weight = (c.part * c.g(c.state))[mine]
        expected = np.exp(np.sum(weight * np.log(c.full[mine])) / weight.sum())
        assert np.exp(sums[uid, 1] / sums[uid, 0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("scale", "b"), [(2.0, 0.0), (2.0, 10.0), (5.0, 30.0)])
@pytest.mark.parametrize("with_partials", [False, True])
def test_exact_data_give_their_scale_and_b_factor(scale, b, with_partials):
    c = Crystals(n=1)
    c.part[:] = np.linspace(0.3, 1, len(c.part)) if with_partials else 1.0
    c.intensity[:] = c.true[c.uid] * scale * np.exp(-b * c.s2) * c.part
    c.sigma[:] = 1e-3
    c.log_full = np.log(c.intensity / c.part)
    c.flags[:] = columns.ABOVE | columns.AT_LEAST | columns.MEASURED | columns.WITHIN
    sums = np.zeros((N_UNIQUE, crystal_scales.N_LOG_SUMS))
    crystal_scales.scale_by_logs(
        *c.columns, c.log_full, c.flags, np.log(c.true), crystal_scales.FIT_G_AND_B, c.state, sums
    )
    assert np.exp(c.state[0, columns.LN_G]) == pytest.approx(scale, rel=1e-9)
    assert c.state[0, columns.B_FACTOR] == pytest.approx(b, abs=1e-7)
    assert c.state[0, columns.IS_FITTED] == 1


def test_crystals_that_cannot_be_fitted_keep_their_scales_and_say_so():
    c = Crystals(n=3)
    before = c.state.copy()
    c.flags[c.owner == 0] = 0  # no observation to be used
    c.s2[c.owner == 1] = 0.01  # all at one resolution
    sums = np.zeros((N_UNIQUE, crystal_scales.N_LOG_SUMS))
    crystal_scales.scale_by_logs(
        *c.columns, c.log_full, c.flags, np.log(c.true), crystal_scales.FIT_G_AND_B, c.state, sums
    )
    assert c.state[:2, :2].tolist() == before[:2, :2].tolist()
    assert c.state[:, columns.IS_FITTED].tolist() == [0, 0, 1]


@pytest.mark.parametrize("is_weighted", [True, False])
def test_means_and_their_spread(is_weighted):
    c = Crystals()
    c.state[3, columns.REJECTED] = 1
    means = c.merge(is_weighted)
    for uid in range(N_UNIQUE):
        mine = c.is_merged & (c.uid == uid)
        weight = (c.part * c.g(c.state))[mine] if is_weighted else np.ones(mine.sum())
        mean = np.average(c.full[mine], weights=weight)
        assert means[uid] == pytest.approx(
            [weight.sum(), mean, np.sum(weight * (c.full[mine] - mean) ** 2), mine.sum()], rel=1e-9
        )


def test_means_of_parts_add_up_to_those_of_the_whole():
    c = Crystals()
    means = np.zeros((3, N_UNIQUE, weighted_means.N_MEAN))
    groups = (np.arange(12) % 3).astype(np.int8)
    weighted_means.add_crystals(*c.columns, c.intensity, c.flags, c.state, groups, True, means)
    whole = np.zeros((N_UNIQUE, weighted_means.N_MEAN))
    for part in means:
        weighted_means.join_means(whole, part)
    assert whole == pytest.approx(c.merge(), rel=1e-9)


def test_large_intensities_that_are_equal_have_no_spread():
    c = Crystals(n=2)
    c.state[:] = 0
    c.part[:] = 1
    c.intensity[:] = 123456789.01
    c.flags[:] = columns.MEASURED | columns.WITHIN
    assert np.sqrt(c.merge()[:, weighted_means.SQUARES]).max() < 1e-3


def test_residuals_of_partialities_and_of_logarithms():
    c = Crystals()
    merged = c.true.copy()
    merged[5] = np.nan
    found = np.empty((12, crystal_residuals.N_RESIDUALS))
    crystal_residuals.crystal_residuals(
        *c.columns, c.intensity, c.flags, c.state, c.log_full, merged, np.log(merged), found
    )
    g, is_free = c.g(c.state), c.flags & columns.FREE > 0
    for crystal in range(12):
        mine = (c.owner == crystal) & (c.uid != 5)
        off = np.abs(np.clip(c.intensity / g / c.true[c.uid], 0, 1) - c.part)
        with np.errstate(invalid="ignore"):
            strong = mine & (c.intensity > 3 * c.sigma)
        logs = (c.log_full - np.log(g * c.true[c.uid])) ** 2
        expected = [np.average(off[mine & chosen], weights=g[mine & chosen]) for chosen in (~is_free, is_free)]
        expected += [np.sum(logs[strong]), np.sum(logs[strong & is_free])]
        assert found[crystal] == pytest.approx(expected, rel=1e-9)


def naive_cc_half(groups):
    """CC1/2 from lists of full intensities, one a reflection."""
    groups = [values for values in groups if len(values) >= 2]
    means = [np.mean(values) for values in groups]
    error = np.mean([np.var(values, ddof=1) / (len(values) / 2) for values in groups])
    between = np.var(means, ddof=1)
    return (between - error / 2) / (between + error / 2)


def test_leaving_a_crystal_out_changes_the_half_set_correlation():
    c = Crystals(n=8, m=30)
    c.state[3, columns.REJECTED] = 1
    means = c.merge(is_weighted=False)
    cc, n = crystal_residuals.overall_cc_half(means)
    everything = [c.full[c.is_merged & (c.uid == uid)] for uid in range(N_UNIQUE)]
    assert n == sum(len(values) >= 2 for values in everything)
    assert cc == pytest.approx(naive_cc_half(everything), rel=1e-9)
    deltas = np.empty(8)
    crystal_residuals.half_set_deltas(*c.columns, c.intensity, c.flags, c.state, means, False, deltas)
    for crystal in range(8):
        own = [uid for uid in np.unique(c.uid[c.owner == crystal]) if len(everything[uid]) >= 2]
        with_it = naive_cc_half([everything[uid] for uid in own])
        rest = c.is_merged & (c.owner != crystal)
        without = naive_cc_half([c.full[rest & (c.uid == uid)] for uid in own])
        expected = 0.0 if crystal == 3 else with_it - without
        assert deltas[crystal] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_what_a_crystal_that_is_left_out_would_change():
    c = Crystals(n=8, m=30)
    whole = c.merge(is_weighted=False)
    expected, found = np.empty(8), np.empty(8)
    crystal_residuals.half_set_deltas(*c.columns, c.intensity, c.flags, c.state, whole, False, expected)
    for crystal in range(8):
        c.state[:, columns.REJECTED] = 0
        c.state[crystal, columns.REJECTED] = 1
        means = c.merge(is_weighted=False)
        crystal_residuals.half_set_deltas(*c.columns, c.intensity, c.flags, c.state, means, True, found)
        assert found[crystal] == pytest.approx(expected[crystal], rel=1e-6)


def rotated(axes, about_x, about_y):
    x = np.array([[1, 0, 0], [0, np.cos(about_x), np.sin(about_x)], [0, -np.sin(about_x), np.cos(about_x)]])
    y = np.array([[np.cos(about_y), 0, np.sin(about_y)], [0, 1, 0], [-np.sin(about_y), 0, np.cos(about_y)]])
    return axes @ x.T @ y.T


def naive_refinement(residual):
    """Coordinate steps of fixed size on (rotation x, rotation y, radius, wavelength)."""
    step, best = np.zeros(4), residual(np.zeros(4))
    sizes = [1e-4, 1e-4, 1e-5, 1e-3 * WAVELENGTH]
    for stage in ([0, 1], [2], [3]):
        for _ in range(10):
            trials = []
            for parameter in stage:
                for sign in (-1, 1):
                    trial = step.copy()
                    trial[parameter] += sign * sizes[parameter]
                    trials.append(trial)
            values = [residual(trial) for trial in trials]
            if not min(values) < best:
                break
            best, step = min(values), trials[int(np.argmin(values))]
    return step, best


@pytest.mark.parametrize("model", [XSPHERE, OFFSET, GGPM])
def test_refinement_takes_the_best_of_fixed_steps(model):
    c = Crystals(n=3, m=40, seed=2)
    rng = np.random.default_rng(1)
    k, beam = 1 / WAVELENGTH, np.array([1 / WAVELENGTH, 1e-8 / WAVELENGTH, 0.002])
    c.shape[:, columns.SHAPE_RADIUS] = 0.002
    expected = []
    for crystal in range(3):
        mine = np.flatnonzero(c.owner == crystal)
        axes = c.shape[crystal, :9].reshape(3, 3)
        near = rng.integers(-20, 21, (40000, 3))
        near = near[np.abs(k - np.linalg.norm(near @ axes + [0, 0, k], axis=1)) < 0.002][: len(mine)]
        assert len(near) == len(mine)
        c.hkl[mine] = near
        parts = np.empty(len(mine))
        record_parts(near @ rotated(axes, 3.5e-4, -2.2e-4), beam, 0.0, model, parts)
        c.intensity[mine] = c.g(c.state)[mine] * c.true[c.uid[mine]] * parts

        def residual(step, axes=axes, mine=mine, near=near):
            changed = np.array([1 / (WAVELENGTH + step[3]), 1e-8 / (WAVELENGTH + step[3]), 0.002 + step[2]])
            parts = np.empty(len(mine))
            record_parts(near @ rotated(axes, step[0], step[1]), changed, 0.0, model, parts)
            g, is_working = c.g(c.state)[mine], c.flags[mine] & columns.FREE == 0
            off = np.abs(np.clip(c.intensity[mine] / g / c.true[c.uid[mine]], 0, 1) - parts)
            return np.average(off[is_working], weights=g[is_working])

        expected.append((*naive_refinement(residual), residual(np.zeros(4))))
    paths = np.empty((3, post_refinement.MAX_PATH, post_refinement.N_PATH))
    refined, axes = np.empty((3, post_refinement.N_REFINED)), c.shape[:, :9].copy()
    post_refinement.refine_crystals(
        c.start, c.hkl, c.uid, c.s2, c.intensity, c.flags, c.true, c.state, model, c.shape, refined, paths
    )
    for crystal, (step, best, before) in enumerate(expected):
        assert refined[crystal, :4] == pytest.approx(step, abs=1e-12)
        assert refined[crystal, post_refinement.AFTER] == pytest.approx(best, rel=1e-9)
        assert refined[crystal, post_refinement.BEFORE] == pytest.approx(before, rel=1e-9)
        assert best < before
        way = paths[crystal][~np.isnan(paths[crystal, :, 0])]
        assert len(way) > 1
        assert way[0, :5] == pytest.approx([0, 0, 0, 0, before])
        assert way[-1, :5] == pytest.approx([*step, best])
        assert (np.diff(way[:, post_refinement.PATH_RESIDUAL]) < 0).all()
        turned = rotated(axes[crystal].reshape(3, 3), *step[:2])
        assert c.shape[crystal, :9].reshape(3, 3) == pytest.approx(turned, abs=1e-12)


def test_correlation_of_each_crystal_with_the_merge():
    c = Crystals()
    merged = c.true.copy()
    merged[5] = np.nan
    found = np.empty(12)
    crystal_residuals.crystal_correlations(*c.columns, c.intensity, c.flags, c.state, merged, found)
    for crystal in range(12):
        mine = (c.owner == crystal) & (c.uid != 5) & (c.flags & columns.MEASURED > 0)
        calculated = (c.g(c.state) * c.part * c.true[c.uid])[mine]
        assert found[crystal] == pytest.approx(np.corrcoef(calculated, c.intensity[mine])[0, 1], rel=1e-9)


@pytest.mark.parametrize("polarisation", [(1.0, 0.0), (0.8, 0.0), (1.0, np.pi / 2), (0.5, 0.3)])
def test_polarisation_is_divided_out(polarisation):
    fraction, angle = polarisation
    c = Crystals(n=2)
    intensity, sigma = c.intensity.copy(), c.sigma.copy()
    packed = np.array([np.cos(angle), np.sin(angle), fraction])
    columns.correct_polarisation(c.start, c.hkl, c.shape, packed, intensity, sigma)
    for i in range(0, len(intensity), 7):
        q = c.hkl[i] @ c.shape[c.owner[i], :9].reshape(3, 3)
        x, y, z = np.add(q, [0, 0, 1 / WAVELENGTH])
        two_theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x) - angle
        across, along = [1 - (f(phi) * np.sin(two_theta)) ** 2 for f in (np.sin, np.cos)]
        factor = fraction * along + (1 - fraction) * across
        assert intensity[i] == pytest.approx(c.intensity[i] / factor, rel=1e-4)


def test_partialities_of_crystals_are_those_of_their_lattice_points():
    c = Crystals(n=2)
    for model in (UNITY, GGPM, OFFSET, XSPHERE):
        part = np.empty(len(c.part))
        columns.record_observations(c.start, c.hkl, c.shape, model, c.intensity, c.sigma, part, c.log_full, c.flags)
        expected = np.empty(len(part))
        for crystal in range(2):
            mine = c.owner == crystal
            q, found = c.hkl[mine] @ c.shape[crystal, :9].reshape(3, 3), np.empty(int(mine.sum()))
            beam = np.array([1 / WAVELENGTH, 1e-8 / WAVELENGTH, 0.01])
            record_parts(q, beam, 0.0, model, found)
            expected[mine] = found
        assert part == pytest.approx(expected, rel=1e-9, abs=1e-12)
