"""Twin of `kernels.radial_bins`: keeps the bins of good pixels on the device in step with the host's."""

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.blocks import BLOCK
from braggstream.kernels.cuda.device import TEAM, DeviceArray, blocks, kernel
from braggstream.kernels.cuda.turn import Stream

MOST_CHANGED = 4096
"""Pixels for which there is room in the list of changes; where more of them change, all are copied."""
PIXEL, BIN, N_CHANGE_COLUMNS = range(3)


@inline_jit
def _is_same(some: NDArray[np.uint16], others: NDArray[np.uint16]) -> bool:
    is_other = False
    for i in range(some.shape[0]):
        is_other |= bool(some[i] != others[i])
    return not is_other


@jit
def list_changes(
    masked: NDArray[np.uint16], ranges: NDArray[np.int64], known: NDArray[np.uint16], changes: NDArray[np.int32]
) -> int:
    """List what the device does not know of the bins of good pixels, on the host.

    Parameters
    ----------
    masked : uint16[n_pixels]
        Radial bins of good pixels.
    ranges : int64[n, 2]
        Ranges of pixels outside which nothing has changed: first pixel and the one after the last.
    known : uint16[n_pixels], corrected
        The bins as they are on the device.
    changes : int32[1 + n_most, N_CHANGE_COLUMNS], written
        First the number of changes; then their pixels and bins, as long as there is room.

    Returns
    -------
    int
        Number of changes, also of those for which there was no room.
    """
    n, n_most = 0, changes.shape[0] - 1
    for k in range(ranges.shape[0]):
        for start in range(ranges[k, 0], ranges[k, 1], BLOCK):
            stop = min(start + BLOCK, ranges[k, 1])
            if _is_same(masked[start:stop], known[start:stop]):
                continue
            for i in range(start, stop):
                if masked[i] != known[i]:
                    known[i] = masked[i]
                    if n < n_most:
                        changes[1 + n, PIXEL], changes[1 + n, BIN] = i, masked[i]
                    n += 1
    changes[0, 0] = min(n, n_most)
    return n


def write_changes(changes: DeviceArray, masked: DeviceArray, stream: Stream) -> None:
    """Bring the bins on the device up to date with what `list_changes` listed; it does not wait."""
    _write_changes[blocks(changes.shape[0]), TEAM, stream](changes, masked)


@kernel
def _write_changes(changes: DeviceArray, masked: DeviceArray) -> None:
    for k in range(cuda.grid(1), changes[0, 0], cuda.gridsize(1)):
        masked[changes[1 + k, PIXEL]] = changes[1 + k, BIN]


def warm_up() -> None:
    """Compile the kernels."""
    bins, changes = np.zeros(1, np.uint16), np.zeros((2, N_CHANGE_COLUMNS), np.int32)
    list_changes(bins, np.zeros((1, 2), np.int64), bins.copy(), changes)
    write_changes(cuda.to_device(changes), cuda.to_device(bins), 0)
