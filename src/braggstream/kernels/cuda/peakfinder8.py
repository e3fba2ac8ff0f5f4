"""Twin of `kernels.peakfinder8`: the search for peaks in a frame that is on the device.

The connected pixels above their limits are found as sets (union-find over the sparse list of such pixels).  Then
one thread a region collects its pixels in the order of the CPU kernel and measures them: regions do not depend on
each other, because every pixel of another region is above its limit and so never counts as background.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels.cuda.device import (
    FEW,
    SPARSE_BLOCKS,
    TEAM,
    DeviceArray,
    DeviceArrays,
    blocks,
    device_function,
    kernel,
)
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.peakfinder8 import FLAT_SIGMA, INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS, TINY
from braggstream.kernels.radial_bins import NO_BIN

N_HIGH, N_QUEUED, N_FOUND, N_COUNTERS = range(4)
"""Counters of a search: pixels above their limits, pixels in the queue, peaks."""
LABEL, SIZE, SEED, N_MAPS = range(4)
"""What is known of a pixel above its limit: another one of its region; of the one that stands for the region, how
many pixels it has, and the first of them from which a search may start."""
ROW_PANEL, ROW_SS, N_ROW_COLUMNS = range(3)
"""Columns of the list of all rows of all panels."""
NOT_HIGH = -1
NO_SEED = 2**31 - 1
HIGHEST, FOUND_SEED, N_FOUND_COLUMNS = N_PEAK_COLUMNS, N_PEAK_COLUMNS + 1, N_PEAK_COLUMNS + 2
"""Further columns of a peak: its maximum above the background, and its first pixel."""
ROOM = 4096
"""Peaks of a frame for which there is room at first."""


def list_rows(table: NDArray[np.int64]) -> NDArray[np.int32]:
    """List the rows of all panels, int32[n_rows, 2]: panel, ss."""
    return np.array([(panel, ss) for panel, place in enumerate(table) for ss in range(place[HEIGHT])], np.int32)


def find_peaks(
    pixels: DeviceArray,
    table: DeviceArray,
    rows: DeviceArray,
    masked: DeviceArray,
    bins: DeviceArray,
    offset: DeviceArray,
    upper: DeviceArray,
    max_adu: NDArray[np.float64],
    min_snr: float,
    pixel_counts: tuple[int, int],
    background_radius: int,
    scratch: DeviceArrays,
    peaks: NDArray[np.float64],
) -> int:
    """Find peaks, see `kernels.peakfinder8.find_peaks`; all arrays but `max_adu` and `peaks` are on the device.

    Parameters
    ----------
    rows : int32[n_rows, 2]
        What `list_rows` gave.
    scratch : DeviceArrays
        Memory that is kept between frames.

    Returns
    -------
    int
        Number of peaks.
    """
    n_pixels = bins.shape[0]
    maps = scratch.room("maps", N_MAPS * n_pixels, np.int32).reshape(N_MAPS, n_pixels)
    high = scratch.room("high", 2 * n_pixels, np.int32).reshape(2, n_pixels)
    queue = scratch.room("queue", n_pixels, np.int32)
    room, n_found = ROOM, ROOM + 1
    while n_found > room:
        room = max(room, n_found)
        found = scratch.room("found", room * N_FOUND_COLUMNS, np.float64).reshape(room, N_FOUND_COLUMNS)
        counters = scratch.upload("counters", np.zeros(N_COUNTERS, np.int32))
        _mark[blocks(rows.shape[0], per_block=1), TEAM](pixels, table, rows, masked, upper, maps, high, counters)
        _join[SPARSE_BLOCKS, TEAM](table, rows, maps, high, counters)
        _gather[SPARSE_BLOCKS, TEAM](table, rows, maps, high, counters)
        _measure[SPARSE_BLOCKS, FEW](
            pixels,
            table,
            rows,
            masked,
            bins,
            offset,
            upper,
            (min_snr, pixel_counts[0], pixel_counts[1], 2 * background_radius),
            maps,
            high,
            queue,
            counters,
            found,
        )
        n_found = int(counters.copy_to_host()[N_FOUND])
    return _in_order(found[:n_found].copy_to_host() if n_found else np.empty((0, N_FOUND_COLUMNS)), max_adu, peaks)


def _in_order(found: NDArray[np.float64], max_adu: NDArray[np.float64], peaks: NDArray[np.float64]) -> int:
    """Write the peaks in the order of their first pixels; saturated ones use up room before they are dropped."""
    ordered = found[np.argsort(found[:, FOUND_SEED])][: len(peaks)]
    kept = ordered[~(ordered[:, HIGHEST] > max_adu[ordered[:, PANEL].astype(np.int64)])]
    peaks[: len(kept)] = kept[:, :N_PEAK_COLUMNS]
    return len(kept)


@kernel
def _mark(
    pixels: DeviceArray,
    table: DeviceArray,
    rows: DeviceArray,
    masked: DeviceArray,
    upper: DeviceArray,
    maps: DeviceArray,
    high: DeviceArray,
    counters: DeviceArray,
) -> None:
    """List the pixels above their limits, a block a row; each is a region of its own at first."""
    for row in range(cuda.blockIdx.x, rows.shape[0], cuda.gridDim.x):
        place, ss = table[rows[row, ROW_PANEL]], rows[row, ROW_SS]
        source, first = place[OFFSET] + ss * place[STRIDE], place[START] + ss * place[WIDTH]
        for fs in range(cuda.threadIdx.x, place[WIDTH], cuda.blockDim.x):
            index = first + fs
            label = NOT_HIGH
            if np.float64(pixels[source + fs]) > upper[masked[index]]:
                label = index
                maps[SIZE, index], maps[SEED, index] = 0, NO_SEED
                slot = cuda.atomic.add(counters, N_HIGH, 1)
                high[0, slot], high[1, slot] = index, row
            maps[LABEL, index] = label


@device_function
def _root(maps: DeviceArray, index: int) -> int:
    """The pixel that stands for a pixel's region as it is known so far; labels only ever fall."""
    label = maps[LABEL, index]
    while label != index:
        index = label
        label = maps[LABEL, index]
    return index


@device_function
def _unite(maps: DeviceArray, one: int, other: int) -> None:
    """Make one region of two pixels' regions; the smaller of the pixels that stand for them stands for both."""
    one, other = _root(maps, one), _root(maps, other)
    while one != other:
        if one < other:
            one, other = other, one
        before = cuda.atomic.cas(maps, (LABEL, one), one, other)
        if before == one:
            break
        # Another thread was faster: go on with what it has joined.
        one, other = _root(maps, before), _root(maps, other)


@kernel
def _join(
    table: DeviceArray, rows: DeviceArray, maps: DeviceArray, high: DeviceArray, counters: DeviceArray
) -> None:
    """Join each pixel above its limit with those of its eight neighbours that come before it."""
    for slot in range(cuda.grid(1), counters[N_HIGH], cuda.gridsize(1)):
        index, row = high[0, slot], high[1, slot]
        place, ss = table[rows[row, ROW_PANEL]], rows[row, ROW_SS]
        width = place[WIDTH]
        fs = index - place[START] - ss * width
        if fs > 0 and maps[LABEL, index - 1] != NOT_HIGH:
            _unite(maps, index, index - 1)
        if ss > 0:
            for x in range(max(fs - 1, 0), min(fs + 2, width)):
                above = index - width + (x - fs)
                if maps[LABEL, above] != NOT_HIGH:
                    _unite(maps, index, above)


@kernel
def _gather(
    table: DeviceArray, rows: DeviceArray, maps: DeviceArray, high: DeviceArray, counters: DeviceArray
) -> None:
    """Count the pixels of each region, and find the first one that is not at the edge of its panel."""
    for slot in range(cuda.grid(1), counters[N_HIGH], cuda.gridsize(1)):
        index, row = high[0, slot], high[1, slot]
        place, ss = table[rows[row, ROW_PANEL]], rows[row, ROW_SS]
        fs = index - place[START] - ss * place[WIDTH]
        root = _root(maps, index)
        maps[LABEL, index] = root
        cuda.atomic.add(maps, (SIZE, root), 1)
        if 0 < fs < place[WIDTH] - 1 and 0 < ss < place[HEIGHT] - 1:
            cuda.atomic.min(maps, (SEED, root), index)


@device_function
def _grow(place: DeviceArray, maps: DeviceArray, queue: DeviceArray, seed: int) -> None:
    """Collect a region from its first pixel on, in the order of the CPU kernel; its labels are used up."""
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    queue[0] = seed
    maps[LABEL, seed] = NOT_HIGH
    head, end = 0, 1
    while head < end:
        ss = (queue[head] - first) // width
        fs = queue[head] - first - ss * width
        head += 1
        for y in range(max(ss - 1, 0), min(ss + 2, height)):
            for x in range(max(fs - 1, 0), min(fs + 2, width)):
                index = first + y * width + x
                if maps[LABEL, index] != NOT_HIGH:
                    maps[LABEL, index] = NOT_HIGH
                    queue[end] = index
                    end += 1


@device_function
def _local_background(
    pixels: DeviceArray,
    place: DeviceArray,
    masked: DeviceArray,
    upper: DeviceArray,
    centre_fs: int,
    centre_ss: int,
    reach: int,
) -> tuple[int, float, float, float]:
    """Give count, mean, standard deviation and largest value of the background pixels around a peak."""
    width, height, trash = place[WIDTH], place[HEIGHT], upper.shape[0] - 1
    n, total, squares, largest = 0, 0.0, 0.0, 0.0
    # The window lacks its last row and column, as in the reference.
    for y in range(max(centre_ss - reach, 0), min(centre_ss + reach, height)):
        for x in range(max(centre_fs - reach, 0), min(centre_fs + reach, width)):
            i, j = x - centre_fs, y - centre_ss
            index = place[START] + y * width + x
            number = masked[index]
            if i * i + j * j > reach * reach or number == trash:
                continue
            value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
            if value < upper[number]:
                n += 1
                total += value
                squares += value * value
                largest = max(largest, value)
    if n == 0:
        return 0, 0.0, FLAT_SIGMA, 0.0
    mean = total / n
    variance = squares / n - mean * mean
    return n, mean, sqrt(variance) if variance >= 0.0 else FLAT_SIGMA, largest


@device_function
def _centre(
    pixels: DeviceArray, place: DeviceArray, bins: DeviceArray, offset: DeviceArray, region: DeviceArray
) -> tuple[float, float, float]:
    """Give the sum of a region's weights, and its centre of mass above the radial background, fs and ss."""
    width, first = place[WIDTH], place[START]
    weights, weighted_fs, weighted_ss = 0.0, 0.0, 0.0
    for k in range(region.shape[0]):
        y = (region[k] - first) // width
        x = region[k] - first - y * width
        weight = abs(np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x]) - offset[bins[region[k]]])
        weights += weight
        weighted_fs += weight * x
        weighted_ss += weight * y
    if weights < TINY:
        return 0.0, 0.0, 0.0
    return weights, weighted_fs / weights, weighted_ss / weights


@device_function
def _sums(
    pixels: DeviceArray, place: DeviceArray, region: DeviceArray, mean: float
) -> tuple[float, float, float, float, float]:
    """Give the sum above a background, the sum, the maximum above the background, and the sums along fs and ss."""
    width, first = place[WIDTH], place[START]
    total, raw, highest, sum_fs, sum_ss = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(region.shape[0]):
        y = (region[k] - first) // width
        x = region[k] - first - y * width
        value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
        total += value - mean
        raw += value
        highest = max(highest, value - mean)
        sum_fs += value * x
        sum_ss += value * y
    return total, abs(raw), highest, sum_fs, sum_ss


@kernel
def _measure(
    pixels: DeviceArray,
    table: DeviceArray,
    rows: DeviceArray,
    masked: DeviceArray,
    bins: DeviceArray,
    offset: DeviceArray,
    upper: DeviceArray,
    rules: tuple[float, int, int, int],
    maps: DeviceArray,
    high: DeviceArray,
    queue: DeviceArray,
    counters: DeviceArray,
    found: DeviceArray,
) -> None:
    """Collect and measure the regions, a thread a region, and list those that are peaks."""
    min_snr, fewest, most, reach = rules
    for slot in range(cuda.grid(1), counters[N_HIGH], cuda.gridsize(1)):
        index = high[0, slot]
        # No thread but the region's own changes the label of the pixel that stands for it.
        if maps[LABEL, index] != index or maps[SEED, index] == NO_SEED:
            continue
        size, seed = maps[SIZE, index], maps[SEED, index]
        if size < fewest or size > most:
            continue
        panel = rows[high[1, slot], ROW_PANEL]
        place = table[panel]
        start = cuda.atomic.add(counters, N_QUEUED, size)
        region = queue[start : start + size]
        _grow(place, maps, region, seed)
        weights, centre_fs, centre_ss = _centre(pixels, place, bins, offset, region)
        if weights < TINY:
            continue
        x, y = round(centre_fs), round(centre_ss)
        n, mean, sigma, largest = _local_background(pixels, place, masked, upper, x, y, reach)
        if n == 0:
            at_centre = bins[place[START] + y * place[WIDTH] + x]
            mean = offset[at_centre] if at_centre != NO_BIN else 0.0
        total, raw, highest, sum_fs, sum_ss = _sums(pixels, place, region, mean)
        if raw < TINY or (total / sigma if abs(sigma) > TINY else 0.0) < min_snr:
            continue
        fs, ss = sum_fs / raw, sum_ss / raw
        if highest < largest - mean or not (0.0 <= fs <= place[WIDTH] - 1 and 0.0 <= ss <= place[HEIGHT] - 1):
            continue
        number = cuda.atomic.add(counters, N_FOUND, 1)
        if number < found.shape[0]:
            found[number, PANEL], found[number, INTENSITY] = panel, total
            found[number, PEAK_FS], found[number, PEAK_SS] = fs + 0.5, ss + 0.5
            found[number, HIGHEST], found[number, FOUND_SEED] = highest, seed


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    table = np.zeros((1, N_COLUMNS), np.int64)
    table[0, [STRIDE, WIDTH, HEIGHT]] = 1
    find_peaks(
        cuda.to_device(np.zeros(1, dtype)),
        cuda.to_device(table),
        cuda.to_device(list_rows(table)),
        cuda.to_device(np.zeros(1, np.uint16)),
        cuda.to_device(np.zeros(1, np.uint16)),
        cuda.to_device(np.zeros(2)),
        cuda.to_device(np.zeros(2)),
        np.zeros(1),
        5.0,
        (1, 2),
        3,
        DeviceArrays(),
        np.zeros((1, N_PEAK_COLUMNS)),
    )
