"""What is told of single crystals and observations: unmerged data, parameters, and the rows of the logs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_columns import (
    B_FACTOR,
    FREE,
    LN_G,
    N_SHAPE,
    SHAPE_RADIUS,
    SHAPE_WAVELENGTH,
    STRONG,
)
from braggstream.kernels.crystal_residuals import crystal_correlations
from braggstream.kernels.post_refinement import (
    D_RADIUS,
    D_WAVELENGTH,
    PATH_RESIDUAL,
    ROT_X,
    ROT_Y,
    residual_grid,
)
from braggstream.steps.partialator.block import CrystalBlock
from braggstream.steps.partialator.refinement import LOGGED

Rows = NDArray[np.float64]

GRID_ANGLES: Rows = np.arange(-20.0, 21.0) * 0.25e-3
"""Of a grid of rotations about x and y [rad]."""
GRID_RADII: Rows = np.arange(-20.0, 21.0) * 1e-5
"""Changes of the radius [Å⁻¹]."""
GRID_WAVELENGTHS: Rows = np.arange(-20.0, 21.0) * 2e-4
"""Changes of the wavelength [Å]."""


@dataclass(kw_only=True, eq=False, slots=True)
class ToldCrystal:
    """What is told of a crystal in the logs."""

    shape: NDArray[np.float64]
    """Axes, radius, wavelength, bandwidth, float64[N_SHAPE]."""
    scale: float
    """G."""
    spectrum: Rows
    """Wavenumber at the middle [Å⁻¹], 1/d [Å⁻¹], p, observed p, h, k, l, float64[n, 7]."""
    angles: Rows
    """Residuals over rotations, float64[41, 41]; empty where no grid is wanted."""
    widths: Rows
    """Residuals over radius (rows) and wavelength (columns), float64[41, 41]; or empty."""


def full_intensities(block: CrystalBlock) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give G exp(-B s²) and I/(g p) of a block's observations, float64[m] each."""
    counts = np.diff(block.start)
    ln_g, b = (np.repeat(block.state[:, column], counts) for column in (LN_G, B_FACTOR))
    g = np.exp(ln_g - b * block.s2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return g, block.intensity / (g * block.part)


def unmerged_rows(
    block: CrystalBlock, unique: NDArray[np.int32]
) -> tuple[CrystalBlock, tuple[Rows, NDArray[np.bool_], NDArray[np.int64]]]:
    """Give asymmetric h, k, l, I_full, weight and p of observations, where errors are NaN, and the starts."""
    g, full = full_intensities(block)
    rows = np.column_stack([unique[block.uid], full, block.part * g, block.part])
    return block, (rows, np.isnan(block.sigma), block.start)


def correlations(block: CrystalBlock, merged: NDArray[np.float64]) -> tuple[CrystalBlock, NDArray[np.float64]]:
    """Correlate each crystal's intensities with those that merge, scale and partiality say."""
    found = np.empty(len(block))
    crystal_correlations(
        block.start, block.uid, block.part, block.s2, block.intensity, block.flags, block.state, merged, found
    )
    return block, found


def shapes(block: CrystalBlock) -> tuple[CrystalBlock, NDArray[np.float64]]:
    """Give axes, radius, wavelength and bandwidth of each crystal."""
    return block, block.shape.copy()


def largest_s2(block: CrystalBlock) -> tuple[CrystalBlock, float]:
    """Give the largest s² of a block [Å⁻²]."""
    return block, float(block.s2.max(initial=0.0))


def states(block: CrystalBlock) -> tuple[CrystalBlock, NDArray[np.float64]]:
    """Give the state of each crystal."""
    return block, block.state.copy()


def graph_rows(
    block: CrystalBlock, merged: NDArray[np.float64], merged_sigma: NDArray[np.float64], unique: NDArray[np.int32]
) -> tuple[CrystalBlock, Rows]:
    """Give crystal, asymmetric h, k, l, 1/d [Å⁻¹], I/g, p and observed p of strong free observations."""
    counts = np.diff(block.start)
    owner = np.repeat(np.arange(len(block)), counts)
    g, _ = full_intensities(block)
    full = merged[block.uid]
    chosen = (block.flags & FREE > 0) & (block.intensity >= STRONG * np.abs(block.sigma))
    chosen &= full >= STRONG * merged_sigma[block.uid]
    columns = [
        block.first + owner,
        *unique[block.uid].T,
        2.0 * np.sqrt(block.s2),
        block.intensity / g,
        block.part,
        block.intensity / (g * full),
    ]
    return block, np.column_stack([column[chosen] for column in columns])


def told_crystals(
    block: CrystalBlock, merged: NDArray[np.float64], model: int, n_grids: int
) -> tuple[CrystalBlock, dict[int, ToldCrystal]]:
    """Tell of every `LOGGED`-th crystal, the first ones with grids of residuals, which take longest."""
    g, _ = full_intensities(block)
    told: dict[int, ToldCrystal] = {}
    for n in range(len(block)):
        number = block.first + n
        if number % LOGGED:
            continue
        mine = slice(int(block.start[n]), int(block.start[n + 1]))
        hkl = block.hkl[mine].astype(np.float64)
        q = hkl @ block.shape[n, :9].reshape(3, 3)
        q2 = np.einsum("ij,ij->i", q, q)
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = -q2 / (2.0 * q[:, 2])
            observed = block.intensity[mine] / (g[mine] * merged[block.uid[mine]])
        spectrum = np.column_stack([middle, np.sqrt(q2), block.part[mine], observed, hkl])
        grids = [np.empty((0, 0))] * 2
        if number // LOGGED < n_grids:
            grids = [
                _grid(block, n, merged, model, (ROT_X, GRID_ANGLES), (ROT_Y, GRID_ANGLES)),
                _grid(block, n, merged, model, (D_RADIUS, GRID_RADII), (D_WAVELENGTH, GRID_WAVELENGTHS)),
            ]
        told[number] = ToldCrystal(
            shape=block.shape[n, :N_SHAPE].copy(),
            scale=float(np.exp(block.state[n, LN_G])),
            spectrum=spectrum[np.isfinite(observed)],
            angles=grids[0],
            widths=grids[1],
        )
    return block, told


def _grid(
    block: CrystalBlock,
    n: int,
    merged: NDArray[np.float64],
    model: int,
    rows: tuple[int, NDArray[np.float64]],
    columns: tuple[int, NDArray[np.float64]],
) -> Rows:
    steps = np.zeros((len(rows[1]), len(columns[1]), PATH_RESIDUAL))
    steps[:, :, rows[0]] = rows[1][:, None]
    steps[:, :, columns[0]] = columns[1][None, :]
    found = np.empty(steps.shape[0] * steps.shape[1])
    residual_grid(
        block.start[n : n + 2],
        block.hkl,
        block.uid,
        block.s2,
        block.intensity,
        block.flags,
        merged,
        block.state[n : n + 1],
        model,
        block.shape[n : n + 1],
        steps.reshape(-1, PATH_RESIDUAL),
        found,
    )
    return found.reshape(steps.shape[:2])


def radius_and_wavelength(shape: NDArray[np.float64]) -> tuple[float, float]:
    """Give the profile radius [Å⁻¹] and the wavelength [Å] of a crystal."""
    return float(shape[SHAPE_RADIUS]), float(shape[SHAPE_WAVELENGTH])
