"""What a data set is to reach, and how many more crystals that takes (spec: merging §9.4).

With τ² the variance of the true intensities and ε² that of the error of a half set's means, CC1/2 = τ²/(τ² + ε²),
and ε² falls as the mean of 1/n over the reflections, n their measurements.  How n spreads over reflections is taken
from the data: a negative binomial distribution with their mean and variance, which becomes a Poisson one where all
reflections are as likely as another.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import atanh, exp, inf, isfinite, isnan, lgamma, log, log2, nan, sqrt, tanh
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.near_names import did_you_mean
from braggstream.steps.merging.figures import half_set_figures
from braggstream.steps.merging.live_figures import FigureLimits, PossibleReflections, pairs_between
from braggstream.steps.merging.live_merge import LiveMerge

FloatArray = NDArray[np.float64]
Figure = Literal["cc12", "completeness", "multiplicity"]

N_SIGMAS = 1.645
"""Half of the interval: nine of ten forecasts lie within it, as far as chance goes."""
MODEL_ERROR = 0.1
"""How far off a forecast is by its model alone, relative."""
MOST_GROWTH = 1e4
"""What takes so many times as many crystals is not foreseen."""
FEWEST_PAIRS = 30
"""With fewer pairs CC1/2 says nothing, and no goal is reached."""
N_PARTS = 20
PART_OF_VOLUME = 0.1
"""`@2.0A` means the last of ten shells of equal volume."""

_FACTORS = [2.0 ** (step / 8.0) for step in range(round(8.0 * log2(MOST_GROWTH)) + 1)]

_GOAL = re.compile(
    r"(cc12|completeness|multiplicity)\s*>=?\s*([0-9.]+)\s*%?\s*@\s*(?:(inf|[0-9.]+)\s*-\s*)?([0-9.]+)\s*A?",
    re.IGNORECASE | re.ASCII,
)
FIGURES = ("cc12", "completeness", "multiplicity")
EXPECTED = (
    "expected FIGURE>VALUE@RESOLUTION, such as cc12>0.9@2.0A, completeness>95@2.0A or multiplicity>10@30-2.0A"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A figure of merit, what it is to reach, and where."""

    text: str
    """As the user wrote it."""
    figure: Figure
    value: float
    """A fraction for CC1/2 and completeness."""
    low: float
    high: float
    """1/d of the range [Å⁻¹]."""


def parse_goal(text: str) -> Goal:
    """Read a goal such as `cc12>0.9@2.0A`; raises `UserError`."""
    match = _GOAL.fullmatch(text.strip())
    if match is None:
        figure = text.partition(">")[0].strip()[:60]
        near = "" if figure.lower() in FIGURES else did_you_mean(figure, FIGURES)
        raise UserError(f"--goal={text[:60]}: {EXPECTED}{near}")
    try:
        figure, value, d_high = match[1].lower(), float(match[2]), float(match[4])
        d_low = None if match[3] is None else float(match[3])
    except ValueError:
        raise UserError(f"--goal={text[:60]}: {EXPECTED}") from None
    if not 0.1 <= d_high < inf or (d_low is not None and not d_low > d_high):
        raise UserError(f"--goal={text[:60]}: expected resolutions of 0.1 A or more, the larger d first")
    if figure == "completeness":
        value /= 100.0
    most = {"cc12": 1.0, "completeness": 1.0, "multiplicity": inf}[figure]
    if not 0.0 < value < most and not (figure == "completeness" and value == 1.0):
        raise UserError(f"--goal={text[:60]}: {figure} cannot be more than {value:g}: {EXPECTED}")
    high = 1.0 / d_high
    low = high * (1.0 - PART_OF_VOLUME) ** (1.0 / 3.0) if d_low is None else 1.0 / d_low
    return Goal(text=text.strip(), figure=figure, value=value, low=low, high=high)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a goal stands: the figure now, and how many times as many crystals it takes."""

    goal: Goal
    value: float
    """The figure; NaN where there is too little to tell."""
    is_reached: bool
    growth: float = nan
    """So many times the crystals of now; NaN where it cannot be foreseen, infinite where it is never reached."""
    least_growth: float = nan
    most_growth: float = nan
    """Nine of ten times it lies between these."""


def standing(goal: Goal, merge: LiveMerge, possible: PossibleReflections, least: int) -> Standing:
    """Tell where a goal stands."""
    spread = _Spread.of(merge, possible, goal, least)
    if spread is None:
        return Standing(goal=goal, value=nan, is_reached=False)
    if goal.figure == "cc12":
        return _cc_standing(goal, merge, spread, least)
    if goal.figure == "completeness":
        value, model = spread.completeness, spread.complete_after
        # What is missing is a number of reflections, now and when the goal is reached: both scatter.
        missing = [(1.0 - each) * spread.n_possible + 1.0 for each in (value, goal.value)]
        factor = exp(N_SIGMAS * sqrt(1.0 / missing[0] + 1.0 / missing[1]))
        bounds = (value, 1.0 - (1.0 - value) / factor, 1.0 - (1.0 - value) * factor)
    else:
        value, model = spread.multiplicity, spread.multiplicity_after
        error = N_SIGMAS * sqrt(spread.variance / spread.n_possible)
        bounds = (value, value + error, value - error)
    growths = [_growth(lambda factor, now=now: model(factor, now), goal.value) for now in bounds]  # type: ignore[misc]
    return _found(goal, value, value >= goal.value, growths)


def _cc_standing(goal: Goal, merge: LiveMerge, spread: "_Spread", least: int) -> Standing:
    matched = pairs_between(merge, goal.low, goal.high, FigureLimits(least=least))
    if len(matched) < FEWEST_PAIRS:
        return Standing(goal=goal, value=nan, is_reached=False)
    numbers = np.zeros(len(matched), np.int64)
    value = float(half_set_figures(matched.intensity_1, matched.intensity_2, numbers, 1).cc_half[-1])
    if isnan(value):
        return Standing(goal=goal, value=nan, is_reached=False)
    z = atanh(min(max(value, -0.9999), 0.9999))
    error = N_SIGMAS * max(1.0 / sqrt(len(matched) - 3.0), _jackknife(matched.intensity_1, matched.intensity_2))
    growths = [
        _growth(lambda factor, cc=cc: spread.cc_after(factor, cc), goal.value)  # type: ignore[misc]
        for cc in (value, tanh(z + error), tanh(z - error))
    ]
    return _found(goal, value, value >= goal.value, growths)


def _jackknife(one: FloatArray, other: FloatArray) -> float:
    """Standard error of Fisher's z of a correlation, leaving out one part of the pairs after the other.

    Intensities are far from normally distributed, so that 1/√(n - 3) is too small.
    """
    part = np.arange(len(one)) % N_PARTS
    x, y = one - one.mean(), other - other.mean()
    sums = [np.bincount(part, values, N_PARTS) for values in (np.ones(len(x)), x, y, x * x, y * y, x * y)]
    n, sx, sy, sxx, syy, sxy = (each.sum() - each for each in sums)
    spread = (n * sxx - sx * sx) * (n * syy - sy * sy)
    cc = np.where(spread > 0.0, (n * sxy - sx * sy) / np.sqrt(np.maximum(spread, 1e-300)), 0.0)
    z = np.arctanh(np.clip(cc, -0.9999, 0.9999))
    return sqrt((N_PARTS - 1.0) * float(z.var()))


def _found(goal: Goal, value: float, is_reached: bool, growths: list[float]) -> Standing:
    growth, least, most = growths
    if is_reached:
        return Standing(
            goal=goal, value=value, is_reached=True, growth=1.0, least_growth=1.0, most_growth=max(most, 1.0)
        )
    return Standing(
        goal=goal,
        value=value,
        is_reached=False,
        growth=growth,
        least_growth=1.0 + (least - 1.0) * (1.0 - MODEL_ERROR),
        most_growth=1.0 + (most - 1.0) * (1.0 + MODEL_ERROR),
    )


def _growth(figure: Callable[[float], float], wanted: float) -> float:
    """Find the factor at which a growing figure reaches what is wanted; infinite beyond `MOST_GROWTH`.

    Between the points of a grid, which the searches for a goal share, it is interpolated.
    """
    low, high = 0, len(_FACTORS) - 1
    if not figure(_FACTORS[high]) >= wanted:
        return inf
    if figure(1.0) >= wanted:
        return 1.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if figure(_FACTORS[middle]) >= wanted else (middle, high)
    below, above = figure(_FACTORS[low]), figure(_FACTORS[high])
    part = (wanted - below) / (above - below) if above > below else 1.0
    return float(_FACTORS[low] * (_FACTORS[high] / _FACTORS[low]) ** part)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spread:
    """How the numbers of measurements spread over the possible reflections of a range."""

    mean: float
    variance: float
    n_possible: int
    completeness: float
    """Part with enough measurements."""
    multiplicity: float
    """Mean measurements of those."""
    least: int
    known: dict[float, tuple[float, float, float]] = field(default_factory=dict)
    """What has been computed already, by the mean."""

    @classmethod
    def of(cls, merge: LiveMerge, possible: PossibleReflections, goal: Goal, least: int) -> "_Spread | None":
        inverse_d = merge.sums.inverse_d
        n_possible = max(len(possible.between(goal.low, goal.high)), 1)
        counts = merge.merged()[(inverse_d > goal.low) & (inverse_d <= goal.high), 0]
        total = float(counts.sum())
        if total == 0.0:
            return None
        mean = total / n_possible
        enough = counts[counts >= max(least, 1)]
        return cls(
            mean=mean,
            variance=max(float((counts**2).sum()) / n_possible - mean * mean, 0.0),
            n_possible=n_possible,
            completeness=min(len(enough) / n_possible, 1.0),
            multiplicity=float(enough.mean()) if len(enough) else 0.0,
            least=max(least, 1),
        )

    def complete_after(self, factor: float, now: float) -> float:
        """Completeness after so many times as many crystals."""
        missing, missing_now = (1.0 - self._enough(self.mean * each)[0] for each in (factor, 1.0))
        return 1.0 - (1.0 - now) * missing / missing_now if missing_now > 0.0 else 1.0

    def multiplicity_after(self, factor: float, now: float) -> float:
        """Multiplicity after so many times as many crystals."""
        after, before = (self._enough(self.mean * each)[1] for each in (factor, 1.0))
        return now * after / before if before > 0.0 else nan

    def cc_after(self, factor: float, now: float) -> float:
        """CC1/2 after so many times as many crystals."""
        if not 0.0 < now < 1.0:
            return now
        after, before = (self._enough(0.5 * self.mean * each)[2] for each in (factor, 1.0))
        odds = now / (1.0 - now) * before / after
        return odds / (1.0 + odds)

    def _enough(self, mean: float) -> tuple[float, float, float]:
        """Part of the reflections with enough measurements, and of those the means of n and 1/n."""
        if mean not in self.known:
            self.known[mean] = self._computed(mean)
        return self.known[mean]

    def _computed(self, mean: float) -> tuple[float, float, float]:
        excess = (self.variance - self.mean) / (self.mean * self.mean)
        top = int(mean + 10.0 * sqrt(mean + max(excess, 0.0) * mean * mean)) + 20
        n = np.arange(0, top, max(1, top // 4000), dtype=np.float64)
        part = _binomial(n, mean, excess)
        part /= part.sum()
        enough = n >= self.least
        share = float(part[enough].sum())
        if share <= 0.0:
            return 0.0, float(self.least), 1.0 / self.least
        return share, float(part[enough] @ n[enough]) / share, float(part[enough] @ (1.0 / n[enough])) / share


def _binomial(n: FloatArray, mean: float, excess: float) -> FloatArray:
    """Negative binomial probabilities with a mean and, relative to its square, a variance beyond Poisson's."""
    if excess < 1e-6:
        logs = n * log(mean) - mean - _log_gamma(n + 1.0)
    else:
        r = 1.0 / excess
        logs = _log_gamma(n + r) - lgamma(r) - _log_gamma(n + 1.0) + r * log(r / (r + mean))
        logs += n * log(mean / (r + mean))
    return np.asarray(np.exp(logs), np.float64)


def _log_gamma(x: FloatArray) -> FloatArray:
    """Stirling's series, after moving small arguments up; good to 1e-9."""
    shift = np.zeros_like(x)
    y = x.copy()
    for _ in range(8):
        small = y < 8.0
        shift += np.where(small, np.log(np.where(small, y, 1.0)), 0.0)
        y = np.where(small, y + 1.0, y)
    series = 1.0 / (12.0 * y) - 1.0 / (360.0 * y**3) + 1.0 / (1260.0 * y**5)
    return (y - 0.5) * np.log(y) - y + 0.5 * log(2.0 * np.pi) + series - shift


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """When a goal will be reached [s from now]."""

    seconds: float
    least_seconds: float
    most_seconds: float


def forecast(standing: Standing, n_crystals: int, *, rate: float, n_recent: int) -> Forecast | None:
    """Turn a standing into a time; None where it cannot be foreseen.

    Parameters
    ----------
    standing : Standing
    n_crystals : int
        Crystals merged so far.
    rate : float
        Crystals a second at present.
    n_recent : int
        Crystals that the rate was measured with.
    """
    if isnan(standing.growth) or not rate > 0.0 or n_recent < 2:
        return None
    error = min(N_SIGMAS / sqrt(n_recent), 0.9)
    one = n_crystals / rate
    return Forecast(
        seconds=(standing.growth - 1.0) * one,
        least_seconds=(standing.least_growth - 1.0) * one * (1.0 - error),
        most_seconds=(standing.most_growth - 1.0) * one * (1.0 + error),
    )


def forecast_text(found: Forecast | None) -> str:
    """Tell a forecast in words."""
    if found is None:
        return "cannot be foreseen yet"
    if not isfinite(found.seconds):
        return "not within reach"
    most = "more" if not isfinite(found.most_seconds) else f"{found.most_seconds / 60.0:.1f}"
    return f"in {found.seconds / 60.0:.1f} min ({found.least_seconds / 60.0:.1f} to {most})"
