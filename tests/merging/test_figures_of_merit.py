"""Figures of merit against plain loops, and against data whose figures are known."""

from itertools import product
from math import exp, log, sqrt

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import point_group
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.agreement import FIGURES, agreement, figure_of_merit
from braggstream.steps.merging.comparison import bijvoet_pairs, fitted_scale, match_lists, scaled
from braggstream.steps.merging.figures import half_set_figures
from braggstream.steps.merging.l_test import l_test
from braggstream.steps.merging.list_check import check_list, select_reflections
from braggstream.steps.merging.matching import check_symmetry
from braggstream.steps.merging.selection import Selection
from braggstream.steps.merging.shells import Shells, inverse_d_of, possible_reflections
from braggstream.steps.merging.wilson import expected_at_rest, wilson_plot

TETRAGONAL = UnitCell(
    a=60.0, b=60.0, c=35.0, alpha=90.0, beta=90.0, gamma=90.0, lattice_type="tetragonal", unique_axis="c"
)
MONOCLINIC = UnitCell(
    a=31.0,
    b=42.0,
    c=53.0,
    alpha=90.0,
    beta=104.0,
    gamma=90.0,
    lattice_type="monoclinic",
    centring="C",
    unique_axis="b",
)


def made_list(group="4", cell=TETRAGONAL, d_min=3.0, seed=1, noise=0.3):
    """A complete list with intensities after Wilson and some noise, and the same with other noise."""
    rng = np.random.default_rng([seed, 5])
    hkl = possible_reflections(cell, point_group(group), 1e-6, 1.0 / d_min)
    true = rng.exponential(1000.0, len(hkl))
    n = rng.integers(1, 30, len(hkl))

    def noisy():
        sigma = noise * 1000.0 / np.sqrt(n)
        return ReflectionList.of(
            hkl,
            true + rng.normal(0.0, sigma),
            sigma * rng.uniform(0.7, 1.4, len(hkl)),
            n_measured=n,
            symmetry=group,
        )

    return noisy(), noisy()


def test_shells_have_equal_volumes_and_take_every_reflection():
    shells = Shells.of_equal_volume(0.02, 0.5, 7)
    volumes = np.diff(shells.edges**3)
    assert volumes == pytest.approx(np.full(7, (0.5**3 - 0.02**3) / 7))
    assert shells.edges[0] == 0.02 and shells.edges[-1] == 0.5
    inside = shells.edges[3]
    assert shells.numbers(np.array([0.02, 0.5, inside, inside + 1e-9, 0.7])).tolist() == [0, 6, 2, 3, 6]


@pytest.mark.parametrize(("cell", "name"), [(TETRAGONAL, "4/mmm"), (TETRAGONAL, "422"), (MONOCLINIC, "2_uab")])
def test_possible_reflections_are_those_that_a_plain_search_finds(cell, name):
    group = point_group(name)
    axes = cell.reciprocal_axes()
    orbits = set()
    for hkl in product(range(-13, 14), repeat=3):
        allowed = cell.centring == "P" or (hkl[0] + hkl[1]) % 2 == 0
        if allowed and 0.05 < np.linalg.norm(np.array(hkl) @ axes) <= 0.199:
            orbits.add(frozenset(tuple((np.array(hkl) @ op).tolist()) for op in group.operators))
    found = possible_reflections(cell, group, 0.05, 0.199)
    assert len(found) == len(orbits) > 100
    assert {frozenset(map(tuple, image.tolist())) for image in group.images(found)} == orbits


def test_a_complete_list_is_complete_but_for_the_count_of_the_lowest_reflection():
    merged, _ = made_list("422")
    check = check_list(merged, TETRAGONAL, point_group("422"), n_shells=8)
    counts = check.counts
    assert counts.n_reflections[-1] == len(merged) == counts.n_possible[-1] + 1
    assert np.all(counts.n_reflections[1:-1] == counts.n_possible[1:-1])
    assert counts.completeness[1:-1].tolist() == [1.0] * 7
    assert counts.n_measured[-1] == merged.n_measured.sum()
    assert counts.redundancy[-1] == pytest.approx(merged.n_measured.mean())
    assert counts.snr[-1] == pytest.approx((merged.intensity / merged.sigma).mean())
    half = check_list(merged.take(np.arange(0, len(merged), 2)), TETRAGONAL, point_group("422"))
    assert half.counts.completeness[-1] == pytest.approx(0.5, abs=0.01)


def test_figures_are_those_of_plain_loops():
    one, other = made_list()
    group = point_group("4")
    matched, n_rejected = match_lists(one, other, TETRAGONAL, group, Selection(negatives="ignore"))
    assert n_rejected > 0 and len(matched) + n_rejected == len(one)
    mates = bijvoet_pairs(matched, group)
    shells = Shells.of_equal_volume(*Selection().limits(matched.inverse_d), 4)
    for figure in FIGURES.values():
        pairs = matched if figure.of_pairs else mates
        found = agreement(figure, pairs, shells)
        wanted = naive(figure.name, group, one, other, lambda inverse_d: True)
        assert found.overall == pytest.approx(wanted, rel=1e-9), figure.name
        shell = naive(
            figure.name, group, one, other, lambda inverse_d: shells.edges[1] < inverse_d <= shells.edges[2]
        )
        assert found.values[1] == pytest.approx(shell, rel=1e-9), figure.name
        assert found.n_pairs.sum() == len(pairs)


def naive(name, group, one, other, is_wanted):  # noqa: PLR0911
    """A figure of merit from dictionaries, as its definition reads."""
    lists = []
    for each in (one, other):
        rows = zip(each.hkl.tolist(), each.intensity.tolist(), each.sigma.tolist(), strict=True)
        lists.append({tuple(hkl): (i, s) for hkl, i, s in rows if i >= 0.0})
    axes = TETRAGONAL.reciprocal_axes()
    common = [hkl for hkl in lists[0] if hkl in lists[1]]

    lengths = np.linalg.norm(np.array(common) @ axes, axis=1).tolist()
    inside = {hkl for hkl, inverse_d in zip(common, lengths, strict=True) if is_wanted(inverse_d)}

    def wanted(hkl):
        return hkl in inside

    i1 = [lists[0][hkl][0] for hkl in common if wanted(hkl)]
    i2 = [lists[1][hkl][0] for hkl in common if wanted(hkl)]
    errors = [(lists[0][hkl][1], lists[1][hkl][1]) for hkl in common if wanted(hkl)]
    pairs = list(zip(i1, i2, strict=True))
    difference = sum(abs(a - b) for a, b in pairs)
    plus, minus = [], []
    mates = group.asymmetric(-np.array(sorted(common))).tolist()
    for hkl, mate in zip(sorted(common), map(tuple, mates), strict=True):
        if mate in lists[1] and mate in lists[0] and mate > hkl and wanted(hkl):
            plus.append((lists[0][hkl][0], lists[1][hkl][0]))
            minus.append((lists[0][mate][0], lists[1][mate][0]))
    d1, d2 = ([p[n] - m[n] for p, m in zip(plus, minus, strict=True)] for n in (0, 1))
    means = [(sum(p) / 2, sum(m) / 2) for p, m in zip(plus, minus, strict=True)]
    r_ano = 2 * sum(abs(p - m) for p, m in means) / sum(p + m for p, m in means)
    cc = np.corrcoef(i1, i2)[0, 1]
    match name:
        case "R1i":
            return difference / sum(i1)
        case "R1f":
            return sum(abs(sqrt(a) - sqrt(b)) for a, b in pairs) / sum(map(sqrt, i1))
        case "R2":
            return sqrt(sum((a - b) ** 2 for a, b in pairs) / sum(a * a for a in i1))
        case "Rsplit":
            return sqrt(2) * difference / sum(a + b for a, b in pairs)
        case "CC":
            return cc
        case "CC*":
            return sqrt(2 * cc / (1 + cc))
        case "d1sig" | "d2sig":
            close = [
                abs(a - b) < int(name[1]) * sqrt(s * s + t * t)
                for (a, b), (s, t) in zip(pairs, errors, strict=True)
            ]
            return sum(close) / len(close)
        case "CCano":
            return np.corrcoef(d1, d2)[0, 1]
        case "CRDano":
            return sqrt(
                sum((a + b) ** 2 for a, b in zip(d1, d2, strict=True))
                / sum((a - b) ** 2 for a, b in zip(d1, d2, strict=True))
            )
        case "Rano":
            return r_ano
        case "Rano/Rsplit":
            return r_ano / (sqrt(2) * sum(abs(a - b) for a, b in plus) / sum(a + b for a, b in plus))


def test_one_pass_over_half_sets_gives_the_same_figures():
    one, other = made_list("4/mmm", noise=3.0)
    matched, _ = match_lists(one, other, TETRAGONAL, point_group("4/mmm"), Selection())
    shells = Shells.of_equal_volume(*Selection().limits(matched.inverse_d), 9)
    found = half_set_figures(matched.intensity_1, matched.intensity_2, shells.numbers(matched.inverse_d), 9)
    for name, values in (("CC", found.cc_half), ("CC*", found.cc_star), ("Rsplit", found.r_split)):
        slow = agreement(figure_of_merit(name), matched, shells)
        assert values[:-1] == pytest.approx(slow.values, rel=1e-9, nan_ok=True)
        assert values[-1] == pytest.approx(slow.overall, rel=1e-9)
    assert found.n_pairs.tolist() == [*slow.n_pairs.tolist(), len(matched)]


def test_half_sets_without_pairs_have_no_figures():
    nothing = np.zeros(0)
    found = half_set_figures(nothing, nothing, np.zeros(0, np.int64), 3)
    assert found.n_pairs.tolist() == [0] * 4
    assert all(np.isnan(values).all() for values in (found.cc_half, found.cc_star, found.r_split))
    lonely = half_set_figures(np.array([5.0]), np.array([4.0]), np.array([1]), 3)
    assert np.isnan(lonely.cc_half).all() and lonely.r_split[1] == pytest.approx(sqrt(2) / 9)


def test_scale_and_b_factor_are_recovered():
    one, _ = made_list("4/mmm", noise=0.0)
    s_squared = (inverse_d_of(one.hkl, TETRAGONAL) / 2.0) ** 2
    other = ReflectionList.of(one.hkl, 2.0 * np.exp(-20.0 * s_squared) * one.intensity, one.sigma, symmetry="4/mmm")
    matched, _ = match_lists(one, other, TETRAGONAL, point_group("4/mmm"), Selection())
    scale, b_factor = fitted_scale(matched)
    assert (scale, b_factor) == (pytest.approx(0.5), pytest.approx(10.0))
    alike = scaled(matched, scale, b_factor)
    assert agreement(FIGURES["CC"], alike, Shells.of_equal_volume(0.0, 1.0, 1)).overall == pytest.approx(1.0)
    assert agreement(FIGURES["R1i"], alike, Shells.of_equal_volume(0.0, 1.0, 1)).overall < 1e-12


def test_entries_need_not_be_representatives():
    one, _ = made_list("4/mmm")
    moved = ReflectionList.of(-one.hkl[:, [1, 0, 2]], one.intensity, one.sigma, symmetry="4/mmm")
    matched, _ = match_lists(one, moved, TETRAGONAL, point_group("4/mmm"), Selection())
    assert len(matched) == len(one) and np.array_equal(matched.intensity_1, matched.intensity_2)
    check_symmetry(moved, point_group("4/mmm"), "x.hkl")
    with pytest.raises(UserError, match=r"x.hkl: does not have symmetry 422: .* are equivalent"):
        check_symmetry(made_list("222")[0], point_group("422"), "x.hkl")


def test_selection():
    merged, _ = made_list("4/mmm", noise=3.0)
    group = point_group("4/mmm")
    spoilt = merged.take(np.arange(len(merged)))
    spoilt.intensity[3], spoilt.sigma[4] = np.nan, np.inf
    assert select_reflections(spoilt, TETRAGONAL, group).n_rejected == 2
    some = select_reflections(merged, TETRAGONAL, group, Selection(low=0.1, high=0.25, sigma_cutoff=2.0))
    assert some.inverse_d.min() >= 0.1 and some.inverse_d.max() <= 0.25
    assert (some.intensity >= 2.0 * some.sigma).all()
    zeroed = select_reflections(merged, TETRAGONAL, group, Selection(negatives="zero"))
    assert len(zeroed) == len(merged) and (zeroed.intensity == 0.0).sum() == (merged.intensity < 0.0).sum() > 0
    with pytest.raises(UserError, match="none of the"):
        select_reflections(merged, TETRAGONAL, group, Selection(low=0.9))


def test_a_wilson_plot_gives_scale_and_b_factor():
    hkl = possible_reflections(TETRAGONAL, point_group("4/mmm"), 1e-6, 1.0 / 1.8)
    s_squared = (inverse_d_of(hkl, TETRAGONAL) / 2.0) ** 2
    rng = np.random.default_rng(7)
    mean = exp(3.0) * expected_at_rest(s_squared) * np.exp(-2.0 * 28.0 * s_squared)
    # On the fourfold axis intensities are four times as strong, on twofold ones twice.
    rotations = point_group("422").operators.astype(int)
    epsilon = sum((hkl @ op == hkl).all(axis=1) for op in rotations)
    merged = ReflectionList.of(hkl, mean * epsilon * rng.exponential(1.0, len(hkl)), np.ones(len(hkl)))
    plot = wilson_plot(select_reflections(merged, TETRAGONAL, point_group("4/mmm")), point_group("4/mmm"))
    assert plot.b_factor == pytest.approx(28.0, abs=1.0)
    assert plot.ln_k == pytest.approx(3.0, abs=0.15)
    assert plot.n_reflections.sum() == len(hkl)
    # At rest and at s = 0 an average residue scatters with all its electrons.
    electrons = 5.0 * 36 + 1.35 * 49 + 1.5 * 64 + 8.0
    assert log(expected_at_rest(np.zeros(1))[0]) == pytest.approx(log(electrons), abs=0.01)


@pytest.mark.parametrize(("twin", "mean_abs", "mean_square"), [(False, 0.5, 1 / 3), (True, 0.375, 0.2)])
def test_the_l_test_tells_a_twin(twin, mean_abs, mean_square):
    rng = np.random.default_rng(8)
    group = point_group("4/mmm")
    hkl = possible_reflections(MONOCLINIC, point_group("-1"), 1e-6, 1.0 / 2.0)
    intensity = rng.exponential(1.0, len(hkl))
    if twin:
        intensity = (intensity + rng.exponential(1.0, len(hkl))) / 2.0
    merged = ReflectionList.of(hkl, intensity, np.ones(len(hkl)))
    group = point_group("-1")
    found = l_test(select_reflections(merged, MONOCLINIC, group), "C", group)
    assert len(found.values) > 2 * len(hkl)
    assert found.mean_abs == pytest.approx(mean_abs, abs=0.01)
    assert found.mean_square == pytest.approx(mean_square, abs=0.01)
    limits, part = found.cumulative(10)
    wanted = limits if not twin else limits * (3.0 - limits**2) / 2.0
    assert part == pytest.approx(wanted, abs=0.02)
