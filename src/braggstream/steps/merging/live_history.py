"""How the figures of merit grew, against time and against the number of crystals, in bounded memory."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 400
"""When a curve has more points, every other one is left out; later ones are kept as far apart."""
MOST_SHELL_POINTS = 80
"""The same for the figures by shell, of which there are many at each point."""
RATE_WINDOW_S = 120.0
"""The present rate is that of so long a time."""
MOST_RECENT = 240


@dataclass(slots=True)
class Curve:
    """Points against time and number of crystals."""

    most: int
    points: list[dict[str, Any]] = field(default_factory=list)
    _spacing_s: float = 0.0

    def wants(self, time_s: float) -> bool:
        """Whether a point of this time [s] is far enough from the last one."""
        return not self.points or time_s - self.points[-1]["time_s"] >= self._spacing_s

    def note(self, time_s: float, n_crystals: int, figures: dict[str, Any]) -> None:
        """Add a point."""
        self.points.append({"time_s": round(time_s, 3), "crystals": n_crystals, **figures})
        if len(self.points) > self.most:
            self.points = self.points[::2]
            span = self.points[-1]["time_s"] - self.points[0]["time_s"]
            self._spacing_s = span / len(self.points)


@dataclass(slots=True)
class LiveHistory:
    """The curves, and the present rate of crystals."""

    overall: Curve = field(default_factory=lambda: Curve(MOST_POINTS))
    shells: Curve = field(default_factory=lambda: Curve(MOST_SHELL_POINTS))
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MOST_RECENT))
    """Times and numbers of crystals, the last ones."""

    def count(self, time_s: float, n_crystals: int) -> None:
        """Take note of the number of crystals, for the rate."""
        while self._recent and time_s - self._recent[0][0] > RATE_WINDOW_S:
            self._recent.popleft()
        self._recent.append((time_s, n_crystals))

    @property
    def rate(self) -> tuple[float, int]:
        """Crystals a second at present, and the number of crystals that this was measured with."""
        if len(self._recent) < 2:
            return 0.0, 0
        (begin, first), (end, last) = self._recent[0], self._recent[-1]
        return ((last - first) / (end - begin) if end > begin else 0.0), last - first
