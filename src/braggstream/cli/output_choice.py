"""`indexamajig`: which options say what is written, and where to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braggstream.cli.config_file import without_secrets
from braggstream.cli.option_table import GROUPS
from braggstream.model.errors import UserError
from braggstream.model.settings import (
    OutputSettings,
    Settings,
)

SHORTEST_SECRET = 8
"""A shorter text is no token that would be worth looking for in other words."""
FOUND_CELL = "Unit cell: found from the first hits, which were then indexed again"
AUDIT = {
    "live": "Geometry refinement: live; detector_offset_x_mm, y and z in each chunk tell where it stood",
    "report": "Geometry refinement: report; nothing is applied",
}


def output_settings(
    options: dict[str, Any], words: Sequence[str], settings: Settings, *, secret: str = ""
) -> OutputSettings:
    """Understand what is written; raises `UserError`.  `secret` is to be left out of everything."""
    _check_is_no_input(options)
    return OutputSettings(
        stream_file=options["output"],
        append=options["append"],
        write_non_hits=not options["no_non_hits_in_stream"],
        write_peaks=not options["no_peaks_in_stream"],
        write_reflections=not options["no_refls_in_stream"],
        mille_file=str(Path(options["mille_dir"], options["mille_file"])) if options["mille"] else None,
        json_summary=options["json_summary"],
        reflections_file=_reflections_file(options),
        send_observations=options["reflections_out"] is not None,
        command_line=("indexamajig", *_shown_words(words, secret)),
        indexing_words=options["indexing"] or ",".join(settings.indexing.methods),
        found_cell_file=_found_cell_file(options),
        audit_lines=_audit_lines(settings),
    )


def _check_is_no_input(options: dict[str, Any]) -> None:
    """Refuse a stream file that would take the place of something that the run reads."""
    for name in ("geometry", "pdb", "input", "config"):
        path = options[name]
        if path and options["output"] and Path(path).is_file() and _is_same(path, options["output"]):
            raise UserError(f"-o {options['output']} would overwrite {path}, which is read: give another name")


def _is_same(path: str, other: str) -> bool:
    return Path(path).resolve() == Path(other).resolve()


def _shown_words(words: Sequence[str], secret: str) -> list[str]:
    """Give the command line as it is told: without the token of ASAP::O, wherever in it that may be."""
    shown = without_secrets(words, GROUPS)
    return [word.replace(secret, "***") for word in shown] if len(secret) >= SHORTEST_SECRET else shown


def _audit_lines(settings: Settings) -> tuple[str, ...]:
    """Tell what happens to frames that the command line alone does not tell."""
    lines = [] if settings.geometry.refine == "off" else [AUDIT[settings.geometry.refine]]
    return (*lines, FOUND_CELL) if settings.indexing.find_cell else tuple(lines)


def _reflections_file(options: dict[str, Any]) -> str | None:
    path = options["reflections_out"]
    if path is None:
        return None
    check_new_file("--reflections-out", path, options)
    if options["cell_parameters_only"]:
        raise UserError("--reflections-out needs reflections: leave --cell-parameters-only out")
    if Path(path).suffix == ".parquet":
        raise UserError(
            "--reflections-out writes an Arrow stream, which a killed run leaves readable: name it .arrows"
        )
    return str(path)


def _found_cell_file(options: dict[str, Any]) -> str | None:
    path = options["find_cell"]
    if path is None:
        return None
    path = path or str(Path(options["output"]).with_suffix(".cell"))
    check_new_file("--find-cell", path, options)
    return str(path)


def check_new_file(option: str, path: str, options: dict[str, Any]) -> None:
    """Refuse a file that would overwrite another one of this run, or whose folder is not there."""
    names = ("geometry", "output", "pdb", "input", "json_summary", "config")
    for name in (options[each] for each in names):
        if name is not None and Path(path).resolve() == Path(name).resolve():
            raise UserError(f"{option}={path} would overwrite {name}: give another name")
    if not Path(path).parent.is_dir():
        raise UserError(f"{option}={path}: there is no folder {Path(path).parent}")
