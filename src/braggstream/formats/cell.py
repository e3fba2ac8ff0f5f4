"""Unit cell files: CrystFEL's own format, and the CRYST1 record of PDB files."""

import re
from collections.abc import Callable, Mapping
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


Say = Callable[[str], None]
"""Takes a remark on a file that is taken, but perhaps not as its author thinks."""


def _keep_quiet(remark: str) -> None:
    pass


def read_cell(path: str | Path, say: Say = _keep_quiet) -> UnitCell:
    """Read a unit cell from a CrystFEL cell file or a PDB file; raises `UserError` with the line at fault.

    `say` takes remarks.
    """
    return parse_cell(_text_of(path), str(path), say)


def read_target_cell(path: str | Path, say: Say = _keep_quiet) -> UnitCell | None:
    """Read what lattices are expected to be: as `read_cell`, but None where the file gives no parameters."""
    return parse_target_cell(_text_of(path), str(path), say)


def parse_cell(text: str, path: str = "", say: Say = _keep_quiet) -> UnitCell:
    """Read a unit cell from the text of a CrystFEL cell file or a PDB file.

    The format is told by the first line.  A unique axis that is not given is taken from the cell parameters; these
    must fit the lattice type within 2 percent and 2 degrees.  Raises `UserError` with the line at fault.
    """
    remarks: list[str] = []
    cell = parse_target_cell(text, path, remarks.append)
    if cell is None:
        missing = ", ".join((*_LENGTHS, *_ANGLES))
        raise UserError(f"gives a lattice type only, and {missing} are needed here", path=path or "cell")
    for remark in remarks:
        say(remark)
    return cell


def parse_target_cell(text: str, path: str = "", say: Say = _keep_quiet) -> UnitCell | None:
    """Read a cell as `parse_cell` does; None, with a remark, where there are a lattice type and no parameters."""
    lines, path = split_lines(text), path or "cell"
    try:
        if lines and lines[0].startswith(TITLE):
            return _cell_of_statements(lines, lambda remark: say(f"{path}: {remark}"))
        return _cell_of_pdb(lines, lambda remark: say(f"{path}: {remark}"))
    except CellError as fault:
        raise UserError(str(fault), path=path, line=fault.line or max(1, len(lines))) from None


def _text_of(path: str | Path) -> str:
    return read_text_file(path, "unit cell file", max_bytes=MAX_BYTES)


def write_cell(cell: UnitCell, *, decimals: int = 2) -> str:
    """Write a cell as the text of a CrystFEL cell file, in Å and degrees; CrystFEL writes two decimals."""
    lines = [TITLE, "", f"lattice_type = {cell.lattice_type}"]
    if cell.lattice_type in HAS_UNIQUE_AXIS:
        lines.append(f"unique_axis = {cell.unique_axis}")
    lines.append(f"centering = {cell.centring}")
    lines.extend(f"{name} = {getattr(cell, name):.{decimals}f} A" for name in _LENGTHS)
    lines.extend(f"{name} = {getattr(cell, attribute):.{decimals}f} deg" for name, attribute in _ANGLES.items())
    return "\n".join(lines) + "\n"


def _cell_of_statements(lines: list[str], say: Say) -> UnitCell | None:
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
    if "lattice_type" in words and not numbers:
        say(f"a {words['lattice_type']} lattice without parameters: there is no cell to look for or compare with")
        return None
    return _assemble(words, numbers, places, say)


def _word(key: str, value: str, line: int) -> str:
    if value not in _WORDS[key]:
        raise CellError(f"{key} = '{value[:60]}': expected {', '.join(_WORDS[key])}", line)
    return value


def _measure(key: str, value: str, line: int) -> float:
    units = _LENGTH_UNITS if key in _LENGTHS else _ANGLE_UNITS
    number, *unit = value.split()[:3] or [""]
    found = whole_number(number)
    if found is None or len(unit) != 1 or unit[0] not in units:
        raise CellError(f"{key} = '{value[:60]}': expected a number and {' or '.join(units)}{_hint(value)}", line)
    return found * units[unit[0]]


def _hint(value: str) -> str:
    """Say what is often meant by a value that is not understood."""
    if re.search(r"\d,\d", value):
        return ", with a decimal point and no comma"
    if re.search(r"\d[dD][-+]?\d", value):
        return "; write powers of ten with an e"
    return "; ';' begins a comment" if re.search(r"[#!/%(]", value) else ""


def _assemble(words: dict[str, str], numbers: dict[str, float], places: dict[str, int], say: Say) -> UnitCell:
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
    if cell.lattice_type == "triclinic" and cell.centring != "P":
        say(f"a triclinic lattice with centering {cell.centring}: its parameters are refined without a restraint")
    return check_cell(cell, places)


def _cell_of_pdb(lines: list[str], say: Say) -> UnitCell:
    for line_number, line in enumerate(lines, start=1):
        if line.startswith("CRYST1"):
            return _cell_of_cryst1(line, line_number, say)
    raise CellError(
        f"this is no unit cell file: expected '{TITLE}' as its first line, or a PDB file with CRYST1", 1
    )


def _cell_of_cryst1(line: str, line_number: int, say: Say) -> UnitCell:
    numbers = [whole_number(line[first:last].strip()) for first, last in _PDB_COLUMNS]
    symbol = line[55:66].strip()
    if None in numbers:
        parts = line[6:].split(maxsplit=6)
        numbers = [whole_number(part) for part in parts[:6]]
        symbol = parts[6].strip() if len(parts) > 6 else ""
    symbol = "" if symbol.isdigit() else symbol  # A number alone is Z.
    found = [number for number in numbers if number is not None]
    if len(found) != len(_PDB_COLUMNS):
        raise CellError("CRYST1 is not understood: expected three lengths [A] and three angles [deg]", line_number)
    if found[:3] == [1.0, 1.0, 1.0]:
        raise CellError("CRYST1 holds the placeholder 1 1 1: this structure has no unit cell", line_number)
    a, b, c, alpha, beta, gamma = found
    cell = UnitCell(a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma)
    places = dict.fromkeys((*_LENGTHS, *_ANGLES, *_WORDS), line_number)
    if not symbol:
        say("CRYST1 names no space group: the cell is taken as triclinic P, without a restraint on its parameters")
        return check_cell(cell, places)
    lattice_type: LatticeType
    centring: Centring
    lattice_type, centring, unique_axis = lattice_of_space_group(symbol, cell, line_number)
    named = UnitCell(
        a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma,
        lattice_type=lattice_type, centring=centring, unique_axis=unique_axis,
    )  # fmt: skip
    return check_cell(named, places)
