"""A parser of command lines that guesses nothing: each word is an option, the value of one, or an operand.

`argparse` takes a word that begins with a dash for an operand where it holds a blank, and lets no value begin with
a dash.  GNU's rule is plainer: what begins with a dash is an option, and an option that takes a value owns the next
word.  So the words are understood here, and `argparse` gets them with full names and values behind `=`.
"""

import argparse
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from braggstream.model.near_names import did_you_mean, near_names

LONG_DASHES = "‐‑‒–—―−"
"""What word processors make of two dashes."""
MOST_NAMED = 8
"""So many options are named where an abbreviation may be any of them."""


@dataclass(slots=True)
class Understood:
    """A command line, word by word."""

    options: list[str] = field(default_factory=list)
    """Those that are given, each one word: with its full name, and its value behind `=`."""
    operands: list[str] = field(default_factory=list)
    """The words that belong to no option; from its name on, all that belongs to a command."""
    before_operands: str = ""
    """The word before the first of them."""
    repeated: dict[str, None] = field(default_factory=dict)
    """Options that are given more than once, with different values."""
    values: dict[str, str | None] = field(default_factory=dict)

    def add_option(self, action: argparse.Action, value: str | None) -> None:
        """Take an option; one that does not collect its values is noted where it had another one before."""
        name, before = action.option_strings[-1], self.values.get(action.dest)
        if None not in (value, before) and value != before and not isinstance(action, argparse._AppendAction):
            self.repeated[name] = None
        self.values[action.dest] = value
        self.options.append(name if value is None else f"{name}{'=' * name.startswith('--')}{value}")

    def add_operands(self, words: Iterable[str], before: str) -> None:
        """Take operands, which came after another word."""
        if not self.operands:
            self.before_operands = before
        self.operands += words


class CommandParser(argparse.ArgumentParser):
    """Parses the command line of one program, or of one command of `braggstream`."""

    syntax_error = 2
    """Exit status where the command line cannot be understood."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._has_commands = False

    def add_subparsers(self, **more: Any) -> Any:
        """Add commands with options of their own, which begin behind the command's name."""
        self._has_commands = True
        return super().add_subparsers(**more)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words; an option that is not there ends the program, as with `parse_args`."""
        words = sys.argv[1:] if args is None else args
        return self.understand(words, namespace)[0], []

    def understand(self, words: Sequence[str], namespace: Any = None) -> tuple[Any, Understood]:
        """Parse words; gives the values, and what each word is."""
        found = self.split(words)
        if self._has_commands or not found.operands:
            operands = found.operands
        else:
            operands = ["--", *found.operands] if self._get_positional_actions() else []
        values, _ = super().parse_known_args([*found.options, *operands], namespace)
        if found.operands and not operands:
            self.error(_stray(found.operands[0], found.before_operands))
        return values, found

    def split(self, words: Sequence[str]) -> Understood:
        """Tell options and operands apart; leaves where an option is not there, or is used in the wrong way."""
        found, before, rest = Understood(), "", deque(words)
        while rest:
            word = rest.popleft()
            if word == "--":
                found.add_operands(rest, word)
                break
            if word.startswith("-") and word != "-":
                for action, value in self._understood(word, rest):
                    found.add_option(action, value)
            else:
                self._check_operand(word)
                found.add_operands([word], before)
                if self._has_commands:
                    found.operands += rest
                    break
            before = words[len(words) - len(rest) - 1]
        return found

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and where the help is."""
        hint = "" if "?" in message else f"; try '{self.prog} --help'"
        self.exit(self.syntax_error, f"{self.prog}: {message}{hint}\n")

    def unrecognized(self, name: str) -> NoReturn:
        """Leave because of an option that is not there."""
        plain = name.split(maxsplit=1)[0]
        if plain in self._option_string_actions:
            self.error(f"{plain} and its value are one word with a blank: write {plain}=VALUE, or leave quotes out")
        near = did_you_mean(plain, (each for each in self._option_string_actions if each.startswith("--")))
        self.error(f"unrecognized option {plain}{near}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(each) for each in action.choices]
            near = did_you_mean(str(value), names)
            raise argparse.ArgumentError(action, f"'{value}' is not one of {', '.join(names)}{near}")

    def _understood(self, word: str, rest: deque[str]) -> Iterator[tuple[argparse.Action, str | None]]:
        """Tell which options a word stands for, and take the value of the last one from what follows."""
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            action = self._long(name)
            if equals and action.nargs == 0:
                self.error(f"option {name} takes no value, not '{value}'")
            yield action, value if equals else self._next_value(action, rest)
            return
        self._check_dashes(word)
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            action = self._option_string_actions.get(name) or self.unrecognized(name)
            if action.nargs == 0:
                yield action, None
                continue
            yield action, letters or self._next_value(action, rest)
            return

    def _long(self, name: str) -> argparse.Action:
        """Find the option with a name, or with one that begins so, where there is only one such."""
        found = self._option_string_actions.get(name)
        if found is not None:
            return found
        begun = {each: action for each, action in self._option_string_actions.items() if each.startswith(name)}
        actions = list({id(action): action for action in begun.values()}.values())
        if not actions or not self.allow_abbrev:
            self.unrecognized(name)
        if len(actions) > 1:
            more = ", ..." * (len(begun) > MOST_NAMED)
            self.error(f"ambiguous option {name}: it may be {', '.join(list(begun)[:MOST_NAMED])}{more}")
        return actions[0]

    def _next_value(self, action: argparse.Action, rest: deque[str]) -> str | None:
        """Take the next word where it is the value of an option; one that may be left out begins with no dash."""
        if action.nargs == 0 or (action.nargs == "?" and (not rest or rest[0].startswith("-"))):
            return None
        if not rest:
            self.error(f"option {action.option_strings[-1]} needs a value: {action.metavar or 'VALUE'}")
        return rest.popleft()

    def _check_dashes(self, word: str) -> None:
        """Refuse a long name behind one dash: its first letter would be the option and the rest the value."""
        name = word.partition("=")[0]
        if len(name) > 2 and f"-{name}" in self._option_string_actions:
            self.error(f"unrecognized option {name}; did you mean -{name}?")

    def _check_operand(self, word: str) -> None:
        """Refuse an option whose dashes have become one long dash."""
        name = f"--{word.lstrip(LONG_DASHES + '-')}".partition("=")[0]
        if word[:1] in LONG_DASHES and word[:1] and near_names(name, self._option_string_actions):
            self.error(f"unrecognized option {word}: it begins with '{word[0]}'; did you mean two plain dashes?")


def _stray(word: str, before: str) -> str:
    """Explain a word that belongs to no option by the one before it."""
    if before.startswith("--") and before.endswith("="):
        return f"there is a blank behind {before}: expected its value there"
    if before == "--":
        return f"'{word}' belongs to no option: what follows '--' is none"
    return f"'{word}' belongs to no option" + f" (after '{before}')" * bool(before)
