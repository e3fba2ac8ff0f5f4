"""Merging whole files: they are read once, or twice where crystals are compared with the merge of all."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from braggstream.formats.observation_files import ObservationFile, is_standard_input, open_observations
from braggstream.formats.stream_columns import is_read_once
from braggstream.model.errors import UserError
from braggstream.model.merge_settings import Merged, MergeSettings
from braggstream.model.observations import Observations
from braggstream.steps.merging.crystal_choice import CrystalChoice
from braggstream.steps.merging.mean import MeanMerger
from braggstream.steps.merging.means import PartialMeans

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MergedFiles:
    """What a merge of files gave."""

    merged: Merged
    audit: str
    """What the header of the first file says of its making."""


def merge_files(
    paths: Sequence[str], settings: MergeSettings, *, n_threads: int = 2, say: Say = lambda _line: None
) -> MergedFiles:
    """Merge the crystals of files.

    Parameters
    ----------
    paths
        Stream files or columnar caches; `-` is standard input.
    settings
        What to merge.
    n_threads
        Threads that read.
    say
        Told what was left out of the files.

    Raises
    ------
    UserError
        A file cannot be read, or has to be read twice and cannot.
    """
    check_inputs(paths, settings)
    reference: PartialMeans | None = None
    for number in range(1, settings.n_passes + 1):
        merger, choice = MeanMerger(settings, reference), CrystalChoice(settings.choice)
        is_last = number == settings.n_passes
        audit = ""
        for path in paths:
            if choice.is_complete:
                break
            source = open_observations(path, n_threads=n_threads)
            audit = audit or source.audit
            merge_blocks(source, merger, choice)
            if is_last:
                tell_of(source, say)
        reference = merger.part().means
    return MergedFiles(merged=merger.merged(n_crystals_seen=choice.n_seen), audit=audit)


def check_inputs(paths: Sequence[str], settings: MergeSettings) -> None:
    """See that there are inputs, which can be read as often as they have to be; raises `UserError`."""
    if not paths:
        raise UserError("an input is needed: give a stream file with -i FILE")
    if sum(is_standard_input(path) for path in paths) > 1:
        raise UserError("standard input (-) can be given once")
    if settings.n_passes > 1 and any(is_read_once(path) for path in paths):
        raise UserError(
            "--scale, --min-cc and --stat read the input twice, which standard input and pipes cannot be"
        )


def merge_blocks(source: ObservationFile, merger: MeanMerger, choice: CrystalChoice) -> None:
    """Merge the chosen crystals of a file; it is read no further than needed."""
    with closing(_blocks(source)) as blocks:
        for block in blocks:
            chosen = choice.choose(block.crystals)
            merger.add(block if chosen.all() else block.take(chosen))
            if choice.is_complete:
                return


def _blocks(source: ObservationFile) -> Generator[Observations]:
    yield from source


def tell_of(source: ObservationFile, say: Say) -> None:
    """Tell what was left out of a file that was read."""
    for notice in source.notices:
        say(notice)
    if source.n_left_out > len(source.notices):
        say(f"{source.path}: {source.n_left_out} crystals are left out, of which the first are told")
    if source.n_torn:
        say(f"{source.path}: {source.n_torn} chunks are left out: they are not whole")
    if source.n_incomplete:
        say(f"{source.path}: {source.n_incomplete} chunks are left out: they lack a file name or a photon energy")
