"""Twin of `kernels.peakfinder8`: the search for peaks in a frame that is on the device.

The connected pixels above their limits are found as sets (union-find over the sparse list of such pixels).  Then
one block a region collects its pixels in the order of the CPU kernel and measures them: regions do not depend on
each other, because every pixel of another region is above its limit and so never counts as background.
"""

from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels.cuda.device import (
    FEW,
    IS_SIMULATED,
    SPARSE_BLOCKS,
    TEAM,
    DeviceArray,
    add_rows,
    blocks,
    device_function,
    kernel,
)
from braggstream.kernels.cuda.turn import Stream
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.peakfinder8 import FLAT_SIGMA, INTENSITY, N_PEAK_COLUMNS, PANEL, PEAK_FS, PEAK_SS, TINY
from braggstream.kernels.radial_bins import NO_BIN

N_HIGH, N_REGIONS, N_QUEUED, N_COUNTERS = range(4)
"""Counters of a search: pixels above their limits, regions that may be peaks, pixels in the queue."""
LABEL, SIZE, SEED, N_MAPS = range(4)
"""What is known of a pixel above its limit: another one of its region; of the one that stands for the region, how
many pixels it has, and the first of them from which a search may start."""
ROW_PANEL, ROW_SS, N_ROW_COLUMNS = range(3)
"""Columns of the list of all rows of all panels."""
SLOT, IN_QUEUE, N_REGION_ROWS = range(3)
"""What is listed of a region: where the pixel that stands for it is in the list of high ones, and its queue."""
NOT_HIGH = -1
NO_SEED = 2**31 - 1
HIGHEST, FOUND_SEED, N_FOUND_COLUMNS = N_PEAK_COLUMNS, N_PEAK_COLUMNS + 1, N_PEAK_COLUMNS + 2
"""Further columns of a peak: its maximum above the background, and its first pixel."""
N_AROUND = 9
"""Pixels around one, and that one itself."""
VALUE, ALONG_FS, ALONG_SS, N_PARTS = range(4)
"""What threads hold of a region's pixels: value or weight, and its products with fs and ss."""
COUNT, TOTAL, SQUARES = range(3)
"""What threads hold of the background."""
REGION_BLOCKS = 2 if IS_SIMULATED else 512


class Memory(NamedTuple):
    """Device memory of a search."""

    maps: DeviceArray
    """int32[N_MAPS, n_pixels]"""
    high: DeviceArray
    """Pixels above their limits, and their rows, int32[2, n_pixels]."""
    regions: DeviceArray
    """Regions that may be peaks, int32[N_REGION_ROWS, n]."""
    queue: DeviceArray
    """Their pixels, int32[n_pixels]."""
    counters: DeviceArray
    """int32[N_COUNTERS]"""


def make_memory(n_pixels: int) -> Memory:
    """Make the memory for frames of so many pixels."""
    # Each region has a pixel off the panel's edges, and no two of them have theirs in the same square of four.
    sizes = (N_MAPS, n_pixels), (2, n_pixels), (N_REGION_ROWS, n_pixels // 4 + 1), n_pixels, N_COUNTERS
    return Memory(*(cuda.device_array(size, np.int32) for size in sizes))


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
    min_snr: float,
    pixel_counts: tuple[int, int],
    background_radius: int,
    memory: Memory,
    found: DeviceArray,
    stream: Stream,
) -> None:
    """Find peaks, see `kernels.peakfinder8.find_peaks`; all arrays are on the device, and it does not wait.

    Parameters
    ----------
    rows : int32[n_rows, 2]
        What `list_rows` gave.
    memory : Memory
        It is kept between frames.
    found : float64[1 + n_most, N_FOUND_COLUMNS], written
        First the number of peaks, which may be larger than `n_most`; then the peaks, in no order: see `in_order`.
    stream : Stream
        Where the work is put.
    """
    maps, high, regions, queue, counters = memory
    _begin[1, 1, stream](counters, found)
    _mark[blocks(rows.shape[0], per_block=1), TEAM, stream](
        pixels, table, rows, masked, upper, maps, high, counters
    )
    _join[SPARSE_BLOCKS, TEAM, stream](table, rows, maps, high, counters)
    _gather[SPARSE_BLOCKS, TEAM, stream](table, rows, maps, high, counters)
    _list_regions[SPARSE_BLOCKS, TEAM, stream](pixel_counts, maps, high, regions, counters)
    rule = min_snr, 2 * background_radius
    _measure[REGION_BLOCKS, FEW, stream](
        pixels, table, rows, masked, bins, offset, upper, rule, maps, high, regions, queue, counters, found
    )


def in_order(found: NDArray[np.float64], max_adu: NDArray[np.float64], peaks: NDArray[np.float64]) -> int:
    """Write the peaks in the order of their first pixels; saturated ones use up room before they are dropped.

    Parameters
    ----------
    found : float64[n, N_FOUND_COLUMNS]
        What `find_peaks` found, without the number.
    max_adu, peaks
        As of `kernels.peakfinder8.find_peaks`.

    Returns
    -------
    int
        Number of peaks.
    """
    ordered = found[np.argsort(found[:, FOUND_SEED])][: len(peaks)]
    kept = ordered[~(ordered[:, HIGHEST] > max_adu[ordered[:, PANEL].astype(np.int64)])]
    peaks[: len(kept)] = kept[:, :N_PEAK_COLUMNS]
    return len(kept)


@kernel
def _begin(counters: DeviceArray, found: DeviceArray) -> None:
    """Nothing has been counted so far."""
    for k in range(N_COUNTERS):
        counters[k] = 0
    found[0, 0] = 0.0


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


@kernel
def _list_regions(
    pixel_counts: tuple[int, int], maps: DeviceArray, high: DeviceArray, regions: DeviceArray, counters: DeviceArray
) -> None:
    """List the regions that may be peaks by their size and place, and reserve room for their pixels."""
    fewest, most = pixel_counts
    for slot in range(cuda.grid(1), counters[N_HIGH], cuda.gridsize(1)):
        index = high[0, slot]
        if maps[LABEL, index] == index and maps[SEED, index] != NO_SEED and fewest <= maps[SIZE, index] <= most:
            number = cuda.atomic.add(counters, N_REGIONS, 1)
            regions[SLOT, number] = slot
            regions[IN_QUEUE, number] = cuda.atomic.add(counters, N_QUEUED, maps[SIZE, index])


@device_function
def _grow(place: DeviceArray, maps: DeviceArray, region: DeviceArray, seed: int, around: DeviceArray) -> None:
    """Collect a region from its first pixel on, in the order of the CPU kernel; its labels are used up.

    All threads look around a pixel, each at another place; one of them writes down what they see.
    """
    width, height, first = place[WIDTH], place[HEIGHT], place[START]
    thread, size = cuda.threadIdx.x, region.shape[0]
    if thread == 0:
        region[0] = seed
        maps[LABEL, seed] = NOT_HIGH
    cuda.syncthreads()
    head, end = 0, 1
    while end < size:
        ss = (region[head] - first) // width
        fs = region[head] - first - ss * width
        head += 1
        for k in range(thread, N_AROUND, FEW):
            y, x = ss + k // 3 - 1, fs + k % 3 - 1
            seen = NOT_HIGH
            if 0 <= y < height and 0 <= x < width and maps[LABEL, first + y * width + x] != NOT_HIGH:
                seen = first + y * width + x
            around[k] = seen
        cuda.syncthreads()
        for k in range(N_AROUND):
            if around[k] != NOT_HIGH:
                if thread == 0:
                    region[end] = around[k]
                    maps[LABEL, around[k]] = NOT_HIGH
                end += 1
        cuda.syncthreads()


@device_function
def _local_background(
    pixels: DeviceArray,
    place: DeviceArray,
    masked: DeviceArray,
    upper: DeviceArray,
    centre_fs: int,
    centre_ss: int,
    reach: int,
    parts: DeviceArray,
    highest: DeviceArray,
) -> tuple[int, float, float, float]:
    """Give count, mean, standard deviation and largest value of the background pixels around a peak."""
    thread, trash = cuda.threadIdx.x, upper.shape[0] - 1
    count, total, squares, largest = 0.0, 0.0, 0.0, 0.0
    # The window lacks its last row and column, as in the reference.
    left, right = max(centre_fs - reach, 0), min(centre_fs + reach, place[WIDTH])
    top, bottom = max(centre_ss - reach, 0), min(centre_ss + reach, place[HEIGHT])
    for k in range(thread, (right - left) * (bottom - top), FEW):
        y = top + k // (right - left)
        x = left + k - (y - top) * (right - left)
        i, j = x - centre_fs, y - centre_ss
        if i * i + j * j > reach * reach:
            continue
        value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
        number = masked[place[START] + y * place[WIDTH] + x]
        if number != trash and value < upper[number]:
            count += 1.0
            total += value
            squares += value * value
            largest = max(largest, value)
    parts[COUNT, thread], parts[TOTAL, thread], parts[SQUARES, thread] = count, total, squares
    highest[thread] = largest
    add_rows(parts, thread)
    count, total, squares = parts[COUNT, 0], parts[TOTAL, 0], parts[SQUARES, 0]
    for k in range(FEW):
        largest = max(largest, highest[k])
    cuda.syncthreads()
    if count == 0.0:
        return 0, 0.0, FLAT_SIGMA, 0.0
    mean = total / count
    variance = squares / count - mean * mean
    return int(count), mean, sqrt(variance) if variance >= 0.0 else FLAT_SIGMA, largest


@device_function
def _bring(
    pixels: DeviceArray,
    place: DeviceArray,
    bins: DeviceArray,
    offset: DeviceArray,
    region: DeviceArray,
    start: int,
    as_weights: bool,
    parts: DeviceArray,
) -> int:
    """Let each thread hold one pixel of a region, from one on: its value, or what it weighs; gives how many do."""
    k, width = start + cuda.threadIdx.x, place[WIDTH]
    if k < region.shape[0]:
        y = (region[k] - place[START]) // width
        x = region[k] - place[START] - y * width
        value = np.float64(pixels[place[OFFSET] + y * place[STRIDE] + x])
        if as_weights:
            value = abs(value - offset[bins[region[k]]])
        parts[VALUE, cuda.threadIdx.x] = value
        parts[ALONG_FS, cuda.threadIdx.x], parts[ALONG_SS, cuda.threadIdx.x] = value * x, value * y
    cuda.syncthreads()
    return min(region.shape[0] - start, FEW)


@device_function
def _centre(
    pixels: DeviceArray,
    place: DeviceArray,
    bins: DeviceArray,
    offset: DeviceArray,
    region: DeviceArray,
    parts: DeviceArray,
) -> tuple[float, float, float]:
    """Give the sum of a region's weights, and its centre of mass above the radial background, fs and ss."""
    weights, weighted_fs, weighted_ss = 0.0, 0.0, 0.0
    for start in range(0, region.shape[0], FEW):
        n = _bring(pixels, place, bins, offset, region, start, True, parts)
        for k in range(n):
            weights += parts[VALUE, k]
            weighted_fs += parts[ALONG_FS, k]
            weighted_ss += parts[ALONG_SS, k]
        cuda.syncthreads()
    if weights < TINY:
        return 0.0, 0.0, 0.0
    return weights, weighted_fs / weights, weighted_ss / weights


@device_function
def _sums(
    pixels: DeviceArray,
    place: DeviceArray,
    bins: DeviceArray,
    offset: DeviceArray,
    region: DeviceArray,
    mean: float,
    parts: DeviceArray,
) -> tuple[float, float, float, float, float]:
    """Give the sum above a background, the sum, the maximum above the background, and the sums along fs and ss."""
    total, raw, highest, sum_fs, sum_ss = 0.0, 0.0, 0.0, 0.0, 0.0
    for start in range(0, region.shape[0], FEW):
        n = _bring(pixels, place, bins, offset, region, start, False, parts)
        for k in range(n):
            value = parts[VALUE, k]
            total += value - mean
            raw += value
            highest = max(highest, value - mean)
            sum_fs += parts[ALONG_FS, k]
            sum_ss += parts[ALONG_SS, k]
        cuda.syncthreads()
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
    rule: tuple[float, int],
    maps: DeviceArray,
    high: DeviceArray,
    regions: DeviceArray,
    queue: DeviceArray,
    counters: DeviceArray,
    found: DeviceArray,
) -> None:
    """Collect and measure the regions, a block a region, and list those that are peaks.

    All threads of a block take the sums of what they hold, in the same order, and so come to the same decisions.
    """
    around = cuda.shared.array(N_AROUND, np.int32)
    parts = cuda.shared.array((N_PARTS, FEW), np.float64)
    highest_of = cuda.shared.array(FEW, np.float64)
    min_snr, reach = rule
    for number in range(cuda.blockIdx.x, counters[N_REGIONS], cuda.gridDim.x):
        index, row = high[0, regions[SLOT, number]], high[1, regions[SLOT, number]]
        panel, size, seed = rows[row, ROW_PANEL], maps[SIZE, index], maps[SEED, index]
        place = table[panel]
        region = queue[regions[IN_QUEUE, number] : regions[IN_QUEUE, number] + size]
        _grow(place, maps, region, seed, around)
        weights, centre_fs, centre_ss = _centre(pixels, place, bins, offset, region, parts)
        if weights < TINY:
            continue
        x, y = round(centre_fs), round(centre_ss)
        n, mean, sigma, largest = _local_background(pixels, place, masked, upper, x, y, reach, parts, highest_of)
        if n == 0:
            at_centre = bins[place[START] + y * place[WIDTH] + x]
            mean = offset[at_centre] if at_centre != NO_BIN else 0.0
        total, raw, highest, sum_fs, sum_ss = _sums(pixels, place, bins, offset, region, mean, parts)
        if raw < TINY or (total / sigma if abs(sigma) > TINY else 0.0) < min_snr:
            continue
        fs, ss = sum_fs / raw, sum_ss / raw
        if highest < largest - mean or not (0.0 <= fs <= place[WIDTH] - 1 and 0.0 <= ss <= place[HEIGHT] - 1):
            continue
        if cuda.threadIdx.x == 0:
            k = 1 + int(cuda.atomic.add(found, (0, 0), 1.0))
            if k < found.shape[0]:
                found[k, PANEL], found[k, INTENSITY] = panel, total
                found[k, PEAK_FS], found[k, PEAK_SS] = fs + 0.5, ss + 0.5
                found[k, HIGHEST], found[k, FOUND_SEED] = highest, seed


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
        5.0,
        (1, 2),
        3,
        make_memory(1),
        cuda.to_device(np.zeros((2, N_FOUND_COLUMNS))),
        0,
    )
