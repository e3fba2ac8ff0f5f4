"""Robust weights, against the law written out with NumPy."""

import numpy as np
import pytest

from braggstream.kernels.scatter import median_of, weigh


@pytest.mark.parametrize("n", [1, 2, 3, 10, 101])
def test_the_median_is_that_of_a_sorted_list(n):
    rng = np.random.default_rng(n)
    for values in (rng.normal(size=n), np.ones(n), rng.integers(0, 4, n).astype(float)):
        expected = np.sort(values)[n // 2]
        assert median_of(np.r_[values, -99.0], n) == expected


def scatter_of(values):
    size = np.sort(np.abs(values).ravel())
    return 1.4826 * size[len(size) // 2]


def naive_weights(residuals, intensity, n_parameters):
    n = len(residuals)
    third, middle = n // 3, n // 2
    excitation, places = residuals[:, 0], residuals[:, 1:]
    counting, slope = 0.0, 0.0
    constant = scatter_of(places) ** 2
    if n >= 18:
        strong, weak = intensity[third // 2], intensity[n - 1 - third // 2]
        if strong > weak:
            gain = scatter_of(places[n - third :]) ** 2 - scatter_of(places[:third]) ** 2
            counting = max(gain, 0) / (1 / weak - 1 / strong)
            ratio = scatter_of(excitation[:third]) / scatter_of(excitation[n - third :])
            slope = np.clip(np.log(ratio) / np.log(strong / weak), -0.5, 0)
            if counting > 0:
                constant = scatter_of(places[:third]) ** 2 - counting / strong
    constant = max(constant, 0.02**2)
    law = (intensity / intensity[middle]) ** slope
    freedom = 3 * n / max(3 * n - n_parameters, 1)
    variance = np.empty((n, 3))
    variance[:, 0] = np.maximum(scatter_of(excitation / law) * law, 1e-5) ** 2 * freedom
    variance[:, 1] = variance[:, 2] = (constant + counting / intensity) * freedom
    return np.maximum(1 - residuals**2 / (4.7**2 * variance), 0) ** 2 / variance


@pytest.mark.parametrize("n", [3, 17, 18, 200])
@pytest.mark.parametrize("kind", ["counted", "alike", "inverted"])
def test_weights_follow_the_law(n, kind):
    rng = np.random.default_rng(n)
    intensity = np.sort(rng.exponential(size=n) * 1000 + 10)[::-1].copy()
    if kind == "alike":
        intensity[:] = 7.0
    scatter = {"counted": 3 / np.sqrt(intensity), "alike": 0.1, "inverted": np.sqrt(intensity) / 300}[kind]
    residuals = (
        rng.normal(size=(n, 3)) * np.c_[np.full(n, 3e-4), np.full(n, 1.0) * scatter, np.full(n, 1.0) * scatter]
    )
    residuals[0] = 50.0
    weights, work = np.empty((n, 3)), np.empty(2 * n)
    weigh(residuals, intensity, 5, work, weights)
    assert weights == pytest.approx(naive_weights(residuals, intensity, 5), rel=1e-9)
    if n > 17:
        assert weights[0].tolist() == [0, 0, 0]
