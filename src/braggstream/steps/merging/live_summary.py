"""What is told of a live merge: plain values for programs, and one line for people."""

from dataclasses import dataclass, field
from math import isfinite
from time import thread_time
from typing import Any

from braggstream.model.cell import UnitCell
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.live_figures import (
    FigureLimits,
    LiveFigures,
    PossibleReflections,
    group_difference,
    live_figures,
)
from braggstream.steps.merging.live_goals import Forecast, Goal, Standing, forecast, forecast_text, standing
from braggstream.steps.merging.live_history import LiveHistory
from braggstream.steps.merging.live_merge import LiveMerge

GROUP_SHARE = 0.01
"""Figures of groups and their differences take no more than this part of the time: they may be older."""
TRACED = ("completeness", "multiplicity", "snr", "r_split", "cc_half", "cc_star")
"""Overall figures that are kept against time."""


@dataclass(slots=True)
class LiveSummary:
    """The figures of a live merge as they were last computed."""

    limits: FigureLimits
    possible: PossibleReflections
    goals: tuple[Goal, ...] = ()
    history: LiveHistory = field(default_factory=LiveHistory)
    figures: LiveFigures | None = None
    standings: list[tuple[Standing, Forecast | None]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    """All of it as plain values, but for the history."""
    _groups: dict[str, Any] = field(default_factory=dict)
    _groups_due: float = 0.0

    @classmethod
    def of(cls, cell: UnitCell, group: PointGroup, limits: FigureLimits, goals: tuple[Goal, ...]) -> "LiveSummary":
        """Begin for a cell and a point group."""
        return cls(limits=limits, possible=PossibleReflections(cell, group), goals=goals)

    @property
    def is_at_goal(self) -> bool:
        """Whether all goals are reached; there is at least one."""
        return bool(self.standings) and all(each.is_reached for each, _ in self.standings)

    def update(self, merge: LiveMerge, time_s: float, *, is_last: bool = False) -> None:
        """Compute everything anew."""
        self.figures = live_figures(merge, self.limits, self.possible)
        overall = {} if self.figures is None else self.figures.overall
        self._note(merge, time_s)
        rate, n_recent = self.history.rate
        found = [standing(goal, merge, self.possible, self.limits.least) for goal in self.goals]
        self.standings = [(each, forecast(each, merge.n_crystals, rate=rate, n_recent=n_recent)) for each in found]
        self.values = {
            "time_s": round(time_s, 3),
            "crystals": _counts(merge),
            "crystals_per_second": rate,
            "overall": overall,
            "shells": [] if self.figures is None else self.figures.table(),
            "goals": [_goal_values(*each) for each in self.standings],
            **({} if merge.scaling is None else {"model_error": merge.scaling.model_error}),
            **_ambiguity_values(merge),
            **self._group_values(merge, time_s, is_last),
        }

    def _note(self, merge: LiveMerge, time_s: float) -> None:
        """Add to the curves."""
        history, n, figures = self.history, merge.n_crystals, self.figures
        history.count(time_s, n)
        if figures is None:
            return
        if history.overall.wants(time_s):
            history.overall.note(time_s, n, {name: figures.overall[name] for name in TRACED})
        if history.shells.wants(time_s):
            rows = figures.table()
            columns = {name: [_short(row[name]) for row in rows] for name in ("high_angstrom", *TRACED)}
            history.shells.note(time_s, n, columns)

    def line(self, merge: LiveMerge) -> str:
        """Tell the most important in one line."""
        if not merge.n_crystals:
            return ""
        if self.figures is None:
            waiting = f", {merge.n_held} wait for their indexing to be told" if merge.n_held else ""
            return f"Merged: nothing yet of {merge.n_crystals} crystals{waiting}."
        overall, edges = self.figures.overall, self.figures.shells.edges
        parts = [
            f"{merge.n_merged} crystals",
            f"{_percent(overall['completeness'])} complete to {1.0 / edges[-1]:.2f} Å",
            f"multiplicity {_fixed(overall['multiplicity'], 1)}",
            f"I/sigma {_fixed(overall['snr'], 1)}",
            f"Rsplit {_percent(overall['r_split'])}",
            f"CC1/2 {_fixed(overall['cc_half'], 4)}",
            f"CC* {_fixed(overall['cc_star'], 4)}",
        ]
        if merge.n_held:
            parts.append(f"{merge.n_held} undecided")
        parts += [_difference_text(each) for each in self.values.get("differences", ())]
        return "Merged: " + ", ".join(parts) + "".join(f"; {_goal_text(*each)}" for each in self.standings) + "."

    def _group_values(self, merge: LiveMerge, time_s: float, is_last: bool) -> dict[str, Any]:
        if not merge.n_of_group or (time_s < self._groups_due and not is_last):
            return self._groups
        begun = thread_time()
        names = sorted(merge.n_of_group)
        groups: dict[str, Any] = {}
        for name in (each for each in names if each in merge.sums.of_group):
            figures = live_figures(merge, self.limits, self.possible, name)
            overall = {} if figures is None else figures.overall
            groups[name] = {"crystals": merge.n_of_group[name], "overall": overall}
        differences = []
        for other in list(groups)[1:]:
            found = group_difference(merge, self.limits, next(iter(groups)), other)
            if found is not None:
                differences.append({"groups": [next(iter(groups)), other], **found.as_dict()})
        self._groups = {"groups": groups, "differences": differences, "groups_time_s": round(time_s, 3)}
        self._groups_due = time_s + (thread_time() - begun) / GROUP_SHARE
        return self._groups


def _counts(merge: LiveMerge) -> dict[str, int]:
    counts = {"seen": merge.n_crystals, "merged": merge.n_merged, "measurements": merge.n_measurements}
    if merge.scaling is not None:
        counts["merged"] -= merge.scaling.n_rejected
        counts |= {"not_scaled": merge.scaling.n_rejected, "outliers": merge.scaling.n_outliers}
    if merge.ambiguity is not None:
        counts |= {"undecided": merge.n_held, "dropped_undecided": merge.ambiguity.n_dropped}
    if merge.n_of_group:
        counts |= {"of_further_groups": merge.n_ungrouped}
    return counts


def _ambiguity_values(merge: LiveMerge) -> dict[str, Any]:
    ambiguity = merge.ambiguity
    if ambiguity is None:
        return {}
    agreement = ambiguity.agreement if isfinite(ambiguity.agreement) else None
    values = {"outcome": ambiguity.outcome, "agreement": agreement, "crystals_by_label": ambiguity.n_of_label}
    return {"ambiguity": values}


def _goal_values(found: Standing, when: Forecast | None) -> dict[str, Any]:
    seconds = None if when is None else [when.seconds, when.least_seconds, when.most_seconds]
    return {
        "goal": found.goal.text,
        "value": found.value if isfinite(found.value) else None,
        "wanted": found.goal.value,
        "reached": found.is_reached,
        "minutes_left": None if seconds is None else [_minutes(each) for each in seconds],
    }


def _minutes(seconds: float) -> float | None:
    return seconds / 60.0 if isfinite(seconds) else None


def _goal_text(found: Standing, when: Forecast | None) -> str:
    return f"{found.goal.text} {'reached' if found.is_reached else forecast_text(when)}"


def _difference_text(difference: dict[str, Any]) -> str:
    one, other = difference["groups"]
    overall = difference["overall"]
    return f"{one} against {other}: Riso {_percent(overall['r_iso'])}, CCiso {_fixed(overall['cc_iso'], 4)}"


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _fixed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.1f}%"
