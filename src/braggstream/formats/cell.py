"""Unit cell files: CrystFEL's own format, and the CRYST1 record of PDB files."""

from collections.abc import Mapping
from math import degrees
from pathlib import Path
from typing import Literal, get_args

from braggstream.formats.c_numbers import whole_number
from braggstream.formats.cell_lattice import CellError, check_cell, lattice_of_space_group
from braggstream.formats.text_file import read_text_file, split_lines
from braggstream.model.cell import CENTRINGS, HAS_UNIQUE_AXIS, LATTICE_TYPES, Centring, LatticeType, UnitCell
from braggstream.model.errors import UserError

TITLE = "CrystFEL unit cell file version 1.0"
MAX_BYTES = 64 << 20
"""Largest cell or PDB file [bytes]."""

Length = Literal["a", "b", "c"]
_LENGTHS: tuple[Length, ...] = get_args(Length)
_ANGLES: Mapping[str, str] = {"al": "alpha", "be": "beta", "ga": "gamma"}
_LENGTH_UNITS: Mapping[str, float] = {"A": 1.0, "nm": 10.0}
_ANGLE_UNITS: Mapping[str, float] = {"deg": 1.0, "rad": degrees(1.0)}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "lattice_type": LATTICE_TYPES,
    "centering": CENTRINGS,
    "unique_axis": ("a", "b", "c", "*", "?"),
}
_PDB_COLUMNS = ((6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54))


def read_cell(path: str | Path) -> UnitCell:
    """Read a unit cell from a CrystFEL cell file or a PDB file; raises `UserError` with the line at fault."""
    return parse_cell(read_text_file(path, "unit cell file", max_bytes=MAX_BYTES), str(path))


def parse_cell(text: str, path: str = "") -> UnitCell:
    """Read a unit cell from the text of a CrystFEL cell file or a PDB file.

    The format is told by the first line.  A unique axis that is not given is taken from the cell parameters; these
    must fit the lattice type within 2 percent and 2 degrees.  Raises `UserError` with the line at fault.
    """
    lines = split_lines(text)
    try:
        if lines and lines[0].startswith(TITLE):
            return _cell_of_statements(lines)
        return _cell_of_pdb(lines)
    except CellError as fault:
        raise UserError(str(fault), path=path or "cell", line=fault.line or max(1, len(lines))) from None


def write_cell(cell: UnitCell, *, decimals: int = 2) -> str:
    """Write a cell as the text of a CrystFEL cell file, in Å and degrees; CrystFEL writes two decimals."""
    lines = [TITLE, "", f"lattice_type = {cell.lattice_type}"]
    if cell.lattice_type in HAS_UNIQUE_AXIS:
        lines.append(f"unique_axis = {cell.unique_axis}")
    lines.append(f"centering = {cell.centring}")
    lines.extend(f"{name} = {getattr(cell, name):.{decimals}f} A" for name in _LENGTHS)
    lines.extend(f"{name} = {getattr(cell, attribute):.{decimals}f} deg" for name, attribute in _ANGLES.items())
    return "\n".join(lines) + "\n"


def _cell_of_statements(lines: list[str]) -> UnitCell:
    words: dict[str, str] = {}
    numbers: dict[str, float] = {}
    places: dict[str, int] = {}
    for line_number, line in enumerate(lines[1:], start=2):
        content = line.partition(";")[0].strip()
        if not content:
            continue
        key, equals, value = (part.strip() for part in content.partition("="))
        if key in places:
            raise CellError(f"{key} is given twice, in line {places[key]} too", line_number)
        places[key] = line_number
        if equals and key in _WORDS:
            words[key] = _word(key, value, line_number)
        elif equals and (key in _LENGTHS or key in _ANGLES):
            numbers[key] = _measure(key, value, line_number)
        else:
            expected = ", ".join((*_WORDS, *_LENGTHS, *_ANGLES))
            raise CellError(f"'{content[:60]}' is not understood: expected one of {expected} and '='", line_number)
    return _assemble(words, numbers, places)


def _word(key: str, value: str, line: int) -> str:
    if value not in _WORDS[key]:
        raise CellError(f"{key} = '{value[:60]}': expected {', '.join(_WORDS[key])}", line)
    return value


def _measure(key: str, value: str, line: int) -> float:
    units = _LENGTH_UNITS if key in _LENGTHS else _ANGLE_UNITS
    number, *unit = value.split()[:3] or [""]
    found = whole_number(number)
    if found is None or len(unit) != 1 or unit[0] not in units:
        raise CellError(f"{key} = '{value[:60]}': expected a number and {' or '.join(units)}", line)
    return found * units[unit[0]]


def _assemble(words: dict[str, str], numbers: dict[str, float], places: dict[str, int]) -> UnitCell:
    missing = [
        key for key in ("lattice_type", "centering", *_LENGTHS, *_ANGLES) if key not in words and key not in numbers
    ]
    if missing:
        raise CellError(f"the cell has no {', '.join(missing)}", None)
    cell = UnitCell(
        **{name: numbers[name] for name in _LENGTHS},
        **{attribute: numbers[name] for name, attribute in _ANGLES.items()},
        lattice_type=next(known for known in LATTICE_TYPES if known == words["lattice_type"]),
        centring=next(known for known in CENTRINGS if known == words["centering"]),
        unique_axis=words.get("unique_axis", "?"),
    )
    return check_cell(cell, places)


def _cell_of_pdb(lines: list[str]) -> UnitCell:
    for line_number, line in enumerate(lines, start=1):
        if line.startswith("CRYST1"):
            return _cell_of_cryst1(line, line_number)
    raise CellError(
        f"this is no unit cell file: expected '{TITLE}' as its first line, or a PDB file with CRYST1", 1
    )


def _cell_of_cryst1(line: str, line_number: int) -> UnitCell:
    numbers = [whole_number(line[first:last].strip()) for first, last in _PDB_COLUMNS]
    symbol = line[55:66].strip()
    if None in numbers:
        parts = line[6:].split(maxsplit=6)
        numbers = [whole_number(part) for part in parts[:6]]
        symbol = parts[6].strip() if len(parts) > 6 else ""
    found = [number for number in numbers if number is not None]
    if len(found) != len(_PDB_COLUMNS):
        raise CellError("CRYST1 is not understood: expected three lengths [A] and three angles [deg]", line_number)
    if found[:3] == [1.0, 1.0, 1.0]:
        raise CellError("CRYST1 holds the placeholder 1 1 1: this structure has no unit cell", line_number)
    a, b, c, alpha, beta, gamma = found
    cell = UnitCell(a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma)
    places = dict.fromkeys((*_LENGTHS, *_ANGLES, *_WORDS), line_number)
    lattice_type: LatticeType
    centring: Centring
    lattice_type, centring, unique_axis = lattice_of_space_group(symbol, cell, line_number)
    named = UnitCell(
        a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma,
        lattice_type=lattice_type, centring=centring, unique_axis=unique_axis,
    )  # fmt: skip
    return check_cell(named, places)
