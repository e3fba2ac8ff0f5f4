"""Ring integration of predicted reflections."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.box_planes import fit_background, has_steep_background, plane_in_peak, step_to_centre
from braggstream.kernels.boxes import (
    MIN_ELEMENTS,
    N_BACKGROUND,
    N_PEAK,
    N_SUMS,
    SQUARES_BACKGROUND,
    SUM_BACKGROUND,
    SUM_PEAK,
    ask_for_box,
    copy_box,
    lies_on_panel,
    make_shape,
    mark_peaks,
    place_of,
    sort_into_cells,
    sum_box,
)
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, WIDTH

REJECTED, GOOD, SATURATED, SATURATED_AND_REJECTED = range(4)
"""State of a reflection after integration."""

INTENSITY, SIGMA, PEAK_VALUE, MEAN_BACKGROUND, FS_SHIFT, SS_SHIFT = range(6)
"""Columns of what is measured."""
N_MEASURED = 6

MAX_ROUNDS = 10

AHEAD = 2
"""Memory is asked for the box of so many reflections later: this is how long it takes to answer."""


@jit
def integrate(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    saturation: NDArray[np.float32],
    levels: NDArray[np.float64],
    radii: tuple[int, int, int],
    flags: tuple[bool, bool, bool, bool],
    panels: NDArray[np.int32],
    positions: NDArray[np.float64],
    classes: NDArray[np.uint8],
    values: NDArray[np.float64],
    planes: NDArray[np.float64],
    measured: NDArray[np.float64],
    state: NDArray[np.uint8],
) -> None:
    """Integrate the reflections of all crystals of a frame.

    Parameters
    ----------
    pixels : T[n]
        Pixel values; n is at least `MIN_ELEMENTS`.
    table : int64[n_panels, 5]
        Place of each panel.
    bad : uint8[n_pixels or more, at least `MIN_ELEMENTS`]
        Nonzero for pixels that must not be used.
    saturation : float32[n_pixels] or float32[0]
        Saturation level of each pixel, where there is a map.
    levels : float64[2, n_panels]
        Saturation level, and detector units per photon.
    radii : (int64, int64, int64)
        Ring radii [px].
    flags : (bool, bool, bool, bool)
        Modifiers `cen`, `grad` and `sat`, and whether boxes with a steep background are left for later.
    panels : int32[n_reflections], positions : float64[n_reflections, 2]
        Panel, fs and ss of the predictions, which lie on their panels.
    classes : uint8[n_boxes, size, size], values : float64[n_boxes, size, size], written
        Pixels of each box, size = 2 r3 + 1; with n_boxes = 1 only of the last one, where they are needed.
    planes : float64[n_boxes, 3], written
        Its background a·p + b·q + c.
    measured : float64[n_reflections, 6], written
        Intensity, sigma, highest pixel, mean background, shift in fs and in ss.
    state : uint8[n_reflections], written
        What became of each.
    """
    centring, sloping, keep_saturated, keep_steep = flags
    size, half = 2 * radii[2] + 1, radii[2]
    shape, spans = make_shape(radii)
    marks, sums = np.empty(shape.shape, np.int64), np.empty(N_SUMS)
    cells, starts, order, pixel = sort_into_cells(table, panels, positions)
    keeps_boxes = classes.shape[0] > 1
    needs_words, needs_box = keep_steep or centring or sloping, keep_steep or (sloping and not centring)
    used = np.empty((3, shape.shape[1] if needs_words else 0), np.int64)
    for rank in range(order.shape[0]):
        i = order[rank]
        panel = panels[i]
        place = place_of(table, panel)
        x0, y0 = pixel[rank, 0], pixel[rank, 1]
        if rank + AHEAD < order.shape[0]:
            later = place_of(table, panels[order[rank + AHEAD]])
            corner = pixel[rank + AHEAD, 0] - half, pixel[rank + AHEAD, 1] - half
            if lies_on_panel(later, corner, half):
                ask_for_box(pixels, later, bad, corner, half)
        box = i if keeps_boxes else 0
        x, y = x0, y0
        state[i] = REJECTED
        n_strong, n_rounds, is_good = 0, 0, True
        is_saturated, highest, plane = False, 0.0, (0.0, 0.0, 0.0)
        while True:
            corner = x - half, y - half
            is_good = lies_on_panel(place, corner, half)
            if not is_good:
                break
            mark_peaks(place, cells[panel], starts, pixel, rank, (x, y), half, shape, spans, marks)
            is_good, is_saturated, highest = sum_box(
                pixels, place, bad, saturation, levels[0, panel], corner, half, shape, marks, used, sums
            )
            if not is_good:
                break
            if sloping:
                plane = fit_background(pixels, place, corner, half, used)
            else:
                plane = (0.0, 0.0, sums[SUM_BACKGROUND] / sums[N_BACKGROUND])
            if not centring or n_rounds == MAX_ROUNDS:
                break
            n_more, step_x, step_y = step_to_centre(pixels, place, corner, half, used, plane)
            n_strong += n_more
            n_rounds += 1
            if n_strong < 2 or n_more == 0 or (step_x == 0 and step_y == 0):
                break
            x += step_x
            y += step_y
            if step_x * step_x + step_y * step_y > size * size or not (
                0 <= x < place[WIDTH] and 0 <= y < place[HEIGHT]
            ):
                is_good = False
                break
        if not is_good:
            continue
        if needs_box:
            copy_box(pixels, place, corner, used, classes[box], values[box])
        is_steep = sloping and not centring and not keep_steep
        if is_steep and has_steep_background(classes[box], values[box], plane):
            continue
        if is_saturated and not keep_saturated:
            state[i] = SATURATED_AND_REJECTED
            continue
        state[i] = SATURATED if is_saturated else GOOD
        planes[box, 0], planes[box, 1], planes[box, 2] = plane
        mean = sums[SUM_BACKGROUND] / sums[N_BACKGROUND]
        total = sums[SUM_PEAK] - sums[N_PEAK] * mean
        if sloping:
            total = sums[SUM_PEAK] - plane_in_peak(half, used, plane)
        variance = max(sums[SQUARES_BACKGROUND] / sums[N_BACKGROUND] - mean * mean, 0.0)
        gain = levels[1, panel]
        poisson = gain * total
        if abs(total) < gain:
            poisson = gain * gain
        elif total < 0.0:
            poisson = -gain * total
        measured[i, INTENSITY] = total
        measured[i, SIGMA] = sqrt(poisson + sums[N_PEAK] * variance)
        measured[i, PEAK_VALUE] = highest
        measured[i, MEAN_BACKGROUND] = mean
        measured[i, FS_SHIFT] = x - x0
        measured[i, SS_SHIFT] = y - y0


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    integrate(
        np.zeros(MIN_ELEMENTS, dtype),
        np.ones((1, N_COLUMNS), np.int64),
        np.zeros(MIN_ELEMENTS, np.uint8),
        np.zeros(0, np.float32),
        np.zeros((2, 1)),
        (1, 2, 3),
        (False, False, False, False),
        np.zeros(1, np.int32),
        np.zeros((1, 2)),
        np.zeros((1, 7, 7), np.uint8),
        np.zeros((1, 7, 7)),
        np.zeros((1, 3)),
        np.zeros((1, N_MEASURED)),
        np.zeros(1, np.uint8),
    )
