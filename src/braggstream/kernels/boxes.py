"""Boxes around reflections: which pixels are peak, which background, and which are bad or belong to a neighbour.

What a pixel is, is a bit in the words of its row: bit n of word c stands for pixel c * LANES + n.  So a few words
mark a neighbour, and a row is summed up at once.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit
from braggstream.kernels._vectors import (
    LANES,
    add16,
    add_products16,
    all16,
    count_bits,
    larger16,
    largest16,
    load16,
    nonzero16,
    pick16,
    prefetch,
    total16,
)
from braggstream.kernels.layout import HEIGHT, OFFSET, START, STRIDE, WIDTH

EXCLUDED, PEAK, BACKGROUND, IGNORED = range(4)
"""Classes of the pixels of a box."""

DISC, RING, INSIDE = range(3)
"""Shape of a box, as words of its rows: where peak and background are, and all of it.

Of the pixels in use: those of the peak and of the background, and all that are neither bad nor a neighbour's.
"""
ONCE, TWICE = range(2)
"""Marks in a box, as words of its rows: pixels in the peak of at least one, of at least two reflections."""

N_PEAK, SUM_PEAK, N_BACKGROUND, SUM_BACKGROUND, SQUARES_BACKGROUND = range(5)
"""Sums over the pixels of a box."""
N_SUMS = 5

CELL = 16
"""Reflections are sorted by squares of so many pixels."""

Place = tuple[int, int, int, int, int]
"""A row of the panel table, see `layout`: a view of it would be counted each time that it is made or dropped."""

MIN_ELEMENTS = LANES
"""Shortest arrays of pixels and of bad flags."""
MIN_PIXELS = 4
"""Fewest pixels of peak and of background."""


@inline_jit
def place_of(table: NDArray[np.int64], panel: int) -> Place:
    """Give a row of the panel table."""
    return table[panel, 0], table[panel, 1], table[panel, 2], table[panel, 3], table[panel, 4]


@inline_jit
def words_of(half: int) -> int:
    """Count the words of a row."""
    return (2 * half + LANES) // LANES


@inline_jit
def make_shape(radii: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the shape of a box, int64[3, size * n_words], and the half-widths of a peak's rows, int64[r1 + 1]."""
    r1, r2, r3 = radii
    size, n_words = 2 * r3 + 1, words_of(r3)
    shape, spans = np.zeros((3, size * n_words), np.int64), np.empty(r1 + 1, np.int64)
    for q in range(r1 + 1):
        spans[q] = int(sqrt(r1 * r1 - q * q + 0.5))
    for q in range(size):
        for p in range(size):
            shape[INSIDE, q * n_words + p // LANES] |= 1 << (p % LANES)
            rho2 = (p - r3) * (p - r3) + (q - r3) * (q - r3)
            if rho2 <= r1 * r1:
                shape[DISC, q * n_words + p // LANES] |= 1 << (p % LANES)
            elif r2 * r2 <= rho2 <= r3 * r3:
                shape[RING, q * n_words + p // LANES] |= 1 << (p % LANES)
    return shape, spans


@inline_jit
def n_across(n_pixels: int) -> int:
    """Count the squares next to each other along so many pixels."""
    return (n_pixels + CELL - 1) // CELL


@inline_jit
def sort_into_cells(
    table: NDArray[np.int64], panels: NDArray[np.int32], positions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort reflections by squares of their panel, one row of squares after another.

    Returns
    -------
    cells : int64[n_panels]
        Number of the first square of each panel.
    starts : int64[n_cells + 1]
        Rank of the first reflection of each square.
    order : int64[n]
        Which reflection has which rank.
    pixels : int64[n, 2]
        fs and ss of their pixels, by rank.
    """
    n, n_panels = panels.shape[0], table.shape[0]
    cells, n_cells = np.empty(n_panels, np.int64), 0
    for panel in range(n_panels):
        cells[panel] = n_cells
        n_cells += n_across(table[panel, WIDTH]) * n_across(table[panel, HEIGHT])
    starts, own = np.zeros(n_cells + 1, np.int64), np.empty(n, np.int64)
    order, pixels = np.empty(n, np.int64), np.empty((n, 2), np.int64)
    for i in range(n):
        place = place_of(table, panels[i])
        x, y = pixel_of(positions[i, 0], positions[i, 1], place)
        own[i] = cells[panels[i]] + y // CELL * n_across(place[WIDTH]) + x // CELL
        starts[own[i] + 1] += 1
    for cell in range(n_cells):
        starts[cell + 1] += starts[cell]
    free = starts.copy()
    for i in range(n):
        rank = free[own[i]]
        free[own[i]] += 1
        order[rank] = i
        place = place_of(table, panels[i])
        pixels[rank, 0], pixels[rank, 1] = pixel_of(positions[i, 0], positions[i, 1], place)
    return cells, starts, order, pixels


@inline_jit
def pixel_of(fs: float, ss: float, place: Place) -> tuple[int, int]:
    """Give the pixel that a position lies on, one of the panel in any case."""
    x = min(max(int(fs), 0), place[WIDTH] - 1)
    y = min(max(int(ss), 0), place[HEIGHT] - 1)
    return x, y


@inline_jit
def mark_peaks(
    place: Place,
    first_cell: int,
    starts: NDArray[np.int64],
    pixels: NDArray[np.int64],
    rank: int,
    centre: tuple[int, int],
    half: int,
    shape: NDArray[np.int64],
    spans: NDArray[np.int64],
    marks: NDArray[np.int64],
) -> None:
    """Mark the pixels of a reflection's box that belong to peaks, its own included, which may be off the centre."""
    r1, size, n_words = spans.shape[0] - 1, 2 * half + 1, words_of(half)
    x, y = centre
    is_centred = x == pixels[rank, 0] and y == pixels[rank, 1]
    for k in range(marks.shape[1]):
        marks[ONCE, k] = shape[DISC, k] if is_centred else 0
        marks[TWICE, k] = 0
    reach = half + r1
    left, right = max(x - reach, 0) // CELL, min(x + reach, place[WIDTH] - 1) // CELL
    for row in range(max(y - reach, 0) // CELL, min(y + reach, place[HEIGHT] - 1) // CELL + 1):
        cell = first_cell + row * n_across(place[WIDTH])
        for other in range(starts[cell + left], starts[cell + right + 1]):
            p, q = pixels[other, 0] - x + half, pixels[other, 1] - y + half
            if abs(p - half) > reach or abs(q - half) > reach or (other == rank and is_centred):
                continue
            for k in range(max(q - r1, 0), min(q + r1 + 1, size)):
                span = spans[abs(k - q)]
                for c in range(n_words):
                    low = min(max(p - span - LANES * c, 0), LANES)
                    high = min(max(p + span + 1 - LANES * c, 0), LANES)
                    bits = (1 << high) - (1 << low)
                    marks[TWICE, k * n_words + c] |= marks[ONCE, k * n_words + c] & bits
                    marks[ONCE, k * n_words + c] |= bits


@inline_jit
def lies_on_panel(place: Place, corner: tuple[int, int], half: int) -> bool:
    """Tell whether all of a box is on its panel."""
    left, top = corner
    return left >= 0 and top >= 0 and left + 2 * half < place[WIDTH] and top + 2 * half < place[HEIGHT]


@inline_jit
def ask_for_box(
    pixels: NDArray[Any], place: Place, bad: NDArray[np.uint8], corner: tuple[int, int], half: int
) -> None:
    """Ask memory for the pixels and bad flags of a box on its panel that will be read soon."""
    index = place[START] + corner[1] * place[WIDTH] + corner[0]
    where = place[OFFSET] + corner[1] * place[STRIDE] + corner[0]
    for _ in range(2 * half + 1):
        prefetch(pixels, where)
        prefetch(pixels, where + 2 * half)
        prefetch(bad, index)
        index += place[WIDTH]
        where += place[STRIDE]


@fast_jit
def sum_box(
    pixels: NDArray[Any],
    place: Place,
    bad: NDArray[np.uint8],
    saturation: NDArray[np.float32],
    max_adu: float,
    corner: tuple[int, int],
    half: int,
    shape: NDArray[np.int64],
    marks: NDArray[np.int64],
    used: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> tuple[bool, bool, float]:
    """Sum up peak and background of a box; whether it can be used, is saturated, and its highest pixel.

    A pixel of the peak belongs to one reflection at most, one of the background to none.  The box is on the panel.
    Vectors are longer than its rows; where they would end outside of the arrays, they start earlier.  Which pixels
    are in use is written where there is room for it.
    """
    index = place[START] + corner[1] * place[WIDTH] + corner[0]
    where = place[OFFSET] + corner[1] * place[STRIDE] + corner[0]
    last_index, last_where = bad.shape[0] - LANES, pixels.shape[0] - LANES
    zeros, low = all16(0.0), all16(-np.inf)
    peak, background, squares, highest = zeros, zeros, zeros, low
    n_peak, n_background, bad_peak, is_saturated = 0, 0, 0, False
    n_words = words_of(half)
    for q in range(2 * half + 1):
        for c in range(n_words):
            k = q * n_words + c
            at = min(index + LANES * c, last_index)
            is_bad = nonzero16(bad, at) >> (index + LANES * c - at)
            disc = shape[DISC, k] & ~marks[TWICE, k]
            ring = shape[RING, k] & ~(marks[ONCE, k] | is_bad)
            bad_peak |= shape[DISC, k] & is_bad
            if used.shape[1] > 0:
                marked = (marks[TWICE, k] & shape[DISC, k]) | (marks[ONCE, k] & ~shape[DISC, k])
                used[DISC, k], used[RING, k] = disc, ring
                used[INSIDE, k] = shape[INSIDE, k] & ~(marked | is_bad)
            n_peak += count_bits(disc)
            n_background += count_bits(ring)
            at = min(where + LANES * c, last_where)
            shift = where + LANES * c - at
            values = load16(pixels, at)
            of_ring = pick16(ring << shift, values, zeros)
            peak = add16(peak, pick16(disc << shift, values, zeros))
            background = add16(background, of_ring)
            squares = add_products16(squares, of_ring, of_ring)
            highest = larger16(pick16((disc | ring) << shift, values, low), highest)
            if saturation.shape[0] > 0:
                for p in range(LANES):
                    if (disc | ring) & (1 << p):
                        i = LANES * c + p
                        is_saturated |= np.float64(pixels[where + i]) > saturation[index + i]
        index += place[WIDTH]
        where += place[STRIDE]
    sums[N_PEAK], sums[SUM_PEAK] = n_peak, total16(peak)
    sums[N_BACKGROUND], sums[SUM_BACKGROUND] = n_background, total16(background)
    sums[SQUARES_BACKGROUND] = total16(squares)
    top = largest16(highest)
    is_good = bad_peak == 0 and n_peak >= MIN_PIXELS and n_background >= MIN_PIXELS
    return is_good, is_saturated or top > max_adu, top


@inline_jit
def copy_box(
    pixels: NDArray[Any],
    place: Place,
    corner: tuple[int, int],
    used: NDArray[np.int64],
    classes: NDArray[np.uint8],
    values: NDArray[np.float64],
) -> None:
    """Give the pixels of a box and their classes."""
    where = place[OFFSET] + corner[1] * place[STRIDE] + corner[0]
    n_words = words_of(classes.shape[0] // 2)
    for q in range(classes.shape[0]):
        for p in range(classes.shape[1]):
            k, n = q * n_words + p // LANES, p % LANES
            disc, ring, inside = used[DISC, k] >> n & 1, used[RING, k] >> n & 1, used[INSIDE, k] >> n & 1
            classes[q, p] = PEAK if disc else BACKGROUND if ring else IGNORED if inside else EXCLUDED
            values[q, p] = pixels[where + p]
        where += place[STRIDE]
