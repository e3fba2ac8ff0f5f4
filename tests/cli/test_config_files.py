"""Options from a TOML file: the same as on the command line, which wins; mistakes are told with their line."""

from pathlib import Path

import pytest

from braggstream.cli.config_file import config_text, read_options, without_secrets
from braggstream.cli.option_parser import parse_options
from braggstream.cli.option_table import GROUPS
from braggstream.cli.provenance import Provenance
from braggstream.model.errors import UserError

EVERY_KIND = """
geometry = "a b.geom"      # a name with a blank
peaks = 'peakfinder8'
j = 4
min-snr = 4.5
min_peaks = 15
threshold = -3
int-radius = [3, 4, 5]
tolerance = [5, 5, 5, 1.5, 1.5, 1.5]
indexing = ["xgandalf", "asdf"]
copy-header = ["x", "y"]
no-retry = true
multi = false
push-res = inf
find-cell = true
"""
ITS_WORDS = [
    "--geometry=a b.geom", "--peaks=peakfinder8", "-j4", "--min-snr=4.5", "--min-peaks=15", "--threshold=-3",
    "--int-radius=3,4,5", "--tolerance=5,5,5,1.5,1.5,1.5", "--indexing=xgandalf,asdf", "--copy-header=x",
    "--copy-header=y", "--no-retry", "--push-res=inf", "--find-cell",
]  # fmt: skip


def config(folder, text):
    path = folder / "run.toml"
    path.write_text(text)
    return f"--config={path}"


def test_a_file_is_the_same_as_the_words(tmp_path):
    words, values = read_options([config(tmp_path, EVERY_KIND)])
    assert values == parse_options(ITS_WORDS) == parse_options(words)
    assert not any("config" in word for word in words)


def test_the_command_line_wins_and_its_lists_replace(tmp_path):
    file = config(tmp_path, EVERY_KIND)
    for words in (
        [file, "-j2", "--copy-header=z", "--retry"],
        ["-j2", "--copy-header=z", "--retry", "--config", file[9:]],
    ):
        _, values = read_options(words)
        assert (values["j"], values["copy_header"], values["no_retry"]) == (2, ("z",), False)
        assert values["min_peaks"] == 15


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("j = 2\nmin-snrr = 5\n", 2, "no option is called 'min-snrr': expected min-snr"),
        ("\n\nmin-snr = 'five'\n", 3, "--min-snr=five: expected a number"),
        ("min-snr = true\n", 1, "expected a number"),
        ("multi = 3\n", 1, "multi = 3: expected true or false"),
        ("refine = false\n", 1, "expected true"),
        ("int-radius = [3, 4]\n", 1, "expected three radii"),
        ("j = 2\nj = 3\n", 2, "no sound TOML"),
        ("j = \n", 1, "no sound TOML"),
        ("j = 1\nspectrum-file = 'x'\n", 2, "no longer used"),
        ("config = 'other.toml'\n", 1, "no option is called 'config'"),
        ("[peaks]\nmethod = 'zaef'\n", 1, "is a table"),
        ("zzzzqq = 1\n", 1, "expected an option's name without its dashes"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path, text, line, expected):
    with pytest.raises(UserError) as caught:
        read_options([config(tmp_path, text)])
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'run.toml'}:{line}: ") and expected in told and "\n" not in told


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"none.toml: cannot be read"):
        read_options([f"--config={tmp_path / 'none.toml'}"])
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UserError, match="no text"):
        read_options([f"--config={tmp_path / 'run.toml'}"])


def test_the_options_in_force_can_be_written_and_read_again(tmp_path):
    values = parse_options([*ITS_WORDS, "--min-peak-over-neighbour=-inf", '--prefix=a"\\b\n'])
    text = config_text(values, GROUPS)
    assert read_options([config(tmp_path, text)])[1] == values
    assert "local-bg-radius" not in text  # What is as it is by default is left out.


def test_tokens_are_in_no_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["-o", "x.stream", "--asapo-token=abc7xyz", "--asapo-endpoint=here:1"]
    record = Provenance(words, parse_options(words))
    record.begin()
    record.end(1, print)
    text = Path("x.stream.provenance.json").read_text()
    assert "abc7xyz" not in text and text.count("***") == 2 and "here:1" in text
    assert "abc7xyz" not in config_text(parse_options(words), GROUPS)


def test_secrets_are_written_nowhere():
    words = ["--asapo-token=abc", "--asapo-token", "def", "--asapo-to=ghi", "--asapo-endpoint=here", "-j", "2"]
    shown = without_secrets(words, GROUPS)
    assert shown == [
        "--asapo-token=***",
        "--asapo-token",
        "***",
        "--asapo-to=***",
        "--asapo-endpoint=here",
        "-j",
        "2",
    ]
