"""How the figures of merit grew, against time and against the number of crystals, in bounded memory."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 400
"""When there are more, every other one is left out; later ones are kept as far apart."""
RATE_WINDOW_S = 120.0
"""The present rate is that of so long a time."""
MOST_RECENT = 240


@dataclass(slots=True)
class LiveHistory:
    """Points of the curves, and the present rate of crystals."""

    points: list[dict[str, Any]] = field(default_factory=list)
    _spacing_s: float = 0.0
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MOST_RECENT))
    """Times and numbers of crystals, the last ones."""

    def note(self, time_s: float, n_crystals: int, figures: dict[str, Any]) -> None:
        """Add a point, unless it is too near to the last one."""
        while self._recent and time_s - self._recent[0][0] > RATE_WINDOW_S:
            self._recent.popleft()
        self._recent.append((time_s, n_crystals))
        if self.points and time_s - self.points[-1]["time_s"] < self._spacing_s:
            return
        self.points.append({"time_s": round(time_s, 3), "crystals": n_crystals, **figures})
        if len(self.points) > MOST_POINTS:
            self.points = self.points[::2]
            span = self.points[-1]["time_s"] - self.points[0]["time_s"]
            self._spacing_s = span / len(self.points)

    @property
    def rate(self) -> tuple[float, int]:
        """Crystals a second at present, and the number of crystals that this was measured with."""
        if len(self._recent) < 2:
            return 0.0, 0
        (begin, first), (end, last) = self._recent[0], self._recent[-1]
        return ((last - first) / (end - begin) if end > begin else 0.0), last - first
