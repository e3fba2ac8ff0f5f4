"""Numbers in text as C's `strtod` and `atof` read them, which is what CrystFEL's file formats mean by a number."""

import re

_DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_HEXADECIMAL = r"0[xX](?:[0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
_WORD = r"(?:inf(?:inity)?|nan(?:\([0-9a-zA-Z_]*\))?)"
_NUMBER = re.compile(rf"[+-]?(?:(?P<hex>{_HEXADECIMAL})|{_DECIMAL}|(?P<word>(?i:{_WORD})))")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_BLANKS = " \t\n\v\f\r"


def leading_number(text: str) -> tuple[float, str] | None:
    """Split `text` into the longest number it starts with and the rest; None where it starts with none.

    Leading blanks are passed over.  Hexadecimal numbers, `inf` and `nan` are numbers; one that is too large is
    infinite.
    """
    text = text.lstrip(_BLANKS)
    match = _NUMBER.match(text)
    if match is None:
        return None
    return _value(match), text[match.end() :]


def whole_number(text: str) -> float | None:
    """Read `text` that is wholly a number; None where it is not."""
    found = leading_number(text)
    return found[0] if found is not None and not found[1] else None


def whole_integer(text: str) -> int | None:
    """Read `text` that is wholly a decimal integer of at most 18 digits; None where it is not."""
    return int(text) if _INTEGER.fullmatch(text) else None


def _value(match: re.Match[str]) -> float:
    number = match.group()
    if match["word"]:
        sign = -1.0 if number.startswith("-") else 1.0
        return sign * float(match["word"][:3])
    if not match["hex"]:
        return float(number)
    try:
        return float.fromhex(number)
    except OverflowError:
        return float("-inf") if number.startswith("-") else float("inf")
