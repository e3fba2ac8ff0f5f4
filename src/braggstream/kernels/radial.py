"""Radial bins and clipped radial statistics of a frame (Barty et al. 2014, doi:10.1107/S1600576714007626)."""

from math import sqrt, trunc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.layout import CORNER, FS, HEIGHT, N_COLUMNS, OFFSET, SS, START, STRIDE, WIDTH

NO_BIN = 65535
"""Bin of a pixel that takes no part."""
N_PASSES = 5
FAR = 1e9
LARGEST_FLOAT32 = 3.4028234663852886e38
SMALLEST_FLOAT32 = 1.1754943508222875e-38


@jit
def bin_pixels(
    poses: NDArray[np.float64],
    pixel_size: NDArray[np.float64],
    table: NDArray[np.int64],
    min_radius: float,
    max_radius: float,
    bins: NDArray[np.uint16],
) -> int:
    """Give each pixel the distance of its corner from the beam axis, in its panel's own pixels, as a bin.

    x and y are cut to whole numbers before they are squared, and z does not count, as in the reference.

    Parameters
    ----------
    poses : float64[n_panels, 3, 3]
        Corner, fs step, ss step [m].
    pixel_size : float64[n_panels]
        Pixel pitch [m].
    table : int64[n_panels, 5]
        Place of each panel, see `layout`.
    min_radius, max_radius : float64
        Pixels outside get `NO_BIN`; no upper limit where `max_radius` is 0 [px].
    bins : uint16[n_pixels], written
        Radial bin of each pixel, in detector order.

    Returns
    -------
    int
        Number of bins.
    """
    n_bins = 1
    for panel in range(table.shape[0]):
        size = pixel_size[panel]
        cx, cy = poses[panel, CORNER, 0] / size, poses[panel, CORNER, 1] / size
        fx, fy = poses[panel, FS, 0] / size, poses[panel, FS, 1] / size
        sx, sy = poses[panel, SS, 0] / size, poses[panel, SS, 1] / size
        width = table[panel, WIDTH]
        for ss in range(table[panel, HEIGHT]):
            row = table[panel, START] + ss * width
            for fs in range(width):
                x = float(trunc(cx + fs * fx + ss * sx))
                y = float(trunc(cy + fs * fy + ss * sy))
                radius = np.float32(sqrt(x * x + y * y))
                number = int(np.rint(radius))
                inside = radius > min_radius and (max_radius == 0.0 or radius < max_radius)
                if inside and number < NO_BIN:
                    bins[row + fs] = number
                    n_bins = max(n_bins, number + 1)
                else:
                    bins[row + fs] = NO_BIN
    return n_bins


@jit
def clip_radially(
    pixels: NDArray[Any],
    table: NDArray[np.int64],
    bad: NDArray[np.uint8],
    bins: NDArray[np.uint16],
    threshold: float,
    min_snr: float,
    offset: NDArray[np.float64],
    upper: NDArray[np.float64],
) -> None:
    """Find background and peak limit of each radial bin in five passes of clipping.

    Parameters
    ----------
    pixels : T[n]
        Pixel values.
    table : int64[n_panels, 5]
        Place of each panel.
    bad : uint8[n_pixels]
        Nonzero for pixels that take no part.
    bins : uint16[n_pixels]
        Radial bins.
    threshold, min_snr : float64
        Lowest limit [detector units], and how many standard deviations above the mean it lies.
    offset, upper : float64[n_bins], written
        Mean background and limit of each bin [detector units].
    """
    n_bins = offset.shape[0]
    # One bin more takes what takes no part, so that the inner loop needs no branch for it.
    count = np.zeros(n_bins + 1, np.int64)
    total = np.zeros(n_bins + 1)
    squares = np.zeros(n_bins + 1)
    limits = np.empty((n_bins + 1, 2))
    limits[:, 0] = -FAR
    limits[:, 1] = FAR
    for _ in range(N_PASSES):
        count[:] = 0
        total[:] = 0.0
        squares[:] = 0.0
        for panel in range(table.shape[0]):
            width = table[panel, WIDTH]
            for ss in range(table[panel, HEIGHT]):
                source = table[panel, OFFSET] + ss * table[panel, STRIDE]
                row = table[panel, START] + ss * width
                for fs in range(width):
                    number = bins[row + fs]
                    if bad[row + fs] or number == NO_BIN:
                        continue
                    value = float(pixels[source + fs])
                    if limits[number, 0] < value < limits[number, 1]:
                        count[number] += 1
                        total[number] += value
                        squares[number] += value * value
        for number in range(n_bins):
            if count[number] == 0:
                offset[number] = 0.0
                limits[number, 0] = SMALLEST_FLOAT32
                limits[number, 1] = LARGEST_FLOAT32
                continue
            mean = total[number] / count[number]
            variance = squares[number] / count[number] - mean * mean
            sigma = sqrt(variance) if variance >= 0.0 else variance
            offset[number] = mean
            limits[number, 0] = mean - min_snr * sigma
            limits[number, 1] = max(mean + min_snr * sigma, threshold)
    upper[:] = limits[:n_bins, 1]


def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernels for pixels of this dtype."""
    table = np.zeros((1, N_COLUMNS), np.int64)
    bins, bad, column = np.zeros(1, np.uint16), np.zeros(1, np.uint8), np.zeros(1)
    bin_pixels(np.zeros((1, 3, 3)), np.ones(1), table, 0.0, 0.0, bins)
    clip_radially(np.zeros(1, dtype), table, bad, bins, 0.0, 5.0, column, column.copy())
