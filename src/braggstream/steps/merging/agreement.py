"""The figures of merit of two lists by their names, per shell and overall (`compare_hkl --fom`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.near_names import expected_one_of
from braggstream.steps.merging import figures
from braggstream.steps.merging.comparison import BijvoetPairs, MatchedLists
from braggstream.steps.merging.shells import Shells


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureOfMerit:
    """One figure of merit."""

    name: str
    """As it is asked for."""
    of_pairs: Callable[[MatchedLists], float] | None = None
    """Computes it from reflections in both lists; fractions, not percent."""
    of_mates: Callable[[BijvoetPairs], float] | None = None
    """Computes it from Bijvoet pairs in both lists."""
    title: str
    """Title of its column in a table."""
    overall: str
    """Line that tells its value, with a place for the number."""
    is_percentage: bool = False
    """Whether it is told in percent."""
    needs_positive: bool = False
    """Whether negative intensities have to be ignored or set to zero."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Agreement:
    """A figure of merit, by shell and overall."""

    figure: FigureOfMerit
    shells: Shells
    values: NDArray[np.float64]
    """One for each shell, float64[n_shells]; NaN where it is not defined."""
    overall: float
    """From all reflections at once; it is not the mean over the shells."""
    n_pairs: NDArray[np.int64]
    """Pairs that the values are made of, int64[n_shells]."""


def figure_of_merit(name: str) -> FigureOfMerit:
    """Find a figure of merit by its name, in upper or lower case; raises `UserError` with those there are."""
    wanted = _OTHER_NAMES.get(name.lower(), name.lower())
    for figure in FIGURES.values():
        if figure.name.lower() == wanted:
            return figure
    raise UserError(f"there is no figure of merit '{name}': {expected_one_of(name, FIGURES)}")


def agreement(figure: FigureOfMerit, pairs: MatchedLists | BijvoetPairs, shells: Shells) -> Agreement:
    """Compute a figure of merit from reflections in both lists, or from their Bijvoet pairs."""
    compute: Any
    compute = figure.of_mates if isinstance(pairs, BijvoetPairs) else figure.of_pairs
    assert compute is not None, f"{figure.name} is not made of {type(pairs).__name__}"
    numbers = shells.numbers(pairs.inverse_d)
    return Agreement(
        figure=figure,
        shells=shells,
        values=np.array([compute(pairs.take(numbers == shell)) for shell in range(len(shells))]),
        overall=compute(pairs),
        n_pairs=np.bincount(numbers, minlength=len(shells)).astype(np.int64),
    )


def _of_intensities(
    compute: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
) -> Callable[[MatchedLists], float]:
    return lambda pairs: compute(pairs.intensity_1, pairs.intensity_2)


def _cc_star(pairs: MatchedLists) -> float:
    return figures.cc_star(figures.correlation(pairs.intensity_1, pairs.intensity_2))


def _within_sigmas(n_sigmas: float) -> Callable[[MatchedLists], float]:
    def compute(pairs: MatchedLists) -> float:
        if not len(pairs):
            return float("nan")
        difference = np.abs(pairs.intensity_1 - pairs.intensity_2)
        return float(np.mean(difference < n_sigmas * np.hypot(pairs.sigma_1, pairs.sigma_2)))

    return compute


def _differences(mates: BijvoetPairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    plus, minus = mates.plus, mates.minus
    return plus.intensity_1 - minus.intensity_1, plus.intensity_2 - minus.intensity_2


def _r_anomalous(mates: BijvoetPairs) -> float:
    plus, minus = (0.5 * (each.intensity_1 + each.intensity_2) for each in (mates.plus, mates.minus))
    return figures.r_anomalous(plus, minus)


def _r_anomalous_over_split(mates: BijvoetPairs) -> float:
    split = figures.r_split(mates.plus.intensity_1, mates.plus.intensity_2)
    return _r_anomalous(mates) / split if split else float("nan")


_ALL = (
    FigureOfMerit(
        name="R1i",
        of_pairs=_of_intensities(figures.r1_of_intensities),
        title="  R1(I)/%",
        overall="Overall R1(I) = %.2f %%",
        is_percentage=True,
    ),
    FigureOfMerit(
        name="R1f",
        of_pairs=_of_intensities(figures.r1_of_amplitudes),
        title="  R1(F)/%",
        overall="Overall R1(F) = %.2f %%",
        is_percentage=True,
        needs_positive=True,
    ),
    FigureOfMerit(
        name="R2",
        of_pairs=_of_intensities(figures.r2),
        title="     R2/%",
        overall="Overall R(2) = %.2f %%",
        is_percentage=True,
    ),
    FigureOfMerit(
        name="Rsplit",
        of_pairs=_of_intensities(figures.r_split),
        title=" Rsplit/%",
        overall="Overall Rsplit = %.2f %%",
        is_percentage=True,
    ),
    FigureOfMerit(
        name="CC",
        of_pairs=_of_intensities(figures.correlation),
        title="       CC",
        overall="Overall CC = %.7f",
    ),
    FigureOfMerit(name="CC*", of_pairs=_cc_star, title="      CC*", overall="Overall CC* = %.7f"),
    FigureOfMerit(
        name="CCano",
        of_mates=lambda mates: figures.correlation(*_differences(mates)),
        title="    CCano",
        overall="Overall CCano = %.7f",
    ),
    FigureOfMerit(
        name="CRDano",
        of_mates=lambda mates: figures.crd_anomalous(*_differences(mates)),
        title="    CRDano",
        overall="Overall CRDano = %.7f",
    ),
    FigureOfMerit(
        name="Rano",
        of_mates=_r_anomalous,
        title="   Rano/%",
        overall="Overall Rano =  %.2f %%",
        is_percentage=True,
    ),
    FigureOfMerit(
        name="Rano/Rsplit",
        of_mates=_r_anomalous_over_split,
        title=" Rano/Rsplit",
        overall="Overall Rano/Rsplit =  %.7f",
    ),
    FigureOfMerit(
        name="d1sig",
        of_pairs=_within_sigmas(1.0),
        title=" D<1sigma/%",
        overall="Fraction of differences less than 1 sigma = %.7f %%",
        is_percentage=True,
    ),
    FigureOfMerit(
        name="d2sig",
        of_pairs=_within_sigmas(2.0),
        title=" D<2sigma/%",
        overall="Fraction of differences less than 2 sigma = %.7f %%",
        is_percentage=True,
    ),
)
FIGURES: Mapping[str, FigureOfMerit] = {figure.name: figure for figure in _ALL}
"""The figures of merit by name."""
_OTHER_NAMES = {"cc1/2": "cc", "cchalf": "cc", "ccstar": "cc*"}
