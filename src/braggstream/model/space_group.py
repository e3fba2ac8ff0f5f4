"""From point groups to space groups and back, by comparing their operators; gemmi knows the space groups."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.point_group import GENERATORS, LACKS_AXIS, UNIQUE_AXES, PointGroup, point_group


def import_gemmi(purpose: str = "MTZ files") -> Any:
    """Import gemmi; raises `MissingExtraError`."""
    try:
        import gemmi
    except ImportError:
        raise MissingExtraError(library="gemmi", extra="tables", purpose=purpose) from None
    return gemmi


def symmorphic_space_group(group: PointGroup, centring: Centring) -> Any:
    """Find the simplest space group of merged data: without screw axes, glides and centre of symmetry.

    Parameters
    ----------
    group
        The point group in which the data were merged; one that has a centre, by Friedel's law, loses it.
    centring
        Centring of the cell; R is a rhombohedral lattice on its own axes, H one on hexagonal axes.

    Returns
    -------
    gemmi.SpaceGroup
        In the setting of the point group.

    Raises
    ------
    UserError
        There is none.
    """
    wanted = _without_centre(group)
    for candidate in import_gemmi("a space group").spacegroup_table():
        operations = candidate.operations()
        is_same = _centring_of(candidate) == centring and _is_symmorphic(operations)
        if is_same and _rotations(operations) == wanted:
            return candidate
    raise UserError(f"there is no space group with point group {group.name} and centring {centring}")


def named_space_group(symbol: str) -> Any:
    """Find a space group by its symbol; raises `UserError` where there is none."""
    found = import_gemmi("a space group").find_spacegroup_by_name(symbol)
    if found is None:
        raise UserError(f"space group '{symbol[:40]}' is not known: expected a symbol such as 'P 43 21 2'")
    return found


def point_group_of(space_group: Any, *, friedel: bool) -> PointGroup | None:
    """Find the point group of a space group, with the centre that Friedel's law adds; None where it has no name."""
    wanted = _rotations(space_group.operations())
    if friedel:
        wanted |= {tuple(-number for number in rotation) for rotation in wanted}
    return next((group for group in _named_groups() if _as_set(group.operators) == wanted), None)


def _without_centre(group: PointGroup) -> frozenset[tuple[int, ...]]:
    operators = group.operators
    if group.is_centrosymmetric:
        operators = operators[np.linalg.det(operators.astype(np.float64)) > 0.0]
    return _as_set(operators)


def _as_set(operators: NDArray[np.int8]) -> frozenset[tuple[int, ...]]:
    return frozenset(tuple(operator.ravel().tolist()) for operator in operators)


def _rotations(operations: Any) -> frozenset[tuple[int, ...]]:
    """Rotations of gemmi's operators; on indices they act as hkl' = hkl · R."""
    return frozenset(
        tuple(number // operator.DEN for row in operator.rot for number in row) for operator in operations.sym_ops
    )


def _centring_of(space_group: Any) -> str:
    """The centring in CrystFEL's letters."""
    return str({"H": "H", "R": "R"}.get(space_group.ext) or space_group.centring_type())


def _is_symmorphic(operations: Any) -> bool:
    return all(not any(operator.tran) for operator in operations.sym_ops)


@lru_cache(maxsize=1)
def _named_groups() -> tuple[PointGroup, ...]:
    """All point groups that have a name; those that depend on the unique axis with it."""
    plain = [name for name in GENERATORS if name not in LACKS_AXIS]
    turned = [f"{name}_ua{axis}" for name in GENERATORS if "_" not in name for axis in UNIQUE_AXES]
    return tuple(point_group(name) for name in (*plain, *turned))
