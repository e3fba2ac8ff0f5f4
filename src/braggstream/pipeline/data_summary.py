"""What a data set is worth, in a few numbers: from stream files, merged lists and half sets; and its "Table 1"."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.shell_table import ShellTable
from braggstream.formats.stream_columns import read_observations
from braggstream.formats.stream_counts import count_frames
from braggstream.model.cell import UnitCell
from braggstream.model.constants import HC_EV_ANGSTROM
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.pipeline.judged_lists import Limits, check, compare
from braggstream.steps.indexing.cell_exploration import cell_sample
from braggstream.steps.merging.comparison import NothingToCompareError
from braggstream.steps.merging.list_check import select_reflections
from braggstream.steps.merging.resolution_cutoff import LEAST_CC_HALF, suggested_resolution
from braggstream.steps.merging.wilson import WilsonPlot, wilson_plot

FloatArray = NDArray[np.float64]

WILSON_BINS = 40


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class StreamSummary:
    """What stream files hold."""

    n_frames: int
    n_hits: int
    n_indexed: int
    n_crystals: int
    n_observations: int
    wavelength: float
    """Median over the crystals [Å]; NaN without crystals."""
    lattice: str
    """Most common lattice type and centring, such as `tetragonal P`."""
    cells: FloatArray
    """Lengths [Å] and angles [deg] of the crystals with this lattice, float64[n, 6]."""
    resolutions: FloatArray
    """Apparent resolutions, where they are known, float64[n] [Å]."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MergedSummary:
    """What a merged list and its half sets tell."""

    cell: UnitCell
    symmetry: str
    shells: ShellTable
    halves: ShellTable | None
    """CC, CC* and Rsplit, in the same shells; None without half sets."""
    wilson: WilsonPlot
    resolution: float | None = None
    """Where the data should end, as their half sets agree [Å]; None where there is nothing to suggest."""
    remarks: tuple[str, ...] = ()
    """What a reader of the figures should know, a sentence each."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of Table 1."""

    label: str
    value: str
    outer: str = ""
    """Value of the outermost shell."""


def summarise_streams(paths: Sequence[str | Path]) -> StreamSummary:
    """Read stream files; raises `UserError` where one cannot be read."""
    tables, n_observations = [], 0
    counts = [count_frames(path) for path in paths]
    for path in paths:
        for block in read_observations(path):
            tables.append(block.crystals)
            n_observations += len(block)
    kinds = Counter(
        " ".join(table.lattice_of(n)[:2]) for table in tables for n in range(len(table))
    )  # fmt: skip
    lattice = kinds.most_common(1)[0][0] if kinds else ""
    chosen = [
        table.take(np.array([" ".join(table.lattice_of(n)[:2]) == lattice for n in range(len(table))], np.bool_))
        for table in tables
    ]
    limits = np.concatenate([np.zeros(0), *(table.resolution_limit for table in tables)])
    wavelengths = np.concatenate([np.zeros(0), *(table.wavelength for table in tables)])
    return StreamSummary(
        n_frames=sum(each.n_frames for each in counts),
        n_hits=sum(each.n_hits for each in counts),
        n_indexed=sum(each.n_indexed for each in counts),
        n_crystals=sum(kinds.values()),
        n_observations=n_observations,
        wavelength=float(np.median(wavelengths)) if len(wavelengths) else float("nan"),
        lattice=lattice,
        cells=cell_sample(chosen).parameters,
        resolutions=1.0 / limits[np.isfinite(limits) & (limits > 0.0)],
    )


def summarise_merge(
    merged: ReflectionList,
    halves: tuple[ReflectionList, ReflectionList] | None,
    cell: UnitCell,
    group: PointGroup,
    *,
    n_shells: int = 10,
    resolution: Limits = (None, None),
) -> MergedSummary:
    """Judge a merged list and its half sets, both in the same shells; raises `UserError`.

    Half sets without common reflections are no error: they are remarked on.
    """
    shells = check(merged, cell, symmetry=group.name, n_shells=n_shells, resolution=resolution)
    # Half sets may end earlier, and tables of shells that differ cannot stand side by side.
    same = (float(shells["d_max"][0]) * (1.0 + 1e-9), float(shells["d_min"][-1]) * (1.0 - 1e-9))
    compared, remarks = None, []
    if halves is not None:
        try:
            compared = compare(*halves, cell, symmetry=group.name, n_shells=n_shells, resolution=same)
        except NothingToCompareError as error:
            remarks.append(f"The half sets cannot be compared: {error}.")
    end = None
    if compared is not None:
        compared, end, remarks = _judged(compared)
    return MergedSummary(
        cell=cell,
        symmetry=group.name,
        shells=shells,
        halves=compared,
        wilson=wilson_plot(select_reflections(merged, cell, group), group, WILSON_BINS),
        resolution=end,
        remarks=tuple(remarks),
    )


def _judged(halves: ShellTable) -> tuple[ShellTable, float | None, list[str]]:
    """Leave figures out that mean nothing; gives the rest, where the data should end, and remarks."""
    remarks = []
    end = suggested_resolution(1.0 / halves["d"], halves["CC"], halves["n_pairs"])
    if end is not None:
        remarks.append(
            f"Beyond {end:.2f} Å the half sets hardly agree (CC1/2 below {LEAST_CC_HALF:g}): "
            f"--highres={end:.2f} leaves that out."
        )
    elif not np.nanmax(np.append(halves["CC"], -1.0)) >= LEAST_CC_HALF:
        remarks.append(f"In no shell do the half sets agree (CC1/2 of {LEAST_CC_HALF:g} or more).")
    if np.any(halves["Rsplit"] < 0.0):
        remarks.append("Rsplit says nothing of shells whose mean intensity is below zero, and is left out there.")
    rsplit = np.where(halves["Rsplit"] < 0.0, np.nan, halves["Rsplit"])
    overall = halves.overall["Rsplit"]
    return (
        ShellTable(
            columns={**halves.columns, "Rsplit": rsplit},
            overall={**halves.overall, "Rsplit": overall if overall >= 0.0 else float("nan")},
        ),
        end,
        remarks,
    )


def table_one(stream: StreamSummary | None, merged: MergedSummary | None) -> list[Row]:
    """Make the table that papers begin with; values of the outermost shell stand beside the overall ones."""
    rows: list[Row] = []
    if stream is not None:
        rows += _rows_of_stream(stream)
    if merged is not None:
        rows += _rows_of_merge(merged)
    elif stream is not None and len(stream.cells):
        rows += _rows_of_cells(stream)
    return rows


def text_of(rows: Sequence[Row]) -> str:
    """Write Table 1 as text."""
    shown = [(row.label, row.value + (f" ({row.outer})" if row.outer else "")) for row in rows]
    width = max(len(label) for label, _ in shown)
    return "".join(f"{label.ljust(width)}  {value}\n" for label, value in shown)


def latex_of(rows: Sequence[Row]) -> str:
    """Write Table 1 as a LaTeX tabular."""
    lines = [r"\begin{tabular}{ll}", r"\hline"]
    for row in rows:
        value = row.value + (f" ({row.outer})" if row.outer else "")
        lines.append(rf"{_latex(row.label)} & {_latex(value)} \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _rows_of_stream(stream: StreamSummary) -> Iterator[Row]:
    if isfinite(stream.wavelength):
        yield Row("Wavelength (Å)", f"{stream.wavelength:.4f}")
        yield Row("Photon energy (eV)", f"{HC_EV_ANGSTROM / stream.wavelength:.0f}")
    yield Row("Frames", f"{stream.n_frames}")
    yield Row("Hits", _of(stream.n_hits, stream.n_frames, "frames"))
    yield Row("Indexed frames", _of(stream.n_indexed, stream.n_hits, "hits"))
    yield Row("Crystals", f"{stream.n_crystals}")
    yield Row("Observations", f"{stream.n_observations}")


def _rows_of_cells(stream: StreamSummary) -> Iterator[Row]:
    mean, spread = np.mean(stream.cells, axis=0), np.std(stream.cells, axis=0)
    pairs = [f"{m:.2f}±{s:.2f}" for m, s in zip(mean, spread, strict=True)]
    yield Row("Lattice", stream.lattice)
    yield Row("a, b, c (Å)", ", ".join(pairs[:3]))
    yield Row("α, β, γ (°)", ", ".join(pairs[3:]))


def _rows_of_merge(merged: MergedSummary) -> Iterator[Row]:
    shells, halves, parameters = merged.shells, merged.halves, merged.cell.parameters
    yield Row("Point group", merged.symmetry.partition("_")[0])
    yield Row("a, b, c (Å)", ", ".join(f"{length:.2f}" for length in parameters[:3]))
    yield Row("α, β, γ (°)", ", ".join(f"{angle:.2f}" for angle in parameters[3:]))
    d_max, d_min, outer = shells["d_max"], shells["d_min"], float(shells["d_max"][-1])
    yield Row("Resolution (Å)", f"{d_max[0]:.2f} - {d_min[-1]:.2f}", f"{outer:.2f} - {d_min[-1]:.2f}")
    if merged.resolution is not None:
        yield Row("Suggested end (Å)", f"{merged.resolution:.2f}")
    yield Row("Measurements", f"{shells.overall['n_measured']}", f"{shells['n_measured'][-1]}")
    yield Row("Unique reflections", f"{shells.overall['n_reflections']}", f"{shells['n_reflections'][-1]}")
    yield _row("Completeness (%)", shells, "completeness", ".1f", 100.0)
    yield _row("Multiplicity", shells, "redundancy", ".1f")
    yield _row("⟨I/σ(I)⟩", shells, "snr", ".2f")
    if halves is not None:
        yield _row("Rsplit (%)", halves, "Rsplit", ".2f", 100.0)
        yield _row("CC1/2", halves, "CC", ".4f")
        yield _row("CC*", halves, "CC*", ".4f")
    if isfinite(merged.wilson.b_factor):
        yield Row("Wilson B (Å²)", f"{merged.wilson.b_factor:.1f}")


def _row(label: str, table: ShellTable, name: str, digits: str, factor: float = 1.0) -> Row:
    overall, outer = (factor * float(value) for value in (table.overall[name], table[name][-1]))
    return Row(label, *("-" if isnan(value) else format(value, digits) for value in (overall, outer)))


def _of(part: int, whole: int, of: str) -> str:
    return f"{part}, {100.0 * part / whole:.1f} % of the {of}" if whole else f"{part}"


def _latex(text: str) -> str:
    for plain, written in _IN_LATEX:
        text = text.replace(plain, written)
    return text


_IN_LATEX = (
    ("%", r"\%"),
    ("_", r"\_"),
    ("±", r"$\pm$"),
    ("⟨I/σ(I)⟩", r"$\langle I/\sigma(I)\rangle$"),
    ("Å²", r"\AA$^2$"),
    ("Å", r"\AA"),
    ("°", r"$^\circ$"),
    ("α", r"$\alpha$"),
    ("β", r"$\beta$"),
    ("γ", r"$\gamma$"),
    ("Rsplit", r"$R_\mathrm{split}$"),
    ("CC1/2", r"CC$_{1/2}$"),
    ("CC*", r"CC$^*$"),
    (" - ", "--"),
)
