"""What `partialator` says: what it is going to do, what it read, and what came of it, with counts that add up."""

from collections.abc import Iterator
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_columns import IS_FITTED
from braggstream.kernels.weighted_means import COUNT
from braggstream.steps.merging.fitting_lattice import CellSurvey
from braggstream.steps.partialator.block import GOOD, REASONS
from braggstream.steps.partialator.cycle import PartialMerge
from braggstream.steps.partialator.loading import Loaded
from braggstream.steps.partialator.settings import PartialSettings


def words_of_settings(settings: PartialSettings) -> str:
    """Say how the crystals are going to be merged, in a sentence."""
    scaling = "by a model of errors" if settings.by_errors else "by logarithms of strong intensities"
    b_factors = "with B factors" if settings.scale_b else "without B factors"
    steps = [f"partiality {settings.model}" if settings.model != "unity" else "every observation taken as full"]
    steps.append(f"crystals scaled {scaling}, {b_factors}" if settings.scale else "crystals not scaled")
    is_refined = settings.refines and settings.n_cycles > 0
    steps.append("orientation, radius and wavelength refined" if is_refined else "nothing refined")
    if settings.reject_by_half_sets:
        steps.append("crystals that lower CC1/2 left out")
    steps.append(f"{settings.n_cycles} cycle{'' if settings.n_cycles == 1 else 's'}")
    return f"Merging in point group {settings.symmetry.name}: {', '.join(steps)}."


def words_of_loaded(loaded: Loaded, settings: PartialSettings) -> Iterator[str]:
    """Say what was read and what was not taken, and what does not fit together."""
    crystals = loaded.crystals
    for reason, number in crystals.skipped.items():
        yield f"{number} crystals skipped: {reason}"
    if crystals.n_saturated:
        yield f"{crystals.n_saturated} observations left out by --max-adu"
    if crystals.n_unusable:
        yield f"{crystals.n_unusable} observations left out: no finite intensity, or a negative sigma"
    yield f"{len(crystals)} crystals of {crystals.n_read} accepted, {len(loaded.unique)} unique reflections"
    survey = CellSurvey()
    for table in crystals.tables:
        survey.add(table)
    yield from (f"Warning: {warning}" for warning in survey.warnings(settings.symmetry))


def words_of_status(merge: PartialMerge) -> Iterator[str]:
    """Say how many crystals are merged, and why the others are not."""
    status, settings = merge.status, merge.settings
    is_bad = status != GOOD
    yield f"{is_bad.sum()} bad crystals:" if is_bad.any() else "No bad crystals:"
    yield from (f"{np.sum(status == number):6d} {reason}" for number, reason in REASONS.items())
    if settings.scale:
        is_unfitted = merge.column(IS_FITTED) == 0.0
        if is_unfitted.any():
            among = f", {np.sum(is_unfitted & is_bad)} of them among the bad ones" if is_bad.any() else ""
            yield (
                f"{is_unfitted.sum()} crystals could not be scaled in the last round and kept their scales{among}: "
                "they have fewer than two strong reflections in common with others"
            )


def words_of_lists(merge: PartialMerge, halves: NDArray[np.float64], output: str) -> Iterator[str]:
    """Say what the lists hold, of the running means of both half sets, float64[2, n_unique, N_MEAN]."""
    settings, counts = merge.settings, halves[:, :, COUNT]
    whole, least = counts.sum(axis=0), max(settings.min_measurements, 1)
    n_measured, n_written = int(np.sum(whole > 0)), int(np.sum(whole >= least))
    beyond = " within --push-res" if isfinite(settings.push_resolution) else ""
    rare = f"; {n_measured - n_written} were measured less than {least} times" if n_written < n_measured else ""
    yield (
        f"{np.sum(merge.status == GOOD)} of {len(merge.status)} crystals merged: {int(whole.sum())} observations"
        f"{beyond} of {n_measured} reflections, {n_written} of them in {output}{rare}"
    )
    sizes = [int(np.sum(each >= least)) for each in counts]
    yield f"Half sets: {sizes[0]} reflections in {output}1, {sizes[1]} in {output}2"
