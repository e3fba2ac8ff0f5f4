"""Turn the words of `indexamajig`'s command line into values, with GNU syntax and CrystFEL's exit statuses."""

import argparse
import sys
from collections.abc import Sequence
from math import isfinite, isnan
from typing import Any, NoReturn

from braggstream import __version__
from braggstream.cli.option import LARGEST, Option
from braggstream.cli.option_table import GROUPS
from braggstream.model.errors import UserError

SYNTAX_ERROR = 64
"""Exit status of an unknown or ambiguous option, a missing value, or a value given to a flag."""

USAGE = "indexamajig -i FILE -o FILE -g FILE [options]"
DESCRIPTION = (
    "Find peaks, index and integrate serial crystallography frames, from files or from a running detector, "
    "and write a CrystFEL stream file."
)


class OptionParser(argparse.ArgumentParser):
    """A parser that leaves with status 64 where the command line cannot be understood."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and where the help is."""
        self.exit(SYNTAX_ERROR, f"{self.prog}: {message}; try '{self.prog} --help'\n")


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Parse the command line; raises `UserError` for values, leaves with status 64 for syntax errors."""
    parser = _parser()
    found = vars(parser.parse_args(list(words)))
    stray = found.pop("stray")
    if stray:
        print(f"indexamajig: ignored: {' '.join(stray)} (there are no positional arguments)", file=sys.stderr)
    values: dict[str, Any] = {}
    for option in _all_options():
        text = found.get(option.key)
        if option.kind == "refused" and text is not None:
            raise UserError(f"{option.names[-1]}: {option.help}")
        if option.kind == "ignored" and text is not None:
            print(f"{option.names[-1]}: accepted without effect: {option.help}", file=sys.stderr)
        if option.kind not in ("refused", "ignored", "undo"):
            values[option.key] = option.default if text is None else _convert(option, text)
    return values


def _all_options() -> list[Option]:
    return [option for group in GROUPS.values() for option in group]


def _parser() -> OptionParser:
    parser = OptionParser(prog="indexamajig", usage=USAGE, description=DESCRIPTION, add_help=False)
    about = parser.add_argument_group("Help")
    about.add_argument("-h", "-?", "--help", action="help", help="show this and leave")
    about.add_argument("--usage", action="version", version=f"usage: {USAGE}", help=argparse.SUPPRESS)
    about.add_argument("-v", "-V", "--version", action="version", version=_version(), help="show the version")
    parser.add_argument("stray", nargs="*", help=argparse.SUPPRESS)
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            _add(group, option)
    return parser


def _version() -> str:
    return f"Braggstream {__version__}: indexamajig, compatible with CrystFEL 0.12.0 (BSD-3-Clause)"


def _add(group: Any, option: Option) -> None:
    more: dict[str, Any] = {"dest": option.key, "help": argparse.SUPPRESS if option.hidden else _help(option)}
    if option.kind == "undo":
        more["dest"] = option.default
    takes_value = option.kind in ("text", "integer", "number", "radii", "list") or bool(option.argument)
    if option.kind == "optional":
        more |= {"nargs": "?", "const": "", "metavar": option.argument}
    elif not takes_value:
        more |= {"action": "store_const", "const": option.kind != "undo"}
    elif option.kind == "list":
        more |= {"action": "append", "metavar": option.argument}
    else:
        more |= {"metavar": option.argument}
    group.add_argument(*option.names, **more)


def _help(option: Option) -> str:
    text = option.help.replace("%", "%%")
    if option.kind == "refused":
        return f"refused: {text}"
    if option.kind == "ignored":
        return f"accepted without effect: {text}"
    if option.kind in ("flag", "undo", "list", "optional") or option.default in (None, ""):
        return text
    shown = ",".join(f"{r:g}" for r in option.default) if option.kind == "radii" else option.default
    return f"{text} (default: {shown})"


def _convert(option: Option, text: Any) -> Any:
    if option.kind in ("integer", "number"):
        return _number(option, text)
    if option.kind == "radii":
        return _radii(option, text)
    return tuple(text) if option.kind == "list" else text


def _number(option: Option, text: str) -> Any:
    name, is_whole = option.names[-1], option.kind == "integer"
    expected = f"{name}={text}: expected {'a whole number' if is_whole else 'a number'}"
    try:
        number = int(text) if is_whole else float(text)
    except ValueError:
        raise UserError(expected) from None
    if isnan(number) or (is_whole and abs(number) > LARGEST):
        raise UserError(expected)
    if not is_whole and not isfinite(number) and not option.may_be_infinite:
        raise UserError(f"{expected} that is finite")
    if number < option.least:
        raise UserError(f"{expected}, at least {option.least:g}")
    if number > option.most:
        raise UserError(f"{expected}, at most {option.most:g}")
    return number


def _radii(option: Option, text: str) -> tuple[float, ...] | None:
    """Understand three radii; None where a negative first one asks for the default."""
    expected = f"{option.names[-1]}={text}: expected three radii such as 3,4,5"
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        raise UserError(expected) from None
    if len(numbers) != 3:
        raise UserError(expected)
    if not numbers[0] <= numbers[1] <= numbers[2] <= option.most:
        raise UserError(f"{expected}, in ascending order, at most {option.most:g}")
    if numbers[0] < option.least:
        raise UserError(f"{expected}, at least {option.least:g}")
    return None if numbers[0] < 0 else tuple(numbers)
