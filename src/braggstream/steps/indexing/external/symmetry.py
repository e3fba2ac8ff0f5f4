"""What other programs call a lattice: representative point groups and space groups."""

from braggstream.model.cell import Centring, LatticeType, UnitCell

_MONOCLINIC = {"a": "211", "b": "121", "c": "112"}
_GROUPS: dict[LatticeType, str] = {
    "triclinic": "1",
    "orthorhombic": "222",
    "tetragonal": "4",
    "rhombohedral": "3",
    "hexagonal": "6",
    "cubic": "23",
}
_NUMBERS: dict[tuple[LatticeType, str], int] = {
    ("triclinic", "P"): 1,
    ("monoclinic", "P"): 3,
    ("monoclinic", "A"): 5,
    ("monoclinic", "B"): 5,
    ("monoclinic", "C"): 5,
    ("monoclinic", "I"): 5,
    ("orthorhombic", "P"): 16,
    ("orthorhombic", "C"): 21,
    ("orthorhombic", "A"): 21,
    ("orthorhombic", "B"): 21,
    ("orthorhombic", "F"): 22,
    ("orthorhombic", "I"): 23,
    ("tetragonal", "P"): 75,
    ("tetragonal", "I"): 79,
    ("hexagonal", "P"): 143,
    ("hexagonal", "H"): 146,
    ("cubic", "P"): 195,
    ("cubic", "F"): 196,
    ("cubic", "I"): 197,
}


def group_symbol(cell: UnitCell) -> str:
    """Name a group of the lattice with its centring, such as `P4` or `C121`."""
    if cell.centring == "H":
        return "H3"
    if cell.lattice_type == "monoclinic":
        return cell.centring + _MONOCLINIC.get(cell.unique_axis, "121")
    return cell.centring + _GROUPS[cell.lattice_type]


def lattice_of_symbol(symbol: str) -> tuple[LatticeType, Centring] | None:
    """Tell lattice type and centring of a group such as `P4`, `P 4 2 2`, `H3` or `C121`; None where unknown."""
    letters = symbol.replace(" ", "").replace("_", "").upper()
    centring = next((c for c in ("P", "A", "B", "C", "I", "F", "R", "H") if letters[:1] == c), None)
    numbers = letters[1:]
    if centring is None or not numbers:
        return None
    if centring == "H":
        return "hexagonal", "H"
    if centring == "R":
        return "rhombohedral", "R"
    if numbers[0] in "46":
        # A cubic group has its threefold axes in the second place.
        is_cubic = numbers[0] == "4" and "3" in numbers[1:3]
        return ("cubic" if is_cubic else "tetragonal" if numbers[0] == "4" else "hexagonal"), centring
    if numbers[0] == "3":
        return "hexagonal", centring
    if numbers[0] == "2" and "3" in numbers[1:3]:
        return "cubic", centring
    if numbers in ("1", "-1"):
        return "triclinic", centring
    if "1" in numbers[:1] or numbers in ("2", "21", "211", "2111"):
        return "monoclinic", centring
    return "orthorhombic", centring


def group_number(cell: UnitCell) -> int | None:
    """Number of a space group of the lattice; None where there is none in this setting."""
    return _NUMBERS.get((cell.lattice_type, cell.centring))


def parameters_text(cell: UnitCell) -> str:
    """Lengths [Å] and angles [deg] of a cell, separated by blanks."""
    return " ".join(f"{value:.3f}" for value in cell.parameters)
