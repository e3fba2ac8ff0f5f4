"""Figures of the running mean: those of the programs that read its lists; goals, and when they are reached."""

from dataclasses import replace
from math import isinf, isnan

import numpy as np
import pytest

from braggstream.formats.hkl import read_hkl, write_hkl
from braggstream.model.cell import CENTRINGS
from braggstream.model.errors import UserError
from braggstream.model.point_group import point_group
from braggstream.steps.merging.agreement import agreement, figure_of_merit
from braggstream.steps.merging.comparison import fitted_scale, match_lists, scaled
from braggstream.steps.merging.list_check import check_list
from braggstream.steps.merging.live_crystals import LiveCrystal
from braggstream.steps.merging.live_figures import FigureLimits, PossibleReflections, live_figures
from braggstream.steps.merging.live_goals import forecast, forecast_text, parse_goal, standing
from braggstream.steps.merging.live_history import MOST_POINTS, LiveHistory
from braggstream.steps.merging.live_merge import LiveMerge
from braggstream.steps.merging.live_summary import LiveSummary
from braggstream.steps.merging.selection import Selection
from braggstream.steps.merging.shells import inverse_d_of, possible_reflections
from merging.made_crystals import HEXAGONAL, TETRAGONAL, MadeCrystals

GROUP = point_group("4/mmm")


def merge_of(crystals, **more):
    merge = LiveMerge(TETRAGONAL, GROUP, **more)
    for crystal in crystals:
        merge.add(crystal)
    return merge


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("limits", [(None, None), (1 / 20.0, 1 / 3.0)], ids=["of the data", "given"])
def test_figures_are_those_of_check_hkl_and_compare_hkl(tmp_path, is_scaled, limits):
    low, high = limits
    merge = merge_of(MadeCrystals(noise=1.0).many(150), is_scaled=is_scaled)
    found = live_figures(merge, FigureLimits(low=low, high=high), PossibleReflections(TETRAGONAL, GROUP))
    lists = []
    for half in (None, 0, 1):
        path = tmp_path / f"{half}.hkl"
        write_hkl(path, merge.reflection_list(half=half, least=2))
        lists.append(read_hkl(path))
    selection = Selection(low=low, high=high)
    checked = check_list(lists[0], TETRAGONAL, GROUP, selection=selection)
    assert np.array_equal(found.shells.edges, checked.shells.edges)
    for name in ("n_reflections", "n_possible", "n_measured", "completeness", "redundancy", "snr", "intensity"):
        one, other = (getattr(counts, name) for counts in (found.counts, checked.counts))
        assert one == pytest.approx(other, rel=1e-9, nan_ok=True), name
    matched, _ = match_lists(lists[1], lists[2], TETRAGONAL, GROUP, selection)
    matched = scaled(matched, *fitted_scale(matched))
    for name, mine in (
        ("CC", found.halves.cc_half),
        ("CC*", found.halves.cc_star),
        ("Rsplit", found.halves.r_split),
    ):
        expected = agreement(figure_of_merit(name), matched, found.shells)
        assert mine[:-1] == pytest.approx(expected.values, abs=1e-9, nan_ok=True)
        assert mine[-1] == pytest.approx(expected.overall, abs=1e-9)
    assert found.row(-1)["cc_half"] == pytest.approx(found.halves.cc_half[-1])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_almost_nothing_makes_no_trouble(n):
    one = LiveCrystal(hkl=np.array([[1, 2, 3]], np.int32), observed=np.array([[5.0], [1.0]]), half=0, group="on")
    merge = merge_of([one] * n)
    goals = tuple(parse_goal(f"{figure}@3A") for figure in ("cc12>0.5", "completeness>50", "multiplicity>3"))
    summary = LiveSummary.of(TETRAGONAL, GROUP, FigureLimits(), goals)
    summary.update(merge, 1.0)
    assert (summary.line(merge) == "") == (n == 0)
    assert not summary.is_at_goal and (summary.figures is None) == (n < 2)


def test_differences_between_groups_are_found_where_they_are():
    made = MadeCrystals(d_min=3.0, gamma_spread=0.0, b_spread=0.0, noise=0.3)
    s2 = made.s2
    changed = made.intensity * np.where(s2 > np.median(s2), 1.0 + 0.5 * (-1.0) ** np.arange(len(s2)), 1.0)
    crystals = [made.one(group="off") for _ in range(150)]
    crystals += [made.one(group="on", intensity=changed) for _ in range(150)]
    merge = merge_of(crystals)
    summary = LiveSummary.of(TETRAGONAL, GROUP, FigureLimits(n_shells=4), ())
    summary.update(merge, 1.0)
    (difference,) = summary.values["differences"]
    assert difference["groups"] == ["off", "on"]
    assert summary.values["groups"]["on"]["crystals"] == 150
    inner, outer = difference["shells"][0], difference["shells"][-1]
    assert outer["r_iso"] == pytest.approx(0.5, abs=0.1) and inner["r_iso"] < 0.15
    assert outer["mean_difference_over_sigma"] > 3.0 and inner["mean_difference_over_sigma"] < 1.5
    assert inner["cc_iso"] > 0.98 > outer["cc_iso"]


@pytest.mark.parametrize(
    ("text", "figure", "value", "low", "high"),
    [
        ("cc12>0.9@2.0A", "cc12", 0.9, 0.5 * 0.9 ** (1 / 3), 0.5),
        ("completeness>=95%@2A", "completeness", 0.95, 0.5 * 0.9 ** (1 / 3), 0.5),
        (" Multiplicity > 10 @ 25-2.5A ", "multiplicity", 10.0, 0.04, 0.4),
        ("completeness>100@inf-2.5", "completeness", 1.0, 0.0, 0.4),
    ],
)
def test_goals_are_understood(text, figure, value, low, high):
    goal = parse_goal(text)
    assert (goal.figure, goal.text) == (figure, text.strip())
    assert (goal.value, goal.low, goal.high) == pytest.approx((value, low, high))


@pytest.mark.parametrize(
    "text",
    ["", "cc12", "cc12>0.9", "cc>0.9@2A", "cc12>1@2A", "cc12>0@2A", "completeness>101@2A", "cc12>0.9@0A",
     "cc12>0.9@2-30A", "cc12>.@2A", "cc12>0.9@1.2.3A", "cc12<0.9@2A", "multiplicity>10@" + "9" * 500],
)  # fmt: skip
def test_a_goal_that_makes_no_sense_is_refused_in_one_line(text):
    with pytest.raises(UserError, match="--goal=") as refusal:
        parse_goal(text)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


def test_forecasts_come_true():
    """Nine of ten intervals hold what then happens; with six runs of four goals and three forecasts each."""
    goals = [parse_goal(t) for t in ("cc12>0.9@10-2.6A", "completeness>98@inf-2.6A", "multiplicity>25@2.6A")]
    n_right = n_told = 0
    for seed in (1, 2, 3):
        made = MadeCrystals(d_min=2.5, n_observations=60, noise=1.2, partiality_spread=0.4, seed=seed)
        merge, possible = LiveMerge(TETRAGONAL, GROUP), PossibleReflections(TETRAGONAL, GROUP)
        told, reached = {}, {}
        for n in range(1, 2001):
            merge.add(made.one())
            if n % 25:
                continue
            for goal in (each for each in goals if each not in reached):
                found = standing(goal, merge, possible, 2)
                if found.is_reached:
                    reached[goal] = n
                elif n in (150, 250, 400):
                    told.setdefault(goal, []).append((n * found.least_growth, n * found.most_growth))
            if len(reached) == len(goals):
                break
        assert set(reached) == set(goals)
        for goal, intervals in told.items():
            n_told += len(intervals)
            n_right += sum(least - 25 <= reached[goal] <= most + 25 for least, most in intervals)
    assert n_told >= 15 and n_right >= 0.75 * n_told, (n_right, n_told)


def test_forecasts_become_times_with_the_present_rate():
    merge, possible = merge_of(MadeCrystals(noise=1.5).many(100)), PossibleReflections(TETRAGONAL, GROUP)
    found = standing(parse_goal("multiplicity>100@inf-2.5A"), merge, possible, 2)
    now = forecast(found, 100, rate=5.0, n_recent=60)
    assert now.seconds == pytest.approx((found.growth - 1.0) * 20.0)
    assert 0.0 < now.least_seconds < now.seconds < now.most_seconds
    assert forecast_text(now).startswith("in ")
    assert forecast(found, 100, rate=0.0, n_recent=0) is None
    hopeless = standing(parse_goal("completeness>50@20-1.0A"), merge, possible, 2)
    assert isinf(hopeless.growth) or hopeless.growth > 20.0
    assert isnan(standing(parse_goal("cc12>0.5@1.0A"), merge, possible, 2).value)


@pytest.mark.parametrize("centring", CENTRINGS)
def test_possible_reflections_are_listed_as_check_hkl_lists_them(centring):
    cell = replace(HEXAGONAL if centring == "H" else TETRAGONAL, centring=centring)
    group = point_group("321_H" if centring == "H" else "4/m")
    possible = PossibleReflections(cell, group)
    wide = possible.between(0.0, 0.3)
    assert wide == pytest.approx(np.sort(inverse_d_of(possible_reflections(cell, group, 0.0, 0.3), cell)))
    assert np.array_equal(possible.between(0.1, 0.2), wide[(wide > 0.1) & (wide <= 0.2)])


def test_a_resolution_without_end_is_not_gone_through():
    assert len(PossibleReflections(TETRAGONAL, GROUP).between(0.0, 100.0)) == 0


def test_the_history_stays_bounded_and_covers_the_whole_run():
    history = LiveHistory()
    for second in range(20_000):
        history.count(float(second), 3 * second)
        if history.overall.wants(second):
            history.overall.note(float(second), 3 * second, {"cc_half": 0.5})
    points = history.overall.points
    assert len(points) <= MOST_POINTS + 1
    times = [point["time_s"] for point in points]
    assert times[0] == 0.0 and times[-1] > 19_800 and np.diff(times).max() < 250
    assert history.rate == (pytest.approx(3.0), 360)
