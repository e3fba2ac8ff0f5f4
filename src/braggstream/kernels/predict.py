"""Which lattice points give reflections, and where: along lines of the lattice, not through its whole volume.

For given indices along the two shorter ranges, |q + k|² is a quadratic in the third index, so the shell around the
Ewald sphere cuts at most two short intervals out of the line; only their points are looked at.
"""

from math import ceil, exp, floor, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.ewald import N_BEAM, WAVENUMBER, place_lattice_point
from braggstream.kernels.layout import HEIGHT, N_COLUMNS, WIDTH

MAX_INDEX = 511
MIN_PARTIALITY = exp(-0.5 * 1.7 * 1.7)
"""Reflections with less are not predicted: 1.7 profile radii from a narrow Ewald sphere."""

FS, SS, EXCITATION, PARTIALITY = range(4)
"""Columns of a prediction."""


@inline_jit
def _interval(a: float, b: float, c: float) -> tuple[float, float]:
    """Solve a·t² + 2b·t + c ≤ 0; an empty interval where nothing does."""
    root = b * b - a * c
    if root < 0.0:
        return 1.0, 0.0
    root = sqrt(root)
    return (-b - root) / a, (-b + root) / a


@inline_jit
def is_absent(centring: int, h: int, k: int, l: int) -> bool:  # noqa: E741
    """Tell whether the centring (an ASCII code) forbids a reflection."""
    if centring == 65:  # A
        return (k + l) % 2 != 0
    if centring == 66:  # B
        return (h + l) % 2 != 0
    if centring == 67:  # C
        return (h + k) % 2 != 0
    if centring == 73:  # I
        return (h + k + l) % 2 != 0
    if centring == 70:  # F
        return (h + k) % 2 != 0 or (h + l) % 2 != 0
    if centring == 72:  # H, obverse
        return (-h + k + l) % 3 != 0
    return False


@inline_jit
def find_panel(
    x: float, y: float, z: float, inverses: NDArray[np.float64], table: NDArray[np.int64]
) -> tuple[int, float, float]:
    """Find the first panel that a ray from the sample hits, and where; -1 where there is none."""
    for panel in range(inverses.shape[0]):
        m = inverses[panel]
        v0 = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z
        if v0 <= 0.0:
            continue
        fs = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z) / v0
        if not 0.0 <= fs < table[panel, WIDTH]:
            continue
        ss = (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z) / v0
        if 0.0 <= ss < table[panel, HEIGHT]:
            return panel, fs, ss
    return -1, 0.0, 0.0


@jit
def predict(
    axes: NDArray[np.float64],
    order: tuple[int, int, int],
    limits: tuple[int, int, int],
    centring: int,
    beam: NDArray[np.float64],
    reach: float,
    max_inverse_d: float,
    inverses: NDArray[np.float64],
    table: NDArray[np.int64],
    hkl: NDArray[np.int32],
    panels: NDArray[np.int32],
    columns: NDArray[np.float64],
) -> int:
    """Predict the reflections of one crystal.

    Parameters
    ----------
    axes : float64[3, 3]
        Rows a*, b*, c* [Å⁻¹].
    order : (int64, int64, int64)
        Numbers of the axes; lines run along the last one.
    limits : (int64, int64, int64)
        Largest index along each axis, in that order.
    centring : int64
        Letter of the centring.
    beam : float64[3]
        Packed beam, see `kernels.ewald`.
    reach : float64
        No reflection lies further from the Ewald sphere [Å⁻¹].
    max_inverse_d : float64
        Resolution limit [Å⁻¹].
    inverses : float64[n_panels, 3, 3]
        Inverse panel matrices, see `Detector.inverses`; a shift of the detector is part of them.
    table : int64[n_panels, 5]
        Panel table, for the sizes.
    hkl : int32[n, 3], panels : int32[n], columns : float64[n, 4], written
        Indices, panel, and fs, ss, excitation error, partiality.

    Returns
    -------
    int
        Number of reflections; more than n means that the rest did not fit.
    """
    k0 = beam[WAVENUMBER]
    first, second, third = order
    a, b, c = axes[first], axes[second], axes[third]
    cc = c[0] * c[0] + c[1] * c[1] + c[2] * c[2]
    inner = max(k0 - reach, 0.0)
    outer = k0 + reach
    indices = np.zeros(3, np.int32)
    n = 0
    for i in range(-limits[0], limits[0] + 1):
        for j in range(-limits[1], limits[1] + 1):
            px = i * a[0] + j * b[0]
            py = i * a[1] + j * b[1]
            pz = i * a[2] + j * b[2]
            pc = px * c[0] + py * c[1] + pz * c[2]
            pp = px * px + py * py + pz * pz
            low, high = _interval(cc, pc, pp - max_inverse_d * max_inverse_d)
            if low > high:
                continue
            # |q + k|² = |q|² + 2 k·q_z + k².
            centre = pp + 2.0 * k0 * pz + k0 * k0
            slope = pc + k0 * c[2]
            out_low, out_high = _interval(cc, slope, centre - outer * outer)
            low, high = max(low, out_low, -float(limits[2])), min(high, out_high, float(limits[2]))
            if low > high:
                continue
            in_low, in_high = _interval(cc, slope, centre - inner * inner)
            start, stop = ceil(low), floor(high)
            t = start
            while t <= stop:
                if in_low < t < in_high:
                    t = max(ceil(in_high), t + 1)
                    continue
                indices[first], indices[second], indices[third] = i, j, t
                h, k, l = indices[0], indices[1], indices[2]  # noqa: E741
                t += 1
                if (h == 0 and k == 0 and l == 0) or is_absent(centring, h, k, l):
                    continue
                qx, qy, qz = px + indices[third] * c[0], py + indices[third] * c[1], pz + indices[third] * c[2]
                error, k_pred, partiality = place_lattice_point(qx, qy, qz, beam)
                if not partiality >= MIN_PARTIALITY:
                    continue
                panel, fs, ss = find_panel(qx, qy, qz + k_pred, inverses, table)
                if panel < 0:
                    continue
                if n < hkl.shape[0]:
                    hkl[n, 0], hkl[n, 1], hkl[n, 2] = h, k, l
                    panels[n] = panel
                    columns[n, FS], columns[n, SS] = fs, ss
                    columns[n, EXCITATION], columns[n, PARTIALITY] = error, partiality
                n += 1
    return n


def warm_up() -> None:
    """Compile the kernel for the signature that the steps use."""
    predict(
        np.eye(3),
        (0, 1, 2),
        (0, 0, 0),
        80,
        np.ones(N_BEAM),
        0.1,
        1.0,
        np.zeros((1, 3, 3)),
        np.zeros((1, N_COLUMNS), np.int64),
        np.zeros((1, 3), np.int32),
        np.zeros(1, np.int32),
        np.zeros((1, 4)),
    )
