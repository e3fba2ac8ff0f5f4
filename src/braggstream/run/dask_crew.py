"""Partial merging on a Dask cluster: each block of crystals stays with one worker, and only sums travel.

The sums are added in the order of the blocks, as without Dask, so the result is the same to the last bit.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.crew import Work

LARGE_BYTES = 100_000
"""Arrays larger than this are sent to each worker once, and not with each task."""


class DaskCrew:
    """Blocks on the workers of a Dask cluster, to which `run.cluster` connects."""

    def __init__(self, client: Any, blocks: Sequence[CrystalBlock]) -> None:
        self._client = client
        self._blocks = [client.scatter(block, hash=False) for block in blocks]

    def work(self, function: Work, *common: Any, each: Sequence[Any] | None = None) -> Iterator[Any]:
        """Call the function for every block where it is; reports come in the order of the blocks."""
        client = self._client
        shared = [client.scatter(one, broadcast=True, hash=False) if _is_large(one) else one for one in common]
        reports = []
        for number, block in enumerate(self._blocks):
            more = () if each is None else (each[number],)
            done = client.submit(_call, function, block, *shared, *more, pure=False)
            self._blocks[number] = client.submit(itemgetter(0), done, pure=False)
            reports.append(client.submit(itemgetter(1), done, pure=False))
        reports.reverse()
        while reports:
            yield reports.pop().result()

    def close(self) -> None:
        """Let the blocks go."""
        self._blocks.clear()


def _call(function: Work, block: CrystalBlock, *more: Any) -> tuple[CrystalBlock, Any]:
    return function(block, *more)


def _is_large(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.nbytes > LARGE_BYTES
