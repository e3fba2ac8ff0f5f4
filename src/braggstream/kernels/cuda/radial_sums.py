"""Twin of `kernels.radial_sums`: clipped statistics of listed pixels of a frame that is on the device.

A block takes one radial bin through all its passes.  The pixels of the bins are listed once for a detector, all of
them where the statistics are to be exact, so that the sums need no atomics: they are taken in the same order in
every run, and are exact for whole numbers.  The pixels of a bin lie far apart, so their values are collected once.
"""

from math import inf
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels import radial as on_host
from braggstream.kernels.cuda.device import IS_SIMULATED, DeviceArray, add_rows, blocks, device_function, kernel
from braggstream.kernels.cuda.turn import Stream
from braggstream.kernels.layout import HEIGHT, OFFSET, START, STRIDE, WIDTH
from braggstream.kernels.radial import FAR, N_PASSES
from braggstream.kernels.radial_bins import NO_BIN

COUNT, TOTAL, SQUARES, N_SUMS = range(4)
CREW = 4 if IS_SIMULATED else 256
"""Threads of a block: a bin has some thousands of pixels."""
AHEAD = 4
"""Pixels that a thread reads at the same time."""

_limits_of = device_function(on_host.limits_of)


def list_bins(
    table: NDArray[np.int64], bins: NDArray[np.uint16], n_bins: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """List the pixels of each radial bin, all of them, as `kernels.radial_bins.sample_bins` lists some.

    Parameters
    ----------
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    bins : uint16[n_pixels]
        Radial bins; pixels of `NO_BIN` are not listed.
    n_bins : int
        Number of bins.

    Returns
    -------
    sample : int32[2, n]
        Number of each pixel in detector order, and where its value lies in the frame's data.
    first : int32[n_bins + 1]
        Where the list of each bin begins.
    """
    source = np.empty(len(bins), np.int32)
    for place in table:
        rows = place[OFFSET] + place[STRIDE] * np.arange(place[HEIGHT])
        start = place[START]
        source[start : start + place[WIDTH] * place[HEIGHT]] = (rows[:, None] + np.arange(place[WIDTH])).ravel()
    pixel = np.argsort(bins, kind="stable")[: np.count_nonzero(bins != NO_BIN)]
    first = np.zeros(n_bins + 1, np.int32)
    np.cumsum(np.bincount(bins[pixel], minlength=n_bins), out=first[1:])
    return np.stack([pixel.astype(np.int32), source[pixel]]), first


def clip_sample(
    pixels: DeviceArray,
    sample: DeviceArray,
    first: DeviceArray,
    masked: DeviceArray,
    threshold: float,
    min_snr: float,
    offset: DeviceArray,
    upper: DeviceArray,
    kept: DeviceArray,
    stream: Stream,
) -> None:
    """Find background and limit of each radial bin, see `kernels.radial_sums.clip_sample`; it does not wait.

    Parameters
    ----------
    pixels, masked, threshold, min_snr
        As there, all arrays on the device.
    sample : int32[2, n], first : int32[n_bins + 1]
        What `list_bins` gave, or fewer pixels.
    offset, upper : float64[n_bins + 1], written
        Mean background and limit of each bin [detector units], and in the end 0 and +inf for the pixels that take
        no part.
    kept : T[n], scratch
        Room for the sample's values, of the type of the pixels.
    stream : Stream
        Where the work is put.
    """
    grid = blocks(first.shape[0], per_block=1)
    _clip_sample[grid, CREW, stream](pixels, sample, first, masked, threshold, min_snr, offset, upper, kept)


@kernel
def _clip_sample(
    pixels: DeviceArray,
    sample: DeviceArray,
    first: DeviceArray,
    masked: DeviceArray,
    threshold: float,
    min_snr: float,
    offset: DeviceArray,
    upper: DeviceArray,
    kept: DeviceArray,
) -> None:
    parts = cuda.shared.array((N_SUMS, CREW), np.float64)
    thread, n_bins = cuda.threadIdx.x, first.shape[0] - 1
    if cuda.grid(1) == 0:
        offset[n_bins], upper[n_bins] = 0.0, inf
    for number in range(cuda.blockIdx.x, n_bins, cuda.gridDim.x):
        start = first[number] + thread
        end = _collect(pixels, sample, masked, number, start, first[number + 1], kept)
        mean, lower, limit = 0.0, -FAR, FAR
        for _ in range(N_PASSES):
            count, total, squares = 0.0, 0.0, 0.0
            for k in range(start, end, CREW):
                value = np.float64(kept[k])
                if lower < value < limit:
                    count += 1.0
                    total += value
                    squares += value * value
            parts[COUNT, thread], parts[TOTAL, thread], parts[SQUARES, thread] = count, total, squares
            add_rows(parts, thread)
            mean, lower, limit = _limits_of(parts[COUNT, 0], parts[TOTAL, 0], parts[SQUARES, 0], threshold, min_snr)
            cuda.syncthreads()
        if thread == 0:
            offset[number], upper[number] = mean, limit


@device_function
def _collect(
    pixels: DeviceArray,
    sample: DeviceArray,
    masked: DeviceArray,
    number: int,
    start: int,
    stop: int,
    kept: DeviceArray,
) -> int:
    """Collect the values of the good pixels among those of this thread, every `CREW`th; gives where they end."""
    values, places = cuda.local.array(AHEAD, pixels.dtype), cuda.local.array(AHEAD, np.int32)
    end = start
    for begin in range(start, stop, AHEAD * CREW):
        # What is read does not depend on what was read just before: it is on its way at the same time.
        for i in range(AHEAD):
            k = min(begin + i * CREW, stop - 1)
            values[i] = pixels[sample[1, k]]
            places[i] = masked[sample[0, k]]
        for i in range(AHEAD):
            if places[i] == number and begin + i * CREW < stop:
                kept[end] = values[i]
                end += CREW
    return end


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for pixels of this dtype."""
    sample, first = cuda.to_device(np.zeros((2, 1), np.int32)), cuda.to_device(np.zeros(2, np.int32))
    masked, column = cuda.to_device(np.zeros(1, np.uint16)), np.zeros(2)
    pixels, offset, upper = cuda.to_device(np.zeros(1, dtype)), cuda.to_device(column), cuda.to_device(column)
    clip_sample(pixels, sample, first, masked, 0.0, 5.0, offset, upper, cuda.to_device(np.zeros(1, dtype)), 0)
