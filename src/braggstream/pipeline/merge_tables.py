"""Merging from Python: files or observations in, a merged list out."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from braggstream.model.errors import UserError
from braggstream.model.merge_settings import ChoiceSettings, MergeSettings
from braggstream.model.near_names import did_you_mean
from braggstream.model.observations import Observations
from braggstream.model.reflection_list import ReflectionList
from braggstream.pipeline.merging import merge_files
from braggstream.steps.merging.crystal_choice import CrystalChoice
from braggstream.steps.merging.mean import MeanMerger
from braggstream.steps.merging.means import PartialMeans

Source = Observations | str | Path | Sequence[str | Path]


def merge(source: Source, *, symmetry: str, **options: Any) -> ReflectionList:
    """Merge crystals to one list, as `process_hkl` does: a mean of all observations.

    Parameters
    ----------
    source
        A stream file, what `--reflections-out` wrote, several of them, or observations.
    symmetry
        Point group, such as `4/mmm`.
    **options
        Any field of `MergeSettings`, such as `scale=True` or `min_measurements=3`, or of `ChoiceSettings`, such as
        `parity="odd"` or `half=0` (and 1: the two half sets).

    Returns
    -------
    ReflectionList
        It converts with `to_pandas`, `to_arrow` and `to_reciprocalspaceship`.

    Raises
    ------
    UserError
        A file cannot be read, or an option is not there.
    """
    settings = _settings(symmetry, options)
    if isinstance(source, Observations):
        return _merge_block(source, settings)
    paths = [source] if isinstance(source, str | Path) else source
    return merge_files([str(path) for path in paths], settings).merged.reflections


def _settings(symmetry: str, options: dict[str, Any]) -> MergeSettings:
    of_choice = {field.name for field in fields(ChoiceSettings)}
    of_merge = {field.name for field in fields(MergeSettings)} - {"choice", "symmetry"}
    unknown = sorted(options.keys() - of_choice - of_merge)
    if unknown:
        known = sorted(of_choice | of_merge)
        near = did_you_mean(unknown[0], known)
        raise UserError(f"there is no option {unknown[0]}; there are {', '.join(known)}{near}")
    choice = ChoiceSettings(**{name: value for name, value in options.items() if name in of_choice})
    rest = {name: value for name, value in options.items() if name in of_merge}
    return MergeSettings(symmetry=symmetry, choice=choice, **rest)


def _merge_block(block: Observations, settings: MergeSettings) -> ReflectionList:
    reference: PartialMeans | None = None
    for _ in range(settings.n_passes):
        merger, choice = MeanMerger(settings, reference), CrystalChoice(settings.choice)
        merger.add(block.take(choice.choose(block.crystals)))
        reference = merger.part().means
    return merger.merged(n_crystals_seen=choice.n_seen).reflections
