"""Indexing ambiguities within partial merging: resolved where there is one, left alone where there is none."""

import numpy as np
import pytest

from braggstream.formats.stream_columns import read_observations
from braggstream.kernels.partiality import OFFSET
from braggstream.model.index_operators import ambiguity_operators, parse_operators
from braggstream.model.point_group import point_group
from braggstream.steps.merging.indexing_choices import agreement_of
from braggstream.steps.partialator.ambiguity import reindex, resolve_ambiguity
from braggstream.steps.partialator.block import BLOCK, packed
from braggstream.steps.partialator.crew import Threads
from braggstream.steps.partialator.cycle import PartialMerge
from braggstream.steps.partialator.loading import load_crystals
from braggstream.steps.partialator.settings import PartialSettings
from steps.crystal_columns import observations_of


def mixed_crystals(group, operators, *, n, noise, m=200, seed=0, wrong=True):
    """Crystals with partial intensities, each indexed in a random way; gives them, and how each was indexed."""
    rng = np.random.default_rng(seed)
    box = group.asymmetric(np.array(list(np.ndindex(21, 21, 21))) - 10)
    keys = np.unique(packed(box))
    true = rng.exponential(1000, len(keys))
    labels = rng.integers(0, len(operators) + 1, n) if wrong else np.zeros(n, int)
    ways = [np.eye(3), *operators]
    crystals = []
    for label in labels:
        hkl = rng.integers(-10, 11, (m, 3))
        value = true[np.searchsorted(keys, packed(group.asymmetric(hkl)))] * rng.uniform(0.1, 1, m)
        value = value * np.exp(rng.normal(0, 0.6)) + rng.normal(0, noise, m)
        indexed = np.rint(hkl @ np.linalg.inv(ways[label])).astype(int)
        crystals.append([(*h, v, max(noise, 1)) for h, v in zip(indexed.tolist(), value, strict=True)])
    return crystals, labels


@pytest.mark.parametrize(
    ("true", "apparent", "n", "noise", "least"),
    [
        ("4/m", "4/mmm", 100, 100, 0.99),
        ("4/m", "4/mmm", 200, 1000, 0.95),
        ("23", "432", 150, 100, 0.99),
        ("3_H", "622", 300, 100, 0.99),
    ],
)
def test_crystals_are_brought_to_one_choice(true, apparent, n, noise, least):
    group = point_group(true)
    operators = ambiguity_operators(point_group(apparent), group)
    crystals, labels = mixed_crystals(group, operators, n=n, noise=noise)
    settings = PartialSettings(symmetry=group, model="unity", operators=tuple(operators))
    loaded = load_crystals([observations_of(crystals[a : a + 64]) for a in range(0, n, 64)], settings)
    found = resolve_ambiguity(Threads(loaded.blocks), loaded.unique, operators, group)
    assert found.is_resolved
    assert agreement_of(found.labels, labels, len(operators) + 1) >= least


@pytest.mark.golden
def test_where_there_is_no_ambiguity_none_is_found(golden):
    group = point_group("4/m")
    operators = tuple(ambiguity_operators(point_group("4/mmm"), group))
    settings = PartialSettings(symmetry=group, model="unity", operators=operators, n_cycles=0)
    parts = read_observations(golden / "merging" / "many.stream.xz", n_crystals=BLOCK)
    loaded, said = load_crystals(parts, settings), []
    before = loaded.blocks[0].hkl.copy()
    merge = PartialMerge(loaded, settings, say=said.append)
    merge.run()
    assert said[0].startswith("Indexing ambiguity: not resolved, nothing is reindexed")
    assert np.array_equal(loaded.blocks[0].hkl, before)
    assert not merge.labels.any()


@pytest.mark.parametrize("text", ["k,h,-l", "k,l,h", "-k,h,l"])
def test_reindexing_leaves_every_lattice_point_where_it_was(text):
    group, operators = point_group("1"), parse_operators(text)
    settings = PartialSettings(symmetry=group, model="offset", operators=tuple(operators))
    crystals, _ = mixed_crystals(group, operators, n=4, noise=1, m=50)
    loaded = load_crystals([observations_of(crystals)], settings)
    block = loaded.blocks[0]
    q = np.concatenate([block.hkl[50 * n : 50 * (n + 1)] @ block.shape[n, :9].reshape(3, 3) for n in range(4)])
    by_intensity = np.argsort(block.intensity)
    part = block.part[by_intensity]
    reindex(Threads([block]), np.array([0, 1, 1, 0]), loaded.unique, operators, group, OFFSET)
    q_after = np.concatenate(
        [block.hkl[50 * n : 50 * (n + 1)] @ block.shape[n, :9].reshape(3, 3) for n in range(4)]
    )
    again = np.argsort(block.intensity)
    assert q_after[again] == pytest.approx(q[by_intensity], abs=1e-12)
    assert loaded.unique[block.uid].tolist() == block.hkl.tolist()
    for n in range(4):
        assert (np.diff(block.uid[50 * n : 50 * (n + 1)]) >= 0).all()
    assert block.part[again] == pytest.approx(part, abs=1e-9)
