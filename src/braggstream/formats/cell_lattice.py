"""What a lattice type asks of cell parameters, and the lattice type of a space group."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from math import cos, radians

from braggstream.model.cell import CENTRINGS, HAS_UNIQUE_AXIS, Centring, LatticeType, UnitCell

LENGTH_TOLERANCE = 0.02
"""Relative difference up to which two axes count as equally long."""
ANGLE_TOLERANCE = 2.0
"""Difference up to which an angle counts as 90 or 120 degrees [deg]."""
CLOSE_FIT = 0.02
"""Fraction of the tolerances within which a unique axis is looked for first."""
MIN_LENGTH, MAX_LENGTH = 1.0, 1e5
"""Range of an axis [Å]."""
MIN_RELATIVE_VOLUME = 1e-3
"""Smallest volume, relative to that of a box with the same edges."""

_ALLOWED_CENTRINGS: Mapping[LatticeType, str] = {
    "triclinic": "PABCIFRH",
    "monoclinic": "PABCIF",
    "orthorhombic": "PABCIF",
    "tetragonal": "PCIF",
    "rhombohedral": "R",
    "hexagonal": "PH",
    "cubic": "PIF",
}
_AXES = "abc"
_ANGLE_NAMES = ("alpha", "beta", "gamma")
_KEYS = {"alpha": "al", "beta": "be", "gamma": "ga"}
_CUBIC = frozenset({"23", "213", "432", "4132", "4232", "4332"})
_TWOFOLD = r"(?:21?(?:/[abcdemn])?|[abcdemn])"
"""What may stand for an axis of a monoclinic or orthorhombic group: rotation, mirror, or both."""
_RUN_TOGETHER: Mapping[str, tuple[LatticeType, str]] = {
    "-?1": ("triclinic", "*"),
    _TWOFOLD: ("monoclinic", "?"),
    f"{_TWOFOLD}11": ("monoclinic", "a"),
    f"1{_TWOFOLD}1": ("monoclinic", "b"),
    f"11{_TWOFOLD}": ("monoclinic", "c"),
    f"{_TWOFOLD}{{3}}": ("orthorhombic", "*"),
    r"[abcdemn]-?3[abcdmn]?|-4[a-z]?3[abcdmn]|[42][1-3]?/[a-z]-3.*": ("cubic", "*"),
    r"-?4.*": ("tetragonal", "c"),
    r"-?[36].*": ("hexagonal", "c"),
}
"""Lattice type and unique axis of symbols without blanks: the first pattern that fits."""


class CellError(ValueError):
    """A cell file is wrong: what, and what was expected; `line` is the one at fault where there is one."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


def check_cell(cell: UnitCell, lines: Mapping[str, int]) -> UnitCell:
    """Check that a cell is possible and fits its lattice type; give it with its unique axis.

    `lines` says where each statement stands.  Raises `CellError`.
    """
    _check_possible(cell, lines)
    if cell.centring not in _ALLOWED_CENTRINGS[cell.lattice_type]:
        allowed = ", ".join(_ALLOWED_CENTRINGS[cell.lattice_type])
        raise CellError(
            f"a {cell.lattice_type} lattice cannot have centering {cell.centring}: expected {allowed}",
            lines.get("centering"),
        )
    if cell.lattice_type not in HAS_UNIQUE_AXIS:
        cell = replace(cell, unique_axis="*")
    elif cell.unique_axis not in _AXES:
        cell = replace(cell, unique_axis=_find_unique_axis(cell, lines))
    fault = _misfit(cell)
    if fault is not None:
        kind = f"{cell.lattice_type} cells (unique axis {cell.unique_axis})".removesuffix(" (unique axis *)")
        raise CellError(f"{kind} have {fault[0]}, and this one has not", lines.get(fault[1]))
    return cell


def _check_possible(cell: UnitCell, lines: Mapping[str, int]) -> None:
    for name in _AXES:
        length = getattr(cell, name)
        if not MIN_LENGTH <= length <= MAX_LENGTH:
            raise CellError(f"{name} = {length:g} A: expected {MIN_LENGTH:g} to {MAX_LENGTH:g} A", lines.get(name))
    for name, key in _KEYS.items():
        if not 0.0 < getattr(cell, name) < 180.0:
            raise CellError(f"{key} = {getattr(cell, name):g} deg: expected 0 to 180 deg", lines.get(key))
    x, y, z = (cos(radians(getattr(cell, name))) for name in _ANGLE_NAMES)
    if 1.0 + 2.0 * x * y * z - x * x - y * y - z * z < MIN_RELATIVE_VOLUME**2:
        raise CellError("no cell has these three angles: it would be flat", lines.get("ga"))


def _find_unique_axis(cell: UnitCell, lines: Mapping[str, int]) -> str:
    """Find the one axis that the parameters fit: closely, or else within the tolerance."""
    line = lines.get("unique_axis", lines.get("lattice_type"))
    candidates = [replace(cell, unique_axis=axis) for axis in _AXES]
    for strictness in (CLOSE_FIT, 1.0):
        fitting = [candidate.unique_axis for candidate in candidates if _misfit(candidate, strictness) is None]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            break
    else:
        raise CellError(f"the parameters do not fit a {cell.lattice_type} cell, whichever its unique axis", line)
    raise CellError(
        f"axes {' and '.join(fitting)} of this {cell.lattice_type} cell could be the unique one: "
        "expected unique_axis = a, b or c",
        line,
    )


def _misfit(cell: UnitCell, strictness: float = 1.0) -> tuple[str, str] | None:
    """Say which rule of its lattice type a cell breaks, and by which statement; None where it keeps all."""
    equal_axes, equal_angles, angles = _rules(cell)
    for first, second in equal_axes:
        u, v = getattr(cell, first), getattr(cell, second)
        if abs(u - v) > strictness * LENGTH_TOLERANCE * max(u, v):
            return f"{first} = {second}", second
    for name, expected in angles.items():
        if abs(getattr(cell, name) - expected) > strictness * ANGLE_TOLERANCE:
            return f"{_KEYS[name]} = {expected:g} deg", _KEYS[name]
    for first, second in equal_angles:
        if abs(getattr(cell, first) - getattr(cell, second)) > strictness * ANGLE_TOLERANCE:
            return f"{_KEYS[first]} = {_KEYS[second]}", _KEYS[second]
    return None


Pairs = Iterable[tuple[str, str]]


def _rules(cell: UnitCell) -> tuple[Pairs, Pairs, dict[str, float]]:
    """Pairs of equal axes, pairs of equal angles, and the angles that are fixed [deg]."""
    right = dict.fromkeys(_ANGLE_NAMES, 90.0)
    if cell.lattice_type == "triclinic":
        return (), (), {}
    if cell.lattice_type == "orthorhombic":
        return (), (), right
    if cell.lattice_type == "cubic":
        return combinations(_AXES, 2), (), right
    if cell.lattice_type == "rhombohedral":
        return combinations(_AXES, 2), combinations(_ANGLE_NAMES, 2), {}
    own_angle = _ANGLE_NAMES[_AXES.index(cell.unique_axis)]
    if cell.lattice_type == "monoclinic":
        del right[own_angle]
        return (), (), right
    others = [axis for axis in _AXES if axis != cell.unique_axis]
    if cell.lattice_type == "hexagonal":
        right[own_angle] = 120.0
    return [(others[0], others[1])], (), right


def lattice_of_space_group(symbol: str, cell: UnitCell, line: int) -> tuple[LatticeType, Centring, str]:
    """Give lattice type, centring and unique axis (`?` = any that fits) of a Hermann-Mauguin symbol.

    The parameters decide between the two settings of a rhombohedral space group.  Raises `CellError`.
    """
    letter, rest = symbol[:1].upper(), symbol[1:].partition(":")[0].lower().split()
    system = _system(rest)
    centring = next((known for known in CENTRINGS if known == letter), None)
    if centring is None or system is None:
        raise CellError(
            f"'{symbol[:20]}' is no space group that is understood: expected a symbol such as P 21 21 21", line
        )
    lattice_type, axis = system
    if axis == "?" and _misfit(replace(cell, lattice_type=lattice_type, unique_axis="b")) is None:
        axis = "b"
    if centring in ("R", "H"):
        rhombohedral = _misfit(replace(cell, lattice_type="rhombohedral")) is None
        return ("rhombohedral", "R", "*") if rhombohedral and centring == "R" else ("hexagonal", "H", "c")
    return lattice_type, centring, axis


def _system(elements: list[str]) -> tuple[LatticeType, str] | None:
    """Tell lattice type and unique axis from what follows the centring: elements, or one run-together word."""
    if not elements:
        return None
    first = elements[0].lstrip("-")[:1]
    if len(elements) == 1:
        return _system_of_word(elements[0])
    if first != "3" and elements[1].lstrip("-").startswith("3"):
        return "cubic", "*"
    if first == "4":
        return "tetragonal", "c"
    if first in ("3", "6"):
        return "hexagonal", "c"
    if len(elements) != 3:
        return None
    special = [axis for axis, element in zip(_AXES, elements, strict=True) if element not in ("1", "-1")]
    if len(special) == 1:
        return "monoclinic", special[0]
    return ("orthorhombic", "*") if len(special) == 3 else None


def _system_of_word(word: str) -> tuple[LatticeType, str] | None:
    if word in _CUBIC:
        return "cubic", "*"
    return next((system for pattern, system in _RUN_TOGETHER.items() if re.fullmatch(pattern, word)), None)
