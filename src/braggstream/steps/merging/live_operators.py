"""Which indexing ambiguity a cell and a point group leave."""

from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.index_operators import ambiguity_operators, parse_operators
from braggstream.model.live_merge_settings import AUTO, OFF
from braggstream.model.point_group import PointGroup, point_group

ROTATIONS = {
    "-1": "1",
    "2/m": "2",
    "mmm": "222",
    "4/mmm": "422",
    "-3m_R": "32_R",
    "-3m1_H": "321_H",
    "6/mmm": "622",
    "m-3m": "432",
}
"""The rotations of each symmetry that a lattice can have."""
MOST_OPERATORS = 7


def live_operators(cell: UnitCell, group: PointGroup, wish: str) -> tuple[NDArray, ...]:
    """Find the operators of the ambiguity.

    Parameters
    ----------
    cell : UnitCell
        Tells the symmetry of the lattice.
    group : PointGroup
        The symmetry of the structure.
    wish : str
        Operators such as `k,h,-l`, separated by semicolons; `auto` for those that the lattice has and the structure
        has not; `off` for none.

    Raises
    ------
    UserError
        Where the operators cannot be read, or belong to the symmetry.
    """
    if wish == OFF:
        return ()
    if wish != AUTO:
        return _checked(parse_operators(wish), group)
    apparent = lattice_symmetry(cell, with_centre=group.is_centrosymmetric)
    try:
        return ambiguity_operators(apparent, group)
    except UserError:  # Another setting, or mirrors: what the lattice has beyond it cannot be told.
        return ()


def lattice_symmetry(cell: UnitCell, *, with_centre: bool) -> PointGroup:
    """Give the point group of a lattice, by its type, or its rotations only."""
    match cell.lattice_type:
        case "triclinic":
            name = "-1"
        case "monoclinic":
            name = "2/m"
        case "orthorhombic":
            name = "mmm"
        case "tetragonal":
            name = "4/mmm"
        case "rhombohedral":
            name = "-3m_R"
        case "hexagonal":
            name = "-3m1_H" if cell.centring == "H" else "6/mmm"
        case "cubic":
            name = "m-3m"
    name = name if with_centre else ROTATIONS[name]
    has_axis = cell.lattice_type in ("monoclinic", "tetragonal") and cell.unique_axis in ("a", "b")
    return point_group(f"{name}_ua{cell.unique_axis}" if has_axis else name)


def _checked(operators: tuple[NDArray, ...], group: PointGroup) -> tuple[NDArray, ...]:
    if len(operators) > MOST_OPERATORS:
        raise UserError(f"--live-ambiguity: {len(operators)} operators, at most {MOST_OPERATORS} are possible")
    for operator in operators:
        if (operator == group.operators).all(axis=(1, 2)).any():
            raise UserError(f"--live-ambiguity: one of the operators is part of the symmetry {group.name}")
    return operators
