"""Scales and weights from a model of errors, against naive twins and known answers."""

import numpy as np
import pytest

from braggstream.kernels import crystal_columns as columns
from braggstream.kernels import error_model
from braggstream.kernels.weighted_means import COUNT, MEAN, N_MEAN, SQUARES, WEIGHT
from braggstream.steps.partialator.error_scaling import model_of

S2_END = 0.0601


class Observed:
    """Crystals with known scales, and errors of the kind that the model has."""

    def __init__(self, *, n=40, m=150, n_unique=60, a=0.1, c=0.05, noise=5.0, seed=0):
        rng = np.random.default_rng(seed)
        self.start = np.arange(0, n * m + 1, m)
        self.owner = np.repeat(np.arange(n), m)
        self.uid = np.sort(rng.integers(0, n_unique, (n, m)), axis=1).astype(np.int32).ravel()
        self.true = rng.exponential(1000, n_unique) + 50
        self.s2 = rng.uniform(0.001, 0.06, n_unique)[self.uid]
        self.part = rng.uniform(0.31, 1, n * m)
        self.ln_g, self.b = rng.normal(0, 0.5, n), rng.normal(0, 4, n)
        expected = np.exp(self.ln_g[self.owner] - self.b[self.owner] * self.s2) * self.part * self.true[self.uid]
        relative = np.sqrt(a**2 + c**2 * (1 - self.part) / self.part**2)
        self.intensity = expected * (1 + relative * rng.normal(size=n * m)) + noise * rng.normal(size=n * m)
        self.sigma = np.full(n * m, noise)
        self.flags = np.full(n * m, columns.MEASURED | columns.WITHIN, np.uint8)
        self.state = np.zeros((n, columns.N_STATE))

    @property
    def observations(self):
        return self.start, self.uid, self.part, self.s2, self.intensity, self.sigma, self.flags

    def know_scales(self):
        self.state[:, columns.LN_G], self.state[:, columns.B_FACTOR] = self.ln_g, self.b


def fitted(c, model=(0.01, 0.0025), with_b=True, is_first=True):
    error_model.scale_by_intensities(*c.observations, c.true, np.array(model), S2_END, with_b, is_first, c.state)


def test_scales_are_found_also_from_weak_data():
    strong, weak = Observed(), Observed(noise=2000.0, seed=1)
    fitted(strong)
    assert np.std(strong.state[:, columns.LN_G] - strong.ln_g) < 0.03
    assert np.std(strong.state[:, columns.B_FACTOR] - strong.b) < 1.0
    assert np.median(strong.state[:, columns.RESIDUAL]) == pytest.approx(0.9, abs=0.15)
    fitted(weak, with_b=False)
    # Half of the intensities are negative here, and of logarithms nothing would be left.
    assert np.std(weak.state[:, columns.LN_G] - (weak.ln_g - weak.b * 0.03)) < 0.45


def test_the_fit_is_where_robust_squares_and_priors_are_least():
    c = Observed(n=3)
    fitted(c)
    fitted(c, is_first=False)
    fitted(c, is_first=False)
    for crystal in range(3):
        mine = c.owner == crystal

        def cost(ln_g, b, mine=mine):
            expected = np.exp(ln_g - b * c.s2[mine]) * c.part[mine] * c.true[c.uid[mine]]
            return expected, c.intensity[mine] - expected

        ln_g, b = c.state[crystal, columns.LN_G], c.state[crystal, columns.B_FACTOR]
        expected, off = cost(ln_g, b)
        part = c.part[mine]
        variance = 25.0 + expected**2 * (0.01 + 0.0025 * (1 - part) / part**2)
        weight = 1 / variance / (1 + off**2 / variance / 16)
        assert np.sum(weight * off * expected) - ln_g == pytest.approx(0, abs=0.05)
        assert -np.sum(weight * off * expected * c.s2[mine]) - b / 100 == pytest.approx(0, abs=0.005)


def test_crystals_without_a_reference_are_told():
    c = Observed(n=2)
    c.flags[c.owner == 0] = 0
    fitted(c)
    assert c.state[:, columns.IS_FITTED].tolist() == [0, 1]
    assert c.state[0, columns.LN_G] == 0


def test_weights_are_inverse_variances():
    c = Observed(n=12)
    c.know_scales()
    typical, model = np.full(len(c.true), 700.0), np.array([0.02, 0.004])
    groups = (np.arange(12) % 2 - (np.arange(12) == 5) * 2).astype(np.int8)
    means = np.zeros((2, len(c.true), N_MEAN))
    error_model.add_by_errors(*c.observations, typical, model, S2_END, c.state, groups, means)
    scale = np.exp(c.ln_g[c.owner] - c.b[c.owner] * c.s2) * c.part
    full = c.intensity / scale
    weight = 1 / (25.0 / scale**2 + 700.0**2 * (0.02 + 0.004 * (1 - c.part) / c.part**2))
    for group in (0, 1):
        for uid in range(len(c.true)):
            mine = (groups[c.owner] == group) & (c.uid == uid)
            mean = np.average(full[mine], weights=weight[mine])
            found = means[group, uid]
            assert found[[WEIGHT, MEAN, COUNT]] == pytest.approx([weight[mine].sum(), mean, mine.sum()], rel=1e-9)
            assert found[SQUARES] == pytest.approx(np.sum(weight[mine] * (full[mine] - mean) ** 2), rel=1e-8)


@pytest.mark.parametrize(("a", "c"), [(0.05, 0.1), (0.2, 0.05), (0.1, 0.2)])
def test_the_model_is_estimated_from_deviations(a, c):
    observed = Observed(n=200, a=a, c=c)
    observed.know_scales()
    counts = np.zeros((error_model.N_PART_BINS, error_model.N_DEVIATION_BINS))
    noise = np.zeros((error_model.N_PART_BINS, 3))
    error_model.count_deviations(*observed.observations, observed.true, observed.state, counts, noise)
    found = np.sqrt(model_of(counts, noise, np.zeros(2)))
    assert found == pytest.approx([a, c], rel=0.25)


def test_too_few_deviations_leave_the_model_as_it_was():
    empty = np.zeros((error_model.N_PART_BINS, error_model.N_DEVIATION_BINS))
    before = np.array([0.3, 0.1])
    assert model_of(empty, np.zeros((error_model.N_PART_BINS, 3)), before).tolist() == before.tolist()
