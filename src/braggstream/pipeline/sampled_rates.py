"""Hit and indexing rates of all frames that came, where only some of them were processed.

Hits take longer than blank frames, so of a burst of hits a smaller part is processed, and the rate among the
processed frames is too low.  What is known of each frame is taken for the frames half-way to its neighbours: the
integral of the rate over the running number by the trapezoidal rule.  Where gaps are longer does not matter to it.
"""

from bisect import insort
from dataclasses import dataclass, field
from itertools import pairwise

MEMORY = 1024
"""So many outcomes are kept in order: frames that are processed at the same time end out of order."""


@dataclass(slots=True)
class SampledRates:
    """Adds up what processed frames tell, in the order in which they came."""

    _recent: list[tuple[int, bool, bool]] = field(default_factory=list)
    """Running number, whether a hit, whether indexed; sorted."""
    _last: tuple[int, bool, bool] | None = None
    """The last one that has left `_recent`."""
    _covered: float = 0.0
    _hits: float = 0.0
    _indexed: float = 0.0

    def see(self, serial: int, *, is_hit: bool, is_indexed: bool) -> None:
        """Take note of a processed frame."""
        insort(self._recent, (serial, is_hit, is_indexed))
        if len(self._recent) > MEMORY:
            first = self._recent.pop(0)
            if self._last is not None:
                self._covered, self._hits, self._indexed = self._with(self._last, first)
            self._last = first

    @property
    def rates(self) -> tuple[float, float] | None:
        """Hits, and indexed frames, as parts of all frames between the first and the last that was processed."""
        sums = SampledRates(_covered=self._covered, _hits=self._hits, _indexed=self._indexed)
        ordered = [] if self._last is None else [self._last]
        ordered += self._recent
        for before, after in pairwise(ordered):
            sums._covered, sums._hits, sums._indexed = sums._with(before, after)
        return (sums._hits / sums._covered, sums._indexed / sums._covered) if sums._covered > 0 else None

    def _with(self, before: tuple[int, bool, bool], after: tuple[int, bool, bool]) -> tuple[float, float, float]:
        """The sums with the stretch between two neighbours."""
        n_frames = float(max(0, after[0] - before[0]))
        return (
            self._covered + n_frames,
            self._hits + n_frames * (before[1] + after[1]) / 2,
            self._indexed + n_frames * (before[2] + after[2]) / 2,
        )
