"""`ambigator`: resolve an indexing ambiguity of the crystals of a stream file."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream import __version__
from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_options
from braggstream.formats.replaced_file import write_text_result
from braggstream.formats.stream_columns import read_observations
from braggstream.formats.stream_reindex import reindex_stream
from braggstream.formats.text_file import read_text_file
from braggstream.model.errors import UserError
from braggstream.model.index_operators import ambiguity_operators, operator_text, parse_operators
from braggstream.model.observations import Observations
from braggstream.model.point_group import LACKS_AXIS, point_group
from braggstream.steps.merging.ambiguity import Labels, Resolution, resolve_ambiguity
from braggstream.steps.merging.ambiguity_data import ComparableReflections, comparable_reflections
from braggstream.steps.merging.indexing_choices import LEAST_AGREEMENT

PROGRAM = Program(
    name="ambigator",
    usage="ambigator -y GROUP (-w GROUP | --operator OPERATOR) [options] STREAM",
    description="Tell which crystals of a stream file are indexed the other way, where the lattice allows two, and "
    "write them all indexed alike.",
    operands="streams",
)
GROUPS = {
    "Input and output": (
        option("-o --output", "text", "stream file to write, with crystals reindexed", argument="FILE"),
        option("--start-assignments", "text", "begin with these: 0 or 1 a line, 1 = reindex", argument="FILE"),
        option("--end-assignments", "text", "write what was found: 0 or 1 a line, 1 = reindex", argument="FILE"),
        option("--fg-graph", "text", "write f and g, a line for each crystal and pass", argument="FILE"),
        option("--corr-matrix", "text", "write the correlations of all pairs, as HDF5", argument="FILE"),
    ),
    "Symmetry": (
        option("-y --symmetry", "text", "true point group of the crystals", default="1", argument="GROUP"),
        option("-w", "text", "apparent point group, that of the lattice", argument="GROUP"),
        option("--operator", "text", "the other way of indexing, such as k,h,-l", argument="OPERATOR"),
    ),
    "Method": (
        option(
            "-n --iterations", "integer", "passes over the crystals", default=6, argument="N", least=0, most=1000
        ),
        option("--highres", "number", "highest resolution in Angstroms", argument="D", least=1e-6),
        option("--lowres", "number", "lowest resolution in Angstroms", argument="D", least=1e-6),
        option("--ncorr", "integer", "partners of each crystal in --corr-matrix", argument="N", least=1),
        option("--really-random", "flag", "another beginning each time"),
        option("-j", "ignored", "the work takes seconds on one processor", argument="N"),
    ),
}
SEED = 4357
MOST_FOR_MATRIX = 10_000
"""Crystals whose pairs can be compared one by one."""


def run(words: Sequence[str]) -> int:
    """Run `ambigator` with the words after its name; gives the exit status."""
    chosen = parse_options(words, GROUPS, program=PROGRAM)
    operator = _operator(chosen)
    _check(chosen, operator)
    (path,) = chosen["streams"]
    axes: list[NDArray[np.float64]] = []
    data = _read(path, chosen, operator, axes)
    rng = np.random.default_rng(None if chosen["really_random"] else SEED)
    start = None if chosen["start_assignments"] is None else _start(chosen["start_assignments"], data.n_crystals)
    if chosen["corr_matrix"] is not None:
        _write_matrix(chosen, data, rng)
    found = resolve_ambiguity(data, rng, n_passes=chosen["iterations"], start=start)
    _tell(found, is_started=start is not None)
    if chosen["fg_graph"] is not None:
        write_text_result(chosen["fg_graph"], (f"{line}\n" for line in _graph_lines(found)))
    if chosen["end_assignments"] is not None:
        write_text_result(chosen["end_assignments"], (f"{label:d}\n" for label in found.labels.tolist()))
    if chosen["output"] is not None and operator is not None:
        audit = (f"Re-indexed by ambigator 0.12.0 (Braggstream {__version__})", f"ambigator {' '.join(words)}")
        crystals = zip(np.concatenate(axes), found.labels.tolist(), strict=True)
        n = reindex_stream(path, chosen["output"], crystals=crystals, operator=operator, audit=audit)
        say(f"{n} of {data.n_crystals} crystals reindexed in {chosen['output']}")
    return 0


def _operator(chosen: dict[str, Any]) -> NDArray[np.int32] | None:
    """Find the one operator; None where none is given."""
    if chosen["w"] is not None and chosen["operator"] is not None:
        raise UserError("give either -w or --operator, not both")
    for name in (chosen["symmetry"], chosen["w"]):
        if name in LACKS_AXIS:
            say(f"Warning: {name} is taken for unique axis c: _uaa, _uab, _uac choose")
    true = point_group(chosen["symmetry"])
    if chosen["operator"] is not None:
        found = parse_operators(chosen["operator"])
        if any(abs(round(np.linalg.det(each))) != 1 for each in found):
            raise UserError(f"--operator={chosen['operator']}: its determinant is neither 1 nor -1")
    elif chosen["w"] is not None:
        found = tuple(np.asarray(each, np.int32) for each in ambiguity_operators(point_group(chosen["w"]), true))
    else:
        return None
    if len(found) != 1:
        texts = "; ".join(map(operator_text, found)) or "none"
        raise UserError(
            f"expected one ambiguity operator, there are {len(found)} ({texts}): resolve one after the other, "
            "with --operator, and -y a group that lies between"
        )
    say(f"Ambiguity operator: {operator_text(found[0])}")
    return found[0]


def _check(chosen: dict[str, Any], operator: NDArray[np.int32] | None) -> None:
    if len(chosen["streams"]) != 1:
        raise UserError("expected one stream file")
    if chosen["output"] is not None and operator is None:
        raise UserError("-o needs a known ambiguity operator: give -w or --operator")
    if chosen["output"] is not None and chosen["streams"][0] == "-":
        raise UserError("-o needs a stream file that can be read twice, not standard input")
    low, high = chosen["lowres"], chosen["highres"]
    if low is not None and high is not None and not high < low:
        raise UserError("--lowres is not a lower resolution than --highres")


def _read(
    path: str, chosen: dict[str, Any], operator: NDArray[np.int32] | None, axes: list[NDArray[np.float64]]
) -> ComparableReflections:
    """Read what can decide; puts the axes of the crystals into `axes`."""
    stream = read_observations(path)

    def blocks() -> Iterator[Observations]:
        for block in stream:
            axes.append(block.crystals.reciprocal_axes)
            yield block

    low = 0.0 if chosen["lowres"] is None else 1.0 / chosen["lowres"]
    high = inf if chosen["highres"] is None else 1.0 / chosen["highres"]
    data = comparable_reflections(blocks(), point_group(chosen["symmetry"]), operator, low=low, high=high)
    for notice in stream.notices:
        say(notice)
    per_crystal = data.images.shape[1] / data.n_crystals
    say(f"{data.n_crystals} crystals with {per_crystal:.1f} reflections each that can decide, in the mean")
    return data


def _start(path: str, n_crystals: int) -> Labels:
    """Read assignments; raises `UserError` where they do not fit the stream."""
    words = read_text_file(path, "list of assignments", max_bytes=64 << 20).split()
    for number, word in enumerate(words, start=1):
        if word not in ("0", "1"):
            raise UserError(f"expected 0 or 1, found {word[:20]!r}", path=path, line=number)
    if len(words) != n_crystals:
        raise UserError(f"holds {len(words)} assignments, and the stream {n_crystals} crystals", path=path)
    return np.array([word == "1" for word in words], np.bool_)


def _write_matrix(chosen: dict[str, Any], data: ComparableReflections, rng: np.random.Generator) -> None:
    from braggstream.formats.correlation_file import write_correlations
    from braggstream.steps.merging.pair_correlations import only_some, pair_correlations

    if data.n_crystals > MOST_FOR_MATRIX:
        raise UserError(f"--corr-matrix compares at most {MOST_FOR_MATRIX} crystals, not {data.n_crystals}")
    plain, reindexed = pair_correlations(data)
    if chosen["ncorr"] is not None:
        kept = only_some(np.ones_like(plain), chosen["ncorr"], rng)
        plain, reindexed = plain * kept, reindexed * kept
    write_correlations(chosen["corr_matrix"], plain, reindexed)


def _tell(found: Resolution, *, is_started: bool) -> None:
    """Say how sure the answer is."""
    for number, (f, g) in enumerate(found.passes, start=1):
        known = np.isfinite(f) & np.isfinite(g)
        f_mean, g_mean = (float(each[known].mean()) if known.any() else 0.0 for each in (f, g))
        n_changed, n_unknown = int((f < g).sum()), int((~known).sum())
        say(f"Pass {number}: mean f = {f_mean:.3f}, g = {g_mean:.3f}; {n_changed} changed, {n_unknown} not told")
    say(f"Agreement of two halves of the reflections: {100.0 * found.agreement:.1f} % (100 % sure, 50 % chance)")
    if not found.is_resolved:
        what = "the assignments given are kept" if is_started else "no crystal is reindexed"
        least = 100.0 * LEAST_AGREEMENT
        say(f"Not resolved, or nothing to resolve: the agreement is below {least:.0f} %; {what}")
    n = int(found.labels.sum())
    say(f"{n} of {len(found.labels)} crystals to be reindexed, {int((~found.is_labelled).sum())} cannot be told")


def _graph_lines(found: Resolution) -> Iterator[str]:
    for f, g in found.passes:
        for pair in zip(f.tolist(), g.tolist(), strict=True):
            yield "{:5.3f} {:5.3f}".format(*pair)
