"""The command line of `indexamajig` as values: every option works, is refused, or says that it has no effect."""

from math import inf

import pytest

from braggstream.cli.option_parser import parse_options
from braggstream.cli.option_table import GROUPS
from braggstream.model.errors import UserError

ALL = [option for group in GROUPS.values() for option in group]
SAMPLES = {"integer": "7", "number": "7.5", "radii": "2,3,4", "text": "word", "list": "word", "optional": "word"}


def words(option, name):
    if option.kind in SAMPLES:
        return [name, SAMPLES[option.kind]]
    return [name, "1"] if option.argument else [name]


@pytest.mark.parametrize("option", ALL, ids=lambda option: option.names[-1])
def test_each_option_works_or_says_that_it_does_not(option, capsys):
    for name in option.names:
        if option.kind == "refused":
            with pytest.raises(UserError, match=f"^{option.names[-1]}: {option.help[:10]}"):
                parse_options(words(option, name))
            continue
        values = parse_options(words(option, name))
        told = capsys.readouterr().err
        if option.kind == "ignored":
            assert told == f"{option.names[-1]}: accepted without effect: {option.help}\n"
            continue
        assert told == ""
        if option.kind == "undo":
            flag = "--" + option.default.replace("_", "-")
            assert values[option.default] is False
            assert parse_options([flag, name])[option.default] is False
            assert parse_options([name, flag])[option.default] is True
        else:
            expected = {"flag": True, "integer": 7, "number": 7.5, "radii": (2, 3, 4), "list": ("word",)}
            assert values[option.key] == expected.get(option.kind, "word") != option.default


def test_the_last_one_counts_and_lists_grow():
    values = parse_options(["-j", "2", "-j=3".replace("=", ""), "--zmq-subscribe=a", "--zmq-subscribe=b"])
    assert values["j"] == 3 and values["zmq_subscribe"] == ("a", "b")
    assert parse_options(["--index=none"])["indexing"] == "none"


@pytest.mark.parametrize(
    "word",
    [
        "-j5abc", "-j1.5", "-j99999999999999999999", "--serial-start=-1", "--serial-start=99999999999999999999",
        "--wait-for-file=-2", "--min-snr=inf", "--min-snr=nan", "--threshold=nan", "--threshold=", "--max-res=nan",
        "--local-bg-radius=-1", "--local-bg-radius=1000000", "--max-pix-count=-5", "--int-radius=4,5",
        "--int-radius=4,5,1e9", "--int-radius=4,5,inf", "--int-radius=nan,nan,nan", "--int-radius=7,5,4",
        "--peak-radius=-1,2,3", "--peak-radius=a,b,c", "--frame-timeout=nan", "--fix-profile-radius=inf",
        "--push-res=nan", "--max-lattices=0",
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_told_with_their_option(word):
    with pytest.raises(UserError) as caught:
        parse_options([word])
    name = word[:2] if word.startswith("-j") else word.split("=")[0]
    assert str(caught.value).startswith(name) and "expected" in str(caught.value)


def test_a_value_that_may_be_left_out():
    assert parse_options([])["find_cell"] is None
    assert parse_options(["--find-cell", "-j", "2"])["find_cell"] == ""
    assert parse_options(["--find-cell=x.cell"])["find_cell"] == "x.cell"


def test_infinity_where_it_means_no_limit():
    for name in ("--push-res", "--max-res", "--frame-timeout", "--highres"):
        assert parse_options([f"{name}=inf"])[name[2:].replace("-", "_")] == inf
    assert parse_options(["--int-radius=-1,2,3"])["int_radius"] is None
