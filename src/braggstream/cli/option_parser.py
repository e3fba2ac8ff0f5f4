"""Turn the words of a command line into values, with GNU syntax and CrystFEL's exit statuses.

One parser for `indexamajig` and for the merging tools: each brings the table of its options.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any, NoReturn

from braggstream import __version__
from braggstream.cli.command_parser import CommandParser
from braggstream.cli.option import LARGEST, Option
from braggstream.cli.option_table import GROUPS
from braggstream.cli.process_start import SECRET_OPTION, SHORTEST
from braggstream.cli.run_options import OF_THE_MANUAL
from braggstream.model.errors import UserError

SYNTAX_ERROR = 64
"""Exit status of an unknown or ambiguous option, a missing value, or a value given to a flag."""

Groups = Mapping[str, Sequence[Option]]
"""Options of a program, by the title under which its help shows them."""

SECRET_VALUE = re.compile(rf"({SECRET_OPTION[:SHORTEST]}\w*)=\S+")
"""A token behind an option that is misspelt or too short: it is shown by no message."""

VALUED = frozenset({"text", "integer", "number", "radii", "list"})
"""Kinds of options that take a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program whose command line is parsed: how it is called, and what its help says."""

    name: str
    usage: str = ""
    description: str = ""
    operands: str = ""
    """Key under which words that belong to no option are kept; empty where there are none to be."""
    syntax_error: int = 1
    """Exit status where the command line cannot be understood."""
    short_help: bool = False
    """Whether `-?`, `-v` and `-V` ask for help and version, as with `indexamajig`."""


INDEXAMAJIG = Program(
    name="indexamajig",
    usage="indexamajig -i FILE -o FILE -g FILE [options]",
    description="Find peaks, index and integrate serial crystallography frames, from files or from a running "
    "detector, and write a CrystFEL stream file.",
    syntax_error=SYNTAX_ERROR,
    short_help=True,
)


class OptionParser(CommandParser):
    """A parser that leaves with the program's own status where the command line cannot be understood."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and where the help is."""
        super().error(SECRET_VALUE.sub(r"\1=***", message))

    def unrecognized(self, name: str) -> NoReturn:
        """Leave because of an option that is not there; names of the reference's manual have their own advice."""
        if name in OF_THE_MANUAL:
            self.exit(self.syntax_error, f"{self.prog}: unrecognized option {name}; {OF_THE_MANUAL[name]}\n")
        super().unrecognized(name)


def parse_options(
    words: Sequence[str], groups: Groups = GROUPS, *, program: Program | str = INDEXAMAJIG
) -> dict[str, Any]:
    """Parse a command line.

    Parameters
    ----------
    words
        The words after the program's name.
    groups
        Its options.
    program
        The program, or only its name.

    Returns
    -------
    dict
        The value of each option, by its key; the words that belong to none are under `program.operands`.

    Raises
    ------
    UserError
        For a value that is none.  What cannot be understood at all ends the process, as a call for help does.
    """
    if isinstance(program, str):
        program = Program(name=program)
    options = [option for group in groups.values() for option in group]
    parser = _parser(groups, program)
    found, understood = parser.understand(words)
    for name in understood.repeated:
        print(f"{program.name}: {name} is given more than once: only the last one counts", file=sys.stderr)
    values: dict[str, Any] = {program.operands: tuple(understood.operands)} if program.operands else {}
    for option in options:
        text = getattr(found, option.key, None)
        if option.kind == "refused" and text is not None:
            raise UserError(f"{option.names[-1]}: {option.help}")
        if option.kind == "ignored" and text is not None:
            print(f"{option.names[-1]}: accepted without effect: {option.help}", file=sys.stderr)
        if option.kind not in ("refused", "ignored", "undo"):
            values[option.key] = option.default if text is None else _convert(option, text)
    return values


def given(words: Sequence[str], groups: Groups = GROUPS, *, program: Program = INDEXAMAJIG) -> dict[str, Any]:
    """Tell what a command line gives for each option, by its key, as text, unjudged; None: nothing."""
    return vars(_parser(groups, program).parse_args(words))


def parse_beside(words: Sequence[str], own: Groups, *, program: Program) -> tuple[dict[str, Any], list[str]]:
    """Parse a command line of `indexamajig` with a few more options; gives their values, and the other words."""
    _, understood = _parser({**own, **GROUPS}, program).understand(words)
    names = {option.names[-1] for group in own.values() for option in group}
    own_words = [word for word in understood.options if word.partition("=")[0] in names]
    rest = [word for word in understood.options if word.partition("=")[0] not in names]
    return parse_options(own_words, own, program=program), rest


def check_value(option: Option, text: str) -> None:
    """Raise `UserError` where a text is no value of an option."""
    _convert(option, text)


def _parser(groups: Groups, program: Program) -> OptionParser:
    parser = OptionParser(
        prog=program.name,
        usage=program.usage or f"{program.name} [options]",
        description=program.description,
        add_help=False,
    )
    parser.syntax_error = program.syntax_error
    if program.operands:
        parser.add_argument(program.operands, nargs="*", help=argparse.SUPPRESS)
    about = parser.add_argument_group("Help")
    about.add_argument("-h", *(["-?"] * program.short_help), "--help", action="help", help="show this and leave")
    about.add_argument("--usage", action="version", version=f"usage: {parser.usage}", help=argparse.SUPPRESS)
    asks = ["-v", "-V"] * program.short_help
    about.add_argument(*asks, "--version", action="version", version=_version(program), help="show the version")
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for option in options:
            _add(group, option)
    return parser


def _version(program: Program) -> str:
    return f"Braggstream {__version__}: {program.name}, compatible with CrystFEL 0.12.0 (BSD-3-Clause)"


def _add(group: Any, option: Option) -> None:
    more: dict[str, Any] = {"dest": option.key, "help": argparse.SUPPRESS if option.hidden else _help(option)}
    if option.kind == "undo":
        more["dest"] = option.default
    takes_value = option.kind in VALUED or bool(option.argument)
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
