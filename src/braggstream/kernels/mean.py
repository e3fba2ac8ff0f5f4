"""Means and variances that grow with each observation, and what a crystal's scale is against them."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit


@jit
def geometry_factors(
    hkl: NDArray[np.int16],
    start: NDArray[np.int64],
    axes: NDArray[np.float64],
    wavenumber: NDArray[np.float64],
    polarisation: NDArray[np.float64],
    factor: NDArray[np.float64],
    inverse_d: NDArray[np.float64],
) -> None:
    """Polarisation factor and 1/d of each observation.

    With v = q + (0, 0, 1/λ) and u its direction, along and across the polarisation:
    p = P (1 - u_along²) + (1 - P) (1 - u_across²); the intensity is to be divided by it.

    Parameters
    ----------
    hkl : int16[n, 3], start : int64[n_crystals + 1]
        Indices, crystal by crystal.
    axes : float64[n_crystals, 3, 3]
        Rows a*, b*, c* [Å⁻¹].
    wavenumber : float64[n_crystals]
        1/λ [Å⁻¹].
    polarisation : float64[3]
        Cosine and sine of the angle from +x towards +y, and the polarised fraction P.
    factor, inverse_d : float64[n], written
        p, and 1/d [Å⁻¹].
    """
    cosine, sine, fraction = polarisation[0], polarisation[1], polarisation[2]
    for crystal in range(axes.shape[0]):
        own, k = axes[crystal], wavenumber[crystal]
        for n in range(start[crystal], start[crystal + 1]):
            h, j, l = float(hkl[n, 0]), float(hkl[n, 1]), float(hkl[n, 2])  # noqa: E741
            x = h * own[0, 0] + j * own[1, 0] + l * own[2, 0]
            y = h * own[0, 1] + j * own[1, 1] + l * own[2, 1]
            z = h * own[0, 2] + j * own[1, 2] + l * own[2, 2]
            across = x * x + y * y
            inverse_d[n] = sqrt(across + z * z)
            length2 = across + (z + k) * (z + k)
            along2 = (x * cosine + y * sine) ** 2 / length2
            across2 = (y * cosine - x * sine) ** 2 / length2
            factor[n] = fraction * (1.0 - along2) + (1.0 - fraction) * (1.0 - across2)


@jit
def add_to_means(
    number: NDArray[np.int32],
    value: NDArray[np.float64],
    keep: NDArray[np.bool_],
    count: NDArray[np.int64],
    mean: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> None:
    """Add observations to the means of their reflections (Welford, Technometrics 4 (1962) 419).

    Parameters
    ----------
    number : int32[n]
        Number of the reflection.
    value : float64[n]
        Observed intensity.
    keep : bool[n]
        Whether to add it.
    count : int64[n_reflections], mean, spread : float64[n_reflections], changed
        Number of values, their mean, and the sum of squares of what they differ from it.
    """
    for n in range(number.shape[0]):
        if keep[n]:
            r = number[n]
            count[r] += 1
            difference = value[n] - mean[r]
            mean[r] += difference / count[r]
            spread[r] += difference * (value[n] - mean[r])


@jit
def join_means(
    number: NDArray[np.int32],
    other_count: NDArray[np.int64],
    other_mean: NDArray[np.float64],
    other_spread: NDArray[np.float64],
    count: NDArray[np.int64],
    mean: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> None:
    """Add means of other observations (Chan, Golub, LeVeque, Am. Stat. 37 (1983) 242); `number` is where to."""
    for n in range(number.shape[0]):
        r, m = number[n], other_count[n]
        if m > 0:
            total = count[r] + m
            difference = other_mean[n] - mean[r]
            spread[r] += other_spread[n] + difference * difference * (float(count[r]) * m / total)
            mean[r] += difference * (m / total)
            count[r] = total


@jit
def compare_with_reference(
    number: NDArray[np.int32],
    value: NDArray[np.float64],
    start: NDArray[np.int64],
    reference: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Sums over the reflections of each crystal that the reference has.

    Parameters
    ----------
    number : int32[n], value : float64[n], start : int64[n_crystals + 1]
        The observations, crystal by crystal; values that are not finite are passed over.
    reference : float64[n_reflections]
        Intensities to compare with; NaN where there is none.
    sums : float64[n_crystals, 6], written
        Number, Σ I, Σ R, Σ I², Σ R², Σ R I.
    """
    sums[:] = 0.0
    for crystal in range(start.shape[0] - 1):
        for n in range(start[crystal], start[crystal + 1]):
            r, i = reference[number[n]], value[n]
            if abs(r) < np.inf and abs(i) < np.inf:
                sums[crystal, 0] += 1.0
                sums[crystal, 1] += i
                sums[crystal, 2] += r
                sums[crystal, 3] += i * i
                sums[crystal, 4] += r * r
                sums[crystal, 5] += r * i


def warm_up() -> None:
    """Compile the kernels for the signatures that merging uses."""
    start, one, number = np.array([0, 1]), np.zeros(1), np.zeros(1, np.int32)
    geometry_factors(
        np.zeros((1, 3), np.int16), start, np.eye(3)[None], np.ones(1), np.ones(3), np.zeros(1), np.zeros(1)
    )
    add_to_means(number, one, np.ones(1, np.bool_), np.zeros(1, np.int64), np.zeros(1), np.zeros(1))
    join_means(number, np.ones(1, np.int64), one, one, np.zeros(1, np.int64), np.zeros(1), np.zeros(1))
    compare_with_reference(number, one, start, one, np.zeros((1, 6)))
