"""The background of a box as a plane a p + b q + c of its pixels, and which pixels stand out above it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit
from braggstream.kernels._vectors import (
    LANES,
    Lanes,
    above16,
    add16,
    add_products16,
    all16,
    count_bits,
    lanes16,
    load16,
    pick16,
    total16,
)
from braggstream.kernels.boxes import DISC, INSIDE, PEAK, RING, Place, words_of
from braggstream.kernels.layout import OFFSET, STRIDE

STRONG = 3.0
"""A pixel above so many times the background may be the centre."""

Plane = tuple[float, float, float]


@fast_jit
def fit_background(
    pixels: NDArray[Any], place: Place, corner: tuple[int, int], half: int, used: NDArray[np.int64]
) -> Plane:
    """Fit the plane to the background pixels of a box."""
    where = place[OFFSET] + corner[1] * place[STRIDE] + corner[0]
    zeros, ones = all16(0.0), all16(1.0)
    n, p1, q1, v1, pp, pq, qq, pv, qv = zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros, zeros
    n_words = words_of(half)
    for row in range(2 * half + 1):
        q = all16(float(row - half))
        for c in range(n_words):
            at = min(where + LANES * c, pixels.shape[0] - LANES)
            shift = where + LANES * c - at
            ring = used[RING, row * n_words + c] << shift
            value, one = pick16(ring, load16(pixels, at), zeros), pick16(ring, ones, zeros)
            p = pick16(ring, add16(lanes16(), all16(float(LANES * c - shift - half))), zeros)
            n, p1, v1 = add16(n, one), add16(p1, p), add16(v1, value)
            q1, pp = add_products16(q1, q, one), add_products16(pp, p, p)
            pq, pv = add_products16(pq, p, q), add_products16(pv, p, value)
            qv = add_products16(qv, q, value)
            qq = add_products16(qq, q, pick16(ring, q, zeros))
        where += place[STRIDE]
    count, sp, sq, sv = total16(n), total16(p1), total16(q1), total16(v1)
    mean = sv / count
    cpp, cpq, cqq = total16(pp) - sp * sp / count, total16(pq) - sp * sq / count, total16(qq) - sq * sq / count
    cpv, cqv = total16(pv) - sp * mean, total16(qv) - sq * mean
    determinant = cpp * cqq - cpq * cpq
    if not determinant > 1e-6 * cpp * cqq:
        return 0.0, 0.0, mean
    a = (cpv * cqq - cqv * cpq) / determinant
    b = (cqv * cpp - cpv * cpq) / determinant
    return a, b, mean - a * (sp / count + half) - b * (sq / count + half)


@inline_jit
def _line(plane: Plane, row: int, first: int) -> Lanes:
    """Give the plane in sixteen pixels of a row."""
    a, b, c = plane
    return add_products16(all16(b * row + c), all16(a), add16(lanes16(), all16(float(first))))


@fast_jit
def step_to_centre(
    pixels: NDArray[Any], place: Place, corner: tuple[int, int], half: int, used: NDArray[np.int64], plane: Plane
) -> tuple[int, int, int]:
    """Count the strong pixels of a box, and give the way from its centre to the strongest."""
    where = place[OFFSET] + corner[1] * place[STRIDE] + corner[0]
    n_strong, best, best_p, best_q = 0, -np.inf, 0, 0
    zeros, times = all16(0.0), all16(STRONG)
    n_words = words_of(half)
    for q in range(2 * half + 1):
        for c in range(n_words):
            at = min(where + LANES * c, pixels.shape[0] - LANES)
            shift = where + LANES * c - at
            limits = add_products16(zeros, times, _line(plane, q, LANES * c - shift))
            strong = above16(load16(pixels, at), limits) >> shift & used[INSIDE, q * n_words + c]
            n_strong += count_bits(strong)
            p = LANES * c
            while strong:
                value = np.float64(pixels[where + p])
                if strong & 1 and value > best:
                    best, best_p, best_q = value, p, q
                strong >>= 1
                p += 1
        where += place[STRIDE]
    return n_strong, best_p - half, best_q - half


@fast_jit
def plane_in_peak(half: int, used: NDArray[np.int64], plane: Plane) -> float:
    """Sum up the background in the peak."""
    zeros = all16(0.0)
    total = zeros
    n_words = words_of(half)
    for q in range(2 * half + 1):
        for c in range(n_words):
            total = add16(total, pick16(used[DISC, q * n_words + c], _line(plane, q, LANES * c), zeros))
    return total16(total)


@inline_jit
def has_steep_background(classes: NDArray[np.uint8], values: NDArray[np.float64], plane: Plane) -> bool:
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
