"""`partialator` from its streams to its files; the command line is parsed elsewhere."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.cell import write_cell
from braggstream.formats.custom_split import CustomSplit, read_custom_split
from braggstream.formats.hkl import read_hkl, write_hkl
from braggstream.formats.merge_parameters import CrystalParameters, parameter_lines, read_start_parameters
from braggstream.formats.observation_files import ObservationFile, is_standard_input, open_observations
from braggstream.formats.replaced_file import write_text_result
from braggstream.formats.unmerged import NAN_ESD, PARTIALITY_TOO_SMALL, unmerged_crystal
from braggstream.kernels.crystal_columns import (
    B_FACTOR,
    LEAST_PART,
    LN_G,
    SHAPE_RADIUS,
    SHAPE_WAVELENGTH,
)
from braggstream.model.cell import UnitCell, cell_parameters
from braggstream.model.errors import UserError
from braggstream.model.finite import finite_or_none
from braggstream.model.geometry import Geometry
from braggstream.model.observations import Observations, in_blocks
from braggstream.model.reflection_list import ReflectionList
from braggstream.pipeline.merging import tell_of
from braggstream.pipeline.partialator_logs import FINAL, PartialatorLogs
from braggstream.pipeline.partialator_words import (
    words_of_lists,
    words_of_loaded,
    words_of_settings,
    words_of_status,
)
from braggstream.steps.partialator.block import BLOCK, FLAGS, GOOD, CrystalBlock, packed
from braggstream.steps.partialator.crew import Crew, Threads
from braggstream.steps.partialator.cycle import N_HALVES, PartialMerge
from braggstream.steps.partialator.loading import Loaded, load_crystals
from braggstream.steps.partialator.means import OUTSIDE, joined
from braggstream.steps.partialator.scaling import Say
from braggstream.steps.partialator.settings import PartialSettings
from braggstream.steps.partialator.told import correlations, shapes, states, unmerged_rows

DATASETS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialatorFiles:
    """Files that are read and written beside the settings of merging."""

    inputs: tuple[str, ...]
    output: str = "partialator.hkl"
    parameters: str = ""
    """Parameters of the crystals; as a rule the output's name and `.params`."""
    start_parameters: str | None = None
    reference: str | None = None
    custom_split: str | None = None
    unmerged: str | None = None
    cell: str | None = None
    harvest: str | None = None
    log_folder: str | None = None
    every_cycle: bool = False
    strict_halves: bool = False
    """Scale and refine each half set by itself, so that they know nothing of each other."""
    notes_of: Callable[[str], str] = field(default=lambda audit: audit)
    """Gives the list's notes from what the first stream tells of its making."""


CrewMaker = Callable[[Sequence[CrystalBlock]], Crew]


def run_partialator(
    files: PartialatorFiles,
    settings: PartialSettings,
    *,
    n_threads: int,
    say: Say,
    crew_of: CrewMaker | None = None,
) -> None:
    """Merge.

    Parameters
    ----------
    files
        What is read and written.
    settings
        How to merge.
    n_threads
        Threads that read, and that work where there is no other crew.
    say
        Told what happens, line by line.
    crew_of
        Makes who works on the blocks.

    Raises
    ------
    UserError
        Something given is wrong.
    """
    n_piped = sum(map(is_standard_input, files.inputs))
    if n_piped > 1:
        raise UserError("standard input (-) can be given once")
    if n_piped and files.strict_halves:
        raise UserError("--strict-halves reads the input again, which standard input (-) cannot be")
    say(words_of_settings(settings))
    split = None if files.custom_split is None else read_custom_split(files.custom_split)
    make = _threads(n_threads) if crew_of is None else crew_of
    with _merge_of(files, settings, n_threads=n_threads, say=say, crew_of=make) as (merge, audit):
        if files.harvest is not None:
            write_text_result(files.harvest, json.dumps({"merging": harvest(settings)}, indent=2) + "\n")
        _Job(merge, files, split, audit=audit).run()
    if files.strict_halves:
        for half in range(N_HALVES):
            say(f"Half set {half + 1} by itself")
            alone = replace(settings, only_half=half)
            with _merge_of(files, alone, n_threads=n_threads, say=say, crew_of=make) as (merge, _):
                merge.run()
                write_hkl(f"{files.output}{half + 1}", merge.lists(joined(merge.means())[None])[0])


def _threads(n_threads: int) -> CrewMaker:
    return lambda blocks: Threads(blocks, n_threads)


@contextmanager
def _merge_of(
    files: PartialatorFiles, settings: PartialSettings, *, n_threads: int, say: Say, crew_of: CrewMaker
) -> Iterator[tuple[PartialMerge, str]]:
    """Load the crystals of all streams; gives their merge, not begun, and what the first tells of its making."""
    streams = [open_observations(path, n_crystals=BLOCK, n_threads=n_threads) for path in files.inputs]
    geometry: Geometry | None = getattr(streams[0], "geometry", None)
    with closing(_chained(streams)) as blocks:
        loaded = load_crystals(blocks, settings, **({} if geometry is None else {"bandwidth": geometry.bandwidth}))
    for stream in streams:
        tell_of(stream, say)
    for line in words_of_loaded(loaded, settings):
        say(line)
    crew = crew_of(loaded.blocks)
    loaded.blocks.clear()
    try:
        reference = None if files.reference is None else _reference(files.reference, loaded, settings)
        yield PartialMerge(loaded, settings, crew=crew, say=say, reference=reference), streams[0].audit
    finally:
        crew.close()


def harvest(settings: PartialSettings) -> dict[str, Any]:
    """Tell the settings as `--harvest-file` does."""
    beam = settings.polarisation
    return {
        "partiality_model": settings.model,
        "symmetry": settings.symmetry.name,
        "scale": settings.scale,
        "Bscale": settings.scale_b,
        "post_refine": settings.refines,
        "num_iterations": settings.n_cycles,
        "polarisation_correction": beam and {"angle_from_horizontal_deg": beam.angle, "fraction": beam.fraction},
        "deltaCChalf": settings.reject_by_half_sets,
        "min_measurements_per_unique_reflection": settings.min_measurements,
        "max_adu": finite_or_none(settings.max_adu),
        "min_resolution_invm": settings.min_resolution * 1e10,
        "push_res_invm": finite_or_none(settings.push_resolution * 1e10),
    }


class _Job:
    """A merge and the files that come of it."""

    def __init__(
        self, merge: PartialMerge, files: PartialatorFiles, split: CustomSplit | None, *, audit: str
    ) -> None:
        self._merge, self._files, self._split, self._audit = merge, files, split, audit
        self._say = merge.say
        self._logs: PartialatorLogs | None = None

    def run(self) -> None:
        merge, files = self._merge, self._files
        frames = list(merge.crystals.frames)
        if files.start_parameters is not None:
            scale, b_factor = read_start_parameters(files.start_parameters, len(frames))
            merge.start_from(np.log(scale), b_factor)
        datasets = self._datasets(frames)
        if files.log_folder is not None:
            self._logs = PartialatorLogs(files.log_folder)
            if self._logs.existed:
                self._say(f"The logs that were in {files.log_folder!r} are kept in {self._logs.previous}")
        merge.begin()
        self._log(0)
        for cycle in range(1, merge.settings.n_cycles + 1):
            self._say(f"Scaling and refinement cycle {cycle} of {merge.settings.n_cycles}")
            merge.cycle()
            self._log(cycle)
            if files.every_cycle:
                path = Path(files.output)
                self._write_lists(str(path.with_name(f"iter{cycle:02d}_{path.name}")), merge.means())
        merge.finish()
        self._log(FINAL)
        for line in words_of_status(merge):
            self._say(line)
        self._write_all(frames, datasets)

    def _log(self, cycle: int | str) -> None:
        if self._logs is not None:
            self._logs.write(self._merge, cycle, {} if cycle == FINAL else self._merge.ways)

    def _write_all(self, frames: Sequence[tuple[str, str]], datasets: NDArray[np.int64] | None) -> None:
        files = self._files
        halves = self._merge.means()
        self._write_lists(files.output, halves, files.notes_of(self._audit))
        for line in words_of_lists(self._merge, halves, files.output):
            self._say(line)
        if self._split is not None and datasets is not None:
            self._write_datasets(self._split, datasets)
        if files.unmerged is not None:
            write_text_result(files.unmerged, self._unmerged(frames))
        self._write_cell()
        if files.parameters:
            write_text_result(files.parameters, parameter_lines(self._parameters(frames, joined(halves)[:, 1])))

    def _write_lists(self, path: str, halves: NDArray, notes: str = "") -> None:
        whole, first, second = self._merge.lists(np.stack([joined(halves), *halves]))
        for suffix, found in (("", replace(whole, notes=notes)), ("1", first), ("2", second)):
            write_hkl(path + suffix, found)

    def _datasets(self, frames: Sequence[tuple[str, str]]) -> NDArray[np.int64] | None:
        if self._split is None:
            return None
        found = np.array([self._split.of(*frame) for frame in frames])
        for number, name in enumerate(self._split.names):
            self._say(f"{np.sum(found == number):6d} crystals in data set {name}")
        self._say(f"{np.sum(found < 0):6d} crystals in none")
        return found

    def _write_datasets(self, split: CustomSplit, datasets: NDArray[np.int64]) -> None:
        merge = self._merge
        for first in range(0, len(split.names), DATASETS_AT_ONCE):
            names = split.names[first : first + DATASETS_AT_ONCE]
            here = (datasets >= first) & (datasets < first + len(names))
            groups = np.where(here, N_HALVES * (datasets - first) + merge.half, OUTSIDE)
            means = merge.means(groups, n_groups=N_HALVES * len(names))
            for number, name in enumerate(names):
                if np.any((datasets == first + number) & (merge.status == GOOD)):
                    halves = means[N_HALVES * number : N_HALVES * (number + 1)]
                    self._write_lists(_with_name(self._files.output, name), halves)
                else:
                    self._say(f"No crystals in data set {name}: no list is written")

    def _unmerged(self, frames: Sequence[tuple[str, str]]) -> Iterator[str]:
        merge, number = self._merge, 0
        for rows, has_nan, start in merge.crew.work(unmerged_rows, merge.unique):
            remarks = np.where(rows[:, 5] < LEAST_PART, PARTIALITY_TOO_SMALL, 0) | np.where(has_nan, NAN_ESD, 0)
            for begin, end in zip(start[:-1].tolist(), start[1:].tolist(), strict=True):
                yield unmerged_crystal(
                    number,
                    *frames[number],
                    is_flagged=bool(merge.status[number] != GOOD),
                    rows=rows[begin:end, :5],
                    remarks=remarks[begin:end].astype(np.uint8),
                )
                number += 1

    def _write_cell(self) -> None:
        merge = self._merge
        chosen = np.flatnonzero(merge.status == GOOD)
        axes = np.concatenate(list(merge.crew.work(shapes)))[chosen, :9].reshape(-1, 3, 3)
        first = int(chosen[0])
        for table in merge.crystals.tables:
            if first < len(table):
                break
            first -= len(table)
        lattice_type, centring, unique_axis = table.lattice_of(first)
        mean = cell_parameters(np.linalg.inv(axes).transpose(0, 2, 1)).mean(axis=0)
        text = write_cell(
            UnitCell.from_parameters(mean, lattice_type=lattice_type, centring=centring, unique_axis=unique_axis)
        )
        self._say(f"Mean cell of {len(chosen)} crystals:\n{text}")
        if self._files.cell is not None:
            write_text_result(self._files.cell, [text])

    def _parameters(
        self, frames: Sequence[tuple[str, str]], merged: NDArray[np.float64]
    ) -> Iterator[CrystalParameters]:
        merge = self._merge
        state = np.concatenate(list(merge.crew.work(states)))
        shape = np.concatenate(list(merge.crew.work(shapes)))
        cc = np.concatenate(list(merge.crew.work(correlations, merged)))
        for n, (filename, event) in enumerate(frames):
            yield CrystalParameters(
                scale=float(np.exp(state[n, LN_G])),
                b_factor=float(state[n, B_FACTOR]),
                flag=FLAGS[int(merge.status[n])],
                radius=float(shape[n, SHAPE_RADIUS]),
                wavelength=float(shape[n, SHAPE_WAVELENGTH]),
                cc=float(cc[n]),
                delta=float(merge.deltas[n]),
                filename=filename,
                event=event,
            )


def _chained(streams: Iterable[ObservationFile]) -> Generator[Observations]:
    for stream in streams:
        yield from in_blocks(stream, BLOCK)


def _reference(path: str, loaded: Loaded, settings: PartialSettings) -> NDArray[np.float64]:
    """Give reference intensities by unique reflection, NaN where the file has none."""
    found: ReflectionList = read_hkl(path)
    keys, mine = packed(settings.symmetry.asymmetric(found.hkl)), packed(loaded.unique)
    order = np.argsort(keys, kind="stable")
    keys, intensity = keys[order], found.intensity[order]
    place = np.searchsorted(keys, mine).clip(max=max(len(keys) - 1, 0))
    if not len(keys) or not np.any(keys[place] == mine):
        raise UserError("the reference has no reflection in common with the crystals", path=path)
    return np.where(keys[place] == mine, intensity[place], np.nan)


def _with_name(output: str, name: str) -> str:
    """Put the name of a data set before the last dot of a file's name."""
    path = Path(output)
    return str(path.with_name(f"{path.stem}-{name}{path.suffix}"))
