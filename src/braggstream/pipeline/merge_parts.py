"""Merging a file part by part: what one machine does of it, and how the parts are put together.

Parts are joined in the order of the files, and their number is fixed, so that the result does not depend on how
many processes do the work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.observation_files import can_be_parted, open_observations
from braggstream.model.errors import UserError
from braggstream.model.merge_settings import MergeSettings
from braggstream.model.observations import CrystalTable
from braggstream.pipeline.merging import tell_of
from braggstream.steps.merging.crystal_choice import CrystalChoice
from braggstream.steps.merging.mean import MeanMerger, PartialMerge
from braggstream.steps.merging.means import PartialMeans

N_PARTS = 64
"""Parts of all files together."""
LEAST_BYTES = 1 << 20
"""Parts are not made smaller than that."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file, by its number and how many there are."""

    path: str
    number: int
    n_parts: int


@dataclass(frozen=True, slots=True)
class DonePart:
    """A part that was merged."""

    merge: PartialMerge
    n_crystals_seen: int
    notices: list[str]


def parts_of(paths: Sequence[str]) -> list[FilePart]:
    """Cut files into parts of about the same size; raises `UserError` where one cannot be read."""
    try:
        sizes = [Path(path).stat().st_size for path in paths]
        wanted = max(sum(sizes) / N_PARTS, LEAST_BYTES)
        numbers = [
            max(1, round(size / wanted)) if can_be_parted(path) else 1
            for path, size in zip(paths, sizes, strict=True)
        ]
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror or error}", path=error.filename) from None
    return [FilePart(path, n, number) for path, number in zip(paths, numbers, strict=True) for n in range(number)]


def crystals_of(part: FilePart) -> list[CrystalTable]:
    """Give the crystals of a part, block by block, without their observations: what they are chosen by."""
    source = open_observations(part.path, part=(part.number, part.n_parts))
    return [block.crystals for block in source]


def merge_part(
    part: FilePart,
    settings: MergeSettings,
    reference: PartialMeans | None = None,
    chosen: NDArray[np.bool_] | None = None,
) -> DonePart:
    """Merge a part of a file.

    Parameters
    ----------
    part
        The part.
    settings
        What to merge.
    reference
        Means of the first pass; with them, this is the second one.
    chosen : bool[n_crystals], optional
        Crystals to be merged, where that depends on their place among all.
    """
    source = open_observations(part.path, part=(part.number, part.n_parts))
    merger, choice, n_seen = MeanMerger(settings, reference), CrystalChoice(settings.choice), 0
    for block in source:
        if chosen is None:
            wanted = choice.choose(block.crystals)
        else:
            wanted = chosen[n_seen : n_seen + block.n_crystals]
        n_seen += block.n_crystals
        merger.add(block if wanted.all() else block.take(wanted))
    notices: list[str] = []
    tell_of(source, notices.append)
    return DonePart(merger.part(), n_seen, notices)


def choose_crystals(
    settings: MergeSettings, crystals: Sequence[Sequence[CrystalTable]]
) -> Iterator[NDArray[np.bool_]]:
    """Choose among the crystals of all parts; gives what is chosen of each part."""
    choice = CrystalChoice(settings.choice)
    for tables in crystals:
        yield np.concatenate([np.zeros(0, np.bool_), *(choice.choose(table) for table in tables)])
