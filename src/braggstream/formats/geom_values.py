"""Values of a geometry file's statements: numbers, directions, switches, quantities with a unit."""

import re
from collections.abc import Mapping
from math import inf, isfinite, isnan

from braggstream.formats.c_numbers import leading_number, whole_integer, whole_number
from braggstream.formats.geom_lines import Complain, StatementError, shown
from braggstream.model.geometry import AxisRole, Quantity

MAX_INDEX = 2**31 - 1
"""Largest pixel index or fixed axis index."""
MAX_BITS = 2**64
"""Sets of bits are below this."""

_NOT_ALL_OF_A_NUMBER = re.compile(r",[0-9]|[dD][+-]?[0-9]")
"""What follows the first part of `1,5` and of Fortran's `1.5D-3`."""
_PLAIN_BITS = re.compile(r"\+?(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})(?![0-9a-fA-F.pP])")
_VECTOR_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_VECTOR_TERM = re.compile(rf"([+-]?)({_VECTOR_NUMBER}?)([xyz])")
_VECTOR = re.compile(rf"[+-]?{_VECTOR_NUMBER}?[xyz](?:[+-]{_VECTOR_NUMBER}?[xyz])*")
_LONG_INTEGER = re.compile(r"[+-]?[0-9]{16,20}(?![0-9.eE])")
_LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,300})")


def text_value(value: str, complain: Complain) -> str:
    """Take a path, key or file name as it stands; it must not be empty."""
    if not value:
        raise StatementError("the value is empty, expected a path or name")
    return value


def number(value: str, complain: Complain) -> float:
    """Read the number that the value starts with; text after it is remarked on and ignored."""
    found = leading_number(value)
    if found is None or isnan(found[0]):
        raise StatementError(f"'{shown(value)}' is no number")
    rest = found[1].strip()
    if _NOT_ALL_OF_A_NUMBER.match(found[1]):
        raise StatementError(
            f"'{shown(value)}' is no number: expected a decimal point, and e before a power of ten"
        )
    if rest:
        complain(f"'{shown(rest)}' after the number is ignored")
    return found[0]


def flag_value(value: str, complain: Complain) -> int | float:
    """Read a number to compare pixels with; one of so many digits that a float would change it stays whole."""
    found = number(value, complain)
    exact = _LONG_INTEGER.match(value)
    return found if exact is None or abs(int(exact[0])) >= MAX_BITS else int(exact[0])


def finite_number(value: str, complain: Complain) -> float:
    """Read a number that is not infinite."""
    found = number(value, complain)
    if not isfinite(found):
        raise StatementError(f"'{shown(value)}' is too large, expected a finite number")
    return found


def metres(value: str, complain: Complain) -> float:
    """Read a length, which is in metres whatever unit stands after it."""
    return finite_number(value, lambda remark: complain(f"{remark}: the number is in metres"))


def index(value: str, complain: Complain) -> int:
    """Read a pixel index; a fraction is cut off."""
    found = number(value, complain)
    if abs(found) > MAX_INDEX:
        raise StatementError(f"'{shown(value)}' is too large for a pixel index, the limit is {MAX_INDEX}")
    return int(found)


def pixel_count(value: str, complain: Complain) -> int:
    """Read a strictly decimal integer; an empty value counts as 0."""
    found = whole_integer(value) if value else 0
    if found is None or abs(found) > MAX_INDEX:
        raise StatementError(f"'{shown(value)}' is no whole number of pixels")
    return found


def bits(value: str, complain: Complain) -> int:
    """Read the bits of a mask: decimal or hexadecimal."""
    found = number(value, complain)
    # A double has not enough digits for 64 bits, so plain integers are read again as such.
    plain = _PLAIN_BITS.match(value)
    if plain is not None:
        digits = plain[1]
        pattern = int(digits, 16 if digits[:2].lower() == "0x" else 10)
    else:
        pattern = int(found) if abs(found) < MAX_BITS else -1
    if not 0 <= pattern < MAX_BITS:
        raise StatementError(f"'{shown(value)}' is no set of bits, expected a number from 0 to 0xffffffffffffffff")
    return pattern


def switch(value: str, complain: Complain) -> bool:
    """Read `true`, `false` or a number, of which any but 0 is true."""
    word = value.lower()
    if word in ("true", "false"):
        return word == "true"
    digits = _LEADING_INTEGER.match(value)
    if digits is None:
        complain(f"'{shown(value)}' counts as false: expected true, false, 1 or 0")
        return False
    return digits[1].strip("+-0") != ""


def direction(value: str, complain: Complain) -> tuple[float, float, float]:
    """Read a direction such as `-0.5x +1.0y +0.1z` [px]."""
    compact = value.replace(" ", "")
    if not _VECTOR.fullmatch(compact):
        raise StatementError(
            f"'{shown(value)}' is no direction: expected x, y and z with plain numbers and a sign between them, "
            "as in -0.5x +1.0y +0.1z"
        )
    vector = {"x": 0.0, "y": 0.0, "z": 0.0}
    for sign, size, axis in _VECTOR_TERM.findall(compact):
        vector[axis] += float(f"{sign}{size or 1}")
    if not all(isfinite(part) for part in vector.values()):
        raise StatementError(f"'{shown(value)}' is too large, expected finite numbers")
    return vector["x"], vector["y"], vector["z"]


def axis_role(value: str, complain: Complain) -> AxisRole | None:
    """Read what an axis of the data is; None, with a remark, where that is not understood."""
    if value == "ss":
        return "ss"
    if value == "fs":
        return "fs"
    if value == "%":
        return "%"
    if not value:
        complain("no role given, index 0 is taken")
        return 0
    fixed = whole_integer(value)
    if fixed is None:
        complain(f"'{shown(value)}' is no role of an axis (ss, fs, % or an index) and is ignored")
        return None
    if not 0 <= fixed <= MAX_INDEX:
        raise StatementError(f"'{shown(value)}' is no role of an axis: expected ss, fs, % or an index from 0")
    return fixed


def quantity(
    value: str,
    complain: Complain,
    *,
    units: Mapping[str, float],
    bare_unit: str | None,
    bare_header_unit: str | None = None,
) -> Quantity:
    """Read `NUMBER UNIT` or `HEADER UNIT`, with exactly one space between.

    Parameters
    ----------
    value
        The statement's value.
    complain
        Takes remarks.
    units
        Factor of each unit that may be written.
    bare_unit
        The unit of a number without one; None where a unit must be given.
    bare_header_unit
        The same for the name of a header; None = as `bare_unit`.
    """
    name, space, unit = value.partition(" ")
    expected = f"expected a number or the name of a header, one space, and {' or '.join(units)}"
    if not name or not name.isprintable():
        raise StatementError(f"'{shown(value)}' is not understood: {expected}")
    literal = whole_number(name)
    if space:
        if unit not in units:
            raise StatementError(f"'{shown(unit)}' is no unit here: {expected}{_hint_at_comment(unit, units)}")
        factor = units[unit]
    else:
        implied = bare_unit if literal is not None or bare_header_unit is None else bare_header_unit
        if implied is None:
            raise StatementError(f"'{shown(value)}' has no unit: {expected}")
        factor = units[implied]
    if literal is None:
        if name[0].isdigit():
            complain(
                f"'{shown(name)}' is taken as the name of a header; a number and its unit need a space between"
            )
        return Quantity(header=name, unit=unit, factor=factor)
    return Quantity(value=literal, unit=unit, factor=factor)


def _hint_at_comment(unit: str, units: Mapping[str, float]) -> str:
    """Say what begins a comment, where a good unit has more behind it."""
    first, *more = unit.split(maxsplit=1)[:2] or [""]
    return "; ';' begins a comment" if more and first.rstrip(",.#!/(") in units else ""


def positive_quantity(found: Quantity) -> Quantity:
    """Pass a quantity on whose number, if it is written in the file, is above zero and finite."""
    if found.value is not None and not 0 < found.value * found.factor < inf:
        raise StatementError(f"{found.value:g} is out of range, expected a positive number")
    return found


def finite_quantity(found: Quantity) -> Quantity:
    """Pass a quantity on whose number, if it is written in the file, is finite."""
    if found.value is not None and not isfinite(found.value * found.factor):
        raise StatementError(f"{found.value:g} is out of range, expected a finite number")
    return found
