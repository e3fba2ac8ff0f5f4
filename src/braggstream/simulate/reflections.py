"""Full intensities of all reflections of a crystal, random but obeying its space group."""

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.simulate.settings import CrystalSettings

MAX_REFLECTIONS = 6_000_000
"""Most reciprocal lattice points within the diffraction limit; each costs time in every frame."""

SIMPLEST_GROUP = {
    "triclinic": "1",
    "monoclinic": "2",
    "orthorhombic": "2 2 2",
    "tetragonal": "4",
    "rhombohedral": "3",
    "hexagonal": "6",
    "cubic": "2 3",
}
USUAL_AXIS = {"monoclinic": "b", "tetragonal": "c", "hexagonal": "c"}


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class FullReflections:
    """Reflections that are present, with the intensity of a fully recorded one."""

    hkl: NDArray[np.int32]
    """Miller indices of all reflections, Friedel mates included, int32[n, 3]."""
    intensity: NDArray[np.float64]
    """Mean number of photons when fully recorded by a crystal of scale one, float64[n]."""
    unique_hkl: NDArray[np.int32]
    """One of each set of equivalent reflections, int32[m, 3]."""
    unique_intensity: NDArray[np.float64]
    """Their intensities, float64[m] [photons]."""


def import_gemmi() -> Any:
    """Import gemmi, which knows the space groups; raises `MissingExtraError`."""
    try:
        import gemmi
    except ImportError:
        raise MissingExtraError(library="gemmi", extra="simulate", purpose="the simulation") from None
    return gemmi


def find_space_group(cell: UnitCell, name: str | None) -> Any:
    """Find gemmi's space group, in the setting of the cell; raises `UserError` where they do not fit.

    Without a name it is the simplest group of the cell's lattice type and centring.
    """
    gemmi = import_gemmi()
    symbol = _simplest_group(cell) if name is None else name
    group = gemmi.find_spacegroup_by_name(symbol, alpha=cell.alpha, gamma=cell.gamma)
    if group is None:
        raise UserError(f"--space-group={symbol}: not a space group symbol such as 'P 43 21 2'")
    if not gemmi.UnitCell(*cell.parameters).is_compatible_with_spacegroup(group):
        raise UserError(f"--space-group={symbol}: the cell's lengths and angles do not fit {group.xhm()}")
    # On rhombohedral axes a rhombohedral lattice is primitive; on hexagonal ones, our H, gemmi calls it R.
    expected = {"H": "R", "R": "P"}.get(cell.centring, cell.centring)
    if group.centring_type() != expected:
        raise UserError(f"--space-group={symbol}: centring {group.centring_type()}, but the cell says {expected}")
    return group


def make_reflections(
    cell: UnitCell, space_group: Any, settings: CrystalSettings, rng: np.random.Generator
) -> FullReflections:
    """Draw intensities after Wilson's statistics (Acta Cryst. 2 (1949) 318), equal for equivalent reflections.

    Acentric intensities are exponentially distributed, centric ones as a squared normal variable; both are
    multiplied by the reflection's epsilon factor and fall off with the B factor.
    """
    gemmi = import_gemmi()
    expected = 4 / 3 * pi * cell.volume / settings.d_min**3
    if expected > MAX_REFLECTIONS:
        raise UserError(
            f"--d-min={settings.d_min:g}: {expected:.3g} reciprocal lattice points for this cell, "
            f"at most {MAX_REFLECTIONS:g} are possible"
        )
    unique = gemmi.make_miller_array(gemmi.UnitCell(*cell.parameters), space_group, settings.d_min)
    unique = np.ascontiguousarray(unique, np.int32).reshape(-1, 3)
    unique = unique[np.any(unique != 0, axis=1)]
    if not len(unique):
        raise UserError(f"--d-min={settings.d_min:g}: no reflection of this cell lies within it [Å]")
    operations = space_group.operations()
    inverse_d = np.linalg.norm(unique @ cell.reciprocal_axes(), axis=1)
    mean = settings.photons * np.exp(-settings.b_factor * inverse_d**2 / 2)
    mean = mean * _epsilon(operations, unique)
    centric = np.asarray(operations.centric_flag_array(unique), bool)
    acentric_draw = rng.exponential(size=len(unique))
    centric_draw = rng.standard_normal(len(unique)) ** 2
    intensity = mean * np.where(centric, centric_draw, acentric_draw)
    hkl, origin = _expand(operations, unique)
    return FullReflections(hkl=hkl, intensity=intensity[origin], unique_hkl=unique, unique_intensity=intensity)


def laue_rotations(space_group: Any) -> NDArray[np.int64]:
    """Matrices R of the Laue group, int64[n, 3, 3]: reflections hkl and hkl @ R are equivalent."""
    gemmi = import_gemmi()
    rotations = {tuple(np.array(op.rot).ravel() // gemmi.Op.DEN) for op in space_group.operations().sym_ops}
    rotations |= {tuple(-np.array(rotation)) for rotation in rotations}
    return np.array(sorted(rotations), np.int64).reshape(-1, 3, 3)


def _simplest_group(cell: UnitCell) -> str:
    usual = USUAL_AXIS.get(cell.lattice_type)
    if usual is not None and cell.unique_axis not in (usual, "?", "*"):
        raise UserError(
            f"a {cell.lattice_type} cell with unique axis {cell.unique_axis}: give its group with --space-group"
        )
    if cell.lattice_type == "rhombohedral" or cell.centring in ("R", "H"):
        return "R 3"
    return f"{cell.centring} {SIMPLEST_GROUP[cell.lattice_type]}"


def _epsilon(operations: Any, hkl: NDArray[np.int32]) -> NDArray[np.float64]:
    """Factors by which classes of reflections are stronger on average, without that of the centring."""
    return np.asarray(operations.epsilon_factor_without_centering_array(hkl), np.float64)


def _expand(operations: Any, unique: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Apply the Laue group; gives all reflections and, for each, the row of `unique` that it came from."""
    gemmi = import_gemmi()
    rotations = [np.array(op.rot, np.int32) // gemmi.Op.DEN for op in operations.sym_ops]
    images = np.concatenate([sign * (unique @ rotation) for rotation in rotations for sign in (1, -1)])
    origin = np.tile(np.arange(len(unique)), 2 * len(rotations))
    shifted = images.astype(np.int64) + (1 << 19)
    keys = (shifted[:, 0] << 40) | (shifted[:, 1] << 20) | shifted[:, 2]
    _, first = np.unique(keys, return_index=True)
    return images[first].astype(np.int32), origin[first]
