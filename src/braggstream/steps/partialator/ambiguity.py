"""An indexing ambiguity, resolved before anything is scaled: crystals get the choices by which they agree.

The labels are found twice, from two halves of the reflections.  Where the two do not agree there is nothing to
resolve, or it cannot be resolved, and nothing is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ambiguity import add_chosen, add_pairs, correlate_choices, take_pairs
from braggstream.kernels.crystal_columns import squared_s
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.indexing_choices import (
    ALL,
    LEAST_AGREEMENT,
    ChoiceObservations,
    FloatArray,
    Labels,
    agreement_of_halves,
    find_labels,
    polished,
)
from braggstream.steps.partialator.block import CrystalBlock, packed
from braggstream.steps.partialator.crew import Crew
from braggstream.steps.partialator.loading import record
from braggstream.steps.partialator.told import largest_s2

SEED = 1
N_SHELLS = 20
CLIP = (-2.0, 3.0)

Operators = Sequence[NDArray[np.int32]]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Choices:
    """Which choice each crystal has, and how sure that is."""

    labels: NDArray[np.int64]
    """0: as indexed; or the number of the operator, from 1, int64[n]."""
    agreement: float
    """Part of the crystals that get the same label from either half of the reflections."""

    @property
    def is_resolved(self) -> bool:
        """Whether the halves agree as they would not by chance."""
        return self.agreement >= LEAST_AGREEMENT


def resolve_ambiguity(crew: Crew, unique: NDArray[np.int32], operators: Operators, group: PointGroup) -> Choices:
    """Find the choice of each crystal; nothing is changed."""
    keys = packed(unique)
    shells = np.linspace(0.0, float(max(crew.work(largest_s2), default=1.0)) * (1.0 + 1e-9), N_SHELLS + 1)
    totals = sum(crew.work(_shell_sums, shells), np.zeros((N_SHELLS, 2)))
    means = totals[:, 0] / np.maximum(totals[:, 1], 1.0)
    choices = list(crew.work(_imaged, keys, tuple(operators), group, shells, means))
    is_swap = len(operators) == 1 and (operators[0] @ operators[0]).tolist() in group.operators.tolist()
    compared = _BlockComparisons(crew, len(unique), choices, n_choices=1 + len(operators), is_swap=is_swap)
    random = np.random.default_rng(SEED)
    agreement = agreement_of_halves(compared, random)
    labels = polished(compared, find_labels(compared, ALL, random), ALL)
    return Choices(labels=labels, agreement=agreement)


def reindex(
    crew: Crew,
    labels: NDArray[np.int64],
    unique: NDArray[np.int32],
    operators: Operators,
    group: PointGroup,
    model: int,
) -> None:
    """Change the indices of crystals by their choices, and their axes so that every lattice point stays."""
    for _ in crew.work(_reindexed, labels, packed(unique), tuple(operators), group, model):
        pass


class _BlockComparisons:
    """Passes over the blocks, whoever has them; `choices` are theirs."""

    def __init__(
        self, crew: Crew, n_unique: int, choices: list[ChoiceObservations], *, n_choices: int, is_swap: bool
    ) -> None:
        self._crew, self._n_unique, self._choices = crew, n_unique, choices
        numbers = list(crew.work(lambda block: (block, block.numbers)))
        self.n_crystals = numbers[-1].stop if numbers else 0
        self.n_choices = n_choices
        self.is_swap = is_swap

    def pairs(self, half: int, vector: FloatArray) -> FloatArray:
        pairs = np.zeros(self._n_unique)
        for more in self._crew.work(_pairs, self._n_unique, half, vector, each=self._choices):
            pairs += more
        return pairs

    def agreements(self, half: int, vector: FloatArray, pairs: FloatArray) -> FloatArray:
        return np.concatenate(list(self._crew.work(_agreements, half, vector, pairs, each=self._choices)))

    def correlations(self, half: int, labels: Labels) -> FloatArray:
        sums = np.zeros((self._n_unique, 3))
        for more in self._crew.work(_chosen, self._n_unique, half, labels, each=self._choices):
            sums += more
        return np.concatenate(list(self._crew.work(_correlated, half, labels, sums, each=self._choices)))


def _roots(block: CrystalBlock) -> NDArray[np.float64]:
    """Give square roots of intensities, with their signs, by the mean of each crystal, float64[m]."""
    roots = np.sign(block.intensity) * np.sqrt(np.abs(block.intensity))
    counts = np.diff(block.start)
    owner = np.repeat(np.arange(len(block)), counts)
    means = np.bincount(owner, np.abs(roots), len(block)) / np.maximum(counts, 1)
    return np.asarray(roots / np.where(means > 0.0, means, 1.0)[owner])


def _shell_sums(block: CrystalBlock, shells: NDArray[np.float64]) -> tuple[CrystalBlock, NDArray[np.float64]]:
    shell = np.searchsorted(shells, block.s2, side="right") - 1
    ones = np.ones(len(shell))
    sums = [np.bincount(shell, weights, N_SHELLS) for weights in (_roots(block), ones)]
    return block, np.column_stack(sums).astype(np.float64)


def _imaged(
    block: CrystalBlock,
    keys: NDArray[np.int64],
    operators: Operators,
    group: PointGroup,
    shells: NDArray[np.float64],
    means: NDArray[np.float64],
) -> tuple[CrystalBlock, ChoiceObservations]:
    hkl = block.hkl.astype(np.int32)
    images = [np.searchsorted(keys, packed(group.asymmetric(hkl @ operator))) for operator in operators]
    shell = np.searchsorted(shells, block.s2, side="right") - 1
    value = np.clip(_roots(block) / np.where(means > 0.0, means, 1.0)[shell] - 1.0, *CLIP)
    return block, ChoiceObservations.of(np.array([block.uid, *images], np.int32), value, np.ones(len(value)))


def _pairs(
    block: CrystalBlock,
    n_unique: int,
    half: int,
    vector: NDArray[np.float64],
    choices: ChoiceObservations,
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    pairs = np.zeros(n_unique)
    add_pairs(block.start, choices.images, choices.value * choices.weights(half), vector[block.numbers], pairs)
    return block, pairs


def _agreements(
    block: CrystalBlock,
    half: int,
    vector: NDArray[np.float64],
    pairs: NDArray[np.float64],
    choices: ChoiceObservations,
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    found = vector[block.numbers].copy()
    take_pairs(block.start, choices.images, choices.value * choices.weights(half), found, pairs)
    return block, found


def _chosen(
    block: CrystalBlock,
    n_unique: int,
    half: int,
    labels: NDArray[np.int64],
    choices: ChoiceObservations,
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    sums = np.zeros((n_unique, 3))
    add_chosen(block.start, choices.images, choices.observed(half), labels[block.numbers], sums)
    return block, sums


def _correlated(
    block: CrystalBlock,
    half: int,
    labels: NDArray[np.int64],
    sums: NDArray[np.float64],
    choices: ChoiceObservations,
) -> tuple[CrystalBlock, NDArray[np.float64]]:
    found = np.empty((len(block), len(choices.images)))
    correlate_choices(block.start, choices.images, choices.observed(half), labels[block.numbers], sums, found)
    return block, found


def _reindexed(
    block: CrystalBlock,
    labels: NDArray[np.int64],
    keys: NDArray[np.int64],
    operators: Operators,
    group: PointGroup,
    model: int,
) -> tuple[CrystalBlock, None]:
    """Apply operators; the observations are brought into the order of their new reflections."""
    mine = labels[block.numbers]
    if not mine.any():
        return block, None
    owner = np.repeat(np.arange(len(block)), np.diff(block.start))
    hkl = block.hkl.astype(np.int32)
    for number, operator in enumerate(operators, start=1):
        chosen = mine == number
        hkl[chosen[owner]] = hkl[chosen[owner]] @ operator
        axes = block.shape[chosen, :9].reshape(-1, 3, 3)
        # q = hkl · axes stays: hkl M needs M⁻¹ · axes.
        block.shape[chosen, :9] = (np.linalg.inv(operator) @ axes).reshape(-1, 9)
    asymmetric = group.asymmetric(hkl)
    found = packed(asymmetric)
    order = np.lexsort((found, owner))
    block.hkl = hkl[order].astype(block.hkl.dtype)
    block.uid = np.searchsorted(keys, found[order]).astype(np.int32)
    for name in ("intensity", "sigma", "part", "flags"):
        setattr(block, name, getattr(block, name)[order])
    squared_s(block.start, np.ascontiguousarray(asymmetric[order]), block.shape, block.s2)
    record(block, model)
    return block, None
