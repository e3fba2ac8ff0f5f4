"""`indexamajig --live-merge`: which options say what is merged and told."""

from math import inf
from pathlib import Path
from typing import Any

from braggstream.cli.live_merge_options import LIVE_OPTIONS
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.live_merge_settings import AUTO, OFF, LiveMergeSettings
from braggstream.model.point_group import point_group
from braggstream.steps.merging.live_goals import parse_goal
from braggstream.steps.merging.live_operators import live_operators
from braggstream.steps.merging.polarisation import parse_polarisation

MAX_GOALS = 16
NO_CHECKPOINT = "none"
ANY_CELL = UnitCell(a=1.0, b=1.0, c=1.0, alpha=90.0, beta=90.0, gamma=90.0)
"""Operators that are given do not depend on the cell."""


def live_merge_settings(options: dict[str, Any]) -> LiveMergeSettings | None:
    """Make the settings; None without `--live-merge`.  Raises `UserError`."""
    if not options["live_merge"]:
        _refuse_without_merge(options)
        return None
    _check_there_is_something_to_merge(options)
    parse_polarisation(options["live_polarisation"])
    goals = options["goal"] or ()
    if len(goals) > MAX_GOALS:
        raise UserError(f"--goal was given {len(goals)} times, at most {MAX_GOALS} are possible")
    for text in goals:
        parse_goal(text)
    if options["stop_at_goal"] and not goals:
        raise UserError("--stop-at-goal needs a goal: give it with --goal")
    low, high = (_inverse(options, name) for name in ("live_lowres", "live_highres"))
    if low is not None and high is not None and not low < high:
        raise UserError("--live-lowres: expected a larger d than that of --live-highres")
    prefix = options["live_prefix"] or str(Path(options["output"]).with_suffix(".live"))
    return LiveMergeSettings(
        symmetry=point_group(options["symmetry"]).name,
        scale=not options["no_live_scale"],
        polarisation=options["live_polarisation"],
        low=low,
        high=high,
        n_shells=options["live_nshells"],
        min_measurements=options["live_min_measurements"],
        ambiguity=options["live_ambiguity"],
        merge_by=options["merge_by"],
        goals=tuple(goals),
        stop_at_goal=options["stop_at_goal"],
        prefix=prefix,
        checkpoint=_checkpoint(options["live_checkpoint"], prefix),
        snapshot_every_s=inf if options["live_snapshot_every"] is None else options["live_snapshot_every"],
    )


def check_ambiguity(settings: LiveMergeSettings | None) -> None:
    """Refuse operators that make no sense; raises `UserError`."""
    if settings is not None and settings.ambiguity not in (AUTO, OFF):
        live_operators(ANY_CELL, point_group(settings.symmetry), settings.ambiguity)


def _refuse_without_merge(options: dict[str, Any]) -> None:
    for each in LIVE_OPTIONS[1:]:
        if options[each.key] != each.default:
            raise UserError(f"{each.names[-1]} belongs to --live-merge: give that too")


def _check_there_is_something_to_merge(options: dict[str, Any]) -> None:
    if options["symmetry"] is None:
        raise UserError("--live-merge needs the point group: give it with --symmetry (-y)")
    if options["pdb"] is None and options["find_cell"] is None:
        raise UserError("--live-merge needs the unit cell: give it with -p, or have it found with --find-cell")
    if options["no_refls_in_stream"] or options["cell_parameters_only"]:
        name = "--no-refls-in-stream" if options["no_refls_in_stream"] else "--cell-parameters-only"
        raise UserError(f"--live-merge merges what is in the stream file: leave {name} out")
    folder = Path(options["live_prefix"] or options["output"]).parent
    if not folder.is_dir():
        raise UserError(f"--live-prefix: there is no folder {folder}")


def _inverse(options: dict[str, Any], name: str) -> float | None:
    value = options[name]
    if value is not None and not value > 0.0:
        raise UserError(f"--{name.replace('_', '-')}={value:g}: expected a resolution in Å, above zero")
    return None if value is None else 1.0 / value


def _checkpoint(wish: str | None, prefix: str) -> str | None:
    if wish == NO_CHECKPOINT:
        return None
    return wish or f"{prefix}.checkpoint"
