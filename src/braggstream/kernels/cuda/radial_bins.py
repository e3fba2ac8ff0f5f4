"""Twin of `kernels.radial_bins`: keeps the bins of good pixels on the device in step with the host's."""

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels.cuda.device import SPARSE_BLOCKS, TEAM, DeviceArray, DeviceArrays, kernel

MOST_PART = 8
"""Where more than one pixel in so many changes, all are copied."""


def copy_bins(masked: NDArray[np.uint16], ranges: NDArray[np.int64], arrays: DeviceArrays) -> DeviceArray:
    """Copy to the device what has changed in the bins of good pixels.

    Parameters
    ----------
    masked : uint16[n_pixels]
        Radial bins of good pixels; the device has them as they were before.
    ranges : int64[n, 2]
        Ranges of pixels outside which nothing has changed: first pixel and the one after the last.
    arrays : DeviceArrays
        Memory that is kept between frames.

    Returns
    -------
    uint16[n_pixels] on the device
    """
    n_changed = int((ranges[:, 1] - ranges[:, 0]).sum())
    if n_changed * MOST_PART > len(masked):
        return arrays.upload("masked", masked)
    target = arrays.room("masked", len(masked), np.uint16)
    if n_changed:
        index = np.concatenate([np.arange(start, stop, dtype=np.int32) for start, stop in ranges])
        _scatter[SPARSE_BLOCKS, TEAM](arrays.upload("changed", index), arrays.upload("bins", masked[index]), target)
    return target


@kernel
def _scatter(index: DeviceArray, values: DeviceArray, target: DeviceArray) -> None:
    """Write values to their places."""
    for k in range(cuda.grid(1), index.shape[0], cuda.gridsize(1)):
        target[index[k]] = values[k]


def warm_up() -> None:
    """Compile the kernel."""
    bins = np.zeros(2 * MOST_PART, np.uint16)
    copy_bins(bins, np.array([[0, 1]], np.int64), DeviceArrays())
