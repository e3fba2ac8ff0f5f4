"""Boxes around reflections: which pixels are peak, which background, and which are bad or belong to a neighbour."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit
from braggstream.kernels.layout import HEIGHT, OFFSET, START, STRIDE, WIDTH

EXCLUDED, PEAK, BACKGROUND, IGNORED = range(4)
"""Classes of the pixels of a box."""

N_PEAK, SUM_PEAK, N_BACKGROUND, SUM_BACKGROUND, SQUARES_BACKGROUND = range(5)
"""Sums over the pixels of a box."""
N_SUMS = 5

MOST_CLAIMS = 255

BAND = 64
"""Rows of a panel whose pixels and flags fit into the second cache together."""
LINE = 64
"""Bytes that come from memory together."""

MIN_PIXELS = 4
"""Fewest pixels of peak and of background."""


@inline_jit
def write_kinds(radii: tuple[int, int, int], kinds: NDArray[np.uint8], spans: NDArray[np.int64]) -> None:
    """Give each pixel of a box its class by its distance from the centre, and each row of a peak its half-width."""
    r1, r2, r3 = radii
    for q in range(r1 + 1):
        spans[q] = int(sqrt(r1 * r1 - q * q + 0.5))
    for q in range(2 * r3 + 1):
        for p in range(2 * r3 + 1):
            rho2 = (p - r3) * (p - r3) + (q - r3) * (q - r3)
            kinds[q, p] = IGNORED
            if rho2 <= r1 * r1:
                kinds[q, p] = PEAK
            elif r2 * r2 <= rho2 <= r3 * r3:
                kinds[q, p] = BACKGROUND


@inline_jit
def mark_peaks(
    table: NDArray[np.int64],
    panels: NDArray[np.int32],
    positions: NDArray[np.float64],
    order: NDArray[np.int64],
    spans: NDArray[np.int64],
    clears: bool,
    claims: NDArray[np.uint8],
) -> None:
    """Count for each pixel the reflections to whose peak it belongs, or set it back to zero."""
    r1 = spans.shape[0] - 1
    for rank in range(order.shape[0]):
        i = order[rank]
        place = table[panels[i]]
        x, y = int(positions[i, 0]), int(positions[i, 1])
        for row in range(max(y - r1, 0), min(y + r1 + 1, place[HEIGHT])):
            half = spans[abs(row - y)]
            first = place[START] + row * place[WIDTH]
            for index in range(first + max(x - half, 0), first + min(x + half + 1, place[WIDTH])):
                claims[index] = 0 if clears else min(claims[index] + 1, MOST_CLAIMS)


@inline_jit
def touch_band(
    pixels: NDArray[Any],
    bad: NDArray[np.uint8],
    claims: NDArray[np.uint8],
    place: NDArray[np.int64],
    band: int,
    margin: int,
) -> int:
    """Read a band of rows from end to end, one number a line of the cache.

    Memory gives what is asked for in order many times as fast as lines here and there, for which boxes ask.
    """
    first, end = max(BAND * band - margin, 0), min(BAND * (band + 1) + margin, place[HEIGHT])
    step = LINE // pixels.itemsize
    seen = 0
    for k in range(place[OFFSET] + first * place[STRIDE], place[OFFSET] + (end - 1) * place[STRIDE], step):
        seen += int(pixels[k] != 0)
    for k in range(place[START] + first * place[WIDTH], place[START] + end * place[WIDTH], LINE):
        seen += bad[k] + claims[k]
    return seen


@inline_jit
def write_offsets(
    kinds: NDArray[np.uint8], place: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[int, int]:
    """List the pixels of a box, peak first and then background; gives how many there are of each.

    Rows: where they are in the data and in the maps, from the box's first corner.
    """
    size = kinds.shape[0]
    n, n_peak = 0, 0
    for wanted in (PEAK, BACKGROUND):
        for q in range(size):
            for p in range(size):
                if kinds[q, p] == wanted:
                    offsets[0, n] = q * place[STRIDE] + p
                    offsets[1, n] = q * place[WIDTH] + p
                    n += 1
        if wanted == PEAK:
            n_peak = n
    return n_peak, n - n_peak


@fast_jit
def sum_box(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    saturation: NDArray[np.float32],
    max_adu: float,
    centre: tuple[int, int],
    half: int,
    offsets: NDArray[np.int64],
    numbers: tuple[int, int],
    claims: NDArray[np.uint8],
    used: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> tuple[bool, bool, float]:
    """Sum up peak and background of a box; whether it can be used, is saturated, and its highest pixel.

    What `classify` does, where nothing else is wanted.  Pixels in use are listed first, without a branch: in a
    crowd half of the branches would be mispredicted, and cost more than all the rest.
    """
    left, top = centre[0] - half, centre[1] - half
    size = 2 * half + 1
    if left < 0 or top < 0 or left + size > place[WIDTH] or top + size > place[HEIGHT]:
        return False, False, 0.0
    where = place[OFFSET] + top * place[STRIDE] + left
    index = place[START] + top * place[WIDTH] + left
    n_bad, n = 0, 0
    for k in range(numbers[0]):
        at = index + offsets[1, k]
        used[n] = k
        n += int(claims[at] <= 1)
        n_bad |= bad[at]
    n_peak = n
    for k in range(numbers[0], numbers[0] + numbers[1]):
        at = index + offsets[1, k]
        used[n] = k
        n += int((claims[at] | bad[at]) == 0)
    n_background = n - n_peak
    sum_peak, sum_background, squares, highest = 0.0, 0.0, 0.0, -np.inf
    for k in range(n_peak):
        value = np.float64(pixels[where + offsets[0, used[k]]])
        sum_peak += value
        highest = value if value > highest else highest
    for k in range(n_peak, n):
        value = np.float64(pixels[where + offsets[0, used[k]]])
        sum_background += value
        squares += value * value
        highest = value if value > highest else highest
    is_saturated = highest > max_adu
    if saturation.shape[0] > 0:
        for k in range(n):
            value = np.float64(pixels[where + offsets[0, used[k]]])
            is_saturated |= value > saturation[index + offsets[1, used[k]]]
    sums[N_PEAK], sums[SUM_PEAK] = n_peak, sum_peak
    sums[N_BACKGROUND], sums[SUM_BACKGROUND], sums[SQUARES_BACKGROUND] = n_background, sum_background, squares
    return n_bad == 0 and n_peak >= MIN_PIXELS and n_background >= MIN_PIXELS, is_saturated, highest


@inline_jit
def classify(
    pixels: NDArray[Any],
    place: NDArray[np.int64],
    bad: NDArray[np.uint8],
    saturation: NDArray[np.float32],
    max_adu: float,
    centre: tuple[int, int],
    kinds: NDArray[np.uint8],
    claims: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    values: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> tuple[bool, bool, float]:
    """Sort the pixels of a box; tells whether it can be used, whether it is saturated, and its highest pixel.

    A pixel of the peak belongs to one reflection at most, one of the background to none.
    """
    size = kinds.shape[0]
    half = size // 2
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    left, top = centre[0] - half, centre[1] - half
    if left < 0 or top < 0 or left + size > width or top + size > height:
        return False, False, 0.0
    n_peak, n_background, sum_peak, sum_background, squares = 0, 0, 0.0, 0.0, 0.0
    n_bad, n_saturated, highest = 0, 0, -np.inf
    for q in range(size):
        index = first + (top + q) * width + left
        where = place[OFFSET] + (top + q) * place[STRIDE] + left
        for p in range(size):
            kind = kinds[q, p]
            value = np.float64(pixels[where + p])
            is_bad = bad[index + p] != 0
            limit = 1 if kind == PEAK else 0
            kept = EXCLUDED if is_bad or claims[index + p] > limit else kind
            n_bad += 1 if is_bad and kind == PEAK else 0
            in_peak, in_background = kept == PEAK, kept == BACKGROUND
            of_background = value if in_background else 0.0
            n_peak += 1 if in_peak else 0
            n_background += 1 if in_background else 0
            sum_peak += value if in_peak else 0.0
            sum_background += of_background
            squares += of_background * of_background
            used = value if in_peak or in_background else -np.inf
            n_saturated += 1 if used > max_adu else 0
            highest = used if used > highest else highest
            classes[q, p] = kept
            values[q, p] = value
        if saturation.shape[0] > 0:
            for p in range(size):
                if classes[q, p] in (PEAK, BACKGROUND) and values[q, p] > saturation[index + p]:
                    n_saturated += 1
    sums[N_PEAK], sums[SUM_PEAK] = n_peak, sum_peak
    sums[N_BACKGROUND], sums[SUM_BACKGROUND], sums[SQUARES_BACKGROUND] = n_background, sum_background, squares
    is_good = n_bad == 0 and n_peak >= MIN_PIXELS and n_background >= MIN_PIXELS
    return is_good, n_saturated > 0, highest
