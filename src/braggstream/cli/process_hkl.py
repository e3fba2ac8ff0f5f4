"""`process_hkl`: merge the observations of many crystals to one list, as a plain mean."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from braggstream import __version__
from braggstream.cli.notices import say
from braggstream.cli.option import off, option, undo
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.hkl import write_hkl
from braggstream.formats.replaced_file import write_text_result
from braggstream.model.errors import UserError
from braggstream.model.merge_settings import ChoiceSettings, CrystalRow, Merged, MergeSettings
from braggstream.model.point_group import LACKS_AXIS, point_group
from braggstream.pipeline.merging import MergedFiles, check_inputs, merge_files
from braggstream.run.cluster import merge_on_cluster, open_cluster
from braggstream.steps.merging.polarisation import parse_polarisation

HISTOGRAM_FILE = "histogram.dat"
MAX_BINS = 1_000_000
MAX_INDEX = 32767
MAX_WORKERS = 1024

PROGRAM = Program(
    name="process_hkl",
    usage="process_hkl [-i] FILE... [-o FILE] [-y GROUP] [options]",
    description="Merge the observations of many crystals to one list of reflections, as a plain mean.",
    operands="files",
)
GROUPS = {
    "Input and output": (
        option("-i --input", "list", "stream file, or what --reflections-out wrote; - is standard input;"
               " repeatable", argument="FILE"),
        option("-o --output", "text", "list of merged reflections", default="processed.hkl", argument="FILE"),
        option("--stat", "text", "write file, event, scale and correlation of each crystal; reads twice",
               argument="FILE"),
        option("-g --histogram", "text", f"write all values of one reflection to {HISTOGRAM_FILE}",
               argument="H,K,L"),
        option("-z --hist-parameters", "text", "its range and number of bins", argument="MIN,MAX,N"),
    ),
    "Which crystals": (
        option("-s --start-after", "integer", "leave out the first N crystals", default=0, least=0, argument="N"),
        option("-f --stop-after", "integer", "merge at most N crystals; 0: all", default=0, least=0, argument="N"),
        off("--even-only", "merge even-numbered crystals only"),
        off("--odd-only", "merge odd-numbered crystals only"),
        option("--half", "integer", "merge half set 1 or 2 only: those of a live merge (beyond CrystFEL)", least=1,
               most=2, argument="N"),
        option("--min-res", "number", "leave out crystals whose diffraction ends before this resolution [A]",
               least=0, argument="D"),
        option("--min-cc", "number", "leave out crystals that correlate less with all others; reads twice",
               argument="X"),
    ),
    "Which observations": (
        option("--min-snr", "number", "leave out observations below X sigma: a bias", argument="X"),
        option("--max-adu", "number", "leave out observations with a pixel above X", may_be_infinite=True,
               argument="X"),
        option("--res-push --push-res", "number", "leave out observations that are so far beyond the crystal's"
               " limit [nm^-1]", may_be_infinite=True, argument="X"),
        option("--min-measurements", "integer", "leave out reflections that were measured less often", default=2,
               least=1, argument="N"),
    ),
    "Merging": (
        option("-y --symmetry", "text", "point group", default="1", argument="GROUP"),
        off("--scale", "scale each crystal to all others; reads twice"),
        option("--polarization --polarisation", "text", "horiz, vert, or an angle such as 30deg; a percentage"
               " behind it; none: no correction", default="horiz", argument="TYPE"),
        off("--no-polarization --no-polarisation", "do not correct for polarisation"),
        off("--unbiased-sigma", "errors from n - 1 and not from n (beyond CrystFEL)"),
        undo("--compat-sigma", "unbiased_sigma"),
    ),
    "On a cluster (beyond CrystFEL)": (
        option("--dask-scheduler", "text", "merge on the workers of this Dask scheduler, which see the files under"
               " the same names", argument="ADDRESS"),
        option("--dask-workers", "integer", "merge in so many processes of this machine, with Dask", least=1,
               most=MAX_WORKERS, argument="N"),
    ),
}  # fmt: skip


def run(words: Sequence[str]) -> int:
    """Run `process_hkl` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    paths = [*(chosen["input"] or ()), *chosen["files"]]
    settings = settings_of(chosen)
    bins = _histogram_bins(chosen["hist_parameters"])
    check_inputs(paths, settings)
    _check_output(chosen["output"], paths)
    for warning in _warnings(chosen):
        say(f"Warning: {warning}")
    found = _merge(paths, settings, chosen)
    merged = found.merged
    if settings.histogram_of is not None:
        write_text_result(HISTOGRAM_FILE, _with_ends(histogram_lines(merged.values, bins)))
    if chosen["stat"] is not None:
        write_text_result(chosen["stat"], _with_ends(statistics_lines(merged.rows)))
    notes = notes_of(("process_hkl", *words), found.audit)
    write_hkl(chosen["output"], replace(merged.reflections, notes=notes))
    say(*_summary(merged, chosen["output"]))
    return 0


def settings_of(chosen: dict[str, Any]) -> MergeSettings:
    """Turn options into settings; raises `UserError`."""
    if chosen["even_only"] and chosen["odd_only"]:
        raise UserError("--even-only and --odd-only cannot be used together: choose one")
    polarisation = "none" if chosen["no_polarisation"] else chosen["polarisation"]
    parse_polarisation(polarisation)
    least, push_res = chosen["min_res"], chosen["push_res"]
    if least == 0.0:
        raise UserError("--min-res=0: expected a resolution in A, above zero")
    return MergeSettings(
        symmetry=point_group(chosen["symmetry"]).name,
        choice=ChoiceSettings(
            start_after=chosen["start_after"],
            stop_after=chosen["stop_after"],
            parity="even" if chosen["even_only"] else "odd" if chosen["odd_only"] else "all",
            half=None if chosen["half"] is None else chosen["half"] - 1,
            least_resolution=0.0 if least is None else 1.0 / least,
        ),
        polarisation=polarisation,
        min_snr=-inf if chosen["min_snr"] is None else chosen["min_snr"],
        max_adu=inf if chosen["max_adu"] is None else chosen["max_adu"],
        push_res=inf if push_res is None else push_res / 10.0,
        scale=chosen["scale"],
        min_cc=-inf if chosen["min_cc"] is None else chosen["min_cc"],
        wants_statistics=chosen["stat"] is not None,
        min_measurements=chosen["min_measurements"],
        unbiased_sigma=chosen["unbiased_sigma"],
        histogram_of=_histogram_indices(chosen["histogram"]),
    )


def _merge(paths: Sequence[str], settings: MergeSettings, chosen: dict[str, Any]) -> MergedFiles:
    """Merge here, or on the cluster that is asked for."""
    scheduler, n_workers = chosen["dask_scheduler"], chosen["dask_workers"]
    if scheduler is None and n_workers is None:
        return merge_files(paths, settings, say=say)
    if scheduler is not None and n_workers is not None:
        raise UserError("--dask-scheduler and --dask-workers cannot be used together: choose one")
    with open_cluster(scheduler=scheduler, n_workers=n_workers or 1) as client:
        return merge_on_cluster(client, paths, settings, say=say)


def notes_of(command_line: Sequence[str], audit: str) -> str:
    """Write what stands behind the reflections: who made the list, and how."""
    return (
        f"Generated by CrystFEL 0.12.0-compatible Braggstream {__version__}\n{' '.join(command_line)}\n"
        f"Audit information from stream:\n{audit}\n"
    )


def histogram_lines(values: Sequence[float], bins: tuple[float, float, int] | None) -> Iterator[str]:
    """Count the values of a reflection: the left edge of each bin, and how many are strictly within the range."""
    low, high, n_bins = bins or (min(values, default=0.0), max(values, default=0.0), 50)
    low, high = low - 1.0, high + 1.0
    inside = np.array([value for value in values if low < value < high])
    counts, edges = np.histogram(inside, bins=n_bins, range=(low, high))
    for edge, count in zip(edges, counts, strict=False):
        yield f"{edge:f} {count}"


def statistics_lines(rows: Sequence[CrystalRow]) -> Iterable[str]:
    """Write a line for each merged crystal."""
    return (f"{row.filename} {row.event} {row.scale:f} {row.cc:f}" for row in rows)


def _histogram_indices(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    try:
        h, k, l = (int(word) for word in text.split(","))  # noqa: E741
    except ValueError:
        raise UserError(f"--histogram={text}: expected three indices such as 1,2,3") from None
    if max(abs(h), abs(k), abs(l)) > MAX_INDEX:
        raise UserError(f"--histogram={text}: expected indices up to {MAX_INDEX}")
    return (h, k, l)


def _histogram_bins(text: str | None) -> tuple[float, float, int] | None:
    if text is None:
        return None
    words = text.split(",")
    try:
        low, high, n_bins = float(words[0]), float(words[1]), int(words[2])
    except (ValueError, IndexError):
        low, high, n_bins = 0.0, -1.0, 0
    if len(words) != 3 or not -inf < low <= high < inf or not 0 < n_bins <= MAX_BINS:
        raise UserError(f"--hist-parameters={text}: expected least, largest and number of bins, such as 0,1000,50")
    return low, high, n_bins


def _warnings(chosen: dict[str, Any]) -> Iterator[str]:
    if chosen["symmetry"] in LACKS_AXIS:
        yield f"the unique axis of {chosen['symmetry']} is taken to be c: {chosen['symmetry']}_uab would be b"
    if chosen["min_snr"] is not None:
        yield "--min-snr leaves out weak observations, which makes weak reflections too strong"


def _check_output(output: str, paths: Sequence[str]) -> None:
    """Refuse to write over an input, or where nothing can be written: before the work, not after it."""
    if any(Path(output).resolve() == Path(path).resolve() for path in paths):
        raise UserError(f"--output={output} would overwrite an input: give another name")
    if not Path(output).parent.is_dir():
        raise UserError(f"--output={output}: there is no folder {Path(output).parent}")


def _summary(merged: Merged, output: str) -> Iterator[str]:
    yield f"{merged.n_crystals} of {merged.n_crystals_seen} crystals merged"
    if merged.n_crystals_dropped:
        yield f"{merged.n_crystals_dropped} crystals are left out for their scale or correlation"
    left_out = f", {merged.n_observations_left_out} left out" if merged.n_observations_left_out else ""
    yield f"{merged.n_observations} observations{left_out}: {len(merged.reflections)} reflections in {output}"
    yield from (f"Warning: {warning}" for warning in merged.warnings)
    if merged.n_crystals == 0:
        yield "Warning: no crystal was merged"


def _with_ends(lines: Iterable[str]) -> Iterator[str]:
    return (f"{line}\n" for line in lines)
