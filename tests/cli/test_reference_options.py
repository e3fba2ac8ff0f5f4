"""Every option of the reference: accepted with its default, or refused in one line that says why."""

from math import inf
from pathlib import Path

import pytest

from braggstream.cli.option_parser import parse_options
from braggstream.cli.option_table import GROUPS
from braggstream.cli.run_options import OF_THE_MANUAL
from braggstream.model.errors import UserError

TABLE = Path(__file__).parents[1] / "data" / "reference_options.tsv"
ROWS = [tuple(line.split("\t")) for line in TABLE.read_text().splitlines()]
BY_NAME = {name: option for group in GROUPS.values() for option in group for name in option.names}
ABOUT = {"-h", "-?", "--help", "--usage", "-v", "-V", "--version"}
SAMPLES = {"integer": "3", "number": "1.5", "radii": "2,3,4"}

NOWHERE = {"--use-saturated"}
"""Says in the reference's manual what is so anyway: accepted without effect, where the reference leaves with 64."""
OTHER_DEFAULTS = {"--ffbidx-output-cells", "--felix-tthrange-max", "--felix-tthrange-min"}
"""Different on purpose (`docs/explanation/differences.md`), or two values in one row."""
NUMBERS = {"∞": inf, "+∞": inf, "−∞": -inf, "0 = no limit": 0.0, "0 = off": 0.0, "0 (auto)": 0.0}


def row_of(name):
    return next(row for row in ROWS if row[0] == name)


@pytest.mark.parametrize("name", [row[0] for row in ROWS if row[0] not in ABOUT])
def test_each_is_accepted_or_refused_with_a_reason(name, capsys):
    _, takes, _ = row_of(name)
    if name in OF_THE_MANUAL:
        for word in (name, f"{name}=1"):
            with pytest.raises(SystemExit, match="64"):
                parse_options([word])
            told = capsys.readouterr().err
            assert told.count("\n") == 1 and OF_THE_MANUAL[name] in told and "--" in OF_THE_MANUAL[name]
        return
    option = BY_NAME[name]
    is_valued = option.kind in ("text", "integer", "number", "radii", "list", "optional") or bool(option.argument)
    if takes:
        assert is_valued == (takes == "yes"), f"{name}: takes a value: {takes}"
    words = [name, SAMPLES.get(option.kind, "word")] if is_valued else [name]
    if option.kind == "refused":
        with pytest.raises(UserError) as caught:
            parse_options(words)
        line = str(caught.value)
        assert line.startswith(f"{option.names[-1]}: ") and "\n" not in line and len(line) > len(name) + 12
        return
    parse_options(words)
    told = capsys.readouterr().err
    assert told == "" or (told.count("\n") == 1 and "accepted without effect: " in told)


@pytest.mark.parametrize("name", [row[0] for row in ROWS if row[2] and row[0] not in OTHER_DEFAULTS])
def test_defaults_are_those_of_the_reference(name):
    option = BY_NAME.get(name)
    text = row_of(name)[2].strip("`")
    if option is None or option.kind in ("refused", "ignored", "undo", "radii", "list", "optional"):
        return
    if option.kind == "flag":
        assert option.default is False
        return
    try:
        expected = NUMBERS[text] if text in NUMBERS else float(text)
    except ValueError:
        assert option.default in (None, "") or str(option.default) == text
        return
    assert option.default == expected or (abs(expected) == inf and option.default is None)


def test_what_we_accept_beyond_the_reference_says_so():
    of_reference = {row[0] for row in ROWS}
    for title, options in GROUPS.items():
        for option in options:
            is_ours = not of_reference.intersection(option.names)
            assert not is_ours or option.hidden or "beyond CrystFEL" in title + option.help, option.names
