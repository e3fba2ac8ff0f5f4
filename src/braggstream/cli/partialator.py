"""`partialator`: merge with scales, partialities and post-refinement."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from braggstream.cli.notices import say
from braggstream.cli.option_parser import Program, parse_options
from braggstream.cli.partialator_options import GROUPS
from braggstream.cli.process_hkl import notes_of
from braggstream.model.errors import UserError
from braggstream.model.index_operators import ambiguity_operators, parse_operators
from braggstream.model.near_names import expected_one_of
from braggstream.model.point_group import LACKS_AXIS, point_group
from braggstream.pipeline.partialator import PartialatorFiles, run_partialator
from braggstream.run.cluster import open_cluster
from braggstream.run.dask_crew import DaskCrew
from braggstream.steps.merging.polarisation import parse_polarisation
from braggstream.steps.partialator.settings import MODELS, RANDOM, PartialSettings

PROGRAM = Program(
    name="partialator",
    usage="partialator -i FILE -o FILE -y GROUP [options]",
    description="Merge the crystals of stream files with scales, partialities and post-refinement.",
    operands="streams",
)
HALVES = ("order", "hash")
SCALINGS = ("auto", "logs", "errors")


def run(words: Sequence[str]) -> int:
    """Run `partialator` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    settings, files = settings_of(chosen), files_of(chosen, words)
    for note in _notes(chosen, settings):
        say(note)
    scheduler, n_workers = chosen["dask_scheduler"], chosen["dask_workers"]
    if scheduler is None and n_workers is None:
        run_partialator(files, settings, n_threads=chosen["j"], say=say)
        return 0
    if scheduler is not None and n_workers is not None:
        raise UserError("--dask-scheduler and --dask-workers cannot be used together: choose one")
    with open_cluster(scheduler=scheduler, n_workers=n_workers or 1) as client:
        run_partialator(files, settings, n_threads=chosen["j"], say=say, crew_of=partial(DaskCrew, client))
    return 0


def settings_of(chosen: dict[str, Any]) -> PartialSettings:
    """Turn options into settings; raises `UserError` where they are wrong."""
    if chosen["model"] not in MODELS:
        raise UserError(f"--model={chosen['model']}: {expected_one_of(chosen['model'], MODELS)}")
    if chosen["halves"] not in HALVES:
        raise UserError(f"--halves={chosen['halves']}: {expected_one_of(chosen['halves'], HALVES)}")
    group = point_group(chosen["symmetry"])
    polarisation = "none" if chosen["no_polarisation"] else chosen["polarisation"]
    return PartialSettings(
        symmetry=group,
        model=chosen["model"],
        n_cycles=chosen["iterations"],
        by_errors=_is_by_errors(chosen),
        compat_sigma=chosen["compat_sigma"],
        scale=not chosen["no_scale"],
        scale_b=not chosen["no_Bscale"],
        refine=not chosen["no_pr"],
        reject_by_half_sets=not chosen["no_deltacchalf"],
        max_b=chosen["max_rel_B"],
        min_measurements=chosen["min_measurements"],
        max_adu=chosen["max_adu"],
        min_resolution=0.0 if chosen["min_res"] is None else 1.0 / chosen["min_res"],
        push_resolution=chosen["push_res"] / 10.0,
        start_after=chosen["start_after"],
        stop_after=chosen["stop_after"],
        polarisation=parse_polarisation(polarisation),
        hash_halves=chosen["halves"] == "hash",
        hold_free_set=not chosen["no_free"],
        operators=_operators(chosen),
        force_bandwidth=chosen["force_bandwidth"],
        force_radius=None if chosen["force_radius"] is None else chosen["force_radius"] / 10.0,
        force_wavelength=chosen["force_lambda"],
    )


def _is_by_errors(chosen: dict[str, Any]) -> bool:
    if chosen["scaling"] not in SCALINGS:
        raise UserError(f"--scaling={chosen['scaling']}: {expected_one_of(chosen['scaling'], SCALINGS)}")
    if chosen["scaling"] == "auto":
        return chosen["model"] not in ("unity", RANDOM)
    return bool(chosen["scaling"] == "errors")


def _operators(chosen: dict[str, Any]) -> tuple[Any, ...]:
    if chosen["operator"] is not None and chosen["apparent_symmetry"] is not None:
        raise UserError("-w and --operator: expected one of them")
    if chosen["operator"] is not None:
        return tuple(parse_operators(chosen["operator"]))
    if chosen["apparent_symmetry"] is not None:
        return tuple(ambiguity_operators(point_group(chosen["apparent_symmetry"]), point_group(chosen["symmetry"])))
    return ()


def files_of(chosen: dict[str, Any], words: Sequence[str]) -> PartialatorFiles:
    """Turn options into the names of files; raises `UserError` where they are wrong."""
    inputs = (*(chosen["input"] or ()), *chosen["streams"])
    if not inputs:
        raise UserError("a stream file is needed: give it with -i")
    for name in ("output", "unmerged_output", "output_cell", "harvest_file"):
        if chosen[name] is not None:
            _check_output("--" + name.replace("_", "-"), chosen[name], inputs)
    has_logs = not chosen["no_logs"] and chosen["model"] != "unity"
    return PartialatorFiles(
        inputs=inputs,
        output=chosen["output"],
        parameters="" if chosen["no_params"] else chosen["output"] + ".params",
        start_parameters=chosen["start_params"],
        reference=chosen["reference"],
        custom_split=chosen["custom_split"],
        unmerged=chosen["unmerged_output"],
        cell=chosen["output_cell"],
        harvest=chosen["harvest_file"],
        log_folder=chosen["log_folder"] if has_logs else None,
        every_cycle=chosen["output_every_cycle"],
        strict_halves=chosen["strict_halves"],
        notes_of=partial(notes_of, ("partialator", *words)),
    )


def _check_output(name: str, output: str, inputs: Sequence[str]) -> None:
    """Refuse to write over an input, or where nothing can be written: before the work, not after it."""
    if any(Path(output).resolve() == Path(path).resolve() for path in inputs):
        raise UserError(f"{name}={output} would overwrite an input: give another name")
    if not Path(output).parent.is_dir():
        raise UserError(f"{name}={output}: there is no folder {Path(output).parent}")


def _notes(chosen: dict[str, Any], settings: PartialSettings) -> list[str]:
    notes = []
    if settings.symmetry.name in LACKS_AXIS:
        name = settings.symmetry.name
        notes.append(f"Warning: the unique axis of {name} is taken to be c: {name}_uab would be b")
    if chosen["reference"] is not None:
        notes.append("Warning: with --reference the result depends on the reference")
    return notes
