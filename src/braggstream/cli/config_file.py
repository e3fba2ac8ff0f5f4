"""Options of `indexamajig` in a TOML file (`--config`), and the ones in force written as such a file.

    # run.toml
    geometry = "detector.geom"
    peaks = "peakfinder8"
    min-snr = 5
    int-radius = [3, 4, 5]
    no-retry = true

The keys are the names of the options without their dashes.  A file becomes words in front of those of the command
line, so the rules are the same: of two values the last one counts.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from math import isinf
from pathlib import Path
from typing import Any

from braggstream import __version__
from braggstream.cli.option import Option
from braggstream.cli.option_parser import Groups, check_value, given, parse_options
from braggstream.cli.option_table import GROUPS
from braggstream.formats.replaced_file import replace_file
from braggstream.model.errors import UserError
from braggstream.model.near_names import near_names

MAX_BYTES = 1 << 20
OWN = ("config", "write_config")
"""Options that are about such files and not in them."""
EXPECTED = {"integer": "a whole number", "number": "a number", "flag": "true or false", "undo": "true"}


def read_options(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Parse the command line of `indexamajig` together with the file that it names.

    Returns
    -------
    words
        All words in force: those of the file, then those of the command line without the file.
    options
        The value of each option, by its key.
    """
    path = given(words)["config"]
    if path is None:
        return list(words), parse_options(words)
    words = [*config_words(path, given(words), GROUPS), *_without_config(words)]
    return words, parse_options(words)


def _without_config(words: Sequence[str]) -> list[str]:
    """Leave out where options come from: they are there themselves."""
    left: list[str] = []
    skips = False
    for word in words:
        name, has_value, _ = word.partition("=")
        is_meant = len(name) > len("--con") - 1 and "--config".startswith(name)
        if not (skips or is_meant):
            left.append(word)
        skips = is_meant and not has_value
    return left


def config_words(path: str, on_command_line: Mapping[str, Any], groups: Groups) -> list[str]:
    """Read a file of options.

    Parameters
    ----------
    path
        The file.
    on_command_line
        Options that the command line gives, by key: they take the place of the file's.
    groups
        The table of options.

    Returns
    -------
    list of str
        Words to be put in front of those of the command line.

    Raises
    ------
    UserError
        The file cannot be read, or an entry is no option or has no sensible value; with the number of its line.
    """
    text = _text(path)
    known = {_plain(name): option for group in groups.values() for option in group for name in option.names}
    words: list[str] = []
    for key, value in _entries(text, path).items():
        line = _line_of(key, text)
        option = known.get(key.replace("_", "-"))
        if option is None or option.key in OWN:
            raise UserError(_no_option(key, known), path=path, line=line)
        try:
            found = _words_of(option, value)
        except UserError as error:
            raise UserError(str(error), path=path, line=line) from None
        destination = option.default if option.kind == "undo" else option.key
        if on_command_line.get(destination) is None:
            words += found
    return words


def write_config(options: Mapping[str, Any]) -> None:
    """Write the options in force to the file that they name; raises `UserError`."""
    path = options["write_config"]
    for name in ("input", "geometry", "pdb", "output"):
        if options[name] is not None and Path(options[name]).resolve() == Path(path).resolve():
            raise UserError(f"--write-config={path} would overwrite {options[name]}: give another name")
    try:
        replace_file(path, config_text(options, GROUPS))
    except OSError as error:
        raise UserError(f"cannot be written (--write-config): {error.strerror}", path=path) from None


def config_text(values: Mapping[str, Any], groups: Groups) -> str:
    """Write the options in force as a file: those that are not as they are by default."""
    lines = [f"# indexamajig --config=FILE (Braggstream {__version__}); what is not here is as it is by default"]
    for title, options in groups.items():
        entries = [_entry(option, values[option.key]) for option in options if _is_stated(option, values)]
        if entries:
            lines += ["", f"# {title}", *entries]
    return "\n".join(lines) + "\n"


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(f"is larger than {MAX_BYTES} bytes, expected a file of options (--config)", path=path)
        return content.decode()
    except OSError as error:
        raise UserError(f"cannot be read (--config): {error.strerror or error}", path=path) from None
    except UnicodeDecodeError:
        raise UserError("is no text, expected options in TOML (--config)", path=path) from None


def _entries(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = re.search(r"at line (\d+)", str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        raise UserError(f"is no sound TOML, expected  option = value: {error}", path=path, line=line) from None


def _line_of(key: str, text: str) -> int | None:
    """Line of a key of the file; the first that looks like it."""
    begin = re.compile(rf"""\s*(?:\[\s*)?["']?{re.escape(key)}["']?\s*[]=.]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if begin.match(line)), None)


def _no_option(key: str, known: Mapping[str, Option]) -> str:
    near = near_names(key.replace("_", "-"), [name for name in known if _plain(OWN[0]) != name])
    expected = f"expected {' or '.join(near)}" if near else "expected an option's name without its dashes"
    return f"no option is called {key!r}: {expected}"


def _words_of(option: Option, value: Any) -> list[str]:
    """Turn an entry into words; raises `UserError` where the value is none for this option."""
    name = option.names[-1]
    if option.kind == "refused":
        raise UserError(f"{name}: {option.help}")
    if isinstance(value, dict):
        raise UserError(f"{_plain(name)} is a table, expected {_plain(name)} = value")
    if isinstance(value, bool) or (option.kind in ("flag", "undo")):
        return _switch(option, value)
    if option.kind == "list":
        texts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
        return [f"{name}={text}" for text in texts]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    check_value(option, text)
    return [f"{name}={text}"] if name.startswith("--") else [name, text]


def _switch(option: Option, value: Any) -> list[str]:
    """Words of an option that is on or off, or whose value may be left out."""
    if value is True and option.kind in ("flag", "undo", "optional"):
        return [option.names[-1]]
    if value is False and option.kind in ("flag", "optional"):
        return []
    expected = EXPECTED.get(option.kind, "a text")
    raise UserError(f"{_plain(option.names[-1])} = {str(value).lower()}: expected {expected}")


def _is_stated(option: Option, values: Mapping[str, Any]) -> bool:
    is_valued = option.kind not in ("refused", "ignored", "undo") and option.key not in OWN
    return is_valued and values[option.key] != option.default


def _entry(option: Option, value: Any) -> str:
    key = _plain(option.names[-1])
    if is_secret(option.key):
        return f"# {key} is a secret and is not written down"
    return f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)


def is_secret(key: str) -> bool:
    """Whether the value of the option with this key is never to be written anywhere."""
    return key.endswith("_token")


def without_secrets(words: Sequence[str], groups: Groups) -> list[str]:
    """Give a command line with secrets blotted out."""
    secret = {
        name for group in groups.values() for option in group if is_secret(option.key) for name in option.names
    }
    shown: list[str] = []
    is_value = False
    for word in words:
        name, has_value, _ = word.partition("=")
        is_meant = len(name) > 2 and any(each.startswith(name) for each in secret)
        shown.append("***" if is_value else f"{name}=***" if is_meant and has_value else word)
        is_value = is_meant and not has_value
    return shown


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")
