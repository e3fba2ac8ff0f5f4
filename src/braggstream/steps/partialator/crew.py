"""Who works on the blocks: threads of this process, the kernels leaving the interpreter to each other."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from braggstream.steps.partialator.block import CrystalBlock

Work = Callable[..., tuple[CrystalBlock, Any]]
"""`work(block, *common)` gives the block, changed or not, and a report."""


class Crew(Protocol):
    """Keeps the blocks and has work done on each."""

    def work(self, function: Work, *common: Any, each: Sequence[Any] | None = None) -> Iterator[Any]:
        """Call `function(block, *common)` for every block, `each[number]` behind it, and give reports in order.

        The work is done as the reports are taken, which has to be to the end.
        """
        ...

    def close(self) -> None:
        """Stop working."""
        ...


class Threads:
    """Blocks in this process; the reports come in the order of the blocks, whoever is done first."""

    def __init__(self, blocks: Sequence[CrystalBlock], n_threads: int = 1) -> None:
        self._blocks = list(blocks)
        self._n_threads = max(1, n_threads)
        self._pool = ThreadPoolExecutor(self._n_threads) if self._n_threads > 1 else None

    def work(self, function: Work, *common: Any, each: Sequence[Any] | None = None) -> Iterator[Any]:
        """Call the function for every block and give reports in order; reports must be taken to the end."""

        def one(number: int) -> Any:
            more = () if each is None else (each[number],)
            self._blocks[number], report = function(self._blocks[number], *common, *more)
            return report

        if self._pool is None:
            yield from map(one, range(len(self._blocks)))
            return
        # A few reports ahead and no more: each may hold sums over all reflections.
        ahead: deque[Future[Any]] = deque()
        for number in range(len(self._blocks)):
            ahead.append(self._pool.submit(one, number))
            if len(ahead) > 2 * self._n_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
