"""Votes in rotation space: which rotations carry lattice points onto the directions of peaks.

A rotation is a unit quaternion, up to its sign.  Those that carry one direction onto another form a great circle,
q(t) = cos t q0 + sin t (u q0), with q0 one of them and u the second direction.  Cells are those of a cube: of the
four components the largest one names the face, and the arcs of the other three relative to it the place on it.

Gevorkov et al. (2020), Acta Cryst. A76, 121 (doi:10.1107/S2053273319015559) vote in such a space; the cells are
ours.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import fast_jit, inline_jit

COUNT_BITS = 8
"""A cell holds the number of peaks that voted for it in its lower bits, and above them the last one that did."""
MAX_VOTERS = 255
"""Most peaks that can vote."""
B, C = 1.3476, 0.3476
"""Coefficients of the arc tangent: B x - C x |x|."""


@inline_jit
def arc(x: float) -> float:
    """Give the arc tangent of -1 <= x <= 1 in units of 45 degrees, to 0.004: cells only have to be of like size."""
    return x * (B - C * abs(x))


@inline_jit
def unarc(y: float) -> float:
    """Undo `arc`."""
    a = abs(y)
    root = sqrt(max(B * B - 4.0 * C * a, 0.0))
    x = (B - root) / (2.0 * C)
    return x if y >= 0.0 else -x


@inline_jit
def cell_of(w: float, x: float, y: float, z: float, n: int) -> int:
    """Number of the cell that holds a quaternion; each of the four faces has n * n * n."""
    aw, ax, ay, az = abs(w), abs(x), abs(y), abs(z)
    if aw >= ax and aw >= ay and aw >= az:
        face, scale, p, r, s = 0, 1.0 / w, x, y, z
    elif ax >= ay and ax >= az:
        face, scale, p, r, s = 1, 1.0 / x, w, y, z
    elif ay >= az:
        face, scale, p, r, s = 2, 1.0 / y, w, x, z
    else:
        face, scale, p, r, s = 3, 1.0 / z, w, x, y
    half = 0.5 * n
    i = min(int((arc(p * scale) + 1.0) * half), n - 1)
    j = min(int((arc(r * scale) + 1.0) * half), n - 1)
    k = min(int((arc(s * scale) + 1.0) * half), n - 1)
    return ((face * n + i) * n + j) * n + k


@fast_jit
def vote(
    directions: NDArray[np.float64],
    voters: NDArray[np.int64],
    reach: NDArray[np.int64],
    points: NDArray[np.float64],
    turns: NDArray[np.float64],
    n: int,
    cells: NDArray[np.uint16],
) -> int:
    """Let each peak vote once for every cell with a rotation that explains it.

    Parameters
    ----------
    directions : float64[n, 3]
        Unit vectors along scattering vectors; a peak whose direction is uncertain has several in a row.
    voters : int64[n]
        Peak of each direction, 1 to 255.
    reach : int64[n, 2]
        First and last + 1 of the lattice points whose length fits the peak.
    points : float64[n_points, 3]
        Unit vectors to lattice points, in order of length.
    turns : float64[n_turns, 2]
        Cosines and sines of angles over half a circle.
    n : int
        Cells along the edge of a face.
    cells : uint16[4 * n**3], written
        Votes; zeroed by the caller.

    Returns
    -------
    int
        Number of curves that were followed.
    """
    n_curves = 0
    for m in range(directions.shape[0]):
        ux, uy, uz = directions[m, 0], directions[m, 1], directions[m, 2]
        voter = voters[m]
        for point in range(reach[m, 0], reach[m, 1]):
            gx, gy, gz = points[point, 0], points[point, 1], points[point, 2]
            w0 = 1.0 + gx * ux + gy * uy + gz * uz
            # The shortest rotation from the point to the direction.
            x0, y0, z0 = gy * uz - gz * uy, gz * ux - gx * uz, gx * uy - gy * ux
            norm2 = w0 * w0 + x0 * x0 + y0 * y0 + z0 * z0
            if norm2 < 1e-12:
                # They are opposite: half a turn about anything across.
                w0 = 0.0
                if abs(ux) < 0.7:
                    x0, y0, z0 = 0.0, uz, -uy
                else:
                    x0, y0, z0 = -uz, 0.0, ux
                norm2 = x0 * x0 + y0 * y0 + z0 * z0
            scale = 1.0 / sqrt(norm2)
            w0, x0, y0, z0 = w0 * scale, x0 * scale, y0 * scale, z0 * scale
            w1 = -(ux * x0 + uy * y0 + uz * z0)
            x1 = w0 * ux + uy * z0 - uz * y0
            y1 = w0 * uy + uz * x0 - ux * z0
            z1 = w0 * uz + ux * y0 - uy * x0
            n_curves += 1
            for turn in range(turns.shape[0]):
                c, s = turns[turn, 0], turns[turn, 1]
                cell = cell_of(c * w0 + s * w1, c * x0 + s * x1, c * y0 + s * y1, c * z0 + s * z1, n)
                value = np.int64(cells[cell])
                if value >> COUNT_BITS != voter:
                    cells[cell] = np.uint16((voter << COUNT_BITS) | ((value & MAX_VOTERS) + 1))
    return n_curves


@fast_jit
def densest(cells: NDArray[np.uint16], n: int, least: int, found: NDArray[np.int64]) -> int:
    """Find the cells with most votes.

    Parameters
    ----------
    cells : uint16[4 * n**3]
        Votes.
    n : int
        Cells along the edge of a face.
    least : int
        Fewest votes that count.
    found : int64[m], written
        Numbers of the cells; ties at the end of the list are resolved by number.

    Returns
    -------
    int
        How many were found.
    """
    counts = np.zeros(MAX_VOTERS + 1, np.int64)
    for cell in range(cells.shape[0]):
        counts[cells[cell] & MAX_VOTERS] += 1
    limit = MAX_VOTERS
    total = counts[limit]
    while limit > least and total + counts[limit - 1] <= found.shape[0]:
        limit -= 1
        total += counts[limit]
    # All of the cells above the limit, and of those just below it the first ones.
    partly = limit - 1 if limit > least else 0
    room = found.shape[0] - total
    n_found = 0
    for cell in range(cells.shape[0]):
        votes = cells[cell] & MAX_VOTERS
        if votes >= limit:
            found[n_found] = cell
            n_found += 1
        elif votes == partly and partly > 0 and room > 0:
            found[n_found] = cell
            n_found += 1
            room -= 1
    return n_found


@fast_jit
def centre_of_cell(cell: int, n: int, rotation: NDArray[np.float64]) -> None:
    """Write the quaternion w, x, y, z in the middle of a cell, float64[4]."""
    k = cell % n
    j = (cell // n) % n
    i = (cell // (n * n)) % n
    face = cell // (n * n * n)
    p = unarc((i + 0.5) * 2.0 / n - 1.0)
    r = unarc((j + 0.5) * 2.0 / n - 1.0)
    s = unarc((k + 0.5) * 2.0 / n - 1.0)
    scale = 1.0 / sqrt(1.0 + p * p + r * r + s * s)
    m = 0
    for component in range(4):
        if component == face:
            rotation[component] = scale
        else:
            rotation[component] = (p if m == 0 else (r if m == 1 else s)) * scale
            m += 1


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    cells = np.zeros(4, np.uint16)
    unit = np.array([[1.0, 0.0, 0.0]])
    vote(unit, np.ones(1, np.int64), np.array([[0, 1]]), unit, np.array([[1.0, 0.0]]), 1, cells)
    found = np.zeros(1, np.int64)
    densest(cells, 1, 1, found)
    centre_of_cell(0, 1, np.zeros(4))
