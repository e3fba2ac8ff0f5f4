"""Ring integration of predicted reflections: peak, gap and background of each box, neighbours left out."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH

EXCLUDED, PEAK, BACKGROUND, IGNORED = range(4)
"""Classes of the pixels of a box."""

REJECTED, GOOD, SATURATED, SATURATED_AND_REJECTED = range(4)
"""State of a reflection after integration."""

INTENSITY, SIGMA, PEAK_VALUE, MEAN_BACKGROUND, FS_SHIFT, SS_SHIFT = range(6)
"""Columns of what is measured."""
N_MEASURED = 6

MIN_PIXELS = 4
MAX_ROUNDS = 10
STRONG = 3.0
"""A pixel above so many times the background may be the centre."""


@inline_jit
def _classify(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    saturation: NDArray[np.float32],
    max_adu: float,
    centre: tuple[int, int],
    radii: tuple[int, int, int],
    neighbours: NDArray[np.int64],
    n_neighbours: int,
    classes: NDArray[np.uint8],
    values: NDArray[np.float64],
) -> tuple[bool, bool, float]:
    """Sort the pixels of a box; tells whether it can be used, whether it is saturated, and its highest pixel."""
    r1, r2, r3 = radii
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    if centre[0] < r3 or centre[1] < r3 or centre[0] + r3 >= width or centre[1] + r3 >= height:
        return False, False, 0.0
    n_peak, n_background = 0, 0
    is_saturated, highest = False, -np.inf
    for q in range(2 * r3 + 1):
        y = centre[1] + q - r3
        for p in range(2 * r3 + 1):
            x = centre[0] + p - r3
            rho2 = (p - r3) * (p - r3) + (q - r3) * (q - r3)
            kind = IGNORED
            if rho2 <= r1 * r1:
                kind = PEAK
            elif r2 * r2 <= rho2 <= r3 * r3:
                kind = BACKGROUND
            index = first + y * width + x
            value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
            values[q, p] = value
            if bad[index]:
                if kind == PEAK:
                    return False, False, 0.0
                classes[q, p] = EXCLUDED
                continue
            n_claims = 0
            for k in range(n_neighbours):
                dx, dy = x - neighbours[k, 0], y - neighbours[k, 1]
                if dx * dx + dy * dy <= r1 * r1:
                    n_claims += 1
            if (kind == PEAK and n_claims > 1) or (kind != PEAK and n_claims > 0):
                classes[q, p] = EXCLUDED
                continue
            classes[q, p] = kind
            if kind == IGNORED:
                continue
            is_saturated = is_saturated or bool(value > max_adu)
            if saturation.shape[0] > 0 and value > saturation[index]:
                is_saturated = True
            highest = max(highest, value)
            if kind == PEAK:
                n_peak += 1
            else:
                n_background += 1
    return n_peak >= MIN_PIXELS and n_background >= MIN_PIXELS, is_saturated, highest


@inline_jit
def _fit_background(
    classes: NDArray[np.uint8], values: NDArray[np.float64], sloping: bool
) -> tuple[float, float, float]:
    """Fit a·p + b·q + c to the background pixels; a = b = 0 unless sloping."""
    n, sp, sq, sv, spp, spq, sqq, spv, sqv = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    middle = (classes.shape[0] - 1) / 2.0
    for q in range(classes.shape[0]):
        for p in range(classes.shape[1]):
            if classes[q, p] == BACKGROUND:
                u, v, value = p - middle, q - middle, values[q, p]
                n += 1
                sp += u
                sq += v
                sv += value
                spp += u * u
                spq += u * v
                sqq += v * v
                spv += u * value
                sqv += v * value
    mean = sv / n
    if not sloping:
        return 0.0, 0.0, mean
    cpp, cpq, cqq = spp - sp * sp / n, spq - sp * sq / n, sqq - sq * sq / n
    cpv, cqv = spv - sp * mean, sqv - sq * mean
    determinant = cpp * cqq - cpq * cpq
    if not determinant > 1e-6 * cpp * cqq:
        return 0.0, 0.0, mean
    a = (cpv * cqq - cqv * cpq) / determinant
    b = (cqv * cpp - cpv * cpq) / determinant
    return a, b, mean - a * (sp / n + middle) - b * (sq / n + middle)


@inline_jit
def _has_steep_background(
    classes: NDArray[np.uint8], values: NDArray[np.float64], plane: tuple[float, float, float]
) -> bool:
    """Tell whether the background slopes by more than a tenth of the peak's height per pixel."""
    a, b, c = plane
    highest, total, n = 0.0, 0.0, 0
    for q in range(classes.shape[0]):
        for p in range(classes.shape[1]):
            if classes[q, p] == PEAK:
                highest = max(highest, values[q, p])
                total += a * p + b * q + c
                n += 1
    limit = abs(highest - total / n) / 10.0
    return abs(a) > limit or abs(b) > limit


@inline_jit
def _step_to_centre(
    classes: NDArray[np.uint8], values: NDArray[np.float64], plane: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Count the strong pixels of a box, and give the way from its centre to the strongest."""
    a, b, c = plane
    n_strong, best, best_p, best_q = 0, -np.inf, 0, 0
    for q in range(classes.shape[0]):
        for p in range(classes.shape[1]):
            value = values[q, p]
            if classes[q, p] != EXCLUDED and value > STRONG * (a * p + b * q + c):
                n_strong += 1
                if value > best:
                    best, best_p, best_q = value, p, q
    middle = (classes.shape[0] - 1) // 2
    return n_strong, best_p - middle, best_q - middle


@jit
def integrate(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    saturation: NDArray[np.float32],
    max_adu: NDArray[np.float64],
    gains: NDArray[np.float64],
    radii: tuple[int, int, int],
    centring: bool,
    sloping: bool,
    keep_saturated: bool,
    panels: NDArray[np.int32],
    positions: NDArray[np.float64],
    order: NDArray[np.int64],
    measured: NDArray[np.float64],
    state: NDArray[np.uint8],
) -> None:
    """Integrate the reflections of all crystals of a frame.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel.
    bad : uint8[n_pixels]
        Nonzero for pixels that must not be used.
    saturation : float32[n_pixels] or float32[0]
        Saturation level of each pixel, where there is a map.
    max_adu, gains : float64[n_panels]
        Saturation level, detector units per photon.
    radii : (int64, int64, int64)
        Ring radii [px].
    centring, sloping, keep_saturated : bool
        Modifiers `cen`, `grad` and `sat`.
    panels : int32[n_reflections], positions : float64[n_reflections, 2]
        Panel, fs and ss of the predictions.
    order : int64[n_reflections]
        The reflections sorted by panel, then by ss.
    measured : float64[n_reflections, 6], written
        Intensity, sigma, highest pixel, mean background, shift in fs and in ss.
    state : uint8[n_reflections], written
        What became of each.
    """
    r3 = radii[2]
    size = 2 * r3 + 1
    classes, values = np.empty((size, size), np.uint8), np.empty((size, size))
    n = order.shape[0]
    neighbours = np.empty((n, 2), np.int64)
    # A box may move by its own size with centring.
    reach = r3 + radii[0] + 1 + (MAX_ROUNDS * r3 if centring else 0)
    for rank in range(n):
        i = order[rank]
        panel = panels[i]
        place = table[panel]
        x0, y0 = int(positions[i, 0]), int(positions[i, 1])
        n_neighbours = 0
        for direction in range(-1, 2, 2):
            other = rank if direction < 0 else rank + 1
            while 0 <= other < n:
                j = order[other]
                x, y = int(positions[j, 0]), int(positions[j, 1])
                if panels[j] != panel or abs(y - y0) > reach:
                    break
                if abs(x - x0) <= reach:
                    neighbours[n_neighbours, 0] = x
                    neighbours[n_neighbours, 1] = y
                    n_neighbours += 1
                other += direction
        x, y = x0, y0
        state[i] = REJECTED
        is_good, is_saturated, highest = _classify(
            pixels,
            place,
            bad,
            saturation,
            max_adu[panel],
            (x, y),
            radii,
            neighbours,
            n_neighbours,
            classes,
            values,
        )
        if not is_good:
            continue
        plane = _fit_background(classes, values, sloping)
        if centring:
            n_strong = 0
            for _ in range(MAX_ROUNDS):
                n_more, step_x, step_y = _step_to_centre(classes, values, plane)
                n_strong += n_more
                if n_strong < 2 or n_more == 0:
                    break
                if step_x == 0 and step_y == 0:
                    break
                if step_x * step_x + step_y * step_y > size * size:
                    is_good = False
                    break
                x += step_x
                y += step_y
                is_good, is_saturated, highest = _classify(
                    pixels,
                    place,
                    bad,
                    saturation,
                    max_adu[panel],
                    (x, y),
                    radii,
                    neighbours,
                    n_neighbours,
                    classes,
                    values,
                )
                if not is_good:
                    break
                plane = _fit_background(classes, values, sloping)
            if not is_good:
                continue
        elif sloping and _has_steep_background(classes, values, plane):
            continue
        if is_saturated and not keep_saturated:
            state[i] = SATURATED_AND_REJECTED
            continue
        state[i] = SATURATED if is_saturated else GOOD
        total, n_peak, n_background, sum_background, squares = 0.0, 0, 0, 0.0, 0.0
        for q in range(size):
            for p in range(size):
                if classes[q, p] == PEAK:
                    total += values[q, p] - (plane[0] * p + plane[1] * q + plane[2])
                    n_peak += 1
                elif classes[q, p] == BACKGROUND:
                    sum_background += values[q, p]
                    squares += values[q, p] * values[q, p]
                    n_background += 1
        mean = sum_background / n_background
        variance = max(squares / n_background - mean * mean, 0.0)
        gain = gains[panel]
        poisson = gain * total
        if abs(total) < gain:
            poisson = gain * gain
        elif total < 0.0:
            poisson = -gain * total
        measured[i, INTENSITY] = total
        measured[i, SIGMA] = sqrt(poisson + n_peak * variance)
        measured[i, PEAK_VALUE] = highest
        measured[i, MEAN_BACKGROUND] = mean
        measured[i, FS_SHIFT] = x - x0
        measured[i, SS_SHIFT] = y - y0


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    integrate(
        np.zeros(1, dtype),
        np.ones((1, N_COLUMNS), np.int64),
        np.zeros(1, np.uint8),
        np.zeros(0, np.float32),
        np.zeros(1),
        np.ones(1),
        (1, 2, 3),
        False,
        False,
        False,
        np.zeros(1, np.int32),
        np.zeros((1, 2)),
        np.zeros(1, np.int64),
        np.zeros((1, N_MEASURED)),
        np.zeros(1, np.uint8),
    )
