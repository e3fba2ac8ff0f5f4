"""Scaling of crystals against the running mean: one by one as they come, the first ones together.

The first crystals are held and scaled together again and again as their number grows: an immature mean would leave
its mark on all that follow (spec: merging §9.4).  When they are enough, they are scaled a last time and let go.
"""

from dataclasses import dataclass, field
from math import isfinite, log

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.live_scale import GAMMA, N_BINS, B, add_to_bins, fit_scale, put_on_scale, relative_spread
from braggstream.steps.merging.live_crystals import HeldCrystals, NumberedCrystal
from braggstream.steps.merging.live_sums import LiveSums

FIRST_MODEL_ERROR = 0.7
"""Relative error of an intensity of a still whose partiality is not modelled; then it is measured..."""
MODEL_ERROR_LIMITS = 0.05, 1.2
FEWEST_ASKED, MOST_ASKED = 20, 300
"""...on at least and at most so many crystals."""
MATURE = 12.0
"""When reflections have been measured so often, on average, the first crystals are let go..."""
FEWEST_CRYSTALS = 200
"""...and there are so many of them..."""
MOST_HELD = 1_000_000
"""...or they have so many measurements."""
FIRST_TOGETHER = 20
"""So many crystals are scaled together..."""
GROWTH = 1.5
"""...and again whenever their number has grown by this factor..."""
LAST_PASSES, LAST_GROWTH = 4, 1.05
"""...and in the end so often, with some more crystals between: one pass takes some tenths of a second at most."""
MOST_GAMMA, MOST_B = log(100.0), 100.0
"""A crystal further off than this is left out."""


@dataclass(slots=True)
class LiveScaling:
    """Puts crystals on the scale of the running mean, and adds them to it."""

    sums: LiveSums
    n_rejected: int = 0
    """Crystals that could not be put on the scale."""
    n_outliers: int = 0
    """Measurements that were too far off."""
    gamma: float = 0.0
    """Mean γ of the crystals so far."""
    n_scaled: int = 0
    model_error: float = FIRST_MODEL_ERROR
    """Relative error of an intensity by the model (spec: a)."""
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((N_BINS, 2)))
    """Number and sum of the values in bins of resolution."""
    held: HeldCrystals | None = field(default_factory=lambda: HeldCrystals(MOST_HELD))
    """The first crystals; None once they are let go."""
    _next_together: float = FIRST_TOGETHER
    _n_last: int = 0
    """Passes since the first crystals are enough."""

    def add(self, crystal: NumberedCrystal) -> None:
        """Put a crystal on the scale and add it."""
        self._add_scaled(crystal, self._fitted(crystal))
        if self.held is None:
            return
        self.held.put(crystal)
        n, is_mature = len(self.held), self._is_mature
        if n < self._next_together and not (is_mature and self._n_last == 0):
            return
        self.scale_together(1)
        self._n_last += is_mature
        self._next_together = (LAST_GROWTH if self._n_last else GROWTH) * n
        if self._n_last >= LAST_PASSES:
            self.held = None

    @property
    def _is_mature(self) -> bool:
        assert self.held is not None
        n = self.held.n_measurements
        return n >= MOST_HELD or (len(self.held) >= FEWEST_CRYSTALS and n >= MATURE * self.sums.n_known)

    def scale_together(self, n_passes: int) -> None:
        """Scale all that are held to their mean, and make the mean anew, so often."""
        crystals = list(self.held or ())
        for _ in range(n_passes):
            fits = [self._fitted(crystal) for crystal in crystals]
            self._measure_model_error(crystals, fits)
            scaled = [self._on_scale(*each) for each in zip(crystals, _gauged(fits), strict=True)]
            self.sums.clear()
            self.bins[:] = 0.0
            self.n_rejected = self.n_outliers = self.n_scaled = 0
            self.gamma = 0.0
            for crystal, each in zip(crystals, scaled, strict=True):
                self._enter(crystal, each)

    def _measure_model_error(self, crystals: list[NumberedCrystal], fits: list[NDArray[np.float64]]) -> None:
        step = max(1, len(crystals) // MOST_ASKED)
        facts, sums = self.sums.facts, self.sums.everything
        spreads = [
            relative_spread(crystal.rows[0], crystal.observed, facts, sums, fit)
            for crystal, fit in zip(crystals[::step], fits[::step], strict=True)
        ]
        known = [spread for spread in spreads if isfinite(spread)]
        if len(known) >= FEWEST_ASKED:
            least, most = MODEL_ERROR_LIMITS
            self.model_error = min(max(float(np.median(known)), least), most)

    def state(self) -> list[float]:
        """Give the numbers that a checkpoint keeps."""
        return [self.n_rejected, self.n_outliers, self.gamma, self.n_scaled, self.model_error]

    def take_state(self, state: list[float]) -> None:
        """Go on from a checkpoint's numbers: the beginning is over."""
        n_rejected, n_outliers, self.gamma, n_scaled, self.model_error = state
        self.n_rejected, self.n_outliers, self.n_scaled = int(n_rejected), int(n_outliers), int(n_scaled)
        self.held = None

    def _fitted(self, crystal: NumberedCrystal) -> NDArray[np.float64]:
        fit, model = np.empty(4), np.array([self.model_error, self.gamma])
        fit_scale(crystal.rows[0], crystal.observed, self.sums.facts, self.sums.everything, self.bins, model, fit)
        return fit

    def _on_scale(
        self, crystal: NumberedCrystal, fit: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], int] | None:
        """Values and weights, the fit, and the outliers; None for a crystal whose scale makes no sense."""
        gamma, b = float(fit[GAMMA]), float(fit[B])
        if not (abs(gamma - self.gamma) <= MOST_GAMMA and abs(b) <= MOST_B):
            return None
        scaled, model = np.empty_like(crystal.observed), np.array([self.model_error, self.gamma])
        facts, sums = self.sums.facts, self.sums.everything
        n = put_on_scale(crystal.rows[0], crystal.observed, facts, sums, self.bins, model, fit, scaled)
        return scaled, fit, n

    def _add_scaled(self, crystal: NumberedCrystal, fit: NDArray[np.float64]) -> None:
        self._enter(crystal, self._on_scale(crystal, fit))

    def _enter(
        self, crystal: NumberedCrystal, scaled: tuple[NDArray[np.float64], NDArray[np.float64], int] | None
    ) -> None:
        if scaled is None:
            self.n_rejected += 1
            return
        (values, weights), fit, n_outliers = scaled
        self.sums.add(crystal.rows[0], values, weights, half=crystal.half, group=crystal.group)
        add_to_bins(crystal.rows[0], values, weights, self.sums.facts, self.bins)
        self.n_outliers += n_outliers
        self.n_scaled += 1
        self.gamma += (float(fit[GAMMA]) - self.gamma) / self.n_scaled


def _gauged(fits: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Take the means off γ and B: the scale of the whole is free."""
    if not fits:
        return fits
    table = np.array(fits)
    for column in (GAMMA, B):
        usual = np.abs(table[:, column]) <= (MOST_GAMMA, MOST_B)[column]
        if usual.any():
            table[:, column] -= table[usual, column].mean()
    return list(table)
