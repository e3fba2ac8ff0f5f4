"""Words of command lines: what is no option, no value and no operand is refused in one line, in every program."""

import sys

import pytest

from braggstream.cli import main as entry
from braggstream.cli.command_parser import LONG_DASHES
from braggstream.cli.main import COMMANDS, DROP_IN
from braggstream.cli.option_parser import parse_options
from cli.commands import BRAGGSTREAM, INDEXAMAJIG, run

STATUS = dict.fromkeys(COMMANDS, 2) | dict.fromkeys(DROP_IN, 1) | {"indexamajig": 64}
CHECKED_BY_OTHERS = {"asapo"}
"""Has commands of its own, which are parsed by themselves."""


def status_and_line(capsys, command, *words):
    with pytest.raises(SystemExit) as caught:
        entry.main([command, *words])
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    return caught.value.code, told


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in CHECKED_BY_OTHERS])
@pytest.mark.parametrize("word", ["--no-such-thing", "--no-such-thing=P 43 21 2", "--no-such thing", "-@ b"])
def test_an_unknown_option_is_refused_whatever_its_value(command, word, capsys):
    status, line = status_and_line(capsys, command, word)
    assert status == STATUS[command]
    assert "unrecognized option" in line and word.split("=")[0].split()[0] in line


def test_a_real_process_refuses_a_value_with_a_blank(tmp_path):
    (tmp_path / "x.hkl").write_text("nothing")
    command = [*BRAGGSTREAM, "get_hkl", "-i", tmp_path / "x.hkl", "-o", tmp_path / "o.hkl"]
    done = run(*command, "--space-group-override=P 43 21 2")
    assert done.returncode == 1 and not (tmp_path / "o.hkl").exists()
    assert done.stderr == "get_hkl: unrecognized option --space-group-override; did you mean --space-group?\n"
    done = run(*INDEXAMAJIG, "--min-snr 5", "-g", "x.geom")
    assert done.returncode == 64 and "--min-snr and its value are one word with a blank" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-i", "a.lst", "b.lst"], "'b.lst' belongs to no option (after 'a.lst')"),
        (["--output=", "x.stream"], "there is a blank behind --output=: expected its value there"),
        (["--multi", "--", "-j", "4"], "'-j' belongs to no option: what follows '--' is none"),
        (["stray"], "'stray' belongs to no option;"),
        (["--treshold=5"], "unrecognized option --treshold; did you mean --threshold?"),
        (["--Threshold=5"], "unrecognized option --Threshold; did you mean --threshold?"),
        (["--min_snr=5"], "unrecognized option --min_snr; did you mean --min-snr"),
        (["-output=x.stream"], "unrecognized option -output; did you mean --output?"),
        (["-peaks=zaef"], "unrecognized option -peaks; did you mean --peaks?"),
        (["–peaks=zaef"], "it begins with '–'; did you mean two plain dashes?"),
        (["--min=3"], "ambiguous option --min: it may be --min-"),
        (["--multi=yes"], "option --multi takes no value, not 'yes'"),
        (["--threshold"], "option --threshold needs a value"),
        (["-g"], "option --geometry needs a value: FILE"),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_may_have_been(words, told, capsys):
    with pytest.raises(SystemExit, match="64"):
        parse_options(words)
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1


def test_a_value_may_begin_with_a_dash_or_hold_blanks():
    for name in ("--int-radius", "--int-rad", "--int-radius="):
        words = [name + "-1,2,3"] if name.endswith("=") else [name, "-1,2,3"]
        assert parse_options(words)["int_radius"] is None
    assert parse_options(["--push-res", "-1e-3"])["push_res"] == -1e-3
    assert parse_options(["--push-r=-.5"])["push_res"] == -0.5
    assert parse_options(["-o", "--strange name"])["output"] == "--strange name"
    assert parse_options(["-oa b", "-gx = y"])["output"] == "a b"
    assert parse_options(["--prefix=a=b c"])["prefix"] == "a=b c"
    assert parse_options(["--prefix="])["prefix"] == ""
    assert parse_options(["--zmq-request", ""])["zmq_request"] == ""


def test_other_spellings_of_one_option_are_not_ambiguous():
    """`--copy-h` begins two spellings of one option."""
    assert parse_options(["--copy-h=/a"])["copy_header"] == ("/a",)


def test_an_option_given_twice_is_told_where_the_values_differ(capsys):
    assert parse_options(["-i", "a.lst", "-i", "b.lst", "-j2", "-j2", "--multi", "--multi"])["input"] == "b.lst"
    told = capsys.readouterr().err
    assert told == "indexamajig: --input is given more than once: only the last one counts\n"
    parse_options(["--zmq-subscribe=a", "--zmq-subscribe=b"])
    assert capsys.readouterr().err == ""


def test_what_the_command_line_takes_the_place_of_is_not_told(tmp_path):
    (tmp_path / "run.toml").write_text("threshold = 20\nmulti = true\n")
    words = [f"--config={tmp_path / 'run.toml'}", "--threshold=10", f"--write-config={tmp_path / 'new.toml'}"]
    done = run(*INDEXAMAJIG, *words)
    assert done.returncode == 0 and "more than once" not in done.stderr
    assert "threshold = 10" in (tmp_path / "new.toml").read_text()


def test_help_comes_before_complaints_about_stray_words(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_options(["--help", "stray"])
    assert "usage: indexamajig" in capsys.readouterr().out


def test_every_long_dash_is_seen(capsys):
    for dash in LONG_DASHES:
        with pytest.raises(SystemExit):
            parse_options([f"{dash}geometry=x.geom"])
        assert "two plain dashes" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "meant"), [("shwo", "show"), ("index", "indexamajig"), ("merge", None)])
def test_commands_get_a_suggestion(word, meant, capsys):
    assert entry.main([word]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"braggstream: no command '{word}'" + (f"; did you mean {meant}?" if meant else "")


def test_commands_of_asapo_get_a_suggestion(capsys):
    status, line = status_and_line(capsys, "asapo", "strems")
    assert status == 2 and "'strems' is not one of streams, groups" in line and "did you mean streams?" in line
    status, line = status_and_line(capsys, "asapo", "streams", "--endpiont=a b")
    assert status == 2 and "did you mean --endpoint" in line


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--peaks=peakfinder6"], "peakfinder8"),
        (["--indexing=xgandlaf"], "xgandalf"),
        (["--integration=rings-nocent"], "nocen"),
        (["--data-format=msgpak"], "msgpack"),
        (["--live-merge", "-y", "4/mmn", "--peaks=zaef"], "4/mmm"),
        (["--live-merge", "-y", "4/mmm", "--goal", "completness>95@2A"], "completeness"),
    ],
)
def test_names_of_methods_get_a_suggestion(words, meant, still_set, tmp_path):
    detector = ["-i", "frames.lst", "-g", still_set.geometry, "-p", still_set.cell, "-o", tmp_path / "o.stream"]
    done = run(*INDEXAMAJIG, *detector, *words)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "did you mean" in last and meant in last.split("did you mean")[1]
    assert not (tmp_path / "o.stream").exists()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["partialator", "--model=xpshere", "-i", "x.stream", "-o", "o.hkl"], "xsphere"),
        (["get_hkl", "-i", "x.hkl", "-o", "o", "--output-format=mtz_bij"], "mtz-bij"),
        (["compare_hkl", "a.hkl", "b.hkl", "-y", "1", "-p", "CELL", "--fom=Rsplt"], "Rsplit"),
        (["process_hkl", "x.stream", "-y", "mmn"], "mmm"),
    ],
)
def test_names_in_other_programs_get_a_suggestion(words, meant, still_set, capsys):
    assert entry.main([str(still_set.cell) if word == "CELL" else word for word in words]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "did you mean" in line and meant in line.split("did you mean")[1]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["-g", "x.geom", "--usage"], ["--bogus", "-h"]])
def test_help_is_there_at_once(words):
    """Neither NumPy nor Numba is imported to show a table of options."""
    code = f"""
import sys
from braggstream.__main__ import indexamajig
sys.argv = ["indexamajig", *{words!r}]
try:
    indexamajig()
except SystemExit as end:
    print(end.code, [name for name in ("numpy", "numba", "h5py", "zmq") if name in sys.modules])
"""
    done = run(sys.executable, "-c", code)
    assert done.stdout.splitlines()[-1] == f"{64 if '--bogus' in words else 0} []", done.stderr
